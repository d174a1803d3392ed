"""Test several pairs of systems together by exchanging them within whole groups (speakers).

If two systems are equally good, they may be exchanged within any speaker. All pairs are exchanged
together, so that the test knows how alike the pairs are: the corrected p of a pair is the share of
exchanges in which the largest statistic of the family is at least its own. That is the step-down
max-T procedure of Westfall and Young (1993). Unlike Holm's correction it does not multiply p, and
so it can find a difference with six speakers, where p cannot be smaller than 2 / 2^6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .unseen_speaker import unseen_speaker

__all__ = ["MaxT", "exchanges", "max_t", "statistics"]

TIE = 1e-9  # equal statistics differ in the last digits


@dataclass(frozen=True)
class MaxT:
    """What the test found, one entry for each pair.

    Attributes
    ----------
    p
        Two-sided p of each pair on its own, `(pairs,)`.
    corrected
        p corrected for the family, `(pairs,)`: never below `p`. All claims below a level hold
        together.
    exact
        Whether all exchanges were tried; otherwise p is ``(1 + as extreme) / (1 + draws)``.
    """

    p: np.ndarray
    corrected: np.ndarray
    exact: bool


def exchanges(n_groups: int, n_draws: int = 10_000, random_state: int = 0) -> np.ndarray:
    """Return which groups are exchanged, `(exchanges, groups)` of +1 and -1.

    All ``2 ** n_groups`` where they are at most `n_draws`, else as many drawn at random.

    Examples
    --------
    >>> exchanges(2).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    """
    if n_groups <= 60 and 2**n_groups <= n_draws:
        bits = (np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1
    else:
        raw = np.random.default_rng(random_state).bytes(n_draws * ((n_groups + 7) // 8))
        bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(n_draws, -1), axis=1)
        bits = bits[:, :n_groups]
    return 1.0 - 2.0 * bits


def statistics(sums: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return |sum| / root of the sum of squares over groups, 0 where all differences are 0.

    The sum of squares is the same in every exchange, so this orders as Student's t does.

    Parameters
    ----------
    sums
        Sums of the differences over groups, `(..., pairs)`.
    differences
        Difference of each group and pair, `(groups, pairs)`.
    """
    scale = np.sqrt((differences**2).sum(axis=0))
    return np.divide(np.abs(sums), scale, out=np.zeros_like(sums), where=scale > 0)


def max_t(
    differences: np.ndarray,
    worth: np.ndarray | None = None,
    within: np.ndarray | None = None,
    *,
    n_draws: int = 10_000,
    random_state: int = 0,
) -> MaxT:
    """Test whether pairs of systems differ, corrected for testing several.

    Parameters
    ----------
    differences
        Share of each group in the difference of each pair, `(groups, pairs)`; a column sums to the
        difference in UAR (or in any other measure that is a sum of shares of groups).
    worth, within
        Share of each group in the measure, `(groups,)`, and the variance of `differences` that the
        number of clips alone gives, `(groups, pairs)`, as for `unseen_speaker`. Without `worth` the
        exchanges decide alone.
    n_draws
        Random exchanges where there are more than that many in all.
    random_state
        Seed of the draws.

    Returns
    -------
    found : MaxT

    Examples
    --------
    Six speakers, the first pair differs alike in each, the second not at all:

    >>> found = max_t(np.column_stack([np.full(6, 0.1), [0.1, -0.1, 0.1, -0.1, 0.1, -0.1]]))
    >>> found.corrected.tolist(), found.exact
    ([0.0625, 1.0], True)
    """
    signs = exchanges(len(differences), n_draws, random_state)
    exact = len(signs) == 2 ** min(len(differences), 60)
    observed = statistics(differences.sum(axis=0), differences)
    order = np.argsort(observed, kind="stable")  # smallest first
    larger = np.zeros(len(observed))
    alone = np.zeros(len(observed))
    block = max(1, 4_000_000 // max(1, differences.shape[1]))
    for start in range(0, len(signs), block):
        drawn = statistics(signs[start : start + block] @ differences, differences)
        alone += (drawn >= observed - TIE).sum(axis=0)
        largest = np.maximum.accumulate(drawn[:, order], axis=1)  # of this pair and weaker ones
        larger[order] += (largest >= observed[order] - TIE).sum(axis=0)
    if exact:
        p, single = alone / len(signs), larger / len(signs)
    else:
        p, single = (1 + alone) / (1 + len(signs)), (1 + larger) / (1 + len(signs))
    corrected = np.empty_like(single)
    corrected[order[::-1]] = np.maximum.accumulate(single[order[::-1]])
    if worth is not None:
        least = unseen_speaker(differences, worth, within)
        times = corrected / p  # how many comparisons the family amounts to, by the exchanges
        p = np.maximum(p, least)
        corrected = np.maximum(corrected, np.minimum(least * times, 1))
    return MaxT(p, corrected, exact)
