"""Bootstrap intervals of measures of probabilities: NLL, Brier and CCC.

Each is a function of sums over clips (CCC of first and second moments), so resamples of groups are
one product of draw counts with sums over groups, as in `bootstrap`. The standard error has a floor,
so that an interval never has zero width: what errors would cost if they came as often as the clips
at hand show, where the probabilities expect them. ECE gets no interval, since few clips alone push
it up; `measures.ece_noise` says by how much.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .bootstrap import FEWEST_GROUPS, draw_sums
from .intervals import interval, kish_size, retrained

LIMITS = {"nll": (0.0, np.inf), "brier": (0.0, 2.0), "ccc": (-1.0, 1.0)}


def proba_intervals(
    truth: np.ndarray,
    probas: Mapping[str, np.ndarray],
    groups: np.ndarray,
    values: np.ndarray | None = None,
    *,
    n_resamples: int = 10_000,
    level: float = 0.95,
    random_state: int = 0,
    pooled: bool = False,
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
    pooled
        Whether the groups were tested in folds, by models of their own.

    Returns
    -------
    intervals
        System -> measure -> low and high; NaN with fewer than five groups.

    Examples
    --------
    >>> truth, proba = np.tile([0, 1], 5), np.array([[0.9, 0.1], [0.2, 0.8]] * 5)
    >>> found = proba_intervals(truth, {"a": proba}, np.repeat(range(5), 2), n_resamples=20)
    >>> low, high = found["a"]["nll"]  # five equal speakers: the floor gives the width
    >>> 0 <= low < 0.164 < high
    True
    """
    if not probas:
        return {}
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1
    columns = {name: _columns(truth, proba, values) for name, proba in probas.items()}
    stacked = np.concatenate(list(columns.values()), axis=1)
    sums = np.zeros((n_groups, stacked.shape[1]))
    np.add.at(sums, codes, stacked)
    drawn = draw_sums(sums, n_resamples, random_state)
    whole = sums.sum(axis=0, keepdims=True)
    effective = kish_size(np.bincount(codes))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    start = 0
    for name, own in columns.items():
        at = slice(start, start + own.shape[1])
        start = at.stop
        estimates, samples = _measures(whole[:, at]), _measures(drawn[:, at])
        found[name] = {}
        for measure, sample in samples.items():
            estimate = float(estimates[measure][0])
            floor = _floor(measure, estimate, truth, probas[name])
            wider = np.sqrt(retrained(n_groups)) if pooled else 1.0
            low, high = interval(estimate, wider * sample, effective, level, floor)
            if n_groups < FEWEST_GROUPS:
                low = high = float("nan")
            least, most = LIMITS[measure]
            found[name][measure] = (
                float(np.clip(low, least, most)),
                float(np.clip(high, least, most)),
            )
    return found


def _floor(measure: str, estimate: float, truth: np.ndarray, proba: np.ndarray) -> float:
    """Return a standard error that comes from the number of clips alone."""
    n = len(truth)
    if measure == "ccc":  # of Fisher's z, at a value kept off 1
        return (1 - (abs(estimate) * n / (n + 2)) ** 2) / np.sqrt(n)
    top = np.clip(np.sort(proba, axis=1)[:, -2:], 1e-15, 1 - 0.5 / n)
    cost = (
        np.diff(np.log(top), axis=1)[:, 0] if measure == "nll" else 2 * np.diff(top, axis=1)[:, 0]
    )
    doubt = 1 - top[:, 1]
    wrong = ((proba.argmax(axis=1) != truth).sum() + 2) / (n + 4)
    variance = (doubt * (1 - doubt) * cost**2).mean() * min(1.0, wrong / doubt.mean())
    return float(np.sqrt(variance / n))


def _columns(truth: np.ndarray, proba: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Return what is summed of each clip: 1, NLL, Brier, moments for CCC."""
    rows = np.arange(len(truth))
    target = np.zeros_like(proba)
    target[rows, truth] = 1
    parts = [
        np.ones((len(truth), 1)),
        -np.log(np.clip(proba[rows, truth], 1e-15, 1))[:, None],
        ((proba - target) ** 2).sum(axis=1)[:, None],
    ]
    if values is not None:
        # moments about a centre, so that squares do not lose digits
        x = values[truth] - values.mean()
        y = proba @ values - values.mean()
        parts.append(np.stack([x, y, x * x, y * y, x * y], axis=1))
    return np.concatenate(parts, axis=1)


def _measures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return each measure of sums `(draws, columns)`, as `measures` defines it."""
    n = sums[:, 0]
    found = {
        "nll": sums[:, 1] / n,
        "brier": sums[:, 2] / n,
    }
    if sums.shape[1] > 3:
        x, y, xx, yy, xy = (sums[:, 3 + i] / n for i in range(5))
        spread = (xx - x**2) + (yy - y**2) + (x - y) ** 2
        covariance = 2 * (xy - x * y)
        flat = spread <= 1e-15
        found["ccc"] = np.where(flat, 0.0, covariance / np.where(flat, 1.0, spread))
    return found
