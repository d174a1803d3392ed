"""Bootstrap intervals of measures of probabilities: NLL, Brier, ECE and CCC.

Each is a function of sums over clips (ECE of sums within its bins, CCC of first and second
moments), so resamples of groups are one product of draw counts with sums over groups, as in
`bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .bootstrap import draws, interval

__all__ = ["LIMITS", "proba_intervals"]

BINS = 15
LIMITS = {"nll": (0.0, np.inf), "brier": (0.0, 2.0), "ece": (0.0, 1.0), "ccc": (-1.0, 1.0)}


def proba_intervals(
    truth: np.ndarray,
    probas: Mapping[str, np.ndarray],
    groups: np.ndarray,
    values: np.ndarray | None = None,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return intervals of each measure for each system, resampling whole groups.

    Parameters
    ----------
    truth
        Label code of each clip, `(clips,)`.
    probas
        Probabilities `(clips, labels)` by system.
    groups
        Group code of each clip, `(clips,)`.
    values
        What each label is worth, `(labels,)`; without, no CCC.
    n_resamples, level, random_state
        How many draws, coverage aimed at, seed.

    Returns
    -------
    intervals
        System -> measure -> low and high; NaN with one group.

    Examples
    --------
    >>> truth, proba = np.array([0, 1, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]] * 2)
    >>> found = proba_intervals(truth, {"a": proba}, np.array([0, 0, 1, 1]), n_resamples=20)
    >>> [round(limit, 3) for limit in found["a"]["nll"]]  # two equal speakers: no spread
    [0.164, 0.164]
    """
    if not probas:
        return {}
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1
    columns = {name: _columns(truth, proba, values) for name, proba in probas.items()}
    stacked = np.concatenate(list(columns.values()), axis=1)
    sums = np.zeros((n_groups, stacked.shape[1]))
    np.add.at(sums, codes, stacked)
    sizes = np.ones(n_groups, dtype=np.int64)
    drawn = np.concatenate(
        [counts @ sums for counts in draws(sizes, n_resamples, random_state, np.float64)]
    )
    whole = sums.sum(axis=0, keepdims=True)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    start = 0
    for name, own in columns.items():
        at = slice(start, start + own.shape[1])
        start = at.stop
        estimates, samples = _measures(whole[:, at]), _measures(drawn[:, at])
        found[name] = {}
        for measure, sample in samples.items():
            low, high = interval(float(estimates[measure][0]), sample, n_groups, level)
            least, most = LIMITS[measure]
            found[name][measure] = (
                float(np.clip(low, least, most)),
                float(np.clip(high, least, most)),
            )
    return found


def _columns(truth: np.ndarray, proba: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Return what is summed of each clip: 1, NLL, Brier, ECE by bin, moments for CCC."""
    rows = np.arange(len(truth))
    target = np.zeros_like(proba)
    target[rows, truth] = 1
    confidence = proba.max(axis=1)
    gap = np.zeros((len(truth), BINS))
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap[rows, place] = confidence - (proba.argmax(axis=1) == truth)
    parts = [
        np.ones((len(truth), 1)),
        -np.log(np.clip(proba[rows, truth], 1e-15, 1))[:, None],
        ((proba - target) ** 2).sum(axis=1)[:, None],
        gap,
    ]
    if values is not None:
        # moments about a middle, so that squares do not eat the digits
        x = values[truth] - values.mean()
        y = proba @ values - values.mean()
        parts.append(np.stack([x, y, x * x, y * y, x * y], axis=1))
    return np.concatenate(parts, axis=1)


def _measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return each measure of sums `(draws, columns)`, as `metrics` defines it."""
    n = sums[:, 0]
    found = {
        "nll": sums[:, 1] / n,
        "brier": sums[:, 2] / n,
        "ece": np.abs(sums[:, 3 : 3 + BINS]).sum(axis=1) / n,
    }
    if sums.shape[1] > 3 + BINS:
        x, y, xx, yy, xy = (sums[:, 3 + BINS + i] / n for i in range(5))
        spread = (xx - x**2) + (yy - y**2) + (x - y) ** 2
        covariance = 2 * (xy - x * y)
        flat = spread <= 1e-15
        found["ccc"] = np.where(flat, 0.0, covariance / np.where(flat, 1.0, spread))
    return found
