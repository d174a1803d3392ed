"""The shape of a short-time spectrum: where its energy is, how it slopes, how fast it changes.

`alpha_ratio`, `hammarberg` and the slopes follow F. Eyben et al., "The Geneva minimalistic acoustic
parameter set (GeMAPS) for voice research and affective computing", IEEE Trans. Affective
Computing 7(2), 2016; the moments, roll-off, flatness and flux follow G. Peeters, "A large set of
audio features for sound description", Ircam, 2004.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .frames import BIN_HZ, SIZE, blocks

LOWEST = 60.0  # Hz
_EDGES = (0.0, 0.5, 1.0, 1.5, 4.0, 5.0)  # kHz, where summed bands begin
_SLOPES = ((0.0, 0.5), (0.5, 1.5), (1.5, 5.0))  # kHz
FLOOR = 1e-9  # power per bin, re the clip's level, so that silence has a flat spectrum

CONTOURS = (
    "centroid",  # ln Hz
    "spread",  # ln Hz
    "entropy",  # of the spectrum as a distribution, 1 for white
    "rolloff50",  # ln Hz below which 50 % of the energy is
    "rolloff90",
    "flatness",  # ln of geometric over arithmetic mean, 0 for white
    "alpha_ratio",  # dB, energy of 50-1000 Hz over 1-5 kHz
    "hammarberg",  # dB, strongest bin of 0-2 kHz over that of 2-5 kHz
    "slope0",  # dB per kHz in 0-500 Hz
    "slope500",  # dB per kHz in 500-1500 Hz
    "slope1500",  # dB per kHz in 1.5-5 kHz
    "below500",  # dB, share of the energy
    "below1500",
    "above4000",
    "flux",  # change of the normalised amplitude spectrum since the last frame, 0 to sqrt 2
)


def timbre(power: np.ndarray) -> np.ndarray:
    """Describe the spectrum of every frame.

    Parameters
    ----------
    power : ndarray of shape (frames, SIZE // 2 + 1)
        As `spectrogram` gives it, of a clip at level 0 dB. `Spectral` takes every second frame:
        20 ms are short enough for these.

    Returns
    -------
    ndarray of shape (frames, len(CONTOURS))
        Float64; the units are next to the names in `CONTOURS`.

    Examples
    --------
    >>> white = timbre(np.ones((1, 513)))[0]
    >>> dict(zip(CONTOURS, white.round(2).tolist()))["entropy"]
    1.0
    """
    parts = []
    for some in blocks(len(power), 128):
        before = max(some.start - 1, 0)  # one frame more, for the change since then
        parts.append(_timbre(power[before : some.stop])[some.start - before :])
    return np.concatenate(parts).astype(np.float64)


def _timbre(power: np.ndarray) -> np.ndarray:
    power, hz = _halved(power)
    total = power.sum(axis=1)
    share = power / total[:, None]
    decibels = 10 * np.log10(power)
    level = 10 * np.log10(total)

    first, second = (share @ np.stack([hz, hz**2], axis=1)).T
    spread = np.sqrt(np.maximum(second - first**2, 1e-3))
    mean_level = np.einsum("tf,tf->t", share, decibels)  # weighted by itself: the entropy's sum
    below = np.cumsum(share[:, : len(hz) // 2 * 2 : 2] + share[:, 1::2], axis=1)  # 62 Hz will do
    rolloff = [
        hz[np.minimum(2 * (below < part).sum(axis=1), len(hz) - 1)]
        for part in (np.float32(0.5), np.float32(0.9))
    ]
    bands = np.add.reduceat(power, np.searchsorted(hz, _EDGES), axis=1)
    to_500, to_1000, to_1500, to_4000, to_5000, to_8000 = bands.T
    split, end = np.searchsorted(hz, (2.0, 5.0))
    amplitude = np.sqrt(share)
    flux = np.zeros(len(power))
    flux[1:] = np.sqrt(np.square(amplitude[1:] - amplitude[:-1]).sum(axis=1))
    low, high = to_500 + to_1000, to_1500 + to_4000 + to_5000
    columns = [
        np.log(1000 * first),
        np.log(1000 * spread),
        (level - mean_level) / (10 * np.log10(len(hz))),
        *np.log(1000 * np.stack(rolloff)),
        (decibels.mean(axis=1) - level) * np.log(10) / 10 + np.log(len(hz)),
        10 * np.log10(low / high),
        decibels[:, :split].max(axis=1) - decibels[:, split:end].max(axis=1),
        *(decibels @ _slopes(len(hz))).T,
        10 * np.log10(to_500 / total),
        10 * np.log10((low + to_1500) / total),
        10 * np.log10((to_5000 + to_8000) / total),
        flux,
    ]
    return np.stack(columns, axis=1)


def _halved(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum pairs of bins from 62.5 Hz on: power `(frames, bins)` and kHz `(bins,)`, float32."""
    first = int(np.ceil(LOWEST / BIN_HZ))
    power = power[:, first:-1:2] + power[:, first + 1 :: 2] + np.float32(FLOOR)
    khz = (np.arange(power.shape[1]) * 2 + first + 0.5) * BIN_HZ / 1000
    return power, khz.astype(np.float32)


@cache
def _slopes(bins: int) -> np.ndarray:
    """Least squares as one product: `(bins, 3)`, dB per kHz over each range of `_SLOPES`."""
    khz = _halved(np.zeros((1, SIZE // 2 + 1)))[1]
    weights = np.zeros((bins, len(_SLOPES)), dtype=np.float32)
    for column, (low, high) in enumerate(_SLOPES):
        inside = (khz >= low) & (khz < high)
        centred = khz[inside] - khz[inside].mean()
        weights[inside, column] = centred / (centred @ centred)
    return weights
