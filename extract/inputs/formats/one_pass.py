"""Read segments of a file that has no index in one pass, and each as if it were read alone.

MP3, Ogg and their like are decoded from their beginning. Segments in ascending order share one
pass: what was decoded since the beginning of the last one is kept for those that overlap it,
together with what was known of the file at each frame, so that damage behind a segment's end is
still no damage of the segment.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...errors import Unusable

#: Bytes of samples that are kept for a segment that overlaps the last one.
KEPT = 128 << 20

_BLOCK = 65_536  # frames that are handed on together
_SNAPSHOT = 1000  # bytes


class _Frame(NamedTuple):
    position: int  # of its first sample
    samples: np.ndarray
    seen: Any  # the reader, as it was behind this frame


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
        Seconds to expect, as far as one knows before reading.

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
        self._begin()
        self.rate: int = self._reader.rate
        self.estimate: float = self._reader.estimate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._seen, name)

    def close(self) -> None:
        """Close the file."""
        self._reader.__exit__(None, None, None)

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

    def _begin(self) -> None:
        self._reader = self._seen = self._open()
        self._frames: Iterator[np.ndarray] = self._reader.frames()
        self._kept: deque[_Frame] = deque()
        self._size = 0  # bytes
        self._end: float = 0  # frames that were read
        self._error: Unusable | None = None  # the end of this pass

    def _frames_of(self, first: int, last: float) -> Iterator[tuple[int, np.ndarray]]:
        """Yield position and samples of every frame until `last`, from one before `first` on."""
        if first < (self._kept[0].position if self._kept else self._end):
            self._discard()
            self.close()
            self._begin()
        while self._kept and self._kept[0].position + len(self._kept[0].samples) <= first:
            self._forget()
        for position, samples, seen in tuple(self._kept):
            if position >= last:
                return
            self._seen = seen
            yield position, samples
        while self._end < last:
            self._seen = self._reader
            samples = self._next()
            if samples is None:
                return
            position, self._end = int(self._end), self._end + len(samples)
            if self._most and self._end > first:
                self._kept.append(_Frame(position, samples, self._reader.snapshot()))
                self._size += samples.nbytes + _SNAPSHOT
                while self._size > self._most:
                    self._forget()
            yield position, samples

    def _next(self) -> np.ndarray | None:
        """Decode a frame; what cannot be decoded once is not tried again for every segment."""
        if self._error is not None:
            raise Unusable(self._error.code, self._error.message)
        try:
            return next(self._frames, None)
        except Unusable as error:
            self._error = error
            raise
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Let the next segment begin anew, whatever happens meanwhile."""
        self._kept.clear()
        self._end = math.inf

    def _forget(self) -> None:
        frame = self._kept.popleft()
        self._size -= frame.samples.nbytes + _SNAPSHOT
