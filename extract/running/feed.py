"""Make clips ready for an encoder, ahead of it: read, hash, skip what is known, decode.

Files are read and hashed in threads and decoded by a child process each; a clip is decoded from
the bytes that were hashed. How much is under way is bounded by memory, not by the manifest.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cache.identity.content_digests import segment_digest, text_digest
from ...cache.identity.known_digests import LARGEST
from ...cache.manifest import Manifest
from ..encoder import Encoder
from ..errors import Unusable
from ..inputs.audio_files import clip_file, read_clip
from ..inputs.decode import LONGEST
from ..inputs.isolated_decoder import Decoder
from ..inputs.text_checks import ready_text

#: Bytes of files and samples that may be under way.
MEMORY = 256 << 20

#: Segments of one file that are decoded from one reading of it.
SEGMENTS = 16

_AHEAD = 256  # files under way
_FEW = 16  # so few clips are not worth a child process
_LEAST = 50  # bytes of a second of silence in Opus or FLAC; sound has a hundred times as many
_LEAST_PLAIN = 1600  # in a format without compression, where GSM has the fewest
_PLAIN = (".wav", ".aif", ".aiff", ".au", ".sph")


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
    status : os.stat_result or None
        Of the file, taken before it was read.
    """

    position: int
    digest: str | None = None
    content: Any = None
    failure: Unusable | None = None
    seconds: float = 0.0
    flags: tuple[str, ...] = ()
    status: os.stat_result | None = None


def feed(
    clips: Manifest,
    positions: Sequence[int] | np.ndarray,
    encoder: Encoder,
    claim: Callable[[str], bool],
    *,
    threads: int | None = None,
) -> Generator[Ready, None, None]:
    """Make clips ready, in order.

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
    return _Audio(clips, encoder, claim, isolate=len(positions) > _FEW).run(positions, threads)


def _text(clips: Manifest, position: int, claim: Callable[[str], bool]) -> Ready:
    try:
        text = ready_text(clips["text"][position])
    except Unusable as error:
        return Ready(position, failure=error)
    digest = text_digest(text)
    return Ready(position, digest, text if claim(digest) else None)


class _Audio:
    def __init__(
        self, clips: Manifest, encoder: Encoder, claim: Callable[[str], bool], *, isolate: bool
    ) -> None:
        self.clips = clips
        self.claim = claim
        self.rate = encoder.backend.sampling_rate
        self.refuse_silence = encoder.silence == "refuse"
        self.rules = encoder.decoding_rules()
        self.longest = self.rules.get("max_seconds", LONGEST)
        self.isolate = isolate
        self.local = threading.local()
        self.decoders: list[Decoder] = []
        self.stopped = False

    def run(
        self, positions: Sequence[int] | np.ndarray, threads: int
    ) -> Generator[Ready, None, None]:
        """Keep threads busy, and give rows in order."""
        pool = ThreadPoolExecutor(threads, thread_name_prefix="affekt-decode")
        under_way: deque[tuple[Future[list[Ready]], int]] = deque()
        used = 0
        try:
            for group in self._groups(positions):
                weight = self._weight(group)
                while under_way and (used + weight > MEMORY or len(under_way) >= _AHEAD):
                    future, freed = under_way.popleft()
                    yield from future.result()
                    used -= freed
                under_way.append((pool.submit(self._prepare, group), weight))
                used += weight
            while under_way:
                yield from under_way.popleft()[0].result()
        except BaseException:  # a signal too: a long file is not waited for
            self.stopped = True
            for decoder in self.decoders:
                decoder.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        for decoder in self.decoders:
            decoder.close()

    def _groups(self, positions: Sequence[int] | np.ndarray) -> Iterator[list[int]]:
        """Neighbouring segments of one file, which is then read once."""
        paths = self.clips["path"]
        group: list[int] = []
        for i in map(int, positions):
            if group and (paths[i] != paths[group[0]] or len(group) == SEGMENTS):
                yield group
                group = []
            group.append(i)
        if group:
            yield group

    def _weight(self, group: list[int]) -> int:
        """Bytes that preparing a group may hold: its file, and what is decoded from it."""
        try:
            path = clip_file(self.clips, group[0])
            size = path.stat().st_size
        except (Unusable, OSError, ValueError):
            return 0
        if size > LARGEST:
            return 0  # it is not read
        whole = size / (_LEAST_PLAIN if path.suffix.lower() in _PLAIN else _LEAST)
        seconds = 0.0
        for i in group:
            clip = self.clips.clip(i)
            asked = whole if clip.end is None else clip.end - (clip.start or 0.0)
            seconds += max(0.0, min(whole, self.longest, asked))  # in this order NaN is passed over
        return size + int(seconds * self.rate * 4)

    def _prepare(self, group: list[int]) -> list[Ready]:
        try:
            file = read_clip(self.clips, group[0])
        except Unusable as error:
            return [Ready(i, failure=error) for i in group]
        rows, wanted = [], []
        for i in group:
            clip = self.clips.clip(i)
            digest = segment_digest(file.digest, clip.start, clip.end)
            rows.append(Ready(i, digest, status=file.stat))
            if self.claim(digest):
                wanted.append((rows[-1], (clip.start, clip.end)))
        if wanted:
            segments = [segment for _, segment in wanted]
            answers = self._decode(file.data, segments)
            for (row, _), answer in zip(wanted, answers, strict=True):
                self._fill(row, answer)
        return rows

    def _decode(self, data: bytes, segments: list[Any]) -> list[Any]:
        decoder = getattr(self.local, "decoder", None)
        if decoder is None:
            decoder = self.local.decoder = Decoder(always=self.isolate)
            self.decoders.append(decoder)
            if self.stopped:  # meanwhile
                decoder.stop()
        return decoder(data, segments, self.rate, **self.rules)

    def _fill(self, row: Ready, answer: Any) -> None:
        if isinstance(answer, Unusable):
            row.failure = answer
            return
        row.seconds, row.flags = answer.seconds, answer.flags
        if self.refuse_silence and "silent" in answer.flags:
            row.failure = Unusable("silent")
        else:
            row.content = answer.samples


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
