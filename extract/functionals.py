"""Statistics that turn a contour of any length into a fixed number of values.

Contours are `(frames, contours)`. Every statistic is defined for any number of frames, zero
included: what has no frames is 0, and what needs two frames is 0 for one.
"""

from __future__ import annotations

import numpy as np

STATISTICS = ("mean", "std", "p10", "p50", "p90", "delta")


def summarise(contours: np.ndarray) -> np.ndarray:
    """Give mean, standard deviation, percentiles and mean speed of each contour.

    Parameters
    ----------
    contours : ndarray of shape (frames, contours)
        Finite values.

    Returns
    -------
    ndarray of shape (contours, 6)
        In the order of `STATISTICS`; `delta` is the standard deviation of the differences
        between neighbouring frames.

    Examples
    --------
    >>> summarise(np.array([[0.0], [1.0], [2.0]])).round(2).tolist()
    [[1.0, 0.82, 0.2, 1.0, 1.8, 0.0]]
    """
    if len(contours) == 0:
        return np.zeros((contours.shape[1], len(STATISTICS)))
    low, middle, high = np.percentile(contours, (10, 50, 90), axis=0)
    delta = np.diff(contours, axis=0).std(axis=0) if len(contours) > 1 else np.zeros(len(low))
    columns = [contours.mean(axis=0), contours.std(axis=0), low, middle, high, delta]
    return np.stack(columns, axis=1)


def slope(contour: np.ndarray) -> float:
    """Give the least-squares slope of one contour per frame; 0 for fewer than two frames.

    Examples
    --------
    >>> slope(np.array([1.0, 3.0, 5.0]))
    2.0
    """
    if len(contour) < 2:
        return 0.0
    time = np.arange(len(contour)) - (len(contour) - 1) / 2
    return float(time @ contour / (time @ time))
