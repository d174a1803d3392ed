"""Read segments of a file that has no index in one pass, and each as if it were read alone.

MP3, Ogg and their like are decoded from their beginning. Segments in ascending order share one
pass: what was decoded since the beginning of the last one is kept for those that overlap it,
together with what was known of the file at each frame, so that damage behind a segment's end is
still no damage of the segment. Segments that overlap by more than can be kept take turns in a few
passes, each continuing where one of its own segments ended.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...errors import Unusable

#: Bytes of samples that are kept for a segment that overlaps the last one.
KEPT = 128 << 20

#: Passes of one file that are under way at once.
PASSES = 16

_BLOCK = 65_536  # frames that are handed on together
_SNAPSHOT = 1000  # bytes


class _Frame(NamedTuple):
    position: int  # of its first sample
    samples: np.ndarray
    seen: Any  # the reader, as it was after this frame


@dataclass(eq=False, slots=True)
class _Pass:
    reader: Any
    frames: Iterator[np.ndarray]
    end: int = 0  # frames that were read
    error: Unusable | None = None  # the end of this pass


class OnePass:
    """Reads segments of one file.

    Parameters
    ----------
    open_reader : callable
        Returns an `FFmpegReader` or a `JoinedReader` at the beginning of the file.
    most : int
        Bytes that are kept for a segment that overlaps the last one; 0 where none follows.

    Attributes
    ----------
    rate : int
        In Hz.
    total : None
        Frames in the file are known at its end only.
    estimate : float
        Seconds to expect, as far as known before reading.

    Notes
    -----
    Every other attribute is the reader's (``flags``, ``lost``, ``cause``, ``decoded``, ``ended``),
    as it is when the last segment is the first and only one that is read.

    Raises
    ------
    Unusable
        As the reader does.
    """

    total = None

    def __init__(self, open_reader: Callable[[], Any], most: int = KEPT) -> None:
        self._open, self._most = open_reader, most
        self._passes: list[_Pass] = []
        self._kept: deque[_Frame] = deque()  # of the pass that was read last
        self._size = 0  # bytes
        self._now = self._begin()
        self._seen = self._now.reader
        self.rate: int = self._seen.rate
        self.estimate: float = self._seen.estimate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._seen, name)

    def close(self) -> None:
        """Close the file."""
        while self._passes:
            self._end(self._passes[-1])

    def blocks(self, first: int, wanted: int | None) -> Iterator[np.ndarray]:
        """Yield ``(frames, channels)`` float32, up to `wanted` frames from `first` on."""
        gathered: list[np.ndarray] = []
        size = 0
        last = None if wanted is None else first + wanted
        for position, block in self._frames_of(first, math.inf if last is None else last):
            block = block[max(first - position, 0) : None if last is None else last - position]
            if not len(block):
                continue  # a view of it would keep all that is passed over
            if gathered and gathered[0].shape[1] != block.shape[1]:
                yield np.concatenate(gathered)
                gathered, size = [], 0
            gathered.append(block)
            size += len(block)
            if size >= _BLOCK:
                yield np.concatenate(gathered)
                gathered, size = [], 0
        if gathered:
            yield np.concatenate(gathered)

    def _begin(self) -> _Pass:
        """Begin a pass; where there are too many, the one that is furthest ends."""
        while len(self._passes) >= PASSES:
            self._end(max(self._passes, key=lambda one: one.end))
        reader = self._open()
        self._passes.append(_Pass(reader, reader.frames()))
        return self._passes[-1]

    def _end(self, one: _Pass) -> None:
        """End a pass; what was kept of it is not read on."""
        self._passes.remove(one)
        self._kept.clear()
        self._size = 0
        one.reader.__exit__(None, None, None)

    def _go_to(self, first: int) -> None:
        """Choose the pass that is nearest before a frame."""
        if self._kept and self._kept[0].position <= first:
            return
        self._kept.clear()
        self._size = 0
        before = [one for one in self._passes if one.end <= first]
        self._now = max(before, key=lambda one: one.end) if before else self._begin()

    def _frames_of(self, first: int, last: float) -> Iterator[tuple[int, np.ndarray]]:
        """Yield position and samples of every frame until `last`, from one before `first` on."""
        self._go_to(first)
        while self._kept and self._kept[0].position + len(self._kept[0].samples) <= first:
            self._forget()
        for position, samples, seen in tuple(self._kept):
            if position >= last:
                return
            self._seen = seen
            yield position, samples
        now = self._now
        while now.end < last:
            self._seen = now.reader
            samples = self._next(now)
            if samples is None:
                return
            position, now.end = now.end, now.end + len(samples)
            if self._most and now.end > first:
                self._kept.append(_Frame(position, samples, now.reader.snapshot()))
                self._size += samples.nbytes + _SNAPSHOT
                while self._size > self._most:
                    self._forget()
            yield position, samples

    def _next(self, now: _Pass) -> np.ndarray | None:
        """Decode a frame; what cannot be decoded once is not tried again for every segment."""
        if now.error is not None:
            raise Unusable(now.error.code, now.error.message)
        try:
            return next(now.frames, None)
        except Unusable as error:
            now.error = error
            raise
        except BaseException:
            self._end(now)  # the next segment begins again
            raise

    def _forget(self) -> None:
        frame = self._kept.popleft()
        self._size -= frame.samples.nbytes + _SNAPSHOT
