"""What an extraction has to do, before it does anything: hits, misses, bytes, time.

Only stats files. A file that was never read, or that changed since, has unknown content and
counts as a miss.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cache.cache import Cache
from ...cache.errors import InputError
from ...cache.identity.content_digests import row_key
from ...cache.identity.spec import Spec
from ...cache.manifest import Manifest
from ...cache.space import Space
from ..encoder import Encoder

__all__ = ["Plan", "find_space", "part_of", "plan"]

#: Bytes of one second of speech, for estimates only.
_BYTES_PER_SECOND = {".wav": 32_000, ".flac": 18_000, ".mp3": 10_000, ".ogg": 8_000}


@dataclass(frozen=True)
class Plan:
    """What `affekt.extract.extract` would do.

    Attributes
    ----------
    clips : int
        Clips of the manifest (or of the part of it).
    hits : int
        Clips whose embedding is stored.
    misses : int
        Clips to compute; unknown content counts as a miss.
    unknown : int
        Those of the misses whose file was never read, or changed since.
    without : int
        Clips that lack what the encoder takes: no path, or no text.
    bytes : int
        Size of the files to read, or of the texts.
    audio_seconds : float
        Rough length of the audio to embed, guessed from the sizes; 0 for text.
    seconds : float or None
        Estimated time to compute the misses on this machine; None if nothing was measured.
    positions : numpy.ndarray
        Positions of the misses in the manifest.
    """

    clips: int
    hits: int
    misses: int
    unknown: int
    without: int
    bytes: int
    audio_seconds: float
    seconds: float | None
    positions: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Give the numbers, for JSON."""
        names = ("clips", "hits", "misses", "unknown", "without", "bytes", "audio_seconds")
        return {name: getattr(self, name) for name in names} | {"seconds": self.seconds}


def plan(
    clips: Manifest,
    cache: Cache,
    encoder: Encoder,
    *,
    part: tuple[int, int] = (1, 1),
    store_dtype: str = "float32",
    rehash: bool = False,
    estimate: bool = True,
    measure: bool = False,
) -> Plan:
    """Find out what is stored and what is not; write nothing, read no audio.

    Parameters
    ----------
    clips : Manifest
        What is wanted.
    cache : Cache
        Where it may be; need not exist.
    encoder : Encoder
        What computes it.
    part : (int, int)
        The i-th of n parts, counted from 1: of n jobs that share one manifest, each takes one.
        Rows of one file, and equal texts, are in one part.
    store_dtype : str
        ``"float32"`` or ``"float16"``.
    rehash : bool
        Trust no earlier reading: the content of every file is unknown.
    estimate : bool
        Fill in `Plan.bytes`, `Plan.audio_seconds` and `Plan.seconds`, which takes another look at
        each file.
    measure : bool
        Load the encoder and time it, to estimate `Plan.seconds`.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        A wrong part.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Manifest
    >>> from affekt.extract import Encoder, plan
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": ""}])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     told = plan(clips, Cache(folder), Encoder("ngram"))
    >>> told.misses, told.without, told.bytes
    (1, 1, 4)
    """
    audio = encoder.modality == "audio"
    column = clips["path" if audio else "text"]
    asked = part_of(column, part)
    present = [i for i in asked.tolist() if column[i]]
    digests = _digests(clips, cache, encoder.modality, present, rehash)
    space = find_space(cache, encoder.spec.with_store_dtype(store_dtype))
    stored = _stored(space, digests)
    misses = [i for i, hit in enumerate(stored) if not hit]
    positions = np.array([present[i] for i in misses], dtype=np.intp)
    sizes = _sizes(clips, positions, audio) if estimate else {}
    audio_seconds = _audio_seconds(clips, sizes) if audio else 0.0
    amount = audio_seconds if audio else float(len(sizes))
    seconds = None
    if estimate and (measure or not amount):
        seconds = amount / _speed(encoder) if amount else 0.0
    return Plan(
        clips=len(asked),
        hits=len(present) - len(misses),
        misses=len(misses),
        unknown=sum(digests[i] is None for i in misses),
        without=len(asked) - len(present),
        bytes=int(sum({clips["path"][i] if audio else i: n for i, n in sizes.items()}.values())),
        audio_seconds=audio_seconds,
        seconds=seconds,
        positions=positions,
    )


def part_of(column: Sequence[str] | np.ndarray, part: tuple[int, int]) -> np.ndarray:
    """Positions of the i-th of n parts; equal values stay together.

    Examples
    --------
    >>> part_of(["a.wav", "a.wav", "b.wav", "c.wav"], (1, 2)).tolist()
    [0, 1, 3]
    """
    number, of = part
    if not 1 <= number <= of:
        raise InputError(f"part {number}/{of}: expected i/n with 1 <= i <= n")
    if of == 1:
        return np.arange(len(column))
    order: dict[str, int] = {}
    groups = np.fromiter((order.setdefault(v, len(order)) for v in column), np.intp, len(column))
    return np.flatnonzero(groups % of == number - 1)


def find_space(cache: Cache, spec: Spec) -> Space | None:
    """Find the space of exactly this spec."""
    return next((space for space in cache.spaces() if space.spec == spec), None)


def _digests(
    clips: Manifest, cache: Cache, modality: str, present: list[int], rehash: bool
) -> list[str | None]:
    if rehash and modality == "audio":
        return [None] * len(present)
    chosen = clips if len(present) == len(clips) else clips.select(np.array(present, np.intp))
    return cache.digests(chosen, modality, hash_files=False) if present else []


def _stored(space: Space | None, digests: list[str | None]) -> list[bool]:
    known = [i for i, digest in enumerate(digests) if digest is not None]
    stored = [False] * len(digests)
    if space is not None and known:
        keys = [row_key(space.key, space.modality, digests[i] or "") for i in known]
        for i, hit in zip(known, space.stored(keys).tolist(), strict=True):
            stored[i] = hit
    return stored


def _sizes(clips: Manifest, positions: np.ndarray, audio: bool) -> dict[int, int]:
    """Bytes behind each miss; a file that is not there has none."""
    if not audio:
        return {
            i: len(str(clips["text"][i]).encode("utf-8", "replace")) for i in positions.tolist()
        }
    sizes = {}
    for i in positions.tolist():
        try:
            sizes[i] = clips.file(i).stat().st_size
        except (InputError, OSError, ValueError):  # it will be quarantined, with the reason
            sizes[i] = 0
    return sizes


def _audio_seconds(clips: Manifest, sizes: dict[int, int]) -> float:
    total = 0.0
    starts, ends, paths = clips["start"].tolist(), clips["end"].tolist(), clips["path"]
    for i, size in sizes.items():
        suffix = os.path.splitext(paths[i])[1].lower()  # noqa: PTH122 - runs once per clip
        start = starts[i] if math.isfinite(starts[i]) else 0.0
        end = ends[i] if math.isfinite(ends[i]) else size / _BYTES_PER_SECOND.get(suffix, 16_000)
        total += max(end - start, 0.0)
    return total


def _speed(encoder: Encoder) -> float:
    """Audio seconds, or texts, per second on the canary inputs; the second time counts."""
    from ..inputs.canary_inputs import canary_inputs

    inputs = canary_inputs(encoder.backend)
    encoder.embed(inputs)
    begin = time.perf_counter()
    encoder.embed(inputs)
    spent = max(time.perf_counter() - begin, 1e-6)
    if encoder.modality == "text":
        return len(inputs) / spent
    return sum(map(len, inputs)) / encoder.backend.sampling_rate / spent
