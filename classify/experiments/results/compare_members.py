"""Compare the members of a run: on the clips that all of them have, and on every test clip.

A text member cannot predict a clip without text. So the main comparison is made on the
clips that every member has, which is the only fair one. Where that leaves clips out, a second
comparison is made on every test clip that some member has: of the members that have all of these,
and of each fixed ensemble over whichever members a clip has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....cache.errors import listed
from ...data.predictions import Predictions
from ...data.splitting.findings import Finding, Kind, ranked
from ...data.votes import task_votes
from ...ensembles.asked import asked
from ...ensembles.available import combine_available, common_ids, union_ids
from ...ensembles.combining import free_name
from ...ensembles.saved import write_replays
from ...evaluation.compare import compare_with
from ...evaluation.compare_options import CompareOptions
from ...evaluation.comparison import Comparison
from ...evaluation.reports.markdown.clips_and_training import WIDE, describe_run
from ...evaluation.reports.sections import as_markdown
from ...evaluation.scores.vote_scores import compare_votes
from ...metrics.scored_clips import clusters
from ...models.folders.run_folder import ensemble_folder
from ..members.shares import Division
from ..members.trainer import unlike_text
from ..recipes.lines import SettingError
from ..recipes.prepared import Prepared
from .uses_of_test import record_use, uses_file

MANY_UNKNOWN = 0.05  # share of the texts of an encoder


def compare_members(
    ready: Prepared, division: Division, on_table: Callable[[str], object]
) -> Comparison:
    """Compare members and ensembles on the test clips that every member has.

    Parameters
    ----------
    division : Division
        With what its members predicted.
    on_table : callable
        Given the table when it is known.

    Raises
    ------
    InputError
        No test clip that every member has.
    """
    tests, devs = division.tests, division.devs
    recipe, order = ready.recipe, ready.labelled.ids
    shared = common_ids(tests, order)
    if not shared:
        sizes = ", ".join(f"{name} {len(member)}" for name, member in tests.items())
        raise SettingError(f"no test clip has what every member needs ({sizes})", "members")
    dev: dict[str, Any] = {}
    if devs.keys() == tests.keys() and (dev_ids := common_ids(devs, order)):
        chosen = {name: member.select(dev_ids) for name, member in devs.items()}
        dev = {"dev": chosen, "dev_truth": ready.clips.select(dev_ids)}

    def write_down(chosen: str | None) -> dict[str, Any]:
        choice = {
            "members": {name: entry.describe() for name, entry in recipe.members.items()},
            "ensembles": list(recipe.ensembles),
            "calibrate": recipe.compare.get("calibrate"),
            "subsets": recipe.compare.get("subsets", False),
            "task": ready.task.hash,
            "splits": [split.describe()["hash"] for split in division.folds],
            "chosen": chosen,
            **{k: v for k, v in recipe.compare.items() if k == "calibrate_fused"},
        }
        return record_use(uses_file(ready.cache.path), division.asked, choice)

    return compare_with(
        _options(ready),
        {name: member.select(shared) for name, member in tests.items()},
        ready.clips.select(shared),
        ready.task,
        split=division.folds,
        before_test=write_down,
        on_scores=lambda scored: on_table(scored.table()),
        seeds={
            name: {seed: run.select(shared) for seed, run in member.seeds.items()}
            for name, member in division.members.items()
            if len(member.seeds) > 1
        },
        **dev,
    )


def add_run(
    comparison: Comparison, ready: Prepared, division: Division, more: Mapping[str, Any]
) -> None:
    """Add what only a run has: which clips, how members were trained, votes, and `more`.

    Parameters
    ----------
    more : mapping
        Other parts of `Comparison.data`; its ``warnings`` are added to those there.
    """
    recipe, order, tests = ready.recipe, ready.labelled.ids, division.tests
    shared, everything = common_ids(tests, order), union_ids(tests, order)
    warnings = list(comparison.data["warnings"])
    if unseen := len(division.asked) - len(everything):
        text = (
            f"{unseen} of {unseen + len(everything)} test clips of the split are not scored: no "
            "member has its input for them (no text, no audio, or no embedding)"
        )
        warnings.append(Finding(text, Kind.CLIPS))
    if len(shared) < len(everything):
        warnings.append(_not_compared(ready, tests, shared, everything))
    for name, member in division.members.items():
        if far := [clip for part in member.parts for clip in part.get("unlike_training", ())]:
            text = unlike_text(f"member {name}", far, len(member.test))
            warnings.append(Finding(text, Kind.CLIPS))
    for name, stored in ready.stored.items():
        unknown = stored.remarks.get("unknown_tokens", 0)
        if unknown > MANY_UNKNOWN * len(stored.there):
            text = (
                f"most characters of {unknown} of {len(stored.there)} texts are not in the "
                f"vocabulary of {name}: their embeddings hardly differ. Choose an encoder of the "
                "language and script"
            )
            warnings.append(Finding(text, Kind.CLIPS))
    rated = task_votes(ready.labelled.select(shared), ready.task) if recipe.votes else None
    if rated and "label" not in ready.clips.taken and (tied := rated.tied):
        warnings.append(_no_majority(tied, len(shared)))
    warnings += more.get("warnings", ())
    comparison.data |= {
        **more,
        "warnings": ranked(warnings),
        "run": _about(ready, division, shared, everything),
    }
    if rated:
        comparison.data["votes"] = compare_votes(
            comparison.predictions,
            rated,
            clusters(ready.labelled.select(shared), recipe.group)[0],
            comparison.data["settings"]["level"],
        )


def write_comparison(
    comparison: Comparison, ready: Prepared, division: Division, folder: Path
) -> None:
    """Write `comparison.json`, the report and the ensembles, and perhaps ``all-clips/``."""
    source, measure = ready.labelled.source, ready.task.measure.upper()
    run = describe_run(comparison.data["run"], source, measure)
    comparison.write(folder, ending=f"\n{as_markdown(run, '##')}")
    write_replays(folder, comparison.replays)
    for name in comparison.replays:
        comparison.predictions[name].write(ensemble_folder(folder, name) / "pred.csv")
    order, tests, devs = ready.labelled.ids, division.tests, division.devs
    everything = union_ids(tests, order)
    if len(common_ids(tests, order)) == len(everything):
        return
    options = _options(ready)
    rules = options.strategies or ()
    wide = _wide(tests, everything, rules)
    dev: dict[str, Any] = {}
    dev_ids = union_ids(devs, order) if comparison.data["dev"] else []
    if dev_ids and (on_dev := _wide(devs, dev_ids, rules)).keys() == wide.keys():
        dev = {"dev": on_dev, "dev_truth": ready.clips.select(dev_ids)}
    truth = ready.clips.select(everything)
    alone = replace(options, strategies=(), calibrate=None, calibrate_fused=None, subsets=False)
    compared = compare_with(alone, wide, truth, ready.task, split=division.folds, **dev)
    compared.write(folder / WIDE)


def _options(ready: Prepared) -> CompareOptions:
    """Return the options of the comparison; language and dataset always get a table."""
    recipe, clips = ready.recipe, ready.labelled
    asked = {key: value for key, value in recipe.compare.items() if key != "learning_curve"}
    by = [name for name in ("language", "dataset") if len(set(clips[name])) > 1]
    return CompareOptions(
        strategies=recipe.ensembles if len(recipe.members) > 1 else (),
        groups=recipe.group,
        by=list(dict.fromkeys([*by, *asked.pop("by", ())])),
        allow_overlap=True,  # the split was checked, or shares them on purpose
        **asked,
    )


def _wide(
    tests: Mapping[str, Predictions], everything: Sequence[str], strategies: Sequence[Any]
) -> dict[str, Predictions]:
    """Members that have every clip, and fixed ensembles of those available."""
    systems = {name: member for name, member in tests.items() if len(member) == len(everything)}
    for one in asked(strategies, tests):
        chosen = {name: tests[name] for name in one.members}
        if not one.rule.learns and len(union_ids(chosen, everything)) == len(everything):
            some = "" if len(chosen) == len(tests) else f" of {' + '.join(chosen)}"
            label = free_name(f"{one.rule.name} of those there{some}", tests)
            systems[label] = combine_available(chosen, everything, one.rule.combine)
    return systems


def _about(
    ready: Prepared, division: Division, shared: Sequence[str], everything: Sequence[str]
) -> dict[str, Any]:
    """Return the facts about a run that a comparison does not have."""

    def covered(ids: Sequence[str]) -> dict[str, Any]:
        languages = Counter(ready.labelled.select(ids)["language"])
        return {"clips": len(ids), "languages": dict(sorted(languages.items()))}

    shares = division.shares.items()
    return {
        "left_out": ready.left_out,
        "quarantined": ready.quarantined,
        "remarks": {name: one.remarks for name, one in ready.stored.items() if one.remarks},
        "embedded": ready.embedded,
        "sits_out": {name: one.sits_out for name, one in shares if one.sits_out},
        "members": {name: {"parts": one.parts} for name, one in division.members.items()},
        "coverage": {
            "split": covered(division.asked),
            "compared_on": covered(shared),
            "any_member": covered(everything),
            "members": {name: covered(one.ids) for name, one in division.tests.items()},
        },
        "splits": [split.describe() for split in division.folds],
    }


def _not_compared(
    ready: Prepared,
    tests: Mapping[str, Predictions],
    shared: Sequence[str],
    everything: Sequence[str],
) -> Finding:
    """Return a warning of test clips that some member has no prediction of."""
    found, all_of = (Counter(ready.labelled.select(x)["language"]) for x in (shared, everything))
    gone = sorted(name for name in all_of if name and not found[name])
    whole = f", all of {listed(gone)}," if gone else ""
    few = sorted(name for name, one in tests.items() if len(one) < len(everything))
    text = (
        f"{len(everything) - len(shared)} of {len(everything)} test clips{whole} are not compared "
        f"here, since {listed(few)} cannot read them: {WIDE}/report.md compares the rest on all"
    )
    return Finding(text, Kind.CLIPS)


def _no_majority(tied: int, clips: int) -> Finding:
    """Return a warning of clips whose label is one of several that as many raters chose."""
    text = (
        f"{tied} of {clips} test clips have no single leading label: of those that most raters "
        "chose, the first in the task's order counts as the true one. UAR says little about these "
        "clips; unlabelled: drop leaves them out"
    )
    return Finding(text, Kind.CLIPS)
