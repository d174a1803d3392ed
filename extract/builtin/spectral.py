"""`Spectral`: an encoder without weights, the floor of every comparison of speech encoders.

One vector of acoustic statistics per clip: spectrum, pitch, loudness, rhythm, voice quality,
modulation. It needs no download, and every value has a name (`FEATURE_NAMES`), a unit and a source:
docs/guide/spectral.md. Clips are brought to one level first, so recording gain moves `level_db`
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import Backend, Pooled
from .frames import HOP, SAMPLING_RATE, SILENCE_DB, WIDTH, decibel, level_db, spectrogram
from .functionals import STATISTICS, log_covariance, summarise, summary_names
from .mel import mel_filters, mfcc
from .modulation import (
    CHANGE_NAMES,
    MODULATION_NAMES,
    broad_bands,
    change_over_lags,
    correlation,
    coupling,
    modulation_spectrum,
)
from .pitch import Pitch, track_pitch
from .prosody import (
    LOUDNESS_NAMES,
    PITCH_NAMES,
    RHYTHM_NAMES,
    loudness_contour,
    pitch_contour,
    rhythm,
)
from .timbre import CONTOURS, timbre
from .voice import VOICE_NAMES, voice

VERSION = 3  # raise it whenever a number changes
MEL_BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 50.0, 7600.0
CEPSTRA = 20  # coefficients, the first (the level) included
COUPLED = 12  # of them in covariance and coupling
ACTIVE_DB = 30.0  # below the loudest frame: what is quieter is a pause

FEATURE_NAMES: tuple[str, ...] = (
    *summary_names(f"mfcc{k}" for k in range(CEPSTRA)),
    *(f"mfcc{i}_mfcc{j}_covariance" for i in range(COUPLED) for j in range(i, COUPLED)),
    *summary_names(CONTOURS),
    *MODULATION_NAMES,
    *CHANGE_NAMES,
    *PITCH_NAMES,
    *LOUDNESS_NAMES,
    *RHYTHM_NAMES,
    *VOICE_NAMES,
    *(f"mfcc{k}_by_loudness" for k in range(1, COUPLED + 1)),
    "f0_loudness_correlation",
    "f0_alpha_ratio_correlation",
    "alpha_ratio_loudness_correlation",
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
        float64, always finite. A silent clip (level below -90 dBFS) gets zeros, and -90 as its
        level; a clip without voice gets 0, the neutral value, for what describes the voice.
    """
    samples = np.asarray(samples, dtype=np.float64)
    samples = samples - samples.mean()
    level = level_db(samples)
    if level < SILENCE_DB:
        return np.append(np.zeros(len(FEATURE_NAMES) - 1), SILENCE_DB)
    power = spectrogram((samples * 10 ** (-level / 20)).astype(np.float32))
    return np.append(_describe(power, track_pitch(power)), level)


def _describe(power: np.ndarray, pitch: Pitch) -> np.ndarray:
    logmel = decibel(power @ mel_filters(MEL_BANDS, LOWEST_HZ, HIGHEST_HZ))
    loudness = decibel(power.mean(axis=1))
    active = loudness > loudness.max() - ACTIVE_DB
    cepstra = mfcc(logmel, CEPSTRA)
    half = slice(None, None, 2)  # timbre every 20 ms
    shapes = timbre(power[half])
    bands = broad_bands(logmel)
    return np.concatenate(
        [
            summarise(cepstra, STATISTICS),
            log_covariance(cepstra[active, :COUPLED], noise=1.0),
            summarise(shapes[active[half]], STATISTICS),
            modulation_spectrum(bands),
            change_over_lags(bands, active),
            pitch_contour(pitch),
            loudness_contour(loudness, pitch),
            rhythm(loudness, pitch),
            voice(power, loudness, pitch),
            coupling(loudness[active], cepstra[active, 1 : COUPLED + 1], noise=0.1),
            _prominence(pitch, loudness, np.repeat(shapes[:, CONTOURS.index("alpha_ratio")], 2)),
        ]
    )


def _prominence(pitch: Pitch, loudness: np.ndarray, alpha_ratio: np.ndarray) -> list[float]:
    """Whether pitch, loudness and vocal effort rise together: three correlations."""
    f0 = 12 * np.log2(pitch.hz[pitch.voiced])
    loud, tilt = loudness[pitch.voiced], alpha_ratio[pitch.voiced]
    return [correlation(f0, loud), correlation(f0, tilt), correlation(tilt, loud)]


class Spectral(Backend):
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
    dim = len(FEATURE_NAMES)
    sampling_rate = SAMPLING_RATE
    min_samples = 400
    pooling = "functionals"

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers: the version of this code."""
        return {
            "encoder": {"family": "spectral", "version": VERSION},
            "processor": {"sampling_rate": SAMPLING_RATE},
            "layers": {"semantics": "statistics", "count": self.n_layers, "dim": self.dim},
            "pooling": self.pooling,
            "compute": {"dtype": "float32"},
        }

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
    count = 1 + max(0, len(samples) - WIDTH) // HOP
    flags = ("silent",) if values[-1] <= SILENCE_DB else ()
    return Pooled(values[None].astype(np.float32), frames=count, flags=flags)
