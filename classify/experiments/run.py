"""Run a recipe: extract what is missing, train what changed, compare, report.

Every step is kept under a key over all that decides its result, so a second run finds everything
done, a changed member trains that member only, and a killed run goes on where it was; the report
changes at once, when all of the next one is there. Rows that
could not be embedded are quarantined: the run ends with exit code 3 and says how many and why.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.manifest import Manifest
from ..data.predictions import Predictions
from ..data.splitting.old_split import continue_split
from ..data.splitting.split import Split
from ..data.votes import task_votes
from ..models.folders.run_folder import check_whole
from .checks.folder_checks import check_stored
from .checks.recipe_checks import check_recipe, check_sources, divide
from .embeddings import Stored, embed, keep_opened, look
from .members.member_folder import (
    EPOCH,
    is_done,
    member_files,
    read_member,
    read_seeds,
    train_member,
)
from .members.shares import Share, divisions, hopeful, recordings, share_out_all, sits_out
from .read_inputs import open_source, prepare
from .recipes.recipe import MemberEntry, Recipe
from .results.earlier import keep_earlier
from .results.report_folder import ReportFolder, opened_report, read_state
from .results.split_changes import write_split
from .run_inputs import Prepared

if TYPE_CHECKING:
    from ..evaluation.comparison import Comparison
    from .members.choosing import Part

__all__ = ["Outcome", "is_current", "run"]

REPORT = 5  # grows when the same members give another report than before


@dataclass
class Outcome:
    """What a run did and left.

    Attributes
    ----------
    folder : Path
        With `report.md`, `comparison.json`, `split.csv` and `members/`.
    table : str
        The comparison as text.
    did : list of str
        One line per step that was not done before; empty if nothing had to be done.
    quarantined : dict of str to dict
        Encoder -> reason code -> number of clips that have no embedding.
    """

    folder: Path
    table: str = ""
    did: list[str] = field(default_factory=list)
    quarantined: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 if rows were quarantined."""
        return 3 if any(self.quarantined.values()) else 0


def run(
    recipe: Recipe | str | Path,
    *,
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run a recipe, as far as it is not done already.

    Parameters
    ----------
    recipe : Recipe or path
    force : bool
        Take over the report folder of another recipe.
    say : callable, optional
        Told each step as it happens.

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        Anything wrong with what the recipe names, before any work; or another run writes into the
        report's folder.

    Examples
    --------
    >>> outcome = run("recipes/real-speech.yaml", say=print)  # doctest: +SKIP
    >>> outcome.exit_code  # doctest: +SKIP
    0
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    ready = prepare(recipe)
    recipe = ready.recipe
    outcome = Outcome(recipe.report)
    for note in ready.clips.notes:
        say(f"{ready.clips.source}: {note}")
    for source in ready.sources.values():
        if source.note:
            say(source.note)
    stored = {name: look(source, ready.cache) for name, source in ready.sources.items()}
    if any(one.pending for one in stored.values()) or not is_current(ready, stored, outcome):
        check_recipe(ready)
        for name, one in stored.items():
            if one.pending and ready.sources[name].encoder is None:
                ready.sources[name] = open_source(ready.sources[name], ready)
                stored[name] = look(ready.sources[name], ready.cache)
        check_sources(ready)
        check_stored(ready, stored)
        found = divide(ready, recordings(ready, stored))
        share_out_all(recipe, found, hopeful(stored))
        with opened_report(recipe.report, recipe.path, force=force) as report:
            for name, one in stored.items():
                if one.pending:
                    stored[name] = embed(ready.sources[name], ready.cache, one, say)
                    new = len(stored[name].there) - len(one.there)
                    outcome.did.append(f"embedded {new} clips with {name}")
            if not is_current(ready, stored, outcome):
                with ready.cache.held_digests():
                    _train_and_compare(ready, stored, found, report, outcome, say)
    for source in ready.sources.values():
        keep_opened(source, ready.cache)
    return outcome


def _run_key(ready: Prepared, stored: Mapping[str, Stored]) -> str:
    """Everything that decides the report."""
    recipe = ready.recipe
    return _hash(
        {
            "epoch": EPOCH,
            "report": REPORT,
            "task": ready.task.hash,
            "clips": ready.labelled.hash,
            **(
                {} if ready.task.kind == "labels" else {"rated": ready.task.answers(ready.labelled)}
            ),
            "split": _split_key(ready),
            "members": {name: one.describe() for name, one in recipe.members.items()},
            "ensembles": recipe.ensembles,
            "group": recipe.group,
            "columns": _hash(_named_columns(ready)),
            "compare": dict(recipe.compare),
            "left_out": ready.left_out,
            **({"transfer": dict(recipe.transfer)} if recipe.transfer else {}),
            **({"votes": _votes_key(ready)} if recipe.votes else {}),
            "stored": {
                name: {
                    "spec": ready.sources[name].spec.key,
                    "rows": _hash([[clip, one.digests[clip]] for clip in sorted(one.there)]),
                    "failed": sorted(one.failed.items()),
                }
                for name, one in stored.items()
            },
        }
    )


def _split_key(ready: Prepared) -> dict[str, Any]:
    """Return the options of the split; of a file the division, wherever the file lies."""
    options = dict(ready.recipe.split)
    if "file" in options:
        seed = str(options.get("random_state", 0))
        _, folds = continue_split(ready.labelled, options["file"], seed, needs_train=False)
        options["file"] = [[name, parts.tolist()] for name, parts, _ in folds]
    return options


def _votes_key(ready: Prepared) -> str:
    return _hash(task_votes(ready.labelled, ready.task).counts.tolist())


def _named_columns(ready: Prepared) -> dict[str, list[str]]:
    """Return the values of the columns that the recipe names: the hash of clips leaves some out."""
    recipe = ready.recipe
    names = {recipe.group, *recipe.compare.get("by", ()), recipe.transfer.get("by", recipe.group)}
    names |= {recipe.split[key] for key in ("column", "group") if key in recipe.split}
    return {
        name: [str(value) for value in ready.labelled[name]]
        for name in sorted(names)
        if name in ready.labelled
    }


def is_current(ready: Prepared, stored: Mapping[str, Stored], outcome: Outcome) -> bool:
    """Whether the report was made from exactly this; then take what it said into the outcome."""
    folder = ready.recipe.report
    outcome.quarantined = _quarantined(ready, stored)
    try:
        check_whole(folder)
        state = read_state(folder)
        if state is None or state["key"] != _run_key(ready, stored):
            return False
        for name, digest in state["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                return False
        outcome.table = state["table"]
        return True
    except (OSError, ValueError, KeyError, TypeError):  # InputError is a ValueError
        return False


def _train_and_compare(
    ready: Prepared,
    stored: Mapping[str, Stored],
    found: Sequence[Split],
    report: ReportFolder,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    recipe = ready.recipe
    shares = share_out_all(recipe, found, {name: one.there for name, one in stored.items()})
    for text in dict.fromkeys(text for own in shares.values() for text in sits_out(own)):
        say(text)
    tested = {clip for own in shares.values() for share in own.values() for clip in share.tested}
    asked = {clip for split in found for clip in split.test.ids}
    if asked - tested:
        say(
            f"{len(asked - tested)} of {len(asked)} test clips are not scored: no member has what "
            "it reads of them"
        )
    for warning in dict.fromkeys(text for split in found for text in split.warnings):
        say(f"split: {warning}")
    keep_earlier(recipe.report, _embedded(ready, stored), say)
    if recipe.split.get("repeats", 1) == 1:
        [share] = shares.values()
        outcome.table = _once(ready, stored, found, share, report, "", outcome, say).table()
    else:
        from .results.repeats import repeats_table, summarise, write_repeats

        results = {}
        for number, (name, own) in enumerate(divisions(recipe, found).items(), 1):
            say(name)
            folder = name.replace(" ", "-")
            results[name] = _once(
                *(ready, stored, own, shares[name], report, folder, outcome, say),
                curve=number == 1,
            )
        summary = summarise(results, found)
        write_repeats(report.work, summary)
        outcome.table = repeats_table(summary)
    outcome.did.append("compared members and ensembles")
    report.take(report.made())
    report.finish({"key": _run_key(ready, stored), "table": outcome.table})


def _once(
    ready: Prepared,
    stored: Mapping[str, Stored],
    found: Sequence[Split],
    shares: Mapping[str, Share],
    report: ReportFolder,
    name: str,
    outcome: Outcome,
    say: Callable[[str], None],
    curve: bool = True,
) -> Comparison:
    """Train every member on one division of the clips (or its folds), and compare them there."""
    from .members.speaker_gain import speaker_gain
    from .results.judge import judge
    from .results.run_compare import near_duplicates, run_curve, run_transfer

    recipe = ready.recipe
    place = report.work / name
    place.mkdir(exist_ok=True)
    write_split(found, place / "split.csv", report.folder / name / "split.csv", say)
    spaces = {name: ready.cache.space(source.spec) for name, source in ready.sources.items()}
    tests: dict[str, Predictions] = {}
    devs: dict[str, Predictions] = {}
    seeds: dict[str, dict[str, Predictions]] = {}
    records: dict[str, Any] = {}
    single: dict[str, Part] = {}
    for entry in recipe.members.values():
        parts = shares[entry.name].parts
        if len(found) == 1:
            single[entry.name] = parts[0]
        key = _member_key(entry, ready, parts, stored)
        last, folder = (top / name / "members" / entry.name for top in (report.folder, report.work))
        if is_done(last, key):
            folder = last
        elif not is_done(folder, key):
            if entry.head:
                say(f"{entry.name}: training on {len(parts[0].train)} clips")
            options = {
                name: recipe.split[name]
                for name in ("allow_speaker_overlap", "allow_duplicates")
                if name in recipe.split
            }
            train_member(
                entry,
                ready.task,
                ready.labelled,
                parts,
                spaces,
                folder,
                key,
                moves_to=last,
                split_options=options,
                say=say,
            )
            outcome.did.append(f"trained {entry.name}")
        report.take(member_files(folder))
        tests[entry.name], dev, records[entry.name] = read_member(folder, ready.task)
        seeds[entry.name] = read_seeds(folder, ready.task)
        if dev is not None:
            devs[entry.name] = dev
    say("comparing")
    about = {
        "left_out": ready.left_out,
        "quarantined": outcome.quarantined,
        "remarks": {name: one.remarks for name, one in stored.items() if one.remarks},
        "embedded": _embedded(ready, stored),
        "sits_out": {name: one.sits_out for name, one in shares.items() if one.sits_out},
        "members": {name: {"parts": record["parts"]} for name, record in records.items()},
    }
    more = run_curve(ready, single, devs, spaces, say) if curve else {}
    if recipe.transfer and curve:
        there = {name: one.there for name, one in stored.items()}
        more["transfer"] = run_transfer(ready, devs, spaces, there, say)
    allowed = {k: v for k, v in recipe.split.items() if k.startswith("allow_")}
    more["speaker_scaling"] = speaker_gain(
        *(recipe.members, ready.task, {name: one.parts for name, one in shares.items()}),
        *(devs, records, spaces, allowed),
    )
    more["warnings"] = [
        *near_duplicates(found, spaces, {n: one.there for n, one in stored.items()}),
        *ready.cache.said_elsewhere.values(),
    ]
    return judge(ready, found, tests, devs, about, place, seeds=seeds, more=more)


def _member_key(
    entry: MemberEntry,
    ready: Prepared,
    parts: Sequence[Part],
    stored: Mapping[str, Stored],
) -> str:
    def rows(clips: Manifest) -> list[Any]:
        digests = [[stored[name].digests.get(clip) for name in entry.on] for clip in clips.ids]
        within = [list(clips[entry.scale])] if entry.scale in clips.columns else []
        shares = [task_votes(clips, ready.task).counts.tolist()] if entry.votes else []
        return [clips.ids, ready.task.answers(clips), digests, *within, *shares]

    return _hash(
        {
            "epoch": EPOCH,
            "member": entry.describe(),
            "specs": [ready.sources[name].spec.key for name in entry.on],
            "task": ready.task.hash,
            "split": {key: v for key, v in ready.recipe.split.items() if key != "file"},
            "parts": [[rows(part.train), rows(part.dev), rows(part.test)] for part in parts],
        }
    )


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _quarantined(ready: Prepared, stored: Mapping[str, Stored]) -> dict[str, dict[str, int]]:
    """Count, by encoder and reason, the clips of this run that have no embedding."""
    used = set(ready.labelled.ids)
    return {
        name: dict(sorted(Counter(c for clip, c in one.failed.items() if clip in used).items()))
        for name, one in stored.items()
    }


def _embedded(ready: Prepared, stored: Mapping[str, Stored]) -> dict[str, int]:
    """Return, by encoder, how many clips of this run have an embedding."""
    used = set(ready.labelled.ids)
    return {name: len(used & one.there) for name, one in stored.items()}
