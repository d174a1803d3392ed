"""A recipe for a manifest: the two built-in encoders, a head on each, their ensembles.

Made for the synthetic corpus of `affekt demo`, and for a user's own clips: members are those whose
audio or text is there, the split is the manifest's own or by speaker, the labels are a known task's
or simply the labels.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from ....cache.errors import InputError, shaped
from ....cache.files.outputs import check_output
from ....cache.files.written import write_whole
from ....cache.manifest import Manifest
from ...data.task import Task

__all__ = ["write_recipe"]

MOST_LABELS = 30
PARTS = ("train", "test")

TEMPLATE = """\
# Written by `affekt demo`. Change it and run it again: affekt run {name}
manifest: {manifest}
task: {task}
cache: my.cache
encoders:
{encoders}
split: {split}
members:
{members}
ensembles: [mean, max]
report: out
"""

ENCODERS = {
    "speech": "  speech: spectral       # pitch, energy, rhythm, timbre: built in",
    "text": "  text: ngram            # hashed character n-grams: built in",
}
MEMBERS = {
    "speech": "  speech-lr: {{head: logistic, on: speech{choice}}}",
    "text": "  text-lr: {{head: logistic, on: text{choice}}}",
}


def write_recipe(
    manifest: str | Path,
    folder: str | Path,
    task: str | None = None,
    root: str | Path | None = None,
) -> Path:
    r"""Write `recipe.yaml` for a manifest.

    Parameters
    ----------
    manifest : path
    folder : path
        Receives the recipe; cache and report will lie beside it.
    task : str, optional
        A named task or a task file; by default `valence` where the labels are valences, else the
        labels as they are.
    root : path, optional
        As for `Manifest.read`.

    Returns
    -------
    Path
        The recipe.

    Raises
    ------
    InputError
        No labels, more than 30 different ones, neither audio nor text.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "clips.csv").write_text(
    ...     "id,text,label\n1,well done,positive\n2,how sad,negative\n")
    >>> path = write_recipe(folder / "clips.csv", folder / "demo")
    >>> [line for line in path.read_text().splitlines() if line.startswith(("task", "split"))]
    ['task: valence', 'split: {"scheme": "stratified", "test_size": 0.25, "dev_size": 0.2}']
    """
    clips = Manifest.read(manifest, root)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind, column in (("speech", "path"), ("text", "text")) if any(clips[column])]
    split = _split(clips)
    has_dev = split["scheme"] != "column" or "dev" in set(clips["split"])
    choice = ", C: [0.001, 0.01, 0.1, 1]" if has_dev else ""
    text = TEMPLATE.format(
        name=_shown(folder / "recipe.yaml"),
        manifest=json.dumps(os.path.relpath(manifest, folder), ensure_ascii=False)
        + ("" if root is None else f"\nroot: {json.dumps(os.path.relpath(root, folder))}"),
        task=_task(clips, folder, task),
        encoders="\n".join(ENCODERS[kind] for kind in kinds),
        split=json.dumps(split),
        members="\n".join(MEMBERS[kind].format(choice=choice) for kind in kinds),
    )
    path = folder / "recipe.yaml"
    _write_new(path, text, f"run it: affekt run {_shown(path)}, or name another folder")
    return path


def _write_new(path: Path, text: str, advice: str) -> None:
    """Write a file that is not there, or that is the same already."""
    with shaped(repr(str(path)), "names in UTF-8"):
        data = text.encode()
    check_output("-o:", path, ours=lambda head: head == data, advice=advice)
    write_whole(path, data)


def _task(clips: Manifest, folder: Path, task: str | None) -> str:
    if task is not None:
        Task.of(task).encode(clips)
        named = not task.endswith((".yaml", ".yml"))
        return task if named else json.dumps(os.path.relpath(task, folder), ensure_ascii=False)
    labels = sorted(set(clips["label"]))
    if labels in ([], [""]):
        raise InputError(f"{clips.source} has no labels; expected a column label (or emotion)")
    if "" in labels:
        first = list(clips["label"]).index("")
        raise InputError(f"{clips.place(first)}: the label is blank; expected one for every clip")
    if set(labels) <= set(Task.named("valence").labels):
        return "valence"
    if len(labels) > MOST_LABELS:
        raise InputError(
            f"{clips.source} has {len(labels)} different labels; expected at most {MOST_LABELS}: "
            "is label the right column? Say which task is meant: --task NAME or --task FILE.yaml"
        )
    described = {"name": "labels", "labels": labels}
    text = yaml.safe_dump(described, allow_unicode=True, sort_keys=False)
    _write_new(folder / "task.yaml", text, "name it with --task, or name another folder")
    return "task.yaml"


def _split(clips: Manifest) -> dict[str, Any]:
    """The manifest's own split if it names train and test, else by speaker, else by label."""
    if set(PARTS) <= set(clips["split"]):
        return {"scheme": "column"}
    speakers = set(clips["speaker"])
    scheme = "speaker" if len(speakers) >= 5 and "" not in speakers else "stratified"
    return {"scheme": scheme, "test_size": 0.25, "dev_size": 0.2}


def _shown(path: Path) -> str:
    """A path as the user would type it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
