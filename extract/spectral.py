"""`Spectral`: an encoder without weights, the floor of every comparison of speech encoders.

One vector of acoustic statistics per clip: spectrum (log-mel, MFCC), pitch, loudness. It needs
no download, and every value has a name (`FEATURE_NAMES`), a unit and a source: docs/spectral.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .backend import Pooled
from .frames import SAMPLING_RATE, SILENCE_DB, level_db, power_spectra
from .functionals import STATISTICS, slope, summarise
from .mel import mel_filters, mfcc
from .pitch import track_pitch

VERSION = 1  # raise it whenever a number changes
FLOOR_DB = -60.0  # re the clip's level: what lies below is noise or the codec's silence
BANDS, COEFFICIENTS = 40, 20

FEATURE_NAMES: tuple[str, ...] = (
    *(f"mel{band}_{name}" for band in range(BANDS) for name in ("mean", "std", "delta")),
    *(f"mfcc{k}_{name}" for k in range(COEFFICIENTS) for name in STATISTICS),
    *(f"f0_{name}" for name in STATISTICS),
    "f0_slope",
    "voiced_fraction",
    *(f"periodicity_{name}" for name in STATISTICS),
    *(f"loudness_{name}" for name in STATISTICS),
    "loudness_slope",
    "level_db",
)


def describe_clip(samples: np.ndarray) -> np.ndarray:
    """Compute the statistics of one clip.

    Parameters
    ----------
    samples : ndarray of shape (samples,)
        Mono, 16 kHz, at least 400 samples.

    Returns
    -------
    ndarray of shape (len(FEATURE_NAMES),)
        float64, always finite. Zeros for a silent clip (level below -90 dBFS), with its level
        at -90; pitch statistics of an unvoiced clip are 0.
    """
    samples = np.asarray(samples, dtype=np.float32)
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    level = level_db(samples)
    if level < SILENCE_DB:
        return np.append(np.zeros(len(FEATURE_NAMES) - 1), SILENCE_DB)
    samples = samples * np.float32(10 ** (-level / 20))

    power = power_spectra(samples, 400, 512)
    mel = power @ mel_filters(BANDS, 512, SAMPLING_RATE, 50.0, 7600.0).astype(np.float32)
    logmel = 10 * np.log10(mel + 10 ** (FLOOR_DB / 10), dtype=np.float64)
    loudness = 10 * np.log10(power.mean(axis=1) + 10 ** (FLOOR_DB / 10), dtype=np.float64)
    pitch = track_pitch(samples)
    semitones = 12 * np.log2(pitch.hz[pitch.voiced] / 27.5)

    values = [
        summarise(logmel)[:, [0, 1, 5]].ravel(),
        summarise(mfcc(logmel, COEFFICIENTS)).ravel(),
        summarise(semitones[:, None]).ravel(),
        [slope(semitones), pitch.voiced.mean()],
        summarise(pitch.strength[:, None]).ravel(),
        summarise(loudness[:, None]).ravel(),
        [slope(loudness), level],
    ]
    return np.concatenate(values)


class Spectral:
    """Embed speech as acoustic statistics; a `Backend` of one layer.

    Examples
    --------
    >>> tone = np.sin(np.arange(16000) * 0.1).astype(np.float32)
    >>> [pooled] = Spectral().embed([tone])
    >>> pooled.values.shape == (1, len(FEATURE_NAMES))
    True
    """

    name = "spectral"
    modality = "audio"
    n_layers = 1
    dim = len(FEATURE_NAMES)
    sampling_rate = SAMPLING_RATE
    min_samples = 400
    pooling = "functionals"
    labels: tuple[str, ...] | None = None

    def describe(self) -> dict[str, Any]:
        """Say what decides the numbers: the version of this code."""
        return {
            "encoder": {"family": "spectral", "version": VERSION},
            "processor": {"sampling_rate": SAMPLING_RATE},
            "layers": {"semantics": "statistics", "count": self.n_layers, "dim": self.dim},
            "pooling": self.pooling,
            "compute": {"dtype": "float64"},
        }

    def load(self) -> None:
        """Do nothing: there are no weights."""

    def embed(self, inputs: Sequence[np.ndarray]) -> list[Pooled]:
        """Embed clips one by one; a row cannot depend on its neighbours.

        Parameters
        ----------
        inputs : sequence of ndarray of shape (samples,)
            Mono float32 at 16 kHz.

        Returns
        -------
        list of Pooled
            Values of shape (1, dim) float32; flag `silent` where the level is below -90 dBFS.
        """
        return [_pooled(samples) for samples in inputs]


def _pooled(samples: np.ndarray) -> Pooled:
    values = describe_clip(samples)
    silent = values[-1] <= SILENCE_DB
    count = max(1, 1 + (len(samples) - 400) // 160)
    flags = ("silent",) if silent else ()
    return Pooled(values[None].astype(np.float32), frames=count, flags=flags)
