"""Follow the pitch of a voice: F0 and the strength of periodicity, every 10 ms.

The autocorrelation of a Hann-windowed frame divided by that of the window, parabolic
interpolation, several candidates per frame, and the best path through them (P. Boersma, "Accurate
short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled
sound", Proc. Inst. Phonetic Sciences 17, 1993). The path pays for octave jumps and for changes
between voiced and unvoiced, so that single octave errors vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft

from .frames import BIN_HZ, SAMPLING_RATE, SIZE, blocks, window

LOWEST, HIGHEST = 65.0, 620.0  # Hz
HIGH_PASS = 45.0  # Hz: rumble below it is not voice
CANDIDATES = 5
VOICING = 0.45  # periodicity at which voiced and unvoiced are worth the same
QUIET = 0.03  # amplitude re the loudest frame below which voicing must be clearer
OCTAVE_COST = 0.02  # per octave of lower pitch: a period's multiples are as periodic as itself
JUMP_COST = 0.35  # per octave of change from frame to frame
CHANGE_COST = 0.14  # from voiced to unvoiced or back


@dataclass(frozen=True, slots=True)
class Pitch:
    """The pitch of one clip.

    Attributes
    ----------
    hz : ndarray of shape (frames,)
        F0 in Hz; 0 where unvoiced.
    strength : ndarray of shape (frames,)
        Normalised autocorrelation at the chosen period, in [0, 1]; at the best one where unvoiced.
    voiced : ndarray of shape (voiced frames,)
        Numbers of the frames that have a pitch, ascending.
    """

    hz: np.ndarray
    strength: np.ndarray
    voiced: np.ndarray


def track_pitch(power: np.ndarray) -> Pitch:
    """Follow the pitch through a clip.

    Parameters
    ----------
    power : ndarray of shape (frames, SIZE // 2 + 1)
        As `spectrogram` gives it; any gain.

    Returns
    -------
    Pitch
        One value per frame; every frame is unvoiced in silence or noise.

    Examples
    --------
    >>> from affekt.extract.builtin.frames import spectrogram
    >>> tone = np.sin(2 * np.pi * 220 * np.arange(8000) / 16000)
    >>> float(np.median(track_pitch(spectrogram(tone.astype(np.float32))).hz).round())
    220.0
    """
    correlation, amplitude = _autocorrelation(power)
    lag, strength = _candidates(correlation)
    relative = amplitude / max(amplitude.max(), 1e-12)
    unvoiced = VOICING + np.maximum(0, 2 - relative / QUIET * (1 + VOICING))
    path = _best_path(lag, strength, unvoiced)
    voiced = np.flatnonzero(path < CANDIDATES)
    hz = np.zeros(len(path))
    best = strength.max(axis=1)
    hz[voiced] = SAMPLING_RATE / lag[voiced, path[voiced]]
    best[voiced] = strength[voiced, path[voiced]]
    return Pitch(hz, best, voiced)


@cache
def _window_shape(lags: int) -> np.ndarray:
    """Autocorrelation of the frame's window, 1 at lag 0."""
    padded = np.zeros(2 * SIZE)
    padded[: len(window())] = window()
    shape = np.fft.irfft(np.abs(np.fft.rfft(padded)) ** 2)[:lags]
    return (shape / shape[0]).astype(np.float32)


def _autocorrelation(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised autocorrelation `(frames, lags)` up to beyond the longest period; amplitude."""
    lags = int(SAMPLING_RATE / LOWEST) + 3
    correlation = np.empty((len(power), lags), dtype=np.float32)
    for some in blocks(len(power)):
        filtered = power[some].copy()
        filtered[:, : int(HIGH_PASS / BIN_HZ) + 1] = 0
        # the inverse transform of a real, even spectrum, but for a factor
        correlation[some] = np.asarray(fft.dct(filtered, type=1))[:, :lags]
    energy = np.maximum(correlation[:, :1], 1e-12)
    correlation /= energy
    correlation /= _window_shape(lags)
    return correlation, np.sqrt(energy[:, 0])


def _candidates(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best periods of each frame: lag in samples and strength, both `(frames, CANDIDATES)`."""
    first = int(SAMPLING_RATE / HIGHEST)
    left, middle = correlation[:, first - 1 : -2], correlation[:, first:-1]
    right = correlation[:, first + 1 :]
    lags = np.arange(first, first + middle.shape[1], dtype=np.float32)
    score = middle - np.float32(OCTAVE_COST) * np.log2(lags)
    peaks = (middle > left) & (middle >= right) & (middle > 0.1)
    score = np.where(peaks, score, np.float32(-2.0))
    rows = np.arange(len(score))[:, None]
    chosen = np.empty((len(score), CANDIDATES), dtype=np.intp)
    for place in range(CANDIDATES):  # five maxima are faster than a partition
        chosen[:, place] = score.argmax(axis=1)
        score[rows[:, 0], chosen[:, place]] = -3.0
    low, high = left[rows, chosen].astype(float), right[rows, chosen].astype(float)
    top = middle[rows, chosen].astype(float)
    bend = np.maximum(2 * top - low - high, 1e-9)
    shift = np.clip((high - low) / (2 * bend), -0.5, 0.5)
    strength = np.where(peaks[rows, chosen], top + 0.25 * (high - low) * shift, 0.0)
    return chosen + first + shift, np.clip(strength, 0.0, 1.0)


def _best_path(lag: np.ndarray, strength: np.ndarray, unvoiced: np.ndarray) -> np.ndarray:
    """Best state of every frame: a candidate, or unvoiced, which is number `CANDIDATES`.

    Where unvoiced wins by more than two changes cost, no path can be voiced. Such frames cut the
    clip into runs that do not depend on each other, and all runs are followed at once.
    """
    octave = np.log2(lag)
    gain = strength - OCTAVE_COST * (octave - np.log2(SAMPLING_RATE / HIGHEST))
    gain = np.where(strength > 0, gain, -1.0)
    path = np.full(len(lag), CANDIDATES)
    open_frames = np.flatnonzero(gain.max(axis=1) + 2 * CHANGE_COST >= unvoiced)
    if len(open_frames) == 0:
        return path
    cuts = np.flatnonzero(np.diff(open_frames) > 1) + 1
    run = np.zeros(len(open_frames), dtype=np.intp)
    run[cuts] = 1
    run = np.cumsum(run)
    starts = open_frames[np.concatenate([[0], cuts])]
    time = open_frames - starts[run]
    shape = (time.max() + 1, run[-1] + 1)  # a padded table: time, run
    octaves = np.zeros((*shape, CANDIDATES))
    local = np.zeros((*shape, CANDIDATES + 1))  # beyond its end a run pays and earns nothing
    local[..., :-1] = -1.0
    octaves[time, run] = octave[open_frames]
    local[time, run] = np.column_stack([gain, unvoiced])[open_frames]
    path[open_frames] = _follow(octaves, local)[time, run]
    return path


def _follow(octaves: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Dynamic programming over `(time, runs, states)`, every run unvoiced before and after it."""
    ends = np.where(np.arange(local.shape[-1]) < CANDIDATES, CHANGE_COST, 0.0)
    move = np.full((*local.shape, local.shape[-1]), -CHANGE_COST)  # time, run, to, from
    move[1:, :, :-1, :-1] = -JUMP_COST * np.abs(octaves[1:, :, :, None] - octaves[:-1, :, None, :])
    move[:, :, -1, -1] = 0.0
    move += local[..., None]
    total = np.empty(local.shape)
    total[0] = local[0] - ends
    for before, after, step in zip(total[:-1], total[1:], move[1:], strict=True):
        np.maximum.reduce(before[:, None, :] + step, axis=2, out=after)
    total[-1] -= ends
    back = (total[:-1, :, None, :] + move[1:]).argmax(axis=3)
    path = np.empty(local.shape[:2], dtype=np.intp)
    state = path[-1] = total[-1].argmax(axis=1)
    runs = np.arange(len(state))
    for time in range(len(back) - 1, -1, -1):
        state = path[time] = back[time, runs, state]
    return path
