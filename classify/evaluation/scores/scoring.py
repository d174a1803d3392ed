"""Score systems: measures with intervals, tests of every pair, and tables by any column."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...data.predictions import Predictions
from ...data.task import Task
from ...metrics import measures as metrics
from ...metrics.bootstrap import FEWEST_GROUPS, MEASURES, Resamples, resample
from ...metrics.detectable import detectable, groups_needed
from ...metrics.intervals import retrained, student
from ...metrics.max_t import TIE, MaxT, max_t
from ...metrics.mcnemar_and_holm import mcnemar
from ...metrics.scored_clips import Part, clusters
from .gaps import gaps
from .verdicts import verdict_of_pair
from .within_values import correct_for_values, differences

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ..compare_options import CompareOptions
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


def pairs(
    truth: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    groups: np.ndarray,
    drawn: Resamples,
    n_labels: int,
    random_state: int,
    level: float,
    first: str | None = None,
) -> list[dict[str, Any]]:
    """Test pairs of systems on UAR by exchanging whole groups, corrected over all these pairs.

    Parameters
    ----------
    truth, guesses, groups
        Codes of the true label, of each system's labels and of the group, `(clips,)` each.
    drawn
        Resamples of the same, for the intervals.
    n_labels, random_state, level
        Size of the label set, seed of the exchanges, 1 - level of the test.
    first
        The system that every other one is compared with; None for all pairs.

    Returns
    -------
    rows
        One for each pair, with `p_uar` and `p_uar_corrected` (NaN below five groups: no test),
        `uar_detectable` (NaN: none can be found) and a sentence.
    """
    asked = pairs_of(guesses, first)
    if not asked:
        return []
    _, groups = np.unique(groups, return_inverse=True)
    n_groups = int(groups.max()) + 1
    tested = n_groups >= FEWEST_GROUPS
    right, family, test, leads = _exchange(
        truth, guesses, groups, drawn, n_labels, asked, random_state, level
    )
    smallest = detectable(*family, level=1 - level, random_state=random_state)
    rows = []
    for at, ((a, b), (gap, span)) in enumerate(zip(asked, leads, strict=True)):
        only_a = int((right[a] & ~right[b]).sum())
        only_b = int((right[b] & ~right[a]).sum())
        p, corrected = (float(x[at]) if tested else math.nan for x in (test.p, test.corrected))
        own = family.differences[:, at]
        row = {
            "a": a,
            "b": b,
            "right_a": int(right[a].sum()),
            "right_b": int(right[b].sum()),
            "only_a": only_a,
            "only_b": only_b,
            "mcnemar": mcnemar(only_a, only_b),
            "p_uar": p,
            "p_uar_corrected": corrected,
            "permutation_exact": test.exact,
            "uar_a": drawn.estimates[a]["uar"],
            "uar_b": drawn.estimates[b]["uar"],
            "clips": len(truth),
            "uar_difference": gap,
            "uar_difference_interval": list(span),
            "groups": n_groups,
            "groups_a_better": int((own > TIE).sum()),
            "groups_b_better": int((own < -TIE).sum()),
            "uar_detectable": float(smallest[at]) if tested else math.nan,
            "different": bool(tested and corrected < 1 - level),
        }
        row["sentence"] = verdict_of_pair(row)
        rows.append(row)
    if np.isnan(smallest).all():
        needed = groups_needed(*family, level=1 - level)
        for row in rows:
            row["groups_needed"] = needed
    return rows


def _exchange(
    truth: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    groups: np.ndarray,
    drawn: Resamples,
    n_labels: int,
    asked: Sequence[tuple[str, str]],
    random_state: int,
    level: float,
) -> tuple[dict[str, np.ndarray], Family, MaxT, list[tuple[float, tuple[float, float]]]]:
    """Test pairs by exchanging whole groups.

    Returns
    -------
    right, family, test, leads
        Which clips each system gets right, what was tested and found, and the difference in UAR of
        each pair with its interval.
    """
    right = {name: guess == truth for name, guess in guesses.items()}
    family = family_of(truth, right, groups, n_labels, asked)
    leads = []
    for a, b in asked:
        floor = discordant(truth, right[a], right[b], n_labels)
        gap, _, span = drawn.difference(a, b, "uar", level, floor)
        leads.append((gap, span))
    return right, family, max_t(*family[:3], random_state=random_state), leads


def pairs_of(names: Iterable[str], first: str | None) -> list[tuple[str, str]]:
    """Return the pairs of `first` with every other system; without, all pairs.

    Examples
    --------
    >>> pairs_of("abc", None), pairs_of("abc", "b")
    ([('a', 'b'), ('a', 'c'), ('b', 'c')], [('b', 'a'), ('b', 'c')])
    """
    if first is None:
        return list(combinations(names, 2))
    return [(first, name) for name in names if name != first]


class Family(NamedTuple):
    """Pairs of systems that are tested together, as `max_t` and `detectable` take them."""

    differences: np.ndarray
    worth: np.ndarray
    within: np.ndarray
    middle: np.ndarray
    systems: np.ndarray


def family_of(
    truth: np.ndarray,
    right: Mapping[str, np.ndarray],
    groups: np.ndarray,
    n_labels: int,
    asked: Sequence[Sequence[str]],
) -> Family:
    """Return what each group contributes to the differences in UAR.

    Parameters
    ----------
    truth, groups
        Code of the true label and of the group, `(clips,)`; groups count from 0.
    right
        Which clips each system gets right, `(clips,)` of bool.
    n_labels
        Size of the label set.
    asked
        Pairs of names.
    """
    support = np.bincount(truth, minlength=n_labels)
    worth = 1 / (support[truth] * n_labels)  # of one right clip in UAR
    parts = {name: np.bincount(groups, worth * hits) for name, hits in right.items()}
    apart = np.array([(worth**2)[right[a] != right[b]].sum() for a, b in asked])
    sums = np.array([parts[a].sum() + parts[b].sum() for a, b in asked])
    place = {name: at for at, name in enumerate(right)}
    return Family(
        np.stack([parts[a] - parts[b] for a, b in asked], axis=1),
        np.bincount(groups, worth) / worth.sum(),
        np.bincount(groups, worth**2)[:, None] * apart / (worth**2).sum(),
        sums / 2 / worth.sum(),
        np.array([[place[a], place[b]] for a, b in asked]),
    )


def discordant(truth: np.ndarray, a: np.ndarray, b: np.ndarray, n_labels: int) -> float:
    """Return the standard error of a difference in UAR that the number of clips alone gives.

    Of the shares of clips that only one of two systems gets right, one clip added to each: two
    systems that are right on the same ten clips need not be equal.
    """
    support = np.bincount(truth, minlength=n_labels)
    only_a, only_b = (np.bincount(truth[at], minlength=n_labels) for at in (a & ~b, b & ~a))
    size = support + 2
    share, gap = (only_a + only_b + 2) / size, (only_a - only_b) / size
    variance = (np.minimum(share, 1) - gap**2) / size
    return float(np.sqrt(variance[support > 0].sum()) / n_labels)


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
            "differences": _differences(codes, guesses, groups, drawn, n_labels, options, asked),
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


def _differences(
    truth: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    groups: np.ndarray,
    drawn: Resamples,
    n_labels: int,
    options: CompareOptions,
    asked: Sequence[tuple[str, str]],
) -> list[dict[str, Any]]:
    """Test pairs of systems on the clips of one value; UAR is over the classes that it has."""
    if drawn.groups < FEWEST_GROUPS or not asked:
        return []
    *_, test, leads = _exchange(
        truth, guesses, groups, drawn, n_labels, asked, options.random_state, options.level
    )
    scale = n_labels / len(np.unique(truth))
    over_present = (
        (gap * scale, np.clip(np.multiply(span, scale), -1, 1).tolist()) for gap, span in leads
    )
    return differences(asked, test, over_present)


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
