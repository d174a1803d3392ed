"""Voice quality of the voiced frames: noise, harmonics, perturbation, formants.

Everything is relative (a ratio in dB, a difference in semitones, a logarithm re a neutral
vocal tract), so 0 is neutral and is what a clip without voice gets.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from .formants import formants
from .frames import BIN_HZ, FLOOR_DB, SAMPLING_RATE, SIZE, blocks
from .functionals import STATISTICS, percentiles, summarise, summary_names
from .pitch import Pitch

NEUTRAL_HZ = np.array([500.0, 1500.0, 2500.0])  # formants of a uniform tube of 17.5 cm
HARMONICS = 8
_RATIOS = ("h1_h2", "h1_h3", "h1_h4", "h2_h4", "h1_h58", "cpp")
_AT_FORMANTS = ("h1_a1", "h1_a2", "h1_a3")
_FORMANTS = ("f1", "f2", "f3")
_FORMANT_STATISTICS = ("mean", "std", "p20", "p80")
_NOTHING = (np.zeros((0, len(_RATIOS))), *[np.zeros((0, 3))] * 3)  # `_qualities` of no frames

VOICE_NAMES = (
    *summary_names(["hnr"]),
    *summary_names(["periodicity"], ("mean", "std")),
    *summary_names(_RATIOS, ("mean", "std")),
    *summary_names(_AT_FORMANTS, ("mean", "std")),
    *summary_names(_FORMANTS, _FORMANT_STATISTICS),
    *summary_names(("f2_f1", "f3_f2"), ("mean", "std")),
    *summary_names(("f1_bandwidth", "f2_bandwidth", "f3_bandwidth"), ("mean", "std")),
    "jitter_mean",
    "jitter_median",
    "shimmer_mean",
    "shimmer_median",
)


def voice(power: np.ndarray, loudness: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Describe the voice of a clip.

    Parameters
    ----------
    power : ndarray of shape (frames, SIZE // 2 + 1)
        As `spectrogram` gives it, of a clip at level 0 dB.
    loudness : ndarray of shape (frames,)
        In dB.
    pitch : Pitch
        Of the same frames.

    Returns
    -------
    ndarray of shape (len(VOICE_NAMES),)
        `hnr` in dB; `h1_h2` and the like in dB: differences of harmonics, and of the first to
        the one nearest each formant (`a1`); `cpp`, cepstral peak prominence, in dB; formants as
        natural logarithms re 500, 1500 and 2500 Hz, bandwidths re 100 Hz; jitter (semitones) and
        shimmer (dB) as logarithms of second differences from frame to frame.
    """
    some = pitch.voiced[::2]  # voice quality moves slowly: every 20 ms, formants every 40 ms
    parts = [_qualities(power[some[part]], pitch.hz[some[part]]) for part in blocks(len(some), 128)]
    ratios, at_formants, resonance, width = (
        np.concatenate(list(part)) for part in zip(*parts or [_NOTHING], strict=True)
    )
    strength = np.clip(pitch.strength[pitch.voiced], 0.01, 0.9999)
    tract = np.log(resonance / NEUTRAL_HZ)
    return np.concatenate(
        [
            summarise(10 * np.log10(strength / (1 - strength)), STATISTICS),
            summarise(pitch.strength, ("mean", "std")),
            summarise(ratios, ("mean", "std")),
            summarise(at_formants, ("mean", "std")),
            summarise(tract, _FORMANT_STATISTICS),
            summarise(np.diff(tract, axis=1), ("mean", "std")),
            summarise(np.log((width + 20) / 100), ("mean", "std")),
            perturbation(pitch, loudness),
        ]
    )


def _qualities(power: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, ...]:
    """Harmonic ratios of every frame; of those with formants: `h1_a*`, formants, bandwidths."""
    decibels = 10 * np.log10(power + np.float32(10 ** (FLOOR_DB / 10 - 1)))
    levels = _harmonics(decibels, hz, np.arange(1, HARMONICS + 1))
    first = levels[:, 0]
    ratios = [
        first - levels[:, 1],
        first - levels[:, 2],
        first - levels[:, 3],
        levels[:, 1] - levels[:, 3],
        first - levels[:, 4:].mean(axis=1),
        peak_prominence(decibels),
    ]
    resonance, width, found = formants(power[::2])
    found = 2 * found
    nearest = np.maximum(1, np.round(resonance / hz[found, None]))
    at_formants = first[found, None] - _harmonics(decibels[found], hz[found], nearest)
    return np.stack(ratios, axis=1), at_formants, resonance, width


def peak_prominence(decibels: np.ndarray) -> np.ndarray:
    """Return the cepstral peak prominence of every frame in dB.

    The height of the cepstral peak between 2 and 15 ms over the line through that range
    (J. Hillenbrand et al., "Acoustic correlates of breathy vocal quality", J. Speech Hear. Res.
    37, 1994).

    Parameters
    ----------
    decibels : ndarray of shape (frames, SIZE // 2 + 1)
        Spectra in dB.
    """
    low, high = int(0.002 * SAMPLING_RATE), int(0.015 * SAMPLING_RATE)
    cepstrum = np.asarray(fft.dct(decibels, type=1))[:, low:high] / np.float32(SIZE)
    cepstrum = 20 * np.log10(np.abs(cepstrum) + np.float32(1e-3))
    time = np.arange(high - low) - (high - low - 1) / 2
    tilt = (cepstrum @ time / (time @ time))[:, None]
    return (cepstrum - cepstrum.mean(axis=1, keepdims=True) - tilt * time).max(axis=1)


def perturbation(pitch: Pitch, loudness: np.ndarray) -> np.ndarray:
    """Return jitter and shimmer from frame to frame: ln of mean and median second differences.

    A proxy at 10 ms for the perturbation from period to period: a straight glide of pitch or
    level has none. Zeros where no three neighbouring frames are voiced.

    Parameters
    ----------
    pitch : Pitch
        Any clip's.
    loudness : ndarray of shape (frames,)
        In dB.

    Returns
    -------
    ndarray of shape (4,)
        Jitter mean and median re 0.1 semitones, shimmer mean and median re 1 dB.
    """
    voiced = pitch.voiced
    middle = voiced[1:-1][voiced[2:] - voiced[:-2] == 2]
    if len(middle) == 0:
        return np.zeros(4)
    semitones = 12 * np.log2(np.maximum(pitch.hz, 1.0))
    values = []
    for contour, unit in ((semitones, 0.1), (loudness, 1.0)):
        bend = np.abs(contour[middle + 1] - 2 * contour[middle] + contour[middle - 1])
        values += [bend.mean() / unit, percentiles(bend, (50,))[0] / unit]
    return np.log(np.array(values) + 0.05)


def _harmonics(decibels: np.ndarray, hz: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Levels of harmonics in dB: each the strongest bin within a tenth of F0, at least one bin.

    `numbers` is `(harmonics,)` or `(frames, harmonics)`; the answer `(frames, harmonics)`.
    """
    f0 = hz[:, None] / BIN_HZ
    reach = np.maximum(1.0, 0.1 * f0)
    bins = (numbers * f0)[:, :, None] + reach[:, :, None] * np.linspace(-1, 1, 5)
    bins = np.clip(np.round(bins).astype(np.intp), 0, SIZE // 2)
    return decibels[np.arange(len(hz))[:, None, None], bins].max(axis=2)
