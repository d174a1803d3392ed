"""One spectrogram for every descriptor: framing, power spectra, and a level that gain cannot move.

40 ms Hann frames every 10 ms: long enough to resolve the harmonics of a low voice (their width is
50 Hz), and short enough, at half height 20 ms, to follow speech. Nothing here reads files.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

SAMPLING_RATE = 16000  # Hz
WIDTH = 640  # samples per frame: 40 ms
HOP = 160  # samples between frames: 10 ms
SIZE = 1024  # points of the Fourier transform
FRAME_RATE = SAMPLING_RATE / HOP  # frames per second
BIN_HZ = SAMPLING_RATE / SIZE  # Hz per bin of a spectrum
SILENCE_DB = -90.0  # dB re full scale: a clip whose level is below this holds no signal
FLOOR_DB = -60.0  # dB re the clip's level: what is below may be noise or the codec's silence


def frames(samples: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """View a signal as overlapping frames, `HOP` apart and all wholly inside it.

    Parameters
    ----------
    samples : ndarray of shape (samples,)
        One signal. A signal shorter than one frame is padded with zeros on both sides.
    width : int, default=640
        Samples per frame.

    Returns
    -------
    ndarray of shape (frames, width)
        A read-only view, no copy. At least one frame.

    Examples
    --------
    >>> frames(np.arange(1000.0))[:, :3]
    array([[  0.,   1.,   2.],
           [160., 161., 162.],
           [320., 321., 322.]])
    """
    missing = width - len(samples)
    if missing > 0:
        samples = np.pad(samples, (missing // 2, missing - missing // 2))
    return np.lib.stride_tricks.sliding_window_view(samples, width)[::HOP]


@cache
def window() -> np.ndarray:
    """Return the Hann window of one frame, float32 `(WIDTH,)`, without zeros at its ends."""
    hann = np.hanning(WIDTH + 2)[1:-1].astype(np.float32)
    hann.setflags(write=False)
    return hann


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Return the power spectrum of every Hann-windowed frame.

    Parameters
    ----------
    samples : ndarray of shape (samples,)
        One float32 signal at 16 kHz.

    Returns
    -------
    ndarray of shape (frames, SIZE // 2 + 1)
        float32 power, scaled so that white noise of variance 1 has a mean of 1 in every bin.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    >>> power = spectrogram(noise)
    >>> power.shape, round(float(power.mean()), 1)
    ((97, 513), 1.0)
    """
    cut = frames(samples)
    shape = window() / np.float32(np.sqrt(np.sum(window() ** 2)))
    power = np.empty((len(cut), SIZE // 2 + 1), dtype=np.float32)
    for some in blocks(len(cut)):
        # scipy's transform is four times as fast as numpy's on many rows
        spectra: npt.NDArray[np.complex64] = fft.rfft(cut[some] * shape, SIZE)  # pyright: ignore
        parts = spectra.view(np.float32)  # real, imaginary, real, ...: one contiguous pass
        parts *= parts
        np.add(parts[:, ::2], parts[:, 1::2], out=power[some])
    return power


def blocks(count: int, size: int = 64) -> Iterator[slice]:
    """Cut `count` frames into slices whose temporary arrays stay small.

    Larger ones leave the processor's cache, and cost fresh pages of memory each time: on some
    systems that takes longer than the transform itself.

    Examples
    --------
    >>> list(blocks(100))
    [slice(0, 64, None), slice(64, 100, None)]
    """
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def decibel(power: npt.ArrayLike) -> np.ndarray:
    """Return power in dB, with a soft floor at `FLOOR_DB`, in float64.

    Examples
    --------
    >>> decibel([1.0, 0.0]).round(2).tolist()
    [0.0, -60.0]
    """
    return 10 * np.log10(np.asarray(power, dtype=np.float64) + 10 ** (FLOOR_DB / 10))


def level_db(samples: np.ndarray) -> float:
    """Return the level of the sounding part of a clip in dB re full scale (RMS).

    The mean power of the 25 ms frames within 30 dB of the loudest one, so that
    silence before and after speech does not count.

    Examples
    --------
    >>> tone = np.sin(np.arange(16000) * 0.3)
    >>> round(level_db(tone), 1)
    -3.0
    >>> round(level_db(np.concatenate([tone * 0.1, np.zeros(32000)])), 1)
    -23.0
    """
    cut = frames(samples, 400)
    power = np.einsum("ts,ts->t", cut, cut, dtype=np.float64) / cut.shape[1]
    loud = power[power >= power.max() * 1e-3]
    return float(10 * np.log10(max(loud.mean(), 1e-20)))
