"""Follow the pitch of a voice: F0 and the strength of periodicity, every 10 ms.

Autocorrelation of Hann-windowed 40 ms frames divided by the autocorrelation of the window, with
parabolic interpolation, several candidates per frame, and a cheapest path through them
(P. Boersma, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", Proc. Inst. Phonetic Sciences 17, 1993). The path
pays for octave jumps and for changes between voiced and unvoiced, so single octave errors vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft

from .frames import SAMPLING_RATE, frames, power_of

WIDTH = 640  # samples: 40 ms, two and a half periods of the lowest voice
LOWEST, HIGHEST = 65.0, 620.0  # Hz
CANDIDATES = 6
VOICING = 0.45  # periodicity at which voiced and unvoiced cost the same
OCTAVE_COST = 0.02  # per octave of lower pitch: a period's multiples are as periodic as itself
JUMP_COST = 0.35  # per octave of change from frame to frame
CHANGE_COST = 0.14  # from voiced to unvoiced or back
_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Pitch:
    """The pitch of one clip.

    Attributes
    ----------
    hz : ndarray of shape (frames,)
        F0 in Hz; 0 where unvoiced.
    strength : ndarray of shape (frames,)
        Normalised autocorrelation of the chosen period, in [0, 1]; of the best period where
        unvoiced.
    """

    hz: np.ndarray
    strength: np.ndarray

    @property
    def voiced(self) -> np.ndarray:
        """Where there is a pitch: bool ndarray of shape (frames,)."""
        return self.hz > 0


def track_pitch(samples: np.ndarray) -> Pitch:
    """Follow the pitch through a clip at 16 kHz.

    Parameters
    ----------
    samples : ndarray of shape (samples,)
        Any gain.

    Returns
    -------
    Pitch
        One value per 10 ms; every frame is unvoiced in silence, noise or a constant.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 220 * np.arange(8000) / 16000)
    >>> np.round(np.median(track_pitch(tone).hz))
    np.float64(220.0)
    """
    cut = frames(samples, WIDTH)
    cut = cut - cut.mean(axis=1, keepdims=True)
    peak = np.abs(cut).max(axis=1)
    correlation = _autocorrelation(cut)
    lag, strength = _candidates(correlation)
    loudness = peak / max(peak.max(), 1e-12)
    # a frame much quieter than the loudest needs to be more periodic to count as voiced
    quiet = np.maximum(0, 2 - loudness / 0.03 * (1 + VOICING))
    path = _cheapest_path(lag, strength, VOICING + quiet)
    rows = np.arange(len(path))
    chosen = np.minimum(path, CANDIDATES - 1)
    voiced = path < CANDIDATES
    hz = np.where(voiced, SAMPLING_RATE / lag[rows, chosen], 0.0)
    best = np.where(voiced, strength[rows, chosen], strength.max(axis=1))
    return Pitch(hz, np.clip(best, 0.0, 1.0))


@cache
def _window() -> tuple[np.ndarray, np.ndarray]:
    window = np.hanning(WIDTH + 2)[1:-1]
    power = np.abs(np.fft.rfft(window, _SIZE)) ** 2
    shape = np.fft.irfft(power, _SIZE)[: _SIZE // 2]
    return window.astype(np.float32), shape / shape[0]


def _autocorrelation(cut: np.ndarray) -> np.ndarray:
    """Normalised autocorrelation `(frames, lags)` up to two samples beyond the longest period."""
    window, shape = _window()
    power = power_of(cut * window, _SIZE)
    lags = int(SAMPLING_RATE / LOWEST) + 3
    correlation = np.asarray(fft.irfft(power, _SIZE, axis=1))[:, :lags]
    energy = correlation[:, :1]
    return correlation / np.maximum(energy, 1e-12) / shape[:lags]


def _candidates(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best periods of each frame: lag in samples and strength, both `(frames, CANDIDATES)`."""
    first = int(SAMPLING_RATE / HIGHEST)
    left, mid, right = (
        correlation[:, first - 1 : -2],
        correlation[:, first:-1],
        correlation[:, first + 1 :],
    )
    score = mid - OCTAVE_COST * np.log2(np.arange(first, first + mid.shape[1]) / first)
    score = np.where((mid > left) & (mid >= right) & (mid > 0), score, -1.0)
    chosen = np.argpartition(-score, CANDIDATES, axis=1)[:, :CANDIDATES]
    take = lambda values: np.take_along_axis(values, chosen, axis=1)  # noqa: E731
    low, middle, high = take(left), take(mid), take(right)
    bend = np.maximum(2 * middle - low - high, 1e-9)
    shift = np.clip((high - low) / (2 * bend), -0.5, 0.5)
    found = take(score) > -1.0
    strength = np.where(found, middle + 0.25 * (high - low) * shift, 0.0)
    return chosen + first + shift, np.minimum(strength, 1.0)


def _cheapest_path(lag: np.ndarray, strength: np.ndarray, unvoiced: np.ndarray) -> np.ndarray:
    """Dynamic programming over candidates and one unvoiced state, which is number `CANDIDATES`."""
    octave = np.log2(lag)
    gain = strength - OCTAVE_COST * (octave - np.log2(SAMPLING_RATE / HIGHEST))
    gain = np.where(strength > 0, gain, -1.0)
    local = np.concatenate([gain, unvoiced[:, None]], axis=1)
    states = CANDIDATES + 1
    move = np.full((len(lag), states, states), CHANGE_COST)
    move[1:, :-1, :-1] = JUMP_COST * np.abs(octave[:-1, :, None] - octave[1:, None, :])
    move[:, -1, -1] = 0.0
    total = local[0]
    back = np.zeros((len(lag), states), dtype=np.intp)
    columns = np.arange(states)
    for t in range(1, len(lag)):
        reach = total[:, None] - move[t]
        back[t] = reach.argmax(axis=0)
        total = reach[back[t], columns] + local[t]
    path = np.empty(len(lag), dtype=np.intp)
    path[-1] = total.argmax()
    for t in range(len(lag) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path
