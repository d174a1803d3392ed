"""A first recipe for a table: encoders, a head on each, their ensembles.

Members are those whose audio, text or embeddings are there, the labels are a shipped task's or
simply the labels, and the split is the first that a run accepts: the table's own, by speaker, by
label. What was noticed is in the recipe as comments.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from ....cache.commands.terminal import visible
from ....cache.errors import InputError, in_shell, listed, nearest_beside, shaped
from ....cache.files.atomic_writes import write_whole
from ....cache.files.output_checks import check_output
from ....cache.manifest import Manifest
from ...data.splitting.leaks import speakers
from ...data.task import Task
from ...data.votes import with_votes
from .encoders_for import BUILT_IN, Proposed, stored
from .noticed import Modalities, about_languages, about_parts, modalities
from .splits_for import Proposal, proposals_for
from .task_for import Choice, describe_given, task_for, task_text

WIDTH, WIDEST = 28, 100  # where comments begin, and where those of their own line end
CHOICES = {
    "labels": ", C: [0.0001, 0.001, 0.01, 0.1, 1]",
    "regression": ", alpha: [1, 10, 100, 1000, 10000]",
}
FAR = str(Path(*3 * [".."]))  # a path that goes up so far is written from the top
UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE


@dataclass
class FirstRecipe:
    """A recipe that was written for a table.

    Attributes
    ----------
    task, split : str
        As in the recipe.
    facts : list of str
        How many speakers and languages there are, how long the recordings are.
    notes : list of str
        For its reader.
    of_table : list of str
        Those of the notes that every reading of the table gives, so a run prints them too.
    has_speakers : bool
        Whether the table has a column of them.
    """

    path: Path
    clips: int
    task: str = ""
    split: str = ""
    members: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    of_table: list[str] = field(default_factory=list)
    has_speakers: bool = True


def write_recipe(
    manifest: str | Path,
    path: str | Path,
    task: str | None = None,
    root: str | Path | None = None,
    *,
    cache: str | Path | None = None,
    spaces: Sequence[str] = (),
) -> FirstRecipe:
    r"""Write a recipe for a table, with comments on what was noticed.

    Parameters
    ----------
    path : path
        The recipe; cache and report will be in its folder. A file that is there is never changed;
        the same recipe again, whatever its comments, is left as it is.
    task : str, optional
        A named task or a task file; by default the labels decide.
    root : path, optional
        As for `Manifest.read`.
    cache : path, optional
        Read the embeddings that this cache holds, in place of the built-in encoders: recordings
        need not be there.
    spaces : sequence of str
        Names of spaces of `cache`; by default all that hold the clips.

    Raises
    ------
    InputError
        No labels, more than 30 different ones, neither recordings nor texts, no such space, clips
        that no split divides, or a file of another content that is there already. Nothing was
        written then.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> texts = 10 * ["well done,positive", "sad,negative", "a table,neutral"]
    >>> rows = [f"{i},{text}" for i, text in enumerate(texts)]
    >>> _ = (folder / "clips.csv").write_text("\n".join(["id,text,label", *rows]))
    >>> found = write_recipe(folder / "clips.csv", folder / "recipe.yaml")
    >>> found.task, found.split
    ('valence', '{scheme: stratified, test_size: 0.25, dev_size: 0.2}')
    """
    manifest, path = Path(manifest), Path(path)
    _check_name(manifest, path)
    clips = Manifest.read(manifest, root)
    of_table = list(clips.notes)
    chosen = task_for(clips) if task is None else describe_given(Task.of(task), clips)
    if chosen.votes:
        raters = chosen.votes if isinstance(chosen.votes, tuple) else None
        clips = with_votes(clips, raters, chosen.task, drop_ties=True)
    if spaces and cache is None:
        raise InputError(f"`spaces` without `cache`; give the cache that holds {listed([*spaces])}")
    if cache is None:
        sides = modalities(clips)
        encoders = [one for kind, one in BUILT_IN.items() if getattr(sides, kind)]
    else:
        labelled, _ = chosen.task.select(clips, blank="drop")
        encoders, notes = stored(Path(cache), spaces, labelled)
        sides = Modalities(notes=notes)
    beside = "" if path.stem == "recipe" else f"{path.stem}-"
    task_path = path.with_name(f"{beside}task.yaml")
    given = task and (_path(task, path.parent) if task.endswith((".yaml", ".yml")) else task)
    named = chosen.name or given or _path(task_path, path.parent)
    report = _path(path.with_name(f"{beside}out"), path.parent)
    members = [f"{one.name}-lr" for one in encoders]
    found = FirstRecipe(path, len(clips), named, members=members, of_table=of_table)
    found.has_speakers = "speaker" in clips
    found.facts = [*_counted(clips, "speaker"), *_counted(clips, "language"), *sides.facts]
    found.notes = [
        *clips.notes,
        *about_parts(manifest),
        *chosen.notes,
        *sides.notes,
        *about_languages(clips),
    ]

    held = "my.cache" if cache is None else _path(cache, path.parent)

    def render(division: Proposal) -> str:
        return _text(found, manifest, root, chosen, held, encoders, division, report)

    own = task_text(chosen.content) if chosen.content else ""
    where = (manifest, root, task, path, cache)
    division = _first_accepted(proposals_for(clips, chosen.task), render, own, where)
    found.split = division.written
    found.notes += division.notes
    again = "choose another name with -o"
    if own:
        also = path.with_name(f"{manifest.stem}.yaml").name
        _check_new(
            task_path,
            own,
            f"{again}: with -o {in_shell(also)} the task is {Path(also).stem}-task.yaml. Or, to "
            f"use that task, give --task {_shown(task_path)}",
        )
    _check_new(path, render(division), f"run it: affekt run {_shown(path)}, or {again}")
    for file, content in ((task_path, own), (path, render(division))):
        if content and not (file.exists() and file.stat().st_size):
            write_whole(file, content)
    return found


def _first_accepted(
    divisions: Iterator[Proposal], render: Any, task_text: str, where: tuple[Any, ...]
) -> Proposal:
    """Return the first division that a run would accept, or raise its error for the first."""
    first: InputError | None = None
    for division in divisions:
        try:
            _try(render(division), task_text, *where)
            return division
        except InputError as error:
            first = first or error
    if first is None:
        raise InputError(f"{where[0]}: no split divides these clips")
    first.add_note("No recipe was written.")
    raise first


def _try(
    text: str,
    task_text: str,
    manifest: Path,
    root: str | Path | None,
    task: str | None,
    path: Path,
    cache: str | Path | None,
) -> None:
    """Check a recipe as a run would, before it is written."""
    from ..checks.recipe_checks import check_recipe, check_sources
    from ..prepare import prepare
    from ..recipes.recipe import Recipe

    with tempfile.TemporaryDirectory() as folder:
        draft, labels = Path(folder, "recipe.yaml"), Path(folder, "task.yaml")
        draft.write_text(text, encoding="utf-8")
        labels.write_text(task_text, encoding="utf-8")
        recipe = Recipe.read(draft)
        try:
            names_file = recipe.task.endswith((".yaml", ".yml"))
            recipe = replace(
                recipe,
                path=path,
                manifest=manifest,
                root=None if root is None else Path(root),
                task=(task or str(labels)) if names_file else recipe.task,
                cache=Path(cache) if cache else path.parent / recipe.cache.name,
                report=path.parent / recipe.report.name,
            )
            ready = prepare(recipe)
            check_recipe(ready)
            check_sources(ready)
        except InputError as error:
            why = str(error)
            raise InputError(why if str(manifest) in why else f"{manifest}: {why}") from None


def _text(
    found: FirstRecipe,
    manifest: Path,
    root: str | Path | None,
    chosen: Choice,
    cache: str,
    encoders: list[Proposed],
    division: Proposal,
    report: str,
) -> str:
    """Return the recipe; every comment is one printable line."""
    name = _shown(found.path)
    folder = found.path.parent
    head = {"labels": "logistic", "regression": "ridge"}[chosen.task.kind]
    choice = CHOICES[chosen.task.kind] if division.has_dev else ""
    lines = [
        _comment(f"A first recipe for {manifest.name}: {found.clips} clips. Change what you like."),
        _comment(f"Check it: affekt run --check {name}"),
        _comment(f"Run it: affekt run {name}"),
        _comment("Every key: docs/guide/recipes.md"),
        "",
    ]
    if notes := dict.fromkeys([*found.notes, *division.notes]):
        lines += ["# What was noticed in the table:"]
        for note in notes:
            lines += wrap(_comment(f"- {note}"), WIDEST, subsequent_indent="#   ")
        lines += [""]
    lines += [_line(f"manifest: {_scalar(_path(manifest, folder))}", ", ".join(found.facts))]
    if root is not None:
        lines += [
            _line(
                f"root: {_scalar(_path(root, folder))}", "paths are relative to it and stay in it"
            )
        ]
    lines += [_line(f"task: {_scalar(found.task)}", chosen.about)]
    if chosen.votes:
        raters = chosen.votes if isinstance(chosen.votes, tuple) else ()
        named = f"[{', '.join(map(_scalar, raters))}]" if raters else "true"
        lines += [_line(f"votes: {named}", "members learn from all raters")]
    if chosen.drop:
        lines += [_line("unlabelled: drop", f"{chosen.drop} clips have no label")]
    held = "cache: my.cache" if cache == "my.cache" else f"cache: {_scalar(cache)}"
    lines += [_line(held, "embeddings: each clip is embedded once"), "", "encoders:"]
    for one in encoders:
        source = f"{{space: {_scalar(one.source)}}}" if one.is_space else one.source
        lines += [_line(f"  {_scalar(one.name)}: {source}", one.about)]
    lines += ["", _line(f"split: {division.written}", division.about)]
    if not found.has_speakers:
        lines += [
            _line("group: id", "what intervals resample: clips, because there are no speakers")
        ]
    lines += [""]
    lines += [_line("members:", "the best value of a list is chosen on dev" if choice else "")]
    lines += [
        f"  {_scalar(f'{one.name}-lr')}: {{head: {head}, on: {_scalar(one.name)}{choice}}}"
        for one in encoders
    ]
    ensembles = "[mean, max]" if head == "logistic" else "[mean]"
    lines += [
        f"ensembles: {ensembles if len(encoders) > 1 else '[]'}",
        "",
        _line(
            f"report: {report if report == 'out' else _scalar(report)}",
            f"open {report}/report.html",
        ),
    ]
    return "\n".join(lines) + "\n"


def _line(text: str, comment: str) -> str:
    return f"{text:<{WIDTH}} {_comment(comment)}" if comment else text


def _comment(text: str) -> str:
    return f"# {UNPRINTABLE.sub('?', visible(' '.join(text.split())))}"


def _scalar(text: str) -> str:
    """Return a text as YAML that reads back as a text."""
    plain = re.fullmatch(r"[A-Za-z_/.][\w/.-]*", text, re.ASCII)
    if plain and yaml.safe_load(text) == text:  # not a number, no, null ...
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _path(path: str | Path, folder: Path) -> str:
    """Return a path as seen from the recipe's folder; links of folders are followed first."""
    path = Path(path)
    real = str(Path(os.path.realpath(path.parent)) / path.name)
    seen = os.path.relpath(real, os.path.realpath(folder))
    if seen.startswith(FAR):
        seen = real
    if "$" in seen:
        raise InputError(
            f"{path}: in a recipe $ begins the name of a variable; rename the file or its folder, "
            "or put the recipe next to it"
        )
    return f"./{seen}" if seen.startswith("~") else seen


def _check_name(manifest: Path, path: Path) -> None:
    if manifest.is_dir():
        raise InputError(
            f"{manifest}: a folder; expected a table of clips. Make one of a corpus that affekt "
            f"can read with: affekt manifest {in_shell(manifest)} -o clips.csv"
        )
    if not manifest.is_file():
        what = "not a regular file" if manifest.exists() else "no such file"
        raise InputError(
            f"{manifest}: {what}; expected a table of clips that a recipe can name."
            + nearest_beside(manifest)
        )
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"-o {path}: expected a name that ends in .yaml")


def _check_new(path: Path, text: str, advice: str) -> None:
    """Refuse a file that is there and differs in more than comments."""
    with shaped(repr(str(path)), "names in UTF-8"):
        data = text.encode()
    if path.is_file() and _settings(path.read_bytes()) not in ([], _settings(data)):
        raise InputError(f"{path} already exists, with other content; {advice}")
    check_output("-o", path, ours=lambda head: _settings(head) == _settings(data), advice=advice)


def _settings(data: bytes) -> list[bytes]:
    """Return the lines of a recipe without comments."""
    lines = (re.sub(rb"(^|\s)#.*", b"", line).rstrip() for line in data.splitlines())
    return [line for line in lines if line]


def _counted(clips: Manifest, column: str) -> list[str]:
    values = set(speakers(clips) if column == "speaker" else clips[column]) - {""}
    if not values:
        return []
    named = f" ({next(iter(values))})" if len(values) == 1 else ""
    return [f"{len(values)} {column}{'s' * (len(values) != 1)}{named}"]


def _shown(path: Path) -> str:
    """Return a path as the user would type it in a shell, here."""
    with suppress(ValueError):  # elsewhere
        path = path.resolve().relative_to(Path.cwd())
    return in_shell(path)
