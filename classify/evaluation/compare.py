"""Compare members and ensembles so that the answer can be trusted.

Everything is chosen on dev and scored on test: strategies, members, weights, temperatures. Every
number comes with an interval that resamples speakers, every pair with exact tests and a plain
sentence. `Comparison.data` is the whole result as JSON; the report is written from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError
from ..data.predictions import Predictions
from ..data.scales import ScaleTask
from ..data.splitting.schemes import Split
from ..data.task import Task
from ..ensembles.fixed_rules import Ensemble
from ..ensembles.strategies import ONE_GROUP, Combined, Strategy, combine_all
from ..metrics.bootstrap import FEWEST_GROUPS, Resamples, resample
from ..metrics.bootstrap_proba import proba_intervals
from ..metrics.crossed import resample_crossed
from ..metrics.scored_clips import Part, clusters
from .analyses.all import extras
from .compare_numbers import compare_numbers
from .compare_options import MOST_DRAWS
from .comparison import Comparison
from .dev_test_overlap import check_apart
from .scores import scoring
from .scores.choice import choice
from .warning_order import ranked

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

FORMAT = 2
JOINED = (
    "dev joins the dev clips of all folds, and each of them is tested in another fold. What learns "
    "(weights, calibration) was fitted for each test fold without that fold's clips; the choice of "
    "the system and thresholds saw them as dev, so with many candidates the scores of the chosen "
    "system are a little too high"
)


def compare(
    members: Mapping[str, Predictions],
    truth: Manifest,
    task: Task | str,
    *,
    strategies: Sequence[Strategy | Ensemble] = ("mean", "max"),
    dev: Mapping[str, Predictions] | None = None,
    dev_truth: Manifest | None = None,
    groups: str | None = "speaker",
    by: Sequence[str] = ("language",),
    calibrate: str | None = None,
    calibrate_fused: str | None = None,
    crossed: str | None = None,
    subsets: bool = False,
    all_pairs: bool = False,
    allow_overlap: bool = False,
    split: Split | Sequence[Split] | None = None,
    seeds: Mapping[str, Mapping[str, Predictions]] | None = None,
    audit_audio: bool = True,
    before_test: Callable[[str | None], Mapping[str, Any]] | None = None,
    n_resamples: int = 10_000,
    level: float = 0.95,
    random_state: int = 0,
) -> Comparison:
    """Score members and ensembles on the same clips, with intervals and paired tests.

    Parameters
    ----------
    members
        Predictions of each member on test, by name. Rows and columns in any order.
    truth
        The test clips with their labels; columns for groups and tables.
    task
        The task, or its name.
    strategies
        Names of `STRATEGIES`, or ensembles of your own; those that learn need `dev`.
    dev, dev_truth
        The members' predictions on dev, and its clips: strategies learn from them and are chosen
        on them.
    groups
        Column whose values are resampled and exchanged as a whole; None for single clips.
    by
        Columns that get a table each: language, dataset, gender ...
    calibrate
        Calibrate members on dev before they are combined: "temperature", "vector", "isotonic".
    calibrate_fused
        Calibrate what each ensemble gives, and `predict` serves, on dev; by the same names.
    crossed
        Column that crosses the groups, as sentences that all speakers say: intervals of UAR,
        accuracy, F1, recalls and differences are then over both. Tests stay over the groups.
    subsets
        Try every subset of the members for the closed-form strategies, on dev.
    all_pairs
        Test every pair of systems; by default the chosen one against each other, which corrects
        for fewer tests. Without dev nothing is chosen, and all pairs are tested.
    allow_overlap
        Let dev and test share clips, speakers, recordings or texts; refused by default.
    split
        Where the parts come from, one or several folds: hashes, warnings, shortcut audit and the
        check that test follows train go into the report.
    seeds
        For members that were trained from several seeds: test predictions of each seed.
    audit_audio
        Whether the audit may read duration, loudness and sampling rate from the files.
    before_test
        Called with the chosen system before anything is scored on test; what it returns stands
        in the result as `test_uses`.
    n_resamples, level, random_state
        Draws of bootstrap and permutation, coverage of the intervals, seed.

    Returns
    -------
    comparison
        Result with `table()` for people, `data` for programs and `write(folder)`.

    Raises
    ------
    InputError
        If predictions and truth do not have the same ids, a name is not known, a number is out of
        range, or dev and test share what they must not.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"id": f"c{i}", "text": "-", "label": "no" if i % 2 else "yes"} for i in range(8)]
    >>> truth = Manifest.from_rows(rows)
    >>> sure = [[0.9, 0.1] if i % 2 else [0.2, 0.8] for i in range(8)]
    >>> meek = [[0.6, 0.4]] * 8
    >>> members = {n: Predictions(truth.ids, ["no", "yes"], p)
    ...            for n, p in [("sure", sure), ("meek", meek)]}
    >>> result = compare(members, truth, Task.from_labels(["no", "yes"]), n_resamples=100)
    >>> result.data["systems"]["sure"]["test"]["uar"]["value"]
    1.0
    """
    _check_numbers(n_resamples, level, random_state)
    task = Task.of(task)
    folds = [] if split is None else [split] if isinstance(split, Split) else list(split)
    _check_dev(members, dev, dev_truth)
    if isinstance(task, ScaleTask):
        of_labels = {"calibrate": calibrate, "calibrate_fused": calibrate_fused}
        for name, asked in (of_labels | {"crossed": crossed, "subsets": subsets}).items():
            if asked:
                raise InputError(
                    f"{name} is of labels, and the task {task.name!r} is of numbers; leave it out"
                )
        return compare_numbers(
            members,
            truth,
            task,
            strategies=("mean",) if strategies == ("mean", "max") else strategies,
            dev=dev,
            dev_truth=dev_truth,
            groups=groups,
            by=by,
            all_pairs=all_pairs,
            allow_overlap=allow_overlap,
            folds=folds,
            before_test=before_test,
            n_resamples=n_resamples,
            level=level,
            random_state=random_state,
        )
    test = Part.of(members, truth, task, "test")
    for column in (*by, *(one for one in (groups, crossed) if one is not None)):
        test.clips[column]  # an InputError where there is none, with the nearest name
    tuning = None
    if dev is not None and dev_truth is not None:
        tuning = Part.of(dev, dev_truth, task, "dev")
        shared = check_apart(tuning.clips, test.clips, allow=allow_overlap)
        tuning.warnings += shared
    combined = combine_all(
        test.members,
        strategies,
        tuning.members if tuning else None,
        tuning.codes if tuning else None,
        clusters(tuning.clips, groups)[0] if tuning else None,
        calibrate=calibrate,
        calibrate_fused=calibrate_fused,
        subsets=subsets,
        folds=[frozenset(part.test.ids) for part in folds] if len(folds) > 1 else (),
        random_state=random_state,
    )
    chosen = _chosen(combined)
    test_uses = dict(before_test(chosen)) if before_test else None
    group_codes, warnings = clusters(test.clips, groups)
    systems = {name: item.test for name, item in combined.items()}
    guesses = {name: p.codes for name, p in systems.items()}
    pooled = len(folds) > 1
    options = {"n_resamples": n_resamples, "random_state": random_state, "per_class": True}
    options["pooled"] = pooled
    n_labels = len(task.labels)
    if crossed is None:
        drawn = resample(test.codes, guesses, group_codes, n_labels, **options)
    else:
        second, said = clusters(test.clips, crossed)
        warnings = [*warnings, *said]
        drawn = resample_crossed(test.codes, guesses, group_codes, second, n_labels, **options)
    of_proba = proba_intervals(
        test.codes,
        {name: p.proba for name, p in systems.items() if not p.hard},
        group_codes,
        np.array([task.values[label] for label in task.labels]) if task.values else None,
        n_resamples=n_resamples,
        level=level,
        random_state=random_state,
        pooled=pooled,
    )
    pairs_of = None if all_pairs else chosen
    best = chosen or max(combined, key=lambda name: drawn.estimates[name]["uar"])
    more = extras(
        test,
        tuning,
        combined,
        best,
        group_codes,
        splits=folds,
        seeds=seeds or {},
        groups=groups,
        audit_audio=audit_audio,
        random_state=random_state,
    )
    data: dict[str, Any] = {
        "format": FORMAT,
        "task": {
            "name": task.name,
            "version": task.version,
            "hash": task.hash,
            "labels": list(task.labels),
        },
        "test": test.describe(),
        "dev": tuning.describe() if tuning else None,
        "groups": {
            "column": groups,
            "count": drawn.groups,
            "effective": drawn.effective_groups("uar"),
            "crossed": crossed,
            "count_crossed": drawn.crossed[0].groups if drawn.crossed else None,
            "values": scoring.group_values(test, systems, groups),
        },
        "splits": [part.describe() for part in folds],
        "settings": {
            "strategies": [s if isinstance(s, str) else s.name for s in strategies],
            "calibrate": calibrate,
            "calibrate_fused": calibrate_fused,
            "subsets": subsets,
            "n_resamples": n_resamples,
            "level": level,
            "random_state": random_state,
            "ties": "the first label in task order",
            "chosen_on": "dev" if tuning else None,
        },
        "warnings": ranked(
            [
                *more["sanity"],
                *warnings,
                *_few_groups(drawn, task, groups),
                *test.warnings,
                *([] if tuning is None else _dev_warnings(tuning, combined, folds)),
                *_warnings(folds),
            ]
        ),
        "chosen": chosen,
        "choice": _choice(chosen, combined, tuning, groups, random_state),
        "pairs_of": pairs_of,
        "test_uses": test_uses,
        "systems": {
            name: {
                **item.describe(),
                "test": scoring.scores(
                    test.codes, systems[name], task, drawn, name, level, of_proba.get(name)
                ),
            }
            for name, item in combined.items()
        },
        "pairs": scoring.pairs(
            test.codes,
            guesses,
            group_codes,
            drawn,
            len(task.labels),
            random_state,
            level,
            pairs_of,
        ),
        "by": {
            column: scoring.table_by(
                test, systems, task, column, groups, n_resamples, random_state, level, best, folds
            )
            for column in by
            if column in test.clips and len(set(test.clips[column])) > 1
        },
        **more,
    }
    replays = {name: item.replay for name, item in combined.items() if item.replay is not None}
    return Comparison(data, systems, replays, test.clips)


def _check_numbers(n_resamples: int, level: float, random_state: int) -> None:
    if not 20 <= n_resamples <= MOST_DRAWS:
        raise InputError(
            f"n_resamples is {n_resamples}; expected at least 20, 10,000 for a report and at most "
            f"{MOST_DRAWS}"
        )
    if not 0.5 <= level < 1:
        raise InputError(f"level is {level}; expected a share from 0.5 to below 1, as 0.95")
    if not 0 <= random_state < 2**32:
        raise InputError(f"random_state is {random_state}; expected a number from 0 below 2^32")


def _check_dev(
    members: Mapping[str, Predictions],
    dev: Mapping[str, Predictions] | None,
    dev_truth: Manifest | None,
) -> None:
    if (dev is None) != (dev_truth is None):
        raise InputError("dev and dev_truth belong together; expected both or neither")
    if dev is not None and set(dev) != set(members):
        raise InputError(
            f"members on dev {sorted(dev)}, on test {sorted(members)}; expected the same"
        )


def _few_groups(drawn: Resamples, task: Task, groups: str | None) -> list[str]:
    """Say which classes so few groups have that nothing can be said of others."""
    if groups is None or drawn.groups < FEWEST_GROUPS:
        return []
    return [
        f"label {task.labels[code]} comes from {count} of {drawn.groups} values of {groups}: its "
        "recall has no interval, and the others were widened by a guess of how much speakers differ"
        for code, count in drawn.few_groups().items()
    ]


def _dev_warnings(
    tuning: Part, combined: Mapping[str, Combined], folds: Sequence[Split]
) -> list[str]:
    left = [name for name, item in combined.items() if "not_eligible" in item.learnt]
    warnings = list(tuning.warnings)
    if len(folds) > 1:
        warnings.append(JOINED)
    if left:
        warnings.append(f"{', '.join(left)} could not be chosen: {ONE_GROUP}")
    return warnings


def _choice(
    chosen: str | None,
    combined: Mapping[str, Combined],
    tuning: Part | None,
    groups: str | None,
    random_state: int,
) -> dict[str, Any] | None:
    if chosen is None or tuning is None:
        return None
    guesses = {
        name: item.dev_predictions.codes
        for name, item in combined.items()
        if item.dev_predictions is not None
    }
    codes, _ = clusters(tuning.clips, groups)
    n_labels = len(tuning.task.labels)
    return choice(chosen, guesses, tuning.codes, codes, n_labels, random_state=random_state)


def _warnings(folds: Sequence[Split]) -> list[str]:
    if len(folds) == 1:
        return list(folds[0].warnings)
    found = ranked(f"{fold.name}: {text}" for fold in folds for text in fold.warnings)
    more = f"{len(found) - 10} more warnings of the {len(folds)} splits are in comparison.json"
    return [*found[:10], more] if len(found) > 11 else found


def _chosen(combined: Mapping[str, Combined]) -> str | None:
    """Return the system that dev prefers: UAR, then NLL, then fewer members, then the name."""
    scored = [(name, item) for name, item in combined.items() if item.dev]
    if not scored:
        return None
    return min(
        scored,
        key=lambda pair: (
            -pair[1].dev["uar"],
            pair[1].dev["nll"],
            len(pair[1].members),
            pair[0],
        ),
    )[0]
