"""Cut a signal into overlapping frames, and bring it to a level that recording gain does not move.

Arrays are `(frames, samples)`; frame `t` is centred near `t * HOP` samples after the first one.
Nothing here knows of files or features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

SAMPLING_RATE = 16000  # Hz
HOP = 160  # samples between frames: 10 ms
SILENCE_DB = -90.0  # dB re full scale: a clip whose level is below this holds no signal


def frames(samples: np.ndarray, width: int, hop: int = HOP) -> np.ndarray:
    """View a signal as overlapping frames that lie wholly inside it.

    Parameters
    ----------
    samples : ndarray of shape (samples,)
        One signal. A signal shorter than one frame is padded with zeros on both sides.
    width : int
        Samples per frame.
    hop : int, default=160
        Samples from one frame to the next.

    Returns
    -------
    ndarray of shape (frames, width)
        A read-only view, no copy. At least one frame.

    Examples
    --------
    >>> frames(np.arange(6.0), width=4, hop=2)
    array([[0., 1., 2., 3.],
           [2., 3., 4., 5.]])
    """
    lack = width - len(samples)
    if lack > 0:
        samples = np.pad(samples, (lack // 2, lack - lack // 2))
    return np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]


def power_spectra(samples: np.ndarray, width: int, size: int, hop: int = HOP) -> np.ndarray:
    """Give the power spectrum of every Hann-windowed frame.

    Parameters
    ----------
    samples : ndarray of shape (samples,)
        One signal.
    width, size : int
        Samples per frame, and points of the Fourier transform (at least `width`).
    hop : int, default=160
        Samples from one frame to the next.

    Returns
    -------
    ndarray of shape (frames, size // 2 + 1)
        Power scaled so that white noise of variance 1 gives a mean of 1 in every bin.
    """
    window = np.hanning(width + 2)[1:-1].astype(samples.dtype)
    power = power_of(frames(samples, width, hop) * window, size)
    power /= np.sum(window**2)
    return power


def power_of(cut: np.ndarray, size: int) -> np.ndarray:
    """Give the squared magnitudes `(frames, size // 2 + 1)` of the spectra of windowed frames."""
    # four times the speed of numpy on many rows
    spectra: npt.NDArray[np.complex64] = fft.rfft(cut, size, axis=1)  # pyright: ignore
    return spectra.real**2 + spectra.imag**2


def level_db(samples: np.ndarray) -> float:
    """Give the level of the sounding part of a clip in dB re full scale (RMS).

    The mean power of those 25 ms frames that lie within 30 dB of the loudest one, so that
    silence before and after speech does not count.

    Examples
    --------
    >>> tone = np.sin(np.arange(16000) * 0.3)
    >>> round(level_db(tone), 1)
    -3.0
    >>> round(level_db(np.concatenate([tone * 0.1, np.zeros(32000)])), 1)
    -23.0
    """
    power = np.mean(np.square(frames(samples, 400), dtype=np.float64), axis=1)
    loud = power[power >= power.max() * 1e-3]
    return float(10 * np.log10(max(loud.mean(), 1e-20)))
