"""Formants: resonances of the vocal tract by linear prediction, from power spectra.

Selective linear prediction of the band below 5.5 kHz: its power spectrum is taken for that of a
signal at 11 kHz, whose autocorrelation gives the predictor (J. Makhoul, "Spectral linear
prediction: properties and applications", IEEE Trans. ASSP 23(3), 1975); the peaks of the
predictor's spectrum are the formants (S. McCandless, "An algorithm for automatic formant
extraction using linear prediction spectra", IEEE Trans. ASSP 22(2), 1974).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from .frames import BIN_HZ, SAMPLING_RATE

HIGHEST = 5500.0  # Hz
ORDER = 11  # of the predictor: five resonances and the source's tilt
PRE_EMPHASIS = 0.97  # evens out the voice's fall of 6 dB per octave
LAG_HZ = 30.0  # width of the Gaussian that smooths the spectrum, so that no harmonic is a formant
COUNT = 3
LOWEST = 150.0  # Hz
WIDEST = 800.0  # Hz: a broader resonance is not a formant
_GRID = 256  # points of the transform of the predictor
_STEP = 2 * HIGHEST / _GRID  # Hz


def formants(power: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the first three formants of every frame.

    Parameters
    ----------
    power : ndarray of shape (frames, SIZE // 2 + 1)
        Spectra of voiced frames.

    Returns
    -------
    hz : ndarray of shape (found, 3)
        Ascending, in those frames only where all three were found.
    bandwidth : ndarray of shape (found, 3)
        In Hz.
    found : ndarray of shape (found,)
        Numbers of these frames.
    """
    predictor = linear_prediction(power).astype(np.float32)
    response: npt.NDArray[np.complex64] = fft.rfft(predictor, _GRID)  # pyright: ignore
    valley = np.log(
        response.real**2 + response.imag**2 + np.float32(1e-12)
    )  # of the inverse filter
    left, middle, right = valley[:, :-2], valley[:, 1:-1], valley[:, 2:]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / np.maximum(bend, 1e-9)
    hz = (np.arange(1, middle.shape[1] + 1) + shift) * _STEP
    # near a resonance the response is 1 / (distance² + (bandwidth / 2)²): its bend gives the width
    bandwidth = _STEP * np.sqrt(8 / np.maximum(bend, 1e-9))
    formant = (middle < left) & (middle <= right) & (bandwidth < WIDEST)
    formant &= (hz > LOWEST) & (hz < HIGHEST - 300)
    found = np.flatnonzero(formant.sum(axis=1) >= COUNT)
    place = np.argsort(~formant[found], axis=1, kind="stable")[:, :COUNT]
    rows = found[:, None]
    return hz[rows, place], bandwidth[rows, place], found


def linear_prediction(power: np.ndarray) -> np.ndarray:
    """Return the predictor polynomials `(frames, ORDER + 1)` by the autocorrelation method.

    The first coefficient is 1; the predictor of silence is 1, 0, 0, ...
    """
    to_correlation = _band_to_correlation()
    correlation = power[:, : len(to_correlation)] @ to_correlation
    correlation[:, 0] += 1e-12
    lag = np.arange(ORDER)
    normal = correlation[:, np.abs(lag[:, None] - lag)]  # (frames, ORDER, ORDER), Toeplitz
    predictor = np.ones((len(power), ORDER + 1))
    predictor[:, 1:] = -np.linalg.solve(normal, correlation[:, 1:, None])[..., 0]
    return predictor


@cache
def _band_to_correlation() -> np.ndarray:
    """Pre-emphasis, inverse cosine transform and lag window in one: `(bins, ORDER + 1)`."""
    bins = int(HIGHEST / BIN_HZ) + 1
    angle = 2 * np.pi * np.arange(bins) * BIN_HZ / SAMPLING_RATE
    emphasis = 1 + PRE_EMPHASIS**2 - 2 * PRE_EMPHASIS * np.cos(angle)
    lag = np.arange(ORDER + 1)
    cosines = np.cos(np.pi / (bins - 1) * np.outer(np.arange(bins), lag))
    cosines[[0, -1]] /= 2  # the ends of a band count once, what is between twice
    smooth = np.exp(-0.5 * (2 * np.pi * LAG_HZ * lag / (2 * HIGHEST)) ** 2)
    smooth[0] *= 1 + 1e-7  # a little white noise: the equations can always be solved
    return emphasis[:, None] * cosines * smooth / (bins - 1)
