"""How band energies move in time: modulation spectrum, change over lags, coupling of contours.

Modulation at 2 to 8 Hz carries syllables, faster modulation roughness and noise (S. Wu, T. Falk and
W.-Y. Chan, "Automatic speech emotion recognition using modulation spectral features", Speech
Communication 53(5), 2011).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import fft

from .frames import FRAME_RATE

BANDS = 8
EDGES_HZ = (0.5, 2.0, 4.0, 8.0, 16.0, 40.0)
LAGS = (1, 2, 4, 8, 16, 32)  # frames of 10 ms

MODULATION_NAMES = tuple(
    f"modulation{low:g}to{high:g}_band{band}"
    for low, high in pairwise(EDGES_HZ)
    for band in range(BANDS)
)
CHANGE_NAMES = tuple(f"change{10 * lag}ms_band{band}" for lag in LAGS for band in range(BANDS))


def broad_bands(logmel: np.ndarray) -> np.ndarray:
    """Average neighbouring mel bands into `BANDS` broad ones: `(frames, BANDS)` in dB."""
    return logmel.reshape(len(logmel), BANDS, -1).mean(axis=2)


def modulation_spectrum(bands: np.ndarray) -> np.ndarray:
    """Return how strongly each band is modulated, by modulation frequency.

    Parameters
    ----------
    bands : ndarray of shape (frames, BANDS)
        Levels in dB at 100 frames per second.

    Returns
    -------
    ndarray of shape (len(MODULATION_NAMES),)
        ln of the variance in dB² (plus 1e-4) within each range of `EDGES_HZ`, modulation range by
        modulation range. It does not depend on the clip's length.

    Examples
    --------
    >>> time = np.arange(1000) / 100
    >>> bands = np.repeat(np.sin(2 * np.pi * 3 * time)[:, None], 8, axis=1)
    >>> modulation_spectrum(bands).reshape(5, 8)[:, 0].argmax()
    np.int64(1)
    """
    frames = len(bands)
    taper = np.hanning(frames + 2)[1:-1, None]
    size = max(1024, 1 << (frames - 1).bit_length())
    spectra = np.asarray(fft.rfft((bands - bands.mean(axis=0)) * taper, size, axis=0))
    density = np.square(np.abs(spectra)) * (2 / size / np.sum(taper**2))
    hz = np.arange(len(density)) * FRAME_RATE / size
    edges = np.searchsorted(hz, EDGES_HZ)
    power = [density[low:high].sum(axis=0) for low, high in pairwise(edges)]
    return np.log(np.concatenate(power) + 1e-4)


def change_over_lags(bands: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Return how much each band changes over 10 to 320 ms.

    Parameters
    ----------
    bands : ndarray of shape (frames, BANDS)
        Levels in dB.
    active : ndarray of shape (frames,)
        bool: a pair of frames counts if one of the two is active.

    Returns
    -------
    ndarray of shape (len(CHANGE_NAMES),)
        ln of the mean absolute difference in dB (plus 0.1), lag by lag.
    """
    values = np.full((len(LAGS), bands.shape[1]), np.log(0.1))
    for row, lag in enumerate(LAGS):
        counts = active[lag:] | active[:-lag]
        if counts.any():
            change = np.abs(bands[lag:] - bands[:-lag])[counts].mean(axis=0)
            values[row] = np.log(change + 0.1)
    return values.ravel()


def coupling(contour: np.ndarray, others: np.ndarray, noise: float) -> np.ndarray:
    """Return the regression of other contours on one: how they follow it.

    Parameters
    ----------
    contour : ndarray of shape (frames,)
        What is followed, for example loudness in dB.
    others : ndarray of shape (frames, contours)
        What may follow.
    noise : float
        Variance added to the contour's, so that a constant contour leads nothing.

    Returns
    -------
    ndarray of shape (contours,)
        Units of `others` per unit of `contour`; zeros for no frames.

    Examples
    --------
    >>> coupling(np.arange(100.0), 3 * np.arange(100.0)[:, None], noise=0.0)
    array([3.])
    """
    if len(contour) == 0:
        return np.zeros(others.shape[1])
    centred = contour - contour.mean()
    return centred @ (others - others.mean(axis=0)) / (centred @ centred + noise * len(contour))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two contours, shrunk to 0 if either varies little (variance 1)."""
    if len(first) < 3:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first + len(first)) * (second @ second + len(second)))
    return float(first @ second / scale)
