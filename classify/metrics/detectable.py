"""What the test between systems can find: by simulation of that very test.

Data sets like the one at hand are drawn: as many speakers with as many clips, whose differences
between two systems are normal with the spread seen here (as correlated between pairs of systems as
here). Then one of the two becomes better by a true difference, the same for each speaker; the
nearer that brings it to 1, the less speakers can differ. The smallest difference that the corrected
test finds in 8 of 10 such data sets is what the test set can detect. The spread of few speakers is
known too badly for that: then no difference is promised.
"""

from __future__ import annotations

import numpy as np

from .max_t import TIE, exchanges, statistics
from .unseen_speaker import scale_of_groups, unseen_speaker

__all__ = ["detectable", "groups_needed"]

GAPS = np.concatenate([np.arange(0.005, 0.1, 0.005), np.arange(0.1, 0.3, 0.01)])
GAPS = np.concatenate([GAPS, np.arange(0.3, 1.001, 0.05)])
SIZES = (8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500)
FEWEST_EQUAL = 7.5  # with fewer, what was promised was found in 35 to 75 of 100 cases
N_SETS = 200  # for twenty pairs; fewer for more, so that many systems take seconds


def detectable(
    differences: np.ndarray,
    worth: np.ndarray,
    within: np.ndarray | None = None,
    middle: np.ndarray | None = None,
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
    differences, worth, within
        As for `max_t`: the family that is corrected for.
    middle
        Mean of the measure of the two systems of each pair, `(pairs,)`, from 0 to 1; the better one
        would lie above it. None where the measure has no upper end.
    level, power
        Level of the test, and how often it is to find the difference.
    n_groups
        Groups of the simulated test sets, of sizes like those here; default: as many as here.
    n_sets, n_draws, random_state
        Simulated data sets (200, with more than 20 pairs down to 40), exchanges in each, seed.

    Returns
    -------
    smallest
        `(pairs,)`; NaN where no difference that is possible is found, where two systems answer
        alike, and where the groups tell less than 7.5 equally large ones would.

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
    equal = size / here / (worth**2).sum()  # so many equally large groups tell as much
    if here < 2 or equal < FEWEST_EQUAL:
        return found
    # a speaker's own deviation from the common difference; smaller than in truth by (n - 1) / n
    own = (differences - worth[:, None] * differences.sum(axis=0)) * np.sqrt(here / (here - 1))
    scale = scale_of_groups(own, worth[:, None], within)
    spread = np.divide(own, scale, out=np.zeros_like(own), where=scale > 0)
    order = np.resize(np.argsort(worth), size)
    share = worth[order] / worth[order].sum()
    root = scale[order] * (here / size)
    by_clips = None if within is None else within[order] * (here / size) ** 2
    rng = np.random.default_rng(random_state)
    signs = exchanges(size, n_draws, random_state)
    less = _less_spread(middle, n_pairs)
    drawn = np.empty((sets, size, n_pairs))
    for one in range(sets):
        mix = rng.standard_normal((size, here)) / np.sqrt(here)
        drawn[one] = root * (mix @ spread)
    first = np.sort(_first_found(drawn, share, less, signs, by_clips, level), axis=0)
    at = first[int(np.ceil(power * sets)) - 1]
    there = differences.any(axis=0) & (at < (~np.isnan(less)).sum(axis=1))
    found[there] = GAPS[at[there]]
    return found


def _first_found(
    drawn: np.ndarray,
    share: np.ndarray,
    less: np.ndarray,
    signs: np.ndarray,
    by_clips: np.ndarray | None,
    level: float,
) -> np.ndarray:
    """Return the place in GAPS of the smallest difference that `max_t` finds, `(sets, pairs)`.

    By halving, since a larger difference is found more easily; ``len(GAPS)`` where none is.
    """
    sets, _, n_pairs = drawn.shape
    moved = signs @ share
    low, high = np.zeros((sets, n_pairs), dtype=int), np.full((sets, n_pairs), len(GAPS))
    every = np.arange(n_pairs)
    for _ in range(len(GAPS).bit_length()):
        middle = np.minimum((low + high) // 2, len(GAPS) - 1)
        gap, factor = GAPS[middle], less[every, middle]
        shifted = drawn * factor[:, None] + share[:, None] * gap[:, None]
        least = unseen_speaker(shifted, share, by_clips)
        corrected = np.empty_like(least)
        for one in range(sets):
            sums = signs @ drawn[one]
            others = statistics(sums, drawn[one])
            rest = np.zeros_like(others)  # the largest statistic of the other pairs
            if n_pairs > 1:
                second, largest = np.partition(others, n_pairs - 2, axis=1)[:, -2:].T
                rest = np.where(others >= largest[:, None], second[:, None], largest[:, None])
            length = np.sqrt((shifted[one] ** 2).sum(axis=0))
            own = shifted[one].sum(axis=0) / length - TIE
            swapped = np.abs(sums * factor[one] + moved[:, None] * gap[one]) / length
            alone = (swapped >= own).mean(axis=0)
            family = np.maximum(alone, (np.maximum(swapped, rest) >= own).mean(axis=0))
            corrected[one] = np.maximum(family, least[one] * family / np.maximum(alone, 1e-9))
        seen = (corrected < level) | np.isnan(factor)  # not possible: look below
        open_ = low < high
        high = np.where(open_ & seen, middle, high)
        low = np.where(open_ & ~seen, np.minimum(middle + 1, high), low)
    return low


def _less_spread(middle: np.ndarray | None, n_pairs: int) -> np.ndarray:
    """Return the spread between speakers at each difference, `(pairs, gaps)`, of that at none.

    The variance of a share goes with p (1 - p). NaN where a difference is not possible.
    """
    if middle is None:
        return np.ones((n_pairs, len(GAPS)))
    middle = np.clip(middle, 0.02, 0.98)[:, None]
    better = middle + GAPS
    kept = (better * (1 - better) + middle * (1 - middle)) / (2 * middle * (1 - middle))
    return np.sqrt(np.where(better < 1, np.maximum(kept, 0), np.nan))


def groups_needed(
    differences: np.ndarray,
    worth: np.ndarray,
    within: np.ndarray | None = None,
    middle: np.ndarray | None = None,
    *,
    difference: float = 0.1,
    level: float = 0.05,
) -> int | None:
    """Return how many groups like these it takes to find a difference; None above 500.

    Where fewer than five groups are there, their spread says too little: 8 is returned, the fewest
    for which anything is promised.

    Examples
    --------
    >>> spread = np.random.default_rng(0).normal(0, 0.05, (5, 1))
    >>> groups_needed(spread, np.full(5, 1 / 5)) in (8, 10, 12, 15)
    True
    """
    if len(differences) < 5:
        return 8
    for size in SIZES:
        smallest = detectable(
            differences, worth, within, middle, level=level, n_groups=size, n_sets=60, n_draws=400
        )
        if np.nanmax(smallest, initial=0.0) <= difference and not np.isnan(smallest).all():
            return size
    return None
