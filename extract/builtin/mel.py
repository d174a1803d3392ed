"""Log-mel energies and mel-frequency cepstral coefficients (MFCC) from power spectra.

Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
recognition", IEEE Trans. ASSP 28(4), 1980. Mel scale: 2595 log10(1 + f / 700) (O'Shaughnessy).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from .frames import BIN_HZ, SIZE


def hz_to_mel(hz: npt.ArrayLike) -> np.ndarray:
    """Convert Hz to mel.

    Examples
    --------
    >>> round(float(hz_to_mel(1000.0)), 1)
    1000.0
    """
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def mel_to_hz(mel: npt.ArrayLike) -> np.ndarray:
    """Convert mel to Hz: the inverse of `hz_to_mel`."""
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


@cache
def mel_filters(bands: int, low: float, high: float) -> np.ndarray:
    """Make triangular filters, equally spaced in mel, each with weights that sum to 1.

    Parameters
    ----------
    bands : int
        Filters.
    low, high : float
        Lower edge of the first and upper edge of the last filter, in Hz.

    Returns
    -------
    ndarray of shape (SIZE // 2 + 1, bands)
        float32; `spectrogram @ filters` are the mean powers of the bands.

    Examples
    --------
    >>> mel_filters(40, 50.0, 7600.0).sum(axis=0).round(3).min()
    np.float32(1.0)
    """
    edges = mel_to_hz(np.linspace(hz_to_mel(low), hz_to_mel(high), bands + 2))
    hz = (np.arange(SIZE // 2 + 1) * BIN_HZ)[:, None]
    rise = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall))
    filters = (filters / np.maximum(filters.sum(axis=0), 1e-12)).astype(np.float32)
    filters.setflags(write=False)
    return filters


def mfcc(logmel: np.ndarray, coefficients: int) -> np.ndarray:
    """Turn log-mel energies into cepstral coefficients by an orthonormal DCT-II.

    Parameters
    ----------
    logmel : ndarray of shape (frames, bands)
        Log-mel energies.
    coefficients : int
        How many to keep, the first one (the mean level) included.

    Returns
    -------
    ndarray of shape (frames, coefficients)
    """
    return logmel @ _cosines(logmel.shape[1], coefficients)


@cache
def _cosines(bands: int, coefficients: int) -> np.ndarray:
    angle = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(coefficients))
    basis = np.cos(angle) * np.sqrt(2 / bands)
    basis[:, 0] = 1 / np.sqrt(bands)
    return basis  # (bands, coefficients)
