"""Score systems: measures with intervals, and tables by any column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.predictions import Predictions
from ...data.task import Task
from ...metrics import measures as metrics
from ...metrics.bootstrap import FEWEST_GROUPS, MEASURES, Resamples, resample
from ...metrics.intervals import retrained, student
from ...metrics.scored_clips import Part, clusters
from .gaps import gaps
from .pair_tests import pairs_within
from .within_values import correct_for_values

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ..joining import Joined


def scores(
    truth: np.ndarray,
    predictions: Predictions,
    task: Task,
    drawn: Resamples,
    name: str,
    level: float,
    of_proba: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """Return every measure of one system on the test clips.

    `of_proba` holds the intervals of NLL, Brier and CCC, as `proba_intervals` gives them.
    """
    matrix = metrics.confusion_of_codes(truth, predictions.codes, len(task.labels))
    result: dict[str, Any] = {}
    for measure, value in metrics.summary(matrix).items():
        result[measure] = {"value": value}
        if measure in drawn.values[name]:
            result[measure]["interval"] = list(drawn.interval(name, measure, level))
    if not predictions.hard:
        for measure in (metrics.nll, metrics.brier, metrics.ece):
            result[measure.__name__] = {"value": measure(truth, predictions.proba)}
        result["ece"]["noise"] = metrics.ece_noise(predictions.proba)
        if task.values:
            values = np.array([task.values[label] for label in task.labels])
            result["ccc"] = {"value": metrics.ccc(values[truth], predictions.proba @ values)}
        for measure, limits in (of_proba or {}).items():
            result[measure]["interval"] = list(limits)
    table = metrics.per_class(matrix)
    result["right"] = int(np.trace(matrix))
    result["classes"] = {
        label: {
            **{measure: float(table[measure][k]) for measure in ("precision", "recall", "f1")},
            "recall_interval": list(drawn.interval(name, f"recall {k}", level)),
            "support": int(table["support"][k]),
        }
        for k, label in enumerate(task.labels)
    }
    result["confusion"] = matrix.tolist()
    return result


def by_value(
    joined: Joined[Any], column: str, measured: Callable[[np.ndarray, np.ndarray], dict[str, Any]]
) -> dict[str, Any]:
    """Return what `measured` finds of the test clips of each value of a column.

    Parameters
    ----------
    joined, column
        The clips and the column.
    measured
        Given rows of test, `(clips,)`, and the group of each, returns ``groups``, ``systems`` ...
    """
    values = np.array([str(value) for value in joined.test.clips[column]], dtype=object)
    rows: dict[str, Any] = {}
    for value in sorted(set(values)):
        at = np.flatnonzero(values == value)
        codes, warnings = clusters(joined.test.clips.select(at), joined.options.groups)
        found = measured(at, codes)
        rows[value or "(blank)"] = {"clips": len(at), **found, "warnings": warnings}
    return rows


def means_over_values(
    rows: Mapping[str, Any], measures: Sequence[str], level: float, **interval: Any
) -> dict[str, Any]:
    """Return the means over `by_value` of each system; with an interval of the first measure."""
    systems = next(iter(rows.values()))["systems"]
    own = {
        name: {m: [row["systems"][name][m]["value"] for row in rows.values()] for m in measures}
        for name in systems
    }
    return {
        "macro": {
            name: {m: float(np.mean(found)) for m, found in one.items()}
            for name, one in own.items()
        },
        "macro_interval": {
            name: list(mean_interval(one[measures[0]], level, **interval))
            for name, one in own.items()
        },
    }


def table_by(
    joined: Joined[Part],
    systems: Mapping[str, Predictions],
    column: str,
    best: str,
    asked: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Score every system within each value of a column, pooled and as the mean over values.

    UAR and macro F1 are means over the classes that a value has, so a perfect system gets 1. From
    five values on, the mean has an interval over them: of the mean over many such values, wider
    where each was left out in a fold of its own. `gaps` tests whether the system `best` does
    differently on one value than on all others, and `differences` of a value the pairs `asked`.
    """
    test, labels, options = joined.test, joined.test.task.labels, joined.options
    n_labels = len(labels)

    def measured(at: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
        codes = test.codes[at]
        guesses = {name: p.codes[at] for name, p in systems.items()}
        drawn = resample(
            codes, guesses, groups, n_labels, pooled=joined.pooled(at), **options.draws
        )
        there = np.unique(codes)

        def scored(name: str, measure: str) -> dict[str, Any]:
            found = drawn.score(name, measure, options.level)
            means = measure in ("uar", "macro_f1")
            return metrics.over_present(found, n_labels, len(there)) if means else found

        return {
            "groups": drawn.groups,
            "absent": [label for k, label in enumerate(labels) if k not in there],
            "systems": {name: {m: scored(name, m) for m in MEASURES} for name in guesses},
            "differences": pairs_within(codes, guesses, groups, drawn, n_labels, options, asked),
        }

    rows = by_value(joined, column, measured)
    correct_for_values(rows)
    return {
        "values": rows,
        **means_over_values(rows, MEASURES, options.level, pooled=left_out(column, joined.folds)),
        "gaps_of": best,
        "gaps": gaps(
            test.codes,
            systems[best].codes,
            test.groups,
            np.array([str(value) for value in test.clips[column]], dtype=object),
            n_labels,
            level=options.level,
            **options.draws,
        ),
    }


def left_out(column: str, folds: Sequence[Split]) -> bool:
    """Return whether no fold learns from the values of a column that it tests."""
    return len(folds) > 1 and all(
        column in fold.train and not {*fold.test[column]} & {*fold.train[column]} for fold in folds
    )


def mean_interval(
    values: Sequence[float],
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    *,
    pooled: bool = False,
) -> tuple[float, float]:
    """Return Student's interval of the mean of a few values; NaN below five.

    `pooled` says that each value was left out of training in a fold of its own (`retrained`).

    Examples
    --------
    >>> [round(limit, 3) for limit in mean_interval([0.5, 0.6, 0.7, 0.6, 0.6])]
    [0.512, 0.688]
    """
    n = len(values)
    if n < FEWEST_GROUPS:
        return math.nan, math.nan
    mean, _, half = student(values, level)
    half *= math.sqrt(retrained(n, corpora=True)) if pooled else 1
    return max(mean - half, bounds[0]), min(mean + half, bounds[1])
