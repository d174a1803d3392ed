"""What the test between systems can find: by simulation of that very test.

Data sets like this one are drawn: as many speakers with as many clips, whose differences
between two systems are normal with the spread seen here (as correlated between pairs of systems as
here). Then one system becomes better than all others by a true difference, the same for each
speaker; the nearer that brings it to 1, the less speakers can differ. The smallest difference that
the corrected test finds in 8 of 10 such data sets is what the test set can detect. The spread of
few speakers is known too badly for that: then no difference is promised.
"""

from __future__ import annotations

import numpy as np

from .max_t import (
    TIE,
    alike,
    as_extreme,
    directions,
    exchanges,
    fewer_columns,
    independent,
    step_down,
)
from .unseen_speaker import scale_of_groups, unseen_speaker

GAPS = np.concatenate([np.arange(0.005, 0.1, 0.005), np.arange(0.1, 0.3, 0.01)])
GAPS = np.concatenate([GAPS, np.arange(0.3, 1.001, 0.05)])
SIZES = (10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500)
MOST_GROUPS = 500  # of more, neighbours are simulated as one group
FEWEST_EQUAL = 8.5  # with 8, what was promised was found in 61 to 84 of 100 cases
N_SETS = 200  # for ten pairs; fewer for more, so that many systems take seconds


def detectable(
    differences: np.ndarray,
    worth: np.ndarray,
    within: np.ndarray | None = None,
    middle: np.ndarray | None = None,
    systems: np.ndarray | None = None,
    *,
    level: float = 0.05,
    power: float = 0.8,
    n_groups: int | None = None,
    n_sets: int | None = None,
    n_draws: int | None = None,
    random_state: int = 0,
    up_to: float | None = None,
) -> np.ndarray:
    """Return the smallest true difference of each pair that the max-T test finds.

    Parameters
    ----------
    differences, worth, within
        As for `max_t`: the family that is corrected for.
    middle
        Mean of the measure of the two systems of each pair, `(pairs,)`, from 0 to 1; the better one
        would be above it. None where the measure has no upper end.
    systems
        The two systems of each pair, `(pairs, 2)`: the first is the better one, and then of each
        pair that it is in. None where all pairs have the first system in common.
    level, power
        Level of the test, and how often it is to find the difference.
    n_groups
        Groups of the simulated test sets, of sizes like those here; default: as many as here.
    n_sets, n_draws, random_state
        Simulated data sets (200, with more than 10 pairs down to 20), exchanges in each (1000,
        with more than 50 pairs 400), seed.
    up_to
        Ask only whether every pair has a difference up to this: all are NaN where one has none,
        which takes a fraction of the time.

    Returns
    -------
    smallest
        `(pairs,)`; NaN where no difference that is possible is found, where two systems answer
        alike, and where the groups are less informative than 8.5 equally large ones.

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
    sets = n_sets or max(20, min(N_SETS, 10 * N_SETS // max(n_pairs, 1)))
    found = np.full(n_pairs, np.nan)
    equal = size / here / (worth**2).sum()  # this many equally large groups are as informative
    if here < 2 or equal < FEWEST_EQUAL:
        return found
    if here > MOST_GROUPS and n_groups is None:
        # without speakers each clip is a group: time and memory go with the square of their number
        first = np.arange(0, here, -(-here // MOST_GROUPS))
        differences, worth = (np.add.reduceat(table, first) for table in (differences, worth))
        within = within if within is None else np.add.reduceat(within, first)
        here = size = len(first)
    # a speaker's own deviation from the common difference: its variance is smaller than in truth by
    # (n - 1) / n, and as much again is allowed for not knowing that variance
    own = (differences - worth[:, None] * differences.sum(axis=0)) * here / (here - 1)
    scale = scale_of_groups(own, worth[:, None], within)
    spread = np.divide(own, scale, out=np.zeros_like(own), where=scale > 0)
    order = np.resize(np.argsort(worth), size)
    share = worth[order] / worth[order].sum()
    root = scale[order] * (here / size)
    by_clips = None if within is None else within[order] * (here / size) ** 2
    rng = np.random.default_rng(random_state)
    signs = exchanges(size, n_draws or (1000 if n_pairs <= 50 else 400), random_state)
    less = _less_spread(middle, n_pairs)
    drawn = np.empty((sets, size, n_pairs))
    for one in range(sets):
        mix = rng.standard_normal((size, here)) / np.sqrt(here)
        drawn[one] = root * (mix @ spread)
    if systems is None:
        systems = np.tile([0, 1], (n_pairs, 1))
    at = np.full(n_pairs, len(GAPS))
    last = len(GAPS) if up_to is None else max(int(np.searchsorted(GAPS, up_to, "right")) - 1, 0)
    likely = len(GAPS) // 2 if up_to is None else last
    equal_systems = _Sets(drawn, share, signs, by_clips)
    for better in np.unique(systems[:, 0]):
        turn = (systems[:, 0] == better) * 1.0 - (systems[:, 1] == better)
        asked = turn > 0
        world = _World(equal_systems, less, turn)
        places = _smallest(world, level, power, likely, last)
        if (places > last).any():
            return found
        at[asked] = places
        likely = min(int(np.median(places)), len(GAPS) - 1)
    there = differences.any(axis=0) & (at < (~np.isnan(less)).sum(axis=1))
    found[there] = GAPS[at[there]]
    return found


class _Sets:
    """Simulated data sets in which all systems are equally good, and their exchanges."""

    def __init__(
        self, drawn: np.ndarray, share: np.ndarray, signs: np.ndarray, by_clips: np.ndarray | None
    ) -> None:
        self.drawn, self.share, self.by_clips = drawn, share, by_clips
        self.moved = signs @ share
        # (sets, pairs, exchanges): steps over the exchanges are over neighbours in memory
        sums = np.einsum("eg,sgp->esp", signs, drawn, optimize=True)
        self.sums = np.ascontiguousarray(np.moveaxis(sums, 0, -1))
        self.directions, length = directions(drawn)
        self.statistics = np.abs(self.sums) / np.where(length > 0, length, np.inf)[..., None]


class _World:
    """The same data sets when one system has become better than all others by one difference."""

    def __init__(self, sets: _Sets, less: np.ndarray, turn: np.ndarray) -> None:
        own = turn != 0  # the pairs that the better system is in: 1 as the first, -1 as the second
        self.turn, self.less, self.pairs = turn[own], less[own], len(own)
        self.share, self.moved = sets.share, sets.moved
        self.drawn = sets.drawn[..., own]
        self.sums = sets.sums.compress(own, axis=1)  # contiguous, which sums[:, own] is not
        self.by_clips = sets.by_clips if sets.by_clips is None else sets.by_clips[:, own]
        # the other pairs stay as they are: (sets, exchanges) and (sets, groups, pairs)
        self.rest = sets.statistics[:, ~own].max(axis=1, initial=0.0)
        others = sets.directions[..., ~own]
        self.differing = own.sum() + others.any(axis=(0, 1)).sum()
        self.others = fewer_columns(others)
        self.alike_others = alike(self.others, self.others)

    def found(self, at: int, level: float) -> np.ndarray:
        """Return the share of the sets in which `max_t` finds the difference `GAPS[at]`, by pair.

        1 where the difference is not possible.
        """
        possible = ~np.isnan(self.less[:, at])
        factor, gap = np.nan_to_num(self.less[:, at]), self.turn * GAPS[at]
        shifted = self.drawn * factor + self.share[:, None] * gap
        length = np.sqrt((shifted**2).sum(axis=1))  # (sets, pairs)
        observed = np.abs(shifted.sum(axis=1)) / length
        drawn = self.sums * factor[:, None]
        drawn += self.moved * gap[:, None]
        np.abs(drawn, out=drawn)
        drawn /= length[..., None]
        alone = (drawn >= (observed - TIE)[..., None]).sum(axis=-1)
        np.maximum(drawn, self.rest[:, None], out=drawn)
        family = as_extreme(drawn, observed)[1]
        # as if all exchanges had been drawn, or the one that changes nothing was among them
        number = len(self.moved)
        p, single = np.maximum(1, alone) / number, np.maximum(1, family) / number
        corrected = step_down(single, observed)
        least = unseen_speaker(shifted, self.share, self.by_clips)
        more = np.minimum(corrected / p * self.comparisons(shifted)[:, None], self.pairs)
        corrected = np.maximum(corrected, np.minimum(least * more, 1))
        return np.where(possible, (corrected < level).mean(axis=0), 1.0)

    def comparisons(self, shifted: np.ndarray) -> np.ndarray:
        """Return `max_t.comparisons` of all pairs, where those of the better system are these."""
        unit, _ = directions(shifted)
        squares = alike(unit, unit) + 2 * alike(unit, self.others) + self.alike_others
        return independent(self.differing, squares)


def _smallest(world: _World, level: float, power: float, likely: int, last: int) -> np.ndarray:
    """Return the place in GAPS of the smallest difference found often enough, by pair.

    Of the pairs in which the better system is the first.

    A larger difference is found more easily, so steps from the likely place double until it lies
    between two of them, and then it is halved; ``len(GAPS)`` where none is found. Once one is
    beyond the place `last`, the others are not looked for.
    """
    asked = world.turn > 0
    low = np.zeros(asked.sum(), dtype=int)
    high = np.full(len(low), len(GAPS))
    middle, step = likely, 2
    while (low < high).any() and (low <= last).all():
        enough = world.found(middle, level)[asked] >= power
        inside = (low <= middle) & (middle < high)
        high = np.where(inside & enough, middle, high)
        low = np.where(inside & ~enough, middle + 1, low)
        open_ = np.flatnonzero(low < high)
        if len(open_):
            least, most = int(low[open_[0]]), int(high[open_[0]])
            middle = (least + most) // 2
            if most - least > 2 * step:  # still open to one side
                middle = most - step if least == 0 else least + step
                step *= 2
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
    systems: np.ndarray | None = None,
    *,
    difference: float = 0.1,
    level: float = 0.05,
) -> int | None:
    """Return how many groups like these it takes to find a difference; None above 500.

    Where fewer than five groups are there, their spread says too little: 10 is returned, the fewest
    for which anything is promised.

    Examples
    --------
    >>> spread = np.random.default_rng(0).normal(0, 0.05, (5, 1))
    >>> groups_needed(spread, np.full(5, 1 / 5)) in (10, 12, 15)
    True
    """
    if len(differences) < 5:
        return 10
    for size in SIZES:
        smallest = detectable(
            differences, worth, within, middle, systems,
            level=level, n_groups=size, n_sets=60, n_draws=400, up_to=difference,
        )  # fmt: skip
        if np.nanmax(smallest, initial=0.0) <= difference and not np.isnan(smallest).all():
            return size
    return None
