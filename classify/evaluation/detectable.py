"""What the test between systems can find: by simulation of that very test.

Data sets like the one at hand are drawn: as many speakers with as many clips, whose differences
between two systems are normal with the spread seen here (as correlated between pairs of systems as
here). Then a true difference is added, the same for each speaker. The smallest difference that the
corrected test finds in 8 of 10 such data sets is what the test set can detect.
"""

from __future__ import annotations

import numpy as np

from .max_t import FEWEST, TIE, exchanges, statistics

__all__ = ["detectable", "groups_needed"]

GAPS = np.concatenate([np.arange(0.005, 0.1, 0.005), np.arange(0.1, 0.3, 0.01)])
GAPS = np.concatenate([GAPS, np.arange(0.3, 1.001, 0.05)])
SIZES = (6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500)
N_SETS = 200  # for twenty pairs; fewer for more, so that many systems take seconds


def detectable(
    differences: np.ndarray,
    worth: np.ndarray,
    *,
    level: float = 0.05,
    power: float = 0.8,
    n_groups: int | None = None,
    n_sets: int | None = None,
    n_draws: int = 1000,
    random_state: int = 0,
) -> np.ndarray:
    """Return the smallest true difference of each pair that the max-T test finds.

    Parameters
    ----------
    differences
        As for `max_t`, `(groups, pairs)`: the family that is corrected for.
    worth
        Share of each group in the measure, `(groups,)`, sums to 1.
    level, power
        Level of the test, and how often it is to find the difference.
    n_groups
        Groups of the simulated test sets; as many as there are by default.
    n_sets, n_draws, random_state
        Simulated data sets (200, with more than 20 pairs down to 40), exchanges in each, seed.

    Returns
    -------
    smallest
        `(pairs,)`; NaN where not even a difference of 1 is found, or two systems answer alike.

    Examples
    --------
    >>> spread = np.random.default_rng(0).normal(0, 0.01, (20, 1))
    >>> bool(0.08 < detectable(spread, np.full(20, 1 / 20))[0] < 0.15)
    True
    >>> detectable(spread[:5], np.full(5, 1 / 5))  # of five speakers, p cannot be below 0.05
    array([nan])
    """
    here, n_pairs = differences.shape
    size = n_groups or here
    sets = n_sets or max(40, min(N_SETS, 20 * N_SETS // max(n_pairs, 1)))
    found = np.full(n_pairs, np.nan)
    if here < 2 or size < FEWEST:
        return found
    # a speaker's own deviation from the common difference; smaller than in truth by (n - 1) / n
    own = (differences - worth[:, None] * differences.sum(axis=0)) * np.sqrt(here / (here - 1))
    scale = np.sqrt(worth)[:, None]
    spread = np.divide(own, scale, out=np.zeros_like(own), where=scale > 0)
    share = np.resize(np.sort(worth), size)
    share = share / share.sum()
    root = np.sqrt(share * here / size)[:, None]
    rng = np.random.default_rng(random_state)
    signs = exchanges(size, n_draws, random_state)
    moved = signs @ share
    hits = np.zeros((n_pairs, len(GAPS)))
    for _ in range(sets):
        mix = rng.standard_normal((size, here)) / np.sqrt(here)
        drawn = root * (mix @ spread)
        sums = signs @ drawn
        others = statistics(sums, drawn)
        for pair in range(n_pairs):
            rest = np.delete(others, pair, axis=1).max(axis=1, initial=0.0)
            shifted = drawn[:, pair, None] + share[:, None] * GAPS
            length = np.sqrt((shifted**2).sum(axis=0))
            swapped = np.abs(sums[:, pair, None] + moved[:, None] * GAPS) / length
            observed = shifted.sum(axis=0) / length
            reached = np.maximum(swapped, rest[:, None]) >= observed - TIE
            hits[pair] += reached.mean(axis=0) < level
    for pair in np.flatnonzero(differences.any(axis=0)):
        enough = np.flatnonzero(hits[pair] >= power * sets)
        if len(enough):
            found[pair] = GAPS[enough[0]]
    return found


def groups_needed(
    differences: np.ndarray, worth: np.ndarray, difference: float = 0.1, *, level: float = 0.05
) -> int | None:
    """Return how many groups like these it takes to find a difference; None above 500.

    Where fewer than five groups are there, their spread says too little: the fewest groups that
    any test needs are returned.

    Examples
    --------
    >>> spread = np.random.default_rng(0).normal(0, 0.05, (5, 1))
    >>> groups_needed(spread, np.full(5, 1 / 5)) in (6, 8, 10, 12, 15)
    True
    """
    if len(differences) < 5:
        return FEWEST
    for size in SIZES:
        smallest = detectable(
            differences, worth, level=level, n_groups=size, n_sets=60, n_draws=400
        )
        if np.nanmax(smallest, initial=0.0) <= difference and not np.isnan(smallest).all():
            return size
    return None
