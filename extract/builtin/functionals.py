"""Statistics that turn contours of any length into a fixed number of values.

Contours are `(frames, contours)`. Every statistic is defined for any number of frames, zero
included: what has no frames is 0, and what needs several frames is 0 for fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

STATISTICS = ("mean", "std", "p10", "p50", "p90", "delta")


def summarise(contours: np.ndarray, statistics: tuple[str, ...] = STATISTICS) -> np.ndarray:
    """Return statistics of each contour.

    Parameters
    ----------
    contours : ndarray of shape (frames, contours) or (frames,)
        Finite values.
    statistics : tuple of str
        `mean`; `std` (population); `p10` and so on (percentiles, linear between frames); `delta`
        and `delta4` (standard deviation of the difference over 1 and 4 frames); `speed` (mean
        absolute difference of neighbours); `skew` (third standardised moment); `slope` (least
        squares, per second).

    Returns
    -------
    ndarray of shape (statistics * contours,)
        All contours of the first statistic, then of the next: in the order of `summary_names`.

    Examples
    --------
    >>> summarise(np.array([0.0, 1.0, 2.0]), ("mean", "p50", "speed")).tolist()
    [1.0, 1.0, 1.0]
    """
    contours = np.asarray(contours, dtype=np.float64)
    if contours.ndim == 1:
        contours = contours[:, None]
    if len(contours) == 0:
        return np.zeros(len(statistics) * contours.shape[1])
    percents = [float(name[1:]) for name in statistics if name[0] == "p"]
    ranks = iter(percentiles(contours, percents))
    values = [next(ranks) if name[0] == "p" else _MOMENTS[name](contours) for name in statistics]
    return np.concatenate(values)


def percentiles(contours: np.ndarray, percents: Sequence[float]) -> np.ndarray:
    """Return percentiles over frames, interpolated linearly: numpy's, without its overhead.

    Parameters
    ----------
    contours : ndarray of shape (frames, ...)
        At least one frame.
    percents : sequence of float
        In [0, 100].

    Returns
    -------
    ndarray of shape (percents, ...)

    Examples
    --------
    >>> percentiles(np.array([3.0, 1.0, 2.0]), (0, 50, 75))
    array([1. , 2. , 2.5])
    """
    ordered = np.sort(contours, axis=0)
    place = np.asarray(percents, dtype=np.float64) / 100 * (len(ordered) - 1)
    below = place.astype(np.intp)
    above = np.minimum(below + 1, len(ordered) - 1)
    part = (place - below).reshape(-1, *[1] * (ordered.ndim - 1))
    return ordered[below] * (1 - part) + ordered[above] * part


def summary_names(
    contours: Iterable[str], statistics: tuple[str, ...] = STATISTICS
) -> tuple[str, ...]:
    """Name the values of `summarise`.

    Examples
    --------
    >>> summary_names(["f1", "f2"], ("mean", "std"))
    ('f1_mean', 'f2_mean', 'f1_std', 'f2_std')
    """
    contours = tuple(contours)
    return tuple(f"{contour}_{name}" for name in statistics for contour in contours)


def slope(contour: np.ndarray, time: np.ndarray | None = None) -> float:
    """Return the least-squares slope of a contour over time (frame numbers by default).

    0 for fewer than two frames.

    Examples
    --------
    >>> slope(np.array([1.0, 3.0, 5.0]))
    2.0
    """
    if len(contour) < 2:
        return 0.0
    if time is None:
        time = np.arange(len(contour))
    centred = time - time.mean()
    return float(centred @ contour / (centred @ centred))


def cosine_shape(contour: np.ndarray, order: int) -> np.ndarray:
    """Describe the course of a contour by cosines of 1, 2, ... half cycles over its length.

    Parameters
    ----------
    contour : ndarray of shape (frames,)
        At least one frame.
    order : int
        Cosines.

    Returns
    -------
    ndarray of shape (order,)
        In units of the contour. The first is positive for a fall, the second for a valley.

    Examples
    --------
    >>> cosine_shape(np.cos(np.pi * (np.arange(50) + 0.5) / 50), 2).round(3) + 0.0
    array([1., 0.])
    """
    frames = len(contour)
    phase = np.pi * (np.arange(frames) + 0.5) / frames
    return (
        np.cos(np.outer(np.arange(1, order + 1), phase)) @ (contour - contour.mean()) * 2 / frames
    )


def log_covariance(contours: np.ndarray, noise: float) -> np.ndarray:
    """Return the matrix logarithm of the covariance of contours, upper triangle row by row.

    In the logarithm, covariances are points of a flat space, where means and linear classifiers
    make sense (V. Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on diffusion
    tensors", Magnetic Resonance in Medicine 56(2), 2006).

    Parameters
    ----------
    contours : ndarray of shape (frames, contours)
        Any number of frames; zero or one frame has no covariance but `noise`.
    noise : float
        Variance added to every contour, so that the logarithm exists.

    Returns
    -------
    ndarray of shape (contours * (contours + 1) / 2,)

    Examples
    --------
    >>> log_covariance(np.zeros((5, 2)), noise=np.e).round(3)
    array([1., 0., 1.])
    """
    width = contours.shape[1]
    centred = contours - contours.mean(axis=0) if len(contours) else contours
    covariance = centred.T @ centred / max(len(contours), 1) + noise * np.eye(width)
    variances, axes = np.linalg.eigh(covariance)
    logarithm = (axes * np.log(np.maximum(variances, noise / 2))) @ axes.T
    return logarithm[np.triu_indices(width)]


def _std(contours: np.ndarray) -> np.ndarray:
    centred = contours - contours.mean(axis=0)  # numpy's std, at half its cost for few frames
    return np.sqrt(np.einsum("tc,tc->c", centred, centred) / len(contours))


def _delta(contours: np.ndarray, lag: int) -> np.ndarray:
    if len(contours) <= lag + 1:
        return np.zeros(contours.shape[1])
    return _std(contours[lag:] - contours[:-lag])


def _speed(contours: np.ndarray) -> np.ndarray:
    if len(contours) < 2:
        return np.zeros(contours.shape[1])
    return np.abs(np.diff(contours, axis=0)).mean(axis=0)


def _skew(contours: np.ndarray) -> np.ndarray:
    centred = contours - contours.mean(axis=0)
    variance = np.mean(centred**2, axis=0)
    return np.mean(centred**3, axis=0) / np.maximum(variance, 1e-4) ** 1.5


_MOMENTS = {
    "mean": lambda contours: contours.mean(axis=0),
    "std": _std,
    "delta": lambda contours: _delta(contours, 1),
    "delta4": lambda contours: _delta(contours, 4),
    "speed": _speed,
    "skew": _skew,
    "slope": lambda contours: np.array([100 * slope(column) for column in contours.T]),
}
