"""Fixed synthetic inputs that show whether an encoder still computes what it did before.

They are made by integers alone, so every machine makes the same ones: two sounds (a rising
triangle wave with noise, 1.0 s and 0.37 s) or three texts. Each is embedded alone and together
with the others; the two answers must agree, because a row may not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...cache.errors import CanaryError
from ...cache.rows.canary import drift
from ...cache.shards.checksum import GOLDEN, mixed
from ..backend import Backend

TEXTS = (
    "The canary sings: 7 notes, ¡qué alegría!",
    "Ich bin heute sehr traurig.",
    "Ella dijo que no quería volver a verlo nunca más, y se marchó llorando bajo la lluvia 😢",
)

_SECONDS = (1.0, 0.37)


def canary_sounds(sampling_rate: int, min_samples: int = 0) -> list[np.ndarray]:
    """Make the two sounds.

    Parameters
    ----------
    sampling_rate : int
        Hz.
    min_samples : int
        The shortest input that the encoder takes; the sounds are at least that long.

    Returns
    -------
    list of numpy.ndarray
        ``(samples,)`` float32, multiples of 2**-15.

    Examples
    --------
    >>> long, short = canary_sounds(16000)
    >>> len(long), len(short), int(long[1000] * 2**15)
    (16000, 5920, 5745)
    """
    return [
        _sound(max(int(seconds * sampling_rate), min_samples), sampling_rate, seed)
        for seed, seconds in enumerate(_SECONDS, 1)
    ]


def _sound(samples: int, sampling_rate: int, seed: int) -> np.ndarray:
    i = np.arange(samples, dtype=np.uint64)
    # phase in 1/65536 turns: from 100 Hz upwards by 400 Hz in each second
    turns = (100 * 65536 * i + 200 * 65536 * i * i // sampling_rate) // sampling_rate
    triangle = np.abs((turns % 65536).astype(np.int64) - 32768) - 16384  # ±16384
    words = mixed((i + np.uint64(seed * 1_000_003)) * GOLDEN) >> np.uint64(1)  # positive as int64
    noise = words.astype(np.int64) // 2**51 - 2048  # ±2048
    swell = 4096 + (i % 4000).astype(np.int64)  # amplitude, syllable by syllable
    return ((triangle * swell // 16384 + noise) / 2**15).astype(np.float32)


def canary_inputs(backend: Backend) -> Sequence[Any]:
    """Return the inputs for a backend's modality."""
    if backend.modality == "text":
        return TEXTS
    return canary_sounds(backend.sampling_rate, backend.min_samples)


def embed_canary(
    embed: Callable[[Sequence[Any]], list[np.ndarray]], inputs: Sequence[Any], tolerance: float
) -> np.ndarray:
    """Embed every input alone and all together, and compare.

    Parameters
    ----------
    embed : callable
        Inputs to ``(layers, dim)`` arrays.
    inputs : sequence
        Sounds or texts.
    tolerance : float
        Largest relative L2 difference per layer between alone and together.

    Returns
    -------
    numpy.ndarray
        ``(inputs, layers, dim)`` float32, as embedded alone.
    """
    alone = np.stack([embed([one])[0] for one in inputs])
    together = np.stack(embed(inputs))
    worst = drift(alone, together)
    layers = np.flatnonzero(~(worst <= tolerance)).tolist()
    if layers:
        raise CanaryError(
            "this encoder gives a clip a different embedding in a batch than alone: layers "
            f"{layers} move by up to {worst.max():.1e} (relative), {tolerance:g} is allowed; "
            "nothing was stored",
            layers,
        )
    return alone.astype(np.float32)
