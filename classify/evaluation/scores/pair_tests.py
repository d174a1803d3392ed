"""Tests of pairs of systems on UAR, over all clips and within a value of a column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...metrics.bootstrap import FEWEST_GROUPS, Resamples
from ...metrics.detectable import detectable, groups_needed
from ...metrics.max_t import TIE, MaxT, max_t
from ...metrics.mcnemar_and_holm import mcnemar
from .verdicts import verdict_of_pair
from .within_values import differences

if TYPE_CHECKING:
    from ..compare_options import CompareOptions


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


def pairs_within(
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
