"""Bootstrap intervals that resample whole groups (speakers), for many systems at once.

Clips of one speaker are alike, so resampling clips makes intervals too narrow. Here a resample
draws speakers with replacement; since UAR, accuracy and F1 are functions of sums over speakers, all
resamples of all systems are one product of a matrix of draw counts with a matrix of sums. Every
system sees the same draws, so differences between systems are paired.

An interval is the measure plus and minus Student's t times the bootstrap's standard error, with one
degree of freedom less than the groups that carry the measure (few large speakers count as fewer),
and more where clips alone explain much of it (`intervals`).
Percentiles cover too little with few speakers. Shares (UAR, accuracy, F1, recall) take their steps
on the scale of the arcsine of the square root, on which the variance of a share hardly depends on
it (Anscombe, 1948). The variance has a floor, the binomial one of the clips with two successes and
two failures added (Agresti and Coull, 1998): a system that is right on ten of ten clips need not be
perfect. A class that few groups have says little about other groups, so the spread between
groups that other classes show is added for it. Below five groups there is no interval at all.
`benchmarks/claims.py` measures how often the intervals cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .intervals import half_length, kish_size, retrained, share_interval, standard_error, t_quantile
from .measures import ratio

#: fewer groups than this give no interval and no test: their spread is not known well enough
FEWEST_GROUPS = 5
FEW = 2.5  # a class that fewer groups carry is widened for
UNKNOWN = 0.05  # variance of a recall between groups where no class shows it: they differ much
MEASURES = ("uar", "accuracy", "macro_f1", "weighted_f1")
CACHED = 1 << 13  # numbers drawn at a time: they stay in the processor's cache
BLOCK = 4_000_000  # cells of the draw matrix that are held at a time


@dataclass(frozen=True)
class Resamples:
    """Measures of every system on the clips as they are, and in every resample.

    Attributes
    ----------
    values
        For each system and measure, `(resamples,)`.
    estimates
        For each system and measure, the value without resampling.
    groups
        Number of groups that were drawn from.
    true
        Clips of each group and class, `(groups, labels)`.
    hits
        For each system the clips of each group and class that it got right, `(groups, labels)`.
    crossed
        Resamples of a second factor (sentences) that crosses the groups, and of the cells of both.
    guessed
        For each system how often it predicts each label, `(labels,)`.
    pooled
        Whether the groups were tested in folds, by models of their own (`retrained`).
    """

    values: Mapping[str, Mapping[str, np.ndarray]]
    estimates: Mapping[str, Mapping[str, float]]
    groups: int
    true: np.ndarray
    hits: Mapping[str, np.ndarray]
    guessed: Mapping[str, np.ndarray]
    crossed: tuple[Resamples, Resamples] | None = None
    pooled: bool = False

    def interval(self, system: str, measure: str, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of one measure, within 0 and 1.

        NaN where fewer than five groups carry it: for a recall, groups that have the class.
        """
        weight = self._weight(measure)
        carried = (self.true[:, weight > 0] > 0).any(axis=1).sum()
        if min(carried, self._fewest()) < FEWEST_GROUPS:
            return float("nan"), float("nan")
        effective = self.effective_groups(measure)
        variance = self._variance(lambda drawn: drawn.values[system][measure], measure)
        floor, added = self._floor(system, measure)
        half = half_length(variance, floor, effective, level, added)
        clips = int(self.true[:, weight > 0].sum())
        return share_interval(self.estimates[system][measure], half, clips, float(weight.sum()))

    def score(self, system: str, measure: str, level: float = 0.95) -> dict[str, Any]:
        """Return one measure and its interval, for JSON."""
        interval = list(self.interval(system, measure, level))
        return {"value": self.estimates[system][measure], "interval": interval}

    def difference(
        self, a: str, b: str, measure: str, level: float = 0.95, floor: float = 0.0
    ) -> tuple[float, float, tuple[float, float]]:
        """Return measure of `a` minus that of `b`, its standard error and its interval.

        `floor` is a standard error that the number of clips alone gives.
        """
        estimate = self.estimates[a][measure] - self.estimates[b][measure]
        error = standard_error(self.values[a][measure] - self.values[b][measure], self.groups)
        error *= math.sqrt(retrained(self.groups)) if self.pooled else 1
        if self.crossed:
            gap = lambda drawn: drawn.values[a][measure] - drawn.values[b][measure]  # noqa: E731
            error = math.sqrt(self._variance(gap, measure))
        if self._fewest() < FEWEST_GROUPS:
            return estimate, error, (float("nan"), float("nan"))
        added = self._added_to_difference(a, b, measure)
        half = t_quantile(level, self.effective_groups(measure)) * math.hypot(error, added)
        half = max(half, t_quantile(level, math.inf) * math.hypot(floor, added))
        return estimate, error, (max(estimate - half, -1.0), min(estimate + half, 1.0))

    def effective_groups(self, measure: str) -> float:
        """Return how many equally large groups would carry a measure as well as these do.

        Of two crossed factors the one with fewer. Classes that are widened for do not count.
        """
        weight = self._weight(measure)
        known = weight * (self._carriers() >= FEW)
        shares = self.true / np.maximum(self.true.sum(axis=0), 1)  # of each group and class
        own = kish_size((shares * (known if known.any() else weight)).sum(axis=1))
        return min(own, self.crossed[0].effective_groups(measure)) if self.crossed else own

    def _fewest(self) -> int:
        """Return the number of groups; of two crossed factors, of that with fewer."""
        return min(self.groups, self.crossed[0].groups) if self.crossed else self.groups

    def _variance(self, of: Callable[[Resamples], np.ndarray], measure: str) -> float:
        """Return the variance of a measure over groups, or over two crossed factors."""

        def alone(drawn: Resamples) -> float:
            own = replace(drawn, crossed=None).effective_groups(measure)
            return float(np.nan_to_num(standard_error(of(drawn), own))) ** 2

        variance = alone(self)
        if self.crossed:
            other, cells = (alone(drawn) for drawn in self.crossed)
            variance = max(variance, other, variance + other - cells)
        return variance * retrained(self.groups) if self.pooled else variance

    def few_groups(self) -> dict[int, int]:
        """Return the classes that fewer than five groups have: code -> number of groups."""
        having = (self.true > 0).sum(axis=0)
        return {int(k): int(n) for k, n in enumerate(having) if 0 < n < FEWEST_GROUPS}

    def _weight(self, measure: str) -> np.ndarray:
        """Return what each class weighs in a measure, `(labels,)`; absent ones 0."""
        support = self.true.sum(axis=0)
        if measure.startswith("recall "):
            return (np.arange(len(support)) == int(measure.split()[1])) * (support > 0) * 1.0
        if measure in ("accuracy", "weighted_f1"):
            return support / max(1, support.sum())
        return (support > 0) / len(support)

    def _carriers(self) -> np.ndarray:
        """Return how many equally large groups would carry each class, `(labels,)`."""
        support = self.true.sum(axis=0)
        own = self.true / np.maximum(support, 1)
        return np.divide(1, (own**2).sum(axis=0), out=np.ones(len(support)), where=support > 0)

    def _floor(self, system: str, measure: str) -> tuple[float, float]:
        """Return the binomial variance, and what is added for classes of few groups."""
        weight, carriers = self._weight(measure), self._carriers()
        hits, support = self.hits[system].sum(axis=0), self.true.sum(axis=0)
        more = 2 / max(1, (weight > 0).sum())  # two successes and two failures over the classes
        recall = (hits + more) / (support + 2 * more)
        alone = recall * (1 - recall) / (support + 2 * more)
        few = (carriers < FEW) & (weight > 0)
        between = self._between(system) if few.any() else 0.0
        slope = np.ones(len(support))  # of the measure of a class over its recall
        if measure.endswith("f1"):
            wrong = self.guessed[system] - hits
            slope = 2 * support * (support + wrong) / np.maximum(support + hits + wrong, 1) ** 2
        added = (weight * np.minimum(slope, 1)) ** 2 * (between / carriers + alone)
        return float((weight**2 * alone).sum()), float(added[few].sum())

    def _added_to_difference(self, a: str, b: str, measure: str) -> float:
        """Return the standard error that classes of few groups, taken as the others, add."""
        weight, carriers = self._weight(measure), self._carriers()
        few, apart = (carriers < FEW) & (weight > 0), self.hits[a] - self.hits[b]
        if not few.any() or not apart.any():
            return 0.0
        shares = [(gap[n > 0] / n[n > 0]) for gap, n in zip(apart.T, self.true.T, strict=True)]
        found = [np.var(share, ddof=1) for share in shares if len(share) >= FEWEST_GROUPS]
        spread = float(np.mean(found)) if found else UNKNOWN
        return math.sqrt((weight[few] ** 2 / carriers[few]).sum() * spread)

    def _between(self, system: str) -> float:
        """Return the variance of a class' recall between groups, as the classes show it."""
        found = []
        for true, hits in zip(self.true.T, self.hits[system].T, strict=True):
            there = true > 0
            if there.sum() >= FEWEST_GROUPS:
                mean = hits.sum() / true.sum()
                within = mean * (1 - mean) / true[there]
                spread = np.var(hits[there] / true[there], ddof=1) - within.mean()
                found.append(max(float(spread), 0.0))
        return float(np.mean(found)) if found else UNKNOWN


def resample(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    n_labels: int,
    *,
    n_resamples: int = 10_000,
    random_state: int = 0,
    per_class: bool = False,
    pooled: bool = False,
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
        Size of the label set; absent classes count 0, as in `measures`.
    n_resamples, random_state
        How many draws, and their seed.
    per_class
        Also keep the recall of each class, as measures ``recall 0``, ``recall 1`` ...
    pooled
        Whether the groups were tested in folds, by models of their own.

    Returns
    -------
    resamples
        A class that a draw happens to miss is left out of that draw's means.

    Examples
    --------
    >>> truth, groups = np.tile([0, 1], 10), np.repeat(range(5), 4)
    >>> drawn = resample(truth, {"a": truth}, groups, 2, n_resamples=10)
    >>> low, high = drawn.interval("a", "uar")  # all right, but only 20 clips
    >>> 0.7 < low < high == 1
    True
    """
    table = _sums(truth, predictions, groups, n_labels)
    n_groups = len(table)
    largest = int(table[:, 0].sum(axis=1).max()) * n_groups
    dtype = np.float32 if largest < 2**24 else np.float64  # integers stay exact
    kinds, sizes = _kinds(table.reshape(n_groups, -1).astype(dtype))
    whole = table.sum(axis=0, keepdims=True).astype(float)
    blocks = []
    for counts in draws(sizes, n_resamples, random_state, dtype):
        drawn = (counts @ kinds).astype(np.float64).reshape(len(counts), -1, n_labels)
        blocks.append([_measure(drawn, whole, i, per_class) for i in range(len(predictions))])
    values = {
        name: {m: np.concatenate([block[i][m] for block in blocks]) for m in blocks[0][i]}
        for i, name in enumerate(predictions)
    }
    estimates = {
        name: {m: float(v[0]) for m, v in _measure(whole, whole, i, per_class).items()}
        for i, name in enumerate(predictions)
    }
    hits = {name: table[:, 1 + 2 * i] for i, name in enumerate(predictions)}
    guessed = {name: table[:, 2 + 2 * i].sum(axis=0) for i, name in enumerate(predictions)}
    return Resamples(values, estimates, n_groups, table[:, 0], hits, guessed, pooled=pooled)


def _sums(
    truth: np.ndarray, predictions: Mapping[str, np.ndarray], groups: np.ndarray, n_labels: int
) -> np.ndarray:
    """Return counts `(groups, 1 + 2 systems, labels)`: true, then hits and predicted."""
    _, groups = np.unique(groups, return_inverse=True)
    n_groups = int(groups.max()) + 1
    cells, n_cells = groups * n_labels, n_groups * n_labels
    sums = [np.bincount(cells + truth, minlength=n_cells)]
    for guess in predictions.values():
        right = guess == truth
        sums.append(np.bincount(cells[right] + truth[right], minlength=n_cells))
        sums.append(np.bincount(cells + guess, minlength=n_cells))
    return np.stack(sums).reshape(-1, n_groups, n_labels).transpose(1, 0, 2)


def _measure(
    drawn: np.ndarray, whole: np.ndarray, system: int, per_class: bool
) -> dict[str, np.ndarray]:
    """Measure one system on each draw of `(draws, 1 + 2 systems, labels)`.

    A class that a draw misses keeps the recall and F1 that it has in all clips, so that it neither
    pulls the mean down nor adds a spread of its own; one that is absent altogether counts 0.
    """
    at = [0, 1 + 2 * system, 2 + 2 * system]
    true, hits, guessed = drawn[:, at].transpose(1, 0, 2)
    all_true, all_hits, all_guessed = whole[:, at].transpose(1, 0, 2)
    there = true > 0
    recall = np.where(there, ratio(hits, true), ratio(all_hits, all_true))
    f1 = ratio(2 * hits, true + guessed)
    f1 = np.where(there, f1, ratio(2 * all_hits, all_true + all_guessed))
    size = true.sum(axis=1)
    result = {
        "uar": recall.mean(axis=1),
        "accuracy": hits.sum(axis=1) / size,
        "macro_f1": f1.mean(axis=1),
        "weighted_f1": (f1 * true).sum(axis=1) / size,
    }
    if per_class:
        for k in range(true.shape[1]):
            result[f"recall {k}"] = np.where(there[:, k], recall[:, k], np.nan)
    return result


def _kinds(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pool groups with equal sums: single clips, of few kinds, are drawn kind by kind."""
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
        counts = np.empty((size, n_groups), dtype)
        step = max(1, CACHED // n_groups)
        for first in range(0, size, step):
            rows = min(step, size - first)
            drawn = rng.integers(0, n_groups, (rows, n_groups))  # the same one by one
            drawn += np.arange(rows)[:, None] * n_groups
            tally = np.bincount(drawn.ravel(), minlength=rows * n_groups)
            counts[first : first + rows] = tally.reshape(rows, n_groups)
        yield counts


def draw_sums(sums: np.ndarray, n_resamples: int, random_state: int) -> np.ndarray:
    """Draw groups with replacement: the sums `(resamples, ...)` of their `(groups, ...)`."""
    sizes = np.ones(len(sums), dtype=np.int64)
    flat = sums.reshape(len(sums), -1)
    drawn = [counts @ flat for counts in draws(sizes, n_resamples, random_state, np.float64)]
    return np.concatenate(drawn).reshape(-1, *sums.shape[1:])


def resample_crossed(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    second: np.ndarray,
    n_labels: int,
    **options: Any,
) -> Resamples:
    """Draw two crossed factors, as speakers and the sentences that all of them read.

    Parameters
    ----------
    truth, predictions, groups, n_labels, options
        As for `resample`.
    second
        Code of the second factor of each clip, `(clips,)`.

    Returns
    -------
    resamples
        Of `groups`; `interval` and `difference` say what other speakers and other sentences give.

    Examples
    --------
    >>> truth, groups = np.tile([0, 1], 18), np.repeat(range(6), 6)
    >>> sentence = np.tile(np.arange(6), 6)
    >>> guess = np.where(sentence == 3, 1 - truth, truth)  # one sentence is hard for all
    >>> one = resample(truth, {"a": guess}, groups, 2, n_resamples=200).interval("a", "uar")
    >>> two = resample_crossed(truth, {"a": guess}, groups, sentence, 2, n_resamples=200)
    >>> low, high = two.interval("a", "uar")
    >>> high - low > 1.5 * (one[1] - one[0])
    True
    """
    cells = groups.astype(np.int64) * (int(second.max()) + 1) + second
    first, other, both = (
        resample(truth, predictions, codes, n_labels, **options)
        for codes in (groups, second, cells)
    )
    return replace(first, crossed=(other, both))
