"""Bootstrap intervals that resample whole groups (speakers), for many systems at once.

Clips of one speaker are alike, so resampling clips makes intervals too narrow. Here a resample
draws speakers with replacement; since UAR, accuracy and F1 are functions of sums over speakers, all
resamples of all systems are one product of a matrix of draw counts with a matrix of sums. Every
system sees the same draws, so differences between systems are paired.

Intervals are expanded percentiles (Hesterberg, 2015): the percentile levels are moved outwards as
Student's t with ``groups - 1`` degrees of freedom and the factor sqrt(groups / (groups - 1)) ask,
which keeps the coverage with few speakers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

MEASURES = ("uar", "accuracy", "macro_f1", "weighted_f1")
BLOCK = 4_000_000  # cells of the draw matrix that are held at a time


@dataclass(frozen=True)
class Resamples:
    """Measures of every system in every resample.

    Attributes
    ----------
    values
        For each system and measure, `(resamples,)`.
    groups
        Number of groups that were drawn from.
    """

    values: Mapping[str, Mapping[str, np.ndarray]]
    groups: int

    def interval(self, system: str, measure: str, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of one measure; NaN where one group gives none."""
        return interval(self.values[system][measure], self.groups, level)

    def difference(self, a: str, b: str, measure: str) -> np.ndarray:
        """Return measure of `a` minus that of `b` in each resample."""
        return self.values[a][measure] - self.values[b][measure]


def resample(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    n_labels: int,
    *,
    n_resamples: int = 10_000,
    random_state: int = 0,
    per_class: bool = False,
) -> Resamples:
    """Draw groups with replacement and measure every system on each draw.

    Parameters
    ----------
    truth
        Label code of each clip, `(clips,)`.
    predictions
        Predicted code of each clip, `(clips,)`, by system.
    groups
        Group code of each clip, `(clips,)`: the speaker.
    n_labels
        Size of the label set; absent classes count 0, as in `metrics`.
    n_resamples, random_state
        How many draws, and their seed.
    per_class
        Also keep the recall of each class, as measures ``recall 0``, ``recall 1`` ...

    Returns
    -------
    resamples
        A class that a draw happens to miss is left out of that draw's means.

    Examples
    --------
    >>> truth, groups = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    >>> drawn = resample(truth, {"a": truth}, groups, 2, n_resamples=10)
    >>> drawn.interval("a", "uar")
    (1.0, 1.0)
    """
    names = list(predictions)
    _, groups = np.unique(groups, return_inverse=True)
    n_groups = int(groups.max()) + 1
    cells = groups * n_labels
    n_cells = n_groups * n_labels
    sums = [np.bincount(cells + truth, minlength=n_cells)]
    for name in names:
        guess = predictions[name]
        right = guess == truth
        sums.append(np.bincount(cells[right] + truth[right], minlength=n_cells))
        sums.append(np.bincount(cells + guess, minlength=n_cells))
    # (groups, 1 + 2 systems, labels): true clips, then hits and predicted clips of each system
    table = np.stack(sums).reshape(-1, n_groups, n_labels).transpose(1, 0, 2)
    support = table[:, 0].sum(axis=0)
    occurs = {
        name: (support + table[:, 2 + 2 * i].sum(axis=0) > 0).sum() for i, name in enumerate(names)
    }
    largest = int(table[:, 0].sum(axis=1).max()) * n_groups
    dtype = np.float32 if largest < 2**24 else np.float64  # integers stay exact
    flat, sizes = _kinds(table.reshape(n_groups, -1).astype(dtype))
    measures = [*MEASURES, *(f"recall {k}" for k in range(n_labels))] if per_class else MEASURES
    values = {name: {m: np.empty(n_resamples) for m in measures} for name in names}
    start = 0
    for counts in draws(sizes, n_resamples, random_state, dtype):
        drawn = (counts @ flat).astype(np.float64).reshape(len(counts), -1, n_labels)
        stop = start + len(counts)
        true = drawn[:, 0]
        size = true.sum(axis=1)
        share = (support > 0).sum() / n_labels / np.maximum((true > 0).sum(axis=1), 1)
        inverse = np.divide(1, true, out=np.zeros_like(true), where=true > 0)
        for i, name in enumerate(names):
            hits, guessed = drawn[:, 1 + 2 * i], drawn[:, 2 + 2 * i]
            recall = hits * inverse
            both = true + guessed
            f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
            out = values[name]
            out["uar"][start:stop] = recall.sum(axis=1) * share
            out["accuracy"][start:stop] = hits.sum(axis=1) / size
            there = np.maximum((both > 0).sum(axis=1), 1)
            out["macro_f1"][start:stop] = f1.sum(axis=1) * occurs[name] / n_labels / there
            out["weighted_f1"][start:stop] = (f1 * true).sum(axis=1) / size
            if per_class:
                missed = np.where(true > 0, recall, np.nan)
                for k in range(n_labels):
                    out[f"recall {k}"][start:stop] = missed[:, k]
        start = stop
    return Resamples(values, n_groups)


def _kinds(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pool groups with equal sums: single clips of which few kinds exist are drawn kind by kind."""
    if len(flat) > 2000:
        rows, sizes = np.unique(flat, axis=0, return_counts=True)
        if len(rows) < len(flat) / 4:
            return rows, sizes
    return flat, np.ones(len(flat), dtype=np.int64)


def draws(
    sizes: np.ndarray, n_resamples: int, random_state: int, dtype: type = np.float32
) -> Iterator[np.ndarray]:
    """Yield blocks `(draws, kinds)` of how often each kind of group was drawn.

    Parameters
    ----------
    sizes
        Groups of each kind, `(kinds,)`; as many groups are drawn as there are.
    n_resamples, random_state, dtype
        How many draws, their seed, and the type of the counts.
    """
    rng = np.random.default_rng(random_state)
    kinds, n_groups = len(sizes), int(sizes.sum())
    block = max(1, min(n_resamples, BLOCK // kinds))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        if kinds < n_groups:
            yield rng.multinomial(n_groups, sizes / n_groups, size).astype(dtype)
            continue
        picks = rng.integers(0, n_groups, (size, n_groups), dtype=np.int32)
        picks += (np.arange(size, dtype=np.int32) * n_groups)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * n_groups)
        yield counts.reshape(size, n_groups).astype(dtype)


def interval(samples: np.ndarray, n_groups: int, level: float = 0.95) -> tuple[float, float]:
    """Return the expanded percentile interval of bootstrap samples.

    Parameters
    ----------
    samples
        One value per resample; NaN is left out.
    n_groups
        Number of groups drawn from; fewer groups give wider intervals.
    level
        Coverage aimed at.

    Returns
    -------
    low, high
        NaN with fewer than two groups.

    Examples
    --------
    >>> low, high = interval(np.linspace(0, 1, 1001), n_groups=1000)
    >>> round(low, 3), round(high, 3)
    (0.025, 0.975)
    """
    samples = samples[~np.isnan(samples)]
    if n_groups < 2 or not len(samples):
        return float("nan"), float("nan")
    t = distributions.t.ppf((1 - level) / 2, n_groups - 1)
    tail = distributions.norm.cdf(t * np.sqrt(n_groups / (n_groups - 1)))
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)
