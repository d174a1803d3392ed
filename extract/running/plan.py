"""What an extraction has to do, before it does anything: hits, misses, bytes, time.

Only stats files. A file that was never read, or that changed since, has unknown content and
counts as a miss.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from ...cache.cache import Cache
from ...cache.errors import InputError
from ...cache.identity.content_digests import row_key
from ...cache.manifest import Manifest
from ...cache.manifest.selection import content_column
from ...cache.space import Space
from ..encoder import Encoder
from ..inputs.audio_files import refused_by_size
from .parts import group_numbers, part_of

_BLOCK = 100_000  # clips whose keys are held at once
_STORED, _MISSING, _UNKNOWN = range(3)
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
        Clips without what the encoder takes: no path, or no text.
    refused : int
        Those of the misses whose file is too large, or sparse: it will not be read.
    bytes : int
        Size of the files to read, or of the texts.
    audio_seconds : float
        Rough length of the audio to embed, guessed from the sizes; 0 for text.
    seconds : float or None
        Estimated time to compute the misses on this machine; None if nothing was measured.
    positions : numpy.ndarray
        Positions of the misses in the manifest.
    sizes, lengths : numpy.ndarray
        Bytes to read for each miss, of a file with several segments at its first one, and rough
        seconds of audio (None for text); where it was estimated.
    """

    clips: int
    hits: int
    misses: int
    unknown: int
    without: int
    refused: int
    bytes: int
    audio_seconds: float
    seconds: float | None
    positions: np.ndarray
    sizes: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    lengths: np.ndarray | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, for JSON."""
        names = ("clips", "hits", "misses", "unknown", "without", "refused", "bytes")
        known = {name: getattr(self, name) for name in names}
        return known | {"audio_seconds": self.audio_seconds, "seconds": self.seconds}


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
    ...     planned = plan(clips, Cache(folder), Encoder("ngram"))
    >>> planned.misses, planned.without, planned.bytes
    (1, 1, 4)
    """
    audio = encoder.modality == "audio"
    column = clips[content_column(encoder.modality)]
    asked = part_of(column, part)
    present = asked[column[asked] != ""]
    space = cache.find(encoder.spec.with_store_dtype(store_dtype))
    state = _states(clips, cache, encoder.modality, present, rehash, space)
    positions = present[state != _STORED]
    sizes = _sizes(clips, positions, audio) if estimate else np.empty(0, np.int64)
    refused = sizes < 0
    sizes[refused] = 0
    lengths = _audio_seconds(clips, positions, sizes) if audio and estimate else None
    if lengths is not None:
        lengths[refused] = 0.0
    audio_seconds = 0.0 if lengths is None else float(lengths.sum())
    amount = audio_seconds if audio else float(len(sizes))
    seconds = None
    if estimate and (measure or not amount):
        seconds = amount / _speed(encoder) if amount else 0.0
    if audio and estimate:
        sizes = _read_once(clips, positions, sizes)
    return Plan(
        clips=len(asked),
        hits=len(present) - len(positions),
        misses=len(positions),
        unknown=int(np.count_nonzero(state == _UNKNOWN)),
        without=len(asked) - len(present),
        refused=int(np.count_nonzero(refused)),
        bytes=int(sizes.sum()),
        audio_seconds=audio_seconds,
        seconds=seconds,
        positions=positions,
        sizes=sizes,
        lengths=lengths,
    )


def _states(
    clips: Manifest,
    cache: Cache,
    modality: str,
    present: np.ndarray,
    rehash: bool,
    space: Space | None,
) -> np.ndarray:
    """Return whether the content of each clip is stored, missing or unknown; a byte for each."""
    state = np.full(len(present), _UNKNOWN, np.uint8)
    if not len(present) or (rehash and modality == "audio"):
        return state
    chosen = clips if len(present) == len(clips) else clips.select(present)
    digests = cache.each_digest(chosen, modality)
    table = None if space is None else space.index.refresh().table
    for start in range(0, len(present), _BLOCK):
        block = list(islice(digests, _BLOCK))
        known = np.array([i for i, digest in enumerate(block) if digest is not None], np.intp)
        state[start + known] = _MISSING
        if table is not None and space is not None and len(known):
            keys = [row_key(space.key, modality, block[i] or "") for i in known.tolist()]
            state[start + known[table.find(keys)[0] >= 0]] = _STORED
    next(digests, None)  # to its end, where it warns
    return state


def _read_once(clips: Manifest, positions: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Count each file where it comes first: it is read once, however many segments it has."""
    first = np.unique(group_numbers(clips["path"][positions]), return_index=True)[1]
    found = np.zeros_like(sizes)
    found[first] = sizes[first]
    return found


def _sizes(clips: Manifest, positions: np.ndarray, audio: bool) -> np.ndarray:
    """Bytes of each miss; 0 of a file that is not there, -1 of one that is refused."""
    if audio:
        sizes = (_size(clips, i) for i in map(int, positions))
    else:
        texts = clips["text"][positions]
        sizes = (len(str(text).encode("utf-8", "replace")) for text in texts)
    return np.fromiter(sizes, np.int64, len(positions))


def _size(clips: Manifest, position: int) -> int:
    try:
        status = clips.file(position).stat()
        return status.st_size if refused_by_size(status) is None else -1
    except (InputError, OSError, ValueError):  # it will be quarantined, with the reason
        return 0


def _audio_seconds(clips: Manifest, positions: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rough length of the audio of each clip."""
    paths = clips["path"][positions]
    suffixes = (os.path.splitext(path)[1].lower() for path in paths)  # noqa: PTH122 - once per clip
    rates = (_BYTES_PER_SECOND.get(suffix, 16_000) for suffix in suffixes)
    whole = sizes / np.fromiter(rates, np.float64, len(positions))
    starts, ends = clips["start"][positions], clips["end"][positions]
    starts = np.where(np.isfinite(starts), starts, 0.0)
    return np.maximum(np.where(np.isfinite(ends), ends, whole) - starts, 0.0)


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
