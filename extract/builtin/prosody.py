"""Prosody: the course of pitch and loudness, and the rhythm of voice and pauses.

Pitch is in semitones re 160 Hz (between the usual male and female voice), so 0 is neutral and is
what a clip without voice gets. Loudness is in dB re the clip's level.
"""

from __future__ import annotations

import numpy as np

from .frames import FRAME_RATE
from .functionals import cosine_shape, percentiles, slope, summarise, summary_names
from .pitch import Pitch

REFERENCE_HZ = 160.0
SHORTEST = 5  # voiced frames that make a stretch whose slope is worth measuring
_F0_STATISTICS = ("mean", "std", "p5", "p20", "p50", "p80", "p95", "speed", "skew")
_LOUD_STATISTICS = ("std", "p5", "p20", "p50", "p80", "p95", "speed", "delta4", "skew")
_VOICED_STATISTICS = ("mean", "std", "p10", "p50", "p90", "slope")
_COSINES = range(1, 7)

PITCH_NAMES = (
    *summary_names(["f0"], _F0_STATISTICS),
    "f0_range", "f0_above_median", "f0_below_median", "f0_slope", "f0_stretch_slope",
    "f0_stretch_steepness", "f0_stretch_slope_std", "f0_start", "f0_end", "f0_stretch_end",
    "f0_motion_mean", "f0_motion_std", "f0_rising",
    *(f"f0_cos{k}" for k in _COSINES),
)  # fmt: skip
LOUDNESS_NAMES = (
    *summary_names(["loudness"], _LOUD_STATISTICS),
    "loudness_slope",
    *summary_names(["voiced_loudness"], _VOICED_STATISTICS),
    *(f"loudness_cos{k}" for k in _COSINES),
)
RHYTHM_NAMES = (
    "duration", "speech_duration", "voiced_fraction", "stretch_mean", "stretch_std",
    "stretch_longest", "stretch_rate", "pause_fraction", "pause_rate", "syllable_rate",
    "syllable_rate_log",
)  # fmt: skip


def stretches(voiced: np.ndarray) -> list[np.ndarray]:
    """Split voiced frame numbers into unbroken stretches: positions into `voiced`.

    Examples
    --------
    >>> [part.tolist() for part in stretches(np.array([3, 4, 9, 10, 11]))]
    [[0, 1], [2, 3, 4]]
    """
    if len(voiced) == 0:
        return []
    return np.split(np.arange(len(voiced)), np.flatnonzero(np.diff(voiced) > 1) + 1)


def pitch_contour(pitch: Pitch) -> np.ndarray:
    """Describe the course of the pitch.

    Returns
    -------
    ndarray of shape (len(PITCH_NAMES),)
        Semitones; slopes and motion in semitones per second (`motion` as a logarithm);
        `f0_rising` is the share of rising steps less a half; `f0_cos1` and so on are the cosine
        shape of the contour from the first to the last voiced frame. Zeros for fewer than five
        voiced frames.
    """
    voiced = pitch.voiced
    if len(voiced) < SHORTEST:
        return np.zeros(len(PITCH_NAMES))
    f0 = 12 * np.log2(pitch.hz[voiced] / REFERENCE_HZ)
    low, p10, middle, p90, high = percentiles(f0, (5, 10, 50, 90, 95))
    slopes, weights = np.zeros(1), np.ones(1)
    ends, moves = np.zeros(2), np.zeros(1)
    parts = [part for part in stretches(voiced) if len(part) >= SHORTEST]
    if parts:
        weights = np.array([len(part) for part in parts])
        slopes = _slopes(f0, parts, weights)
        ends = np.array([f0[part].mean() for part in (parts[0], parts[-1])])
        joined = np.concatenate(parts)
        moves = FRAME_RATE * np.diff(f0[joined])[np.diff(voiced[joined]) == 1]
    course = np.interp(np.arange(voiced[0], voiced[-1] + 1), voiced, f0)
    values = [
        p90 - p10,
        high - middle,
        middle - low,
        FRAME_RATE * slope(f0, voiced),
        np.average(slopes, weights=weights),
        np.average(np.abs(slopes), weights=weights),
        slopes.std(),
        f0[:20].mean() - f0.mean(),
        f0[-20:].mean() - f0.mean(),
        ends[1] - ends[0],
        np.log(np.abs(moves).mean() + 1),
        np.log(moves.std() + 1),
        (moves > 0).mean() - 0.5,
    ]
    return np.concatenate(
        [summarise(f0, _F0_STATISTICS), values, cosine_shape(course, len(_COSINES))]
    )


def _slopes(contour: np.ndarray, parts: list[np.ndarray], lengths: np.ndarray) -> np.ndarray:
    """Least-squares slope of each part per second, all at once."""
    joined = np.concatenate(parts)
    starts = np.cumsum(lengths) - lengths
    time = joined - np.repeat(joined[starts] + (lengths - 1) / 2, lengths)
    rise = np.add.reduceat(time * contour[joined], starts)
    return FRAME_RATE * rise / np.add.reduceat(time**2, starts)


def loudness_contour(loudness: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Describe the course of the loudness.

    Parameters
    ----------
    loudness : ndarray of shape (frames,)
        dB re the clip's level.
    pitch : Pitch
        Of the same frames.

    Returns
    -------
    ndarray of shape (len(LOUDNESS_NAMES),)
        dB, slopes in dB per second; over frames within 40 dB of the loudest, over voiced frames,
        and the cosine shape from the first to the last voiced frame (zeros for fewer than five).
    """
    loud = np.flatnonzero(loudness > loudness.max() - 40)
    course = np.zeros(1)
    if len(pitch.voiced) >= SHORTEST:
        course = loudness[pitch.voiced[0] : pitch.voiced[-1] + 1]
    return np.concatenate(
        [
            summarise(loudness[loud], _LOUD_STATISTICS),
            [FRAME_RATE * slope(loudness[loud], loud)],
            summarise(loudness[pitch.voiced], _VOICED_STATISTICS),
            cosine_shape(course, len(_COSINES)),
        ]
    )


def rhythm(loudness: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Describe timing: durations, voiced stretches, pauses and syllables.

    Speech lasts from the first to the last frame within 25 dB of the loudest; frames between
    that are quieter are pauses; syllables are peaks of the smoothed loudness within 20 dB of the
    highest (after N. de Jong and T. Wempe, "Praat script to detect syllable nuclei", Behavior
    Research Methods 41(2), 2009).

    Returns
    -------
    ndarray of shape (len(RHYTHM_NAMES),)
        Durations as ln seconds, rates per second of speech, fractions of speech.
    """
    active = loudness > loudness.max() - 25
    inside = np.flatnonzero(active)
    speech = active[inside[0] : inside[-1] + 1]
    seconds = len(speech) / FRAME_RATE
    lengths = np.array([len(part) for part in stretches(pitch.voiced)] or [0]) / FRAME_RATE
    smoother = np.hanning(13)[1:-1]
    smooth = np.convolve(loudness, smoother / smoother.sum(), "same")
    top = smooth[1:-1]
    peaks = (top > smooth[:-2]) & (top >= smooth[2:]) & (top > smooth.max() - 20)
    syllables = np.count_nonzero(peaks) / seconds
    return np.array(
        [
            np.log(len(loudness) / FRAME_RATE),
            np.log(seconds),
            len(pitch.voiced) / len(speech),
            np.log(lengths.mean() + 0.02),
            np.log(lengths.std() + 0.02),
            np.log(lengths.max() + 0.02),
            np.count_nonzero(lengths) / seconds,
            1 - speech.mean(),
            np.count_nonzero(speech[:-1] & ~speech[1:]) / seconds,
            syllables,
            np.log(syllables + 0.5),
        ]
    )
