"""CCC, Pearson's r and mean absolute error, with intervals and tests that keep speakers whole.

All three are functions of sums over clips, so every resample and every exchange of speakers is a
product of a matrix of counts with the sums of each speaker, for all systems at once. Intervals of
CCC and r are taken on Fisher's z (Lin, 1989), where their spread hardly depends on their value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import FEWEST_GROUPS, draw_sums
from .intervals import interval, kish_size, retrained
from .max_t import TIE, MaxT, as_extreme, exchanged, exchanges, p_values, step_down

MEASURES = ("ccc", "pearson", "error")
N_SUMS = 7  # clips, x, y, xx, yy, xy, |x - y|
NEAR_ONE = 1 - 1e-9


def mean_ccc(truth: np.ndarray, values: np.ndarray) -> float:
    """Return the mean over dimensions of the concordance correlation of ratings and predictions.

    Parameters
    ----------
    truth, values
        `(clips, dimensions)`; a rating of NaN does not count. A dimension without ratings is left
        out of the mean; NaN if all are.

    Examples
    --------
    >>> truth = np.array([[-1.0, 1.0], [0.0, np.nan], [1.0, 2.0]])
    >>> round(mean_ccc(truth, np.array([[-0.5, 1.0], [0.0, 9.0], [0.5, 2.0]])), 3)
    0.9
    """
    sums = clip_sums(truth, values, np.zeros(truth.shape[1])).sum(axis=0)
    return float(overall(measures(sums), np.ones(truth.shape[1]))["ccc"])


def clip_sums(truth: np.ndarray, values: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return what is summed of each clip, `(clips, dimensions, 7)`; zeros where it is not rated.

    Moments are taken about the middle of the scale, so that squares do not eat the digits.
    """
    known = np.isfinite(truth)
    x = np.where(known, truth - middle, 0.0)
    y = np.where(known, values - middle, 0.0)
    return np.stack([known * 1.0, x, y, x * x, y * y, x * y, np.abs(x - y)], axis=-1)


def measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return each measure of sums `(..., 7)`; NaN without clips, CCC and r 0 of constants."""
    n = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
    x, y, xx, yy, xy, error = (sums[..., 1 + i] / n for i in range(6))
    var_x, var_y, cov = xx - x**2, yy - y**2, xy - x * y
    spread = var_x + var_y + (x - y) ** 2
    product = np.sqrt(np.maximum(var_x, 0) * np.maximum(var_y, 0))
    flat = product <= 1e-12 * np.maximum(xx + yy, 1e-12)
    with np.errstate(invalid="ignore", divide="ignore"):
        ccc = np.where(flat, 0 * n, 2 * cov / spread)
        pearson = np.where(flat, 0 * n, np.clip(cov / product, -1, 1))
    return {"ccc": ccc, "pearson": pearson, "error": error}


def independent_errors(sums: np.ndarray, ranges: np.ndarray) -> dict[str, np.ndarray]:
    """Return the standard errors that independent clips would give, `(dimensions,)` each.

    Of CCC (Lin, 1989) and r on Fisher's z, of the error as a share of the range: no interval is
    narrower than they allow, so that few speakers that happen to agree do not give a false one.
    """
    n = np.maximum(sums[:, 0], 3)
    found = measures(sums)
    x, y, xx, yy, xy, error = (sums[:, 1 + i] / n for i in range(6))
    squared = np.maximum(xx + yy - 2 * xy - error**2, 0)
    deviation = np.maximum(np.sqrt(squared) / ranges, 1 / (n + 2))
    r = np.clip(np.nan_to_num(np.abs(found["pearson"])), 1e-6, 1 - 1 / n)
    c = np.minimum(np.nan_to_num(np.abs(found["ccc"])), r)
    product = np.sqrt(np.maximum(xx - x**2, 1e-12) * np.maximum(yy - y**2, 1e-12))
    shift = (x - y) ** 2 / product
    ccc = (1 - r**2) * c**2 / ((1 - c**2) * r**2)
    ccc += 2 * c**3 * (1 - c) * shift / (r * (1 - c**2) ** 2)
    ccc -= c**4 * shift**2 / (2 * r**2 * (1 - c**2) ** 2)
    # CCC of nearly constant predictions is nearly 0, and precisely known
    return {
        "ccc": np.sqrt(np.clip(ccc, 1 / n, 1) / n),
        "pearson": np.sqrt(1 / n),
        "error": deviation / np.sqrt(n),
    }


def overall(found: Mapping[str, np.ndarray], ranges: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean of each measure over dimensions (the last axis), errors as share of range."""
    scaled = {**found, "error": found["error"] / ranges}
    return {name: _mean(values) for name, values in scaled.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(
        total, known.sum(axis=-1), out=np.full(total.shape, np.nan), where=known.any(axis=-1)
    )


@dataclass(frozen=True)
class Measured:
    """Measures of several systems on the clips as they are, and in every resample.

    Attributes
    ----------
    sums
        System to the sums of each group, `(groups, dimensions, 7)`.
    estimates, samples
        System to measure to values, `(dimensions + 1,)` and `(resamples, dimensions + 1)`; the last
        column is the mean over dimensions.
    codes, without
        Group code of each clip; by system its mean CCC without each clip. Both `(clips,)`.
    ranges
        Length of each scale, `(dimensions,)`.
    pooled
        Whether the clips are the test clips of several folds, each predicted by models of its own.
    """

    sums: Mapping[str, np.ndarray]
    estimates: Mapping[str, Mapping[str, np.ndarray]]
    samples: Mapping[str, Mapping[str, np.ndarray]]
    codes: np.ndarray
    without: Mapping[str, np.ndarray]
    ranges: np.ndarray
    pooled: bool = False

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(next(iter(self.sums.values())))

    @property
    def effective(self) -> float:
        """How many equally large groups would be as informative as these."""
        return kish_size(next(iter(self.sums.values()))[:, :, 0].sum(axis=1))

    def interval(
        self, system: str, name: str, dimension: int = -1, level: float = 0.95
    ) -> tuple[float, float]:
        """Return the interval of a measure; NaN with fewer than five groups that are rated."""
        sums = next(iter(self.sums.values()))
        rated = sums[:, :, 0] if dimension == -1 else sums[:, [dimension], 0]
        clips, carried = rated.sum(axis=0).min(), (rated > 0).all(axis=1).sum()
        estimate = float(self.estimates[system][name][dimension])
        sample = self.samples[system][name][:, dimension]
        if carried < FEWEST_GROUPS or math.isnan(estimate) or not clips:
            return math.nan, math.nan
        effective = min(self.effective, float(carried))
        floors = independent_errors(self.sums[system].sum(axis=0), self.ranges)[name]
        if name == "error":
            scale = 1.0 if dimension == -1 else self.ranges[dimension]
            floor = float(np.mean(floors) if dimension == -1 else floors[dimension]) * scale
            low, high = interval(estimate, self._wider(sample), effective, level, floor)
            return max(low, 0.0), high
        alone = floors.mean() / math.sqrt(len(floors)) if dimension == -1 else floors[dimension]
        z, drawn = (np.arctanh(np.clip(one, -NEAR_ONE, NEAR_ONE)) for one in (estimate, sample))
        low, high = interval(float(z), self._wider(drawn), effective, level, float(alone))
        return math.tanh(low), min(math.tanh(high), 1.0)

    def score(
        self, system: str, name: str, dimension: int = -1, level: float = 0.95
    ) -> dict[str, Any]:
        """Return a measure and its interval, for JSON."""
        value = float(self.estimates[system][name][dimension])
        return {"value": value, "interval": list(self.interval(system, name, dimension, level))}

    def difference(self, a: str, b: str, level: float = 0.95) -> tuple[float, tuple[float, float]]:
        """Return mean CCC of `a` minus that of `b`, and the interval of the difference."""
        gap = float(self.estimates[a]["ccc"][-1] - self.estimates[b]["ccc"][-1])
        if self.groups < FEWEST_GROUPS or math.isnan(gap):
            return gap, (math.nan, math.nan)
        drawn = self.samples[a]["ccc"][:, -1] - self.samples[b]["ccc"][:, -1]
        low, high = interval(gap, self._wider(drawn), self.effective, level)
        return gap, (max(low, -2.0), min(high, 2.0))

    def _wider(self, samples: np.ndarray) -> np.ndarray:
        """Return samples whose spread also allows for training again, where folds are pooled."""
        return samples * math.sqrt(retrained(self.groups)) if self.pooled else samples


def measure(
    truth: np.ndarray,
    systems: Mapping[str, np.ndarray],
    groups: np.ndarray,
    limits: np.ndarray,
    *,
    n_resamples: int = 10_000,
    random_state: int = 0,
    pooled: bool = False,
) -> Measured:
    """Measure every system, and again on resamples of whole groups.

    Parameters
    ----------
    truth
        Ratings, `(clips, dimensions)`; NaN where a clip is not rated.
    systems
        Predictions of each system, `(clips, dimensions)`.
    groups
        Group code of each clip, `(clips,)`: the speaker.
    limits
        Least and largest rating of each dimension, `(dimensions, 2)`.
    n_resamples, random_state
        How many draws, the same for every system, and their seed.
    pooled
        Whether models of several folds predicted the clips: intervals are wider then.

    Examples
    --------
    >>> truth = np.linspace(1, 5, 20)[:, None]
    >>> found = measure(truth, {"a": truth}, np.repeat(range(5), 4), np.array([[1, 5]]),
    ...                 n_resamples=50)
    >>> low, high = found.interval("a", "ccc")
    >>> bool(found.estimates["a"]["ccc"][0] == 1 and 0.9 < low < high <= 1)
    True
    """
    _, codes = np.unique(groups, return_inverse=True)
    n_groups, n_dimensions = int(codes.max()) + 1, truth.shape[1]
    middle, ranges = limits.mean(axis=1), np.diff(limits, axis=1)[:, 0]
    sums, without = {}, {}
    for name, values in systems.items():
        table, each = np.zeros((n_groups, n_dimensions, N_SUMS)), clip_sums(truth, values, middle)
        np.add.at(table, codes, each)
        sums[name] = table
        without[name] = _mean(measures(table.sum(axis=0) - each)["ccc"])
    drawn = draw_sums(np.stack(list(sums.values()), axis=1), n_resamples, random_state)
    estimates = {name: _with_mean(table.sum(axis=0), ranges) for name, table in sums.items()}
    samples = {name: _with_mean(drawn[:, at], ranges) for at, name in enumerate(sums)}
    return Measured(sums, estimates, samples, codes, without, ranges, pooled)


def _with_mean(sums: np.ndarray, ranges: np.ndarray) -> dict[str, np.ndarray]:
    found = measures(sums)
    means = overall(found, ranges)
    return {n: np.concatenate([found[n], means[n][..., None]], axis=-1) for n in MEASURES}


def max_t_ccc(
    sums: Mapping[str, np.ndarray],
    pairs: list[tuple[str, str]],
    *,
    n_draws: int = 10_000,
    random_state: int = 0,
) -> MaxT:
    """Test whether pairs of systems differ in mean CCC, corrected for testing several.

    The two systems of every pair are exchanged within whole groups, all pairs in the same groups,
    and CCC is computed again: the step-down max-T test of `metrics.max_t`, for a measure that is
    not a sum over groups. The statistic of a pair is its difference over the root mean square of
    its differences in all exchanges. `shares_of_ccc` is what `allow_for_unseen` needs besides.

    Parameters
    ----------
    sums
        System to the sums of each group, `(groups, dimensions, 7)`, as `measure` makes them.
    pairs
        The family of pairs.
    n_draws, random_state
        Random exchanges where there are more in all, and their seed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth, groups = rng.normal(size=(60, 1)), np.repeat(range(6), 10)
    >>> systems = {"good": truth + 0.1 * rng.normal(size=(60, 1)), "none": rng.normal(size=(60, 1))}
    >>> found = measure(truth, systems, groups, np.array([[-3, 3]]), n_resamples=20)
    >>> max_t_ccc(found.sums, [("good", "none")]).p.tolist()  # the least of six groups, 2 / 2^6
    [0.03125]
    """
    n_groups = len(next(iter(sums.values())))
    signs = exchanges(n_groups, n_draws, random_state)
    exact = len(signs) == 2 ** min(n_groups, 60)
    observed, drawn = np.zeros(len(pairs)), np.zeros((len(signs), len(pairs)))
    for at, (a, b) in enumerate(pairs):
        both = (sums[a] + sums[b]).sum(axis=0) / 2
        half = ((sums[a] - sums[b]) / 2).reshape(n_groups, -1)
        moved = exchanged(signs, half).reshape(len(signs), *both.shape)
        gap = _mean(measures(both + moved)["ccc"] - measures(both - moved)["ccc"])
        own = _mean(measures(sums[a].sum(axis=0))["ccc"] - measures(sums[b].sum(axis=0))["ccc"])
        scale = math.sqrt(float((gap**2).mean()))
        if scale > TIE:
            observed[at], drawn[:, at] = abs(own) / scale, np.abs(gap) / scale
    p, single = p_values(as_extreme(drawn.T, observed), len(drawn), exact=exact)
    return MaxT(p, step_down(single, observed), exact)


def shares_of_ccc(
    measured: Measured, pairs: list[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of each group in differences of CCC and in the clips, for `max_t`.

    What a clip contributes to a difference is what leaving it out changes.

    Returns
    -------
    differences, worth, within
        As for `max_t`: `(groups, pairs)`, `(groups,)`, `(groups, pairs)`.
    """
    codes = measured.codes
    count, n = np.bincount(codes), len(codes)
    differences, within = np.zeros((2, len(count), len(pairs)))
    for at, (a, b) in enumerate(pairs):
        gap = measured.estimates[a]["ccc"][-1] - measured.estimates[b]["ccc"][-1]
        left = np.nan_to_num(measured.without[a] - measured.without[b], nan=gap)
        own = gap / n + (1 - 1 / n) * (gap - left)
        differences[:, at] = np.bincount(codes, own)
        square = (own - (differences[:, at] / count)[codes]) ** 2
        within[:, at] = count * square.sum() / max(n - len(count), 1)
    return differences, count / n, within
