"""Make clips ready for an encoder, ahead of it: read, hash, skip what is known, decode.

Files are read and hashed in threads and decoded by a child process each; a clip is decoded from
the bytes that were hashed. How much is under way is bounded by memory, not by the manifest. All
segments of a file are one thread's, in ascending order: it is read once, and decoded in one pass.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.identity.clip_index import Seen, seen
from ...cache.identity.content_digests import segment_digest, text_digest
from ...cache.identity.known_digests import LARGEST
from ...cache.manifest import Manifest
from ..encoder import Encoder
from ..errors import Unusable
from ..inputs.audio_files import ClipReader, clip_file
from ..inputs.decode import LONGEST, Signal
from ..inputs.isolated_decoder import Decoder
from ..inputs.text_checks import ready_text
from .parts import group_numbers

#: Bytes of files and samples that may be under way.
MEMORY = 256 << 20

#: Segments of one file that are handed on together.
SEGMENTS = 16

_AHEAD = 256  # files under way
_FEW = 16  # clips, too few to be worth a child process
_LEAST = 50  # bytes of a second of silence in Opus or FLAC; sound has a hundred times as many
_LEAST_PLAIN = 1600  # in a format without compression, where GSM has the fewest
_LEASTS = dict.fromkeys((".wav", ".aif", ".aiff", ".au", ".sph"), _LEAST_PLAIN) | {".mp3": 1000}
_SHORT = 60.0  # seconds; a file that may hold more is opened to see


@dataclass(slots=True)
class Ready:
    """One clip on its way to the encoder.

    Attributes
    ----------
    position : int
        In the manifest.
    digest : str or None
        Content digest; None if the content could not be read.
    content : numpy.ndarray or str or None
        What to embed; None if this content is stored or under way already, or has failed.
    failure : Unusable or None
        Why it cannot be embedded.
    seconds : float
        Length of the audio, 0 for text.
    flags : tuple of str
        Remarks of the decoder.
    line : Seen or None
        What the index of clips notes of it.
    """

    position: int
    digest: str | None = None
    content: Any = None
    failure: Unusable | None = None
    seconds: float = 0.0
    flags: tuple[str, ...] = ()
    line: Seen | None = None

    def fill(self, answer: Signal | Unusable, *, refuse_silence: bool) -> None:
        """Take what a decoder answers."""
        if isinstance(answer, Unusable):
            self.failure = answer
            return
        self.seconds, self.flags = answer.seconds, answer.flags
        if refuse_silence and "silent" in answer.flags:
            self.failure = Unusable("silent")
        else:
            self.content = answer.samples


def feed(
    clips: Manifest,
    positions: Sequence[int] | np.ndarray,
    encoder: Encoder,
    claim: Callable[[str], bool],
    *,
    threads: int | None = None,
) -> Generator[Ready, None, None]:
    """Make clips ready, in order; those of one file follow each other, by where they start.

    Parameters
    ----------
    clips : Manifest
        Where they are.
    encoder : Encoder
        Its modality and input rules decide.
    claim : callable
        Takes a digest and says whether it is to be computed; called from several threads.
    threads : int, optional
        How many files are read at once; by default one for each processor, at most 16.
    """
    if encoder.modality == "text":
        return (_text(clips, i, claim) for i in map(int, positions))
    threads = threads or max(1, min(os.cpu_count() or 1, 16, len(positions) // _FEW))
    isolate = len(positions) > _FEW
    rules = AudioRules.of(encoder)
    found = AudioFeed(clips, rules, claim, memory=MEMORY, isolate=isolate)
    return found.run(positions, threads)


def _text(clips: Manifest, position: int, claim: Callable[[str], bool]) -> Ready:
    written = clips["text"][position]
    try:
        text = ready_text(written)
    except Unusable as error:
        known = text_digest(written) if written.strip() else None  # as the cache looks for it
        return Ready(position, known, failure=error)
    digest = text_digest(text)
    return Ready(position, digest, text if claim(digest) else None)


def by_file(clips: Manifest, positions: Sequence[int] | np.ndarray) -> Iterator[tuple[int, bool]]:
    """Yield positions, those of one file by where they start, and whether the next is of it too.

    Examples
    --------
    >>> rows = [("a", "x.mp3", 5), ("b", "y.mp3", 0), ("c", "x.mp3", 2)]
    >>> rows = [{"id": id, "path": path, "start": start} for id, path, start in rows]
    >>> list(by_file(Manifest.from_rows(rows), [0, 1, 2]))
    [(2, True), (0, False), (1, False)]
    """
    positions = np.asarray(positions, np.intp)
    files, starts = group_numbers(clips["path"][positions]), clips["start"][positions]
    order, paths = positions[np.lexsort((np.nan_to_num(starts), files))], clips["path"]
    for position, after in zip(map(int, order), map(int, np.append(order[1:], -1)), strict=False):
        yield position, after >= 0 and paths[after] == paths[position]


@dataclass(frozen=True, slots=True)
class AudioRules:
    """An encoder's rules for audio: plain values, so that another process can have them.

    Attributes
    ----------
    rate : int
        Sampling rate, in Hz.
    refuse_silence : bool
        Whether a silent clip cannot be embedded.
    decoding : dict
        Options of `affekt.extract.decode`.
    """

    rate: int
    refuse_silence: bool
    decoding: dict[str, Any]

    @classmethod
    def of(cls, encoder: Encoder) -> AudioRules:
        """Return the rules of an encoder."""
        rate = encoder.backend.sampling_rate
        return cls(rate, encoder.silence == "refuse", encoder.decoding_rules())


class AudioFeed:
    """Makes clips of audio ready, see `feed`, with at most `memory` bytes under way.

    `isolate`: a child process also decodes what libsndfile reads. `admit` is called
    before anything larger than `memory` is read, and returns when it may be.
    """

    def __init__(
        self,
        clips: Manifest,
        rules: AudioRules,
        claim: Callable[[str], bool],
        *,
        memory: int,
        isolate: bool = True,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self.clips, self.rules, self.claim, self.admit = clips, rules, claim, admit
        self.longest = rules.decoding.get("max_seconds", LONGEST)
        self.isolate, self.memory = isolate, memory
        self.local = threading.local()
        self.decoders: list[Decoder] = []
        self.stopped = False

    def run(
        self, positions: Sequence[int] | np.ndarray, threads: int
    ) -> Generator[Ready, None, None]:
        """Keep threads busy, and give rows in order."""
        pools = [ThreadPoolExecutor(1, "affekt-decode") for _ in range(threads)]
        turn = 0
        under_way: deque[tuple[Future[list[Ready]], int]] = deque()
        used = 0
        try:
            for group, more in self._groups(positions):
                weight = self._weight(group)
                while under_way and (used + weight > self.memory or len(under_way) >= _AHEAD):
                    future, freed = under_way.popleft()
                    yield from future.result()
                    used -= freed
                if weight > self.memory:
                    self.admit()
                future = pools[turn % threads].submit(self._prepare, group, more)
                under_way.append((future, weight))
                used += weight
                turn += not more
            while under_way:
                yield from under_way.popleft()[0].result()
        except BaseException:  # a signal too: a long file is not waited for
            self.stop()
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)
            raise
        for pool in pools:
            pool.shutdown()
        for decoder in self.decoders:
            decoder.close()

    def stop(self) -> None:
        """End the decoders, from any thread."""
        self.stopped = True
        for decoder in self.decoders:
            decoder.stop()

    def _groups(self, positions: Sequence[int] | np.ndarray) -> Iterator[tuple[list[int], bool]]:
        """Yield segments of one file, and whether more of them follow."""
        group: list[int] = []
        for position, more in by_file(self.clips, positions):
            group.append(position)
            if not more or len(group) == SEGMENTS:
                yield group, more
                group = []

    def _weight(self, group: list[int]) -> int:
        """Bytes that preparing a group may hold: its file, and what is decoded from it."""
        try:
            path = clip_file(self.clips, group[0])
            size = path.stat().st_size
        except (Unusable, OSError, ValueError):
            return 0
        if size > LARGEST:
            return 0  # it is not read
        whole = size / _LEASTS.get(path.suffix.lower(), _LEAST)
        if min(whole, self.longest) > _SHORT:
            whole = min(whole, _seconds_by_head(path, size))
        seconds = 0.0
        for i in group:
            clip = self.clips.clip(i)
            asked = whole if clip.end is None else clip.end - (clip.start or 0.0)
            seconds += max(0.0, min(whole, self.longest, asked))  # in this order NaN is passed over
        return size + int(seconds * self.rules.rate * 4)

    def _prepare(self, group: list[int], more: bool) -> list[Ready]:
        files, decoder = self._of_this_thread()
        try:
            file = files.read(self.clips, group[0], more=more)
        except Unusable as error:
            return [Ready(i, failure=error) for i in group]
        rows, wanted = [], []
        for i in group:
            clip = self.clips.clip(i)
            digest = segment_digest(file.digest, clip.start, clip.end)
            rows.append(Ready(i, digest, line=seen(self.clips, i, digest, file.stat)))
            if self.claim(digest):
                wanted.append((rows[-1], (clip.start, clip.end)))
        if wanted:
            segments = [segment for _, segment in wanted]
            rules = self.rules
            answers = decoder(file.data, segments, rules.rate, more=more, **rules.decoding)
            for (row, _), answer in zip(wanted, answers, strict=True):
                row.fill(answer, refuse_silence=rules.refuse_silence)
        return rows

    def _of_this_thread(self) -> tuple[ClipReader, Decoder]:
        if not hasattr(self.local, "decoder"):
            self.local.files, self.local.decoder = ClipReader(), Decoder(always=self.isolate)
            self.decoders.append(self.local.decoder)
            if self.stopped:  # meanwhile
                self.local.decoder.stop()
        return self.local.files, self.local.decoder


def _seconds_by_head(path: Path, size: int) -> float:
    """Return the seconds that the head of a WAV or FLAC file gives; infinity if it gives none."""
    try:
        with path.open("rb") as file:
            head = file.read(36)
    except OSError:  # reported where the file is read
        return math.inf
    if head[:4] == b"RIFF" and head[12:16] == b"fmt ":
        each = int.from_bytes(head[24:28], "little") * int.from_bytes(head[32:34], "little")
        return size / each if each else math.inf
    if head[:4] == b"fLaC":
        rate, total = int.from_bytes(head[18:21], "big") >> 4, int.from_bytes(head[22:26], "big")
        return total / rate if rate and total else math.inf
    return math.inf


def batches(ready: Iterator[Ready], most: int, seconds: float) -> Iterator[list[Ready]]:
    """Group rows in order until there are enough to embed; rows without content do not count."""
    batch: list[Ready] = []
    amount, count = 0.0, 0
    for row in ready:
        batch.append(row)
        amount += row.seconds
        count += row.content is not None
        if count >= most or amount >= seconds or len(batch) >= 4096:
            yield batch
            batch, amount, count = [], 0.0, 0
    if batch:
        yield batch
