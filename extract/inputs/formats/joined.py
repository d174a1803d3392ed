"""Files that were joined end to end: where each begins, and all of them read one after the other.

``cat a.mp3 b.mp3``, a chained Ogg, a radio stream that was saved: each part has a header, a delay
and a length of its own, so each is decoded as the file that it was.
"""

from __future__ import annotations

import copy
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ...errors import Unusable
from .flac_and_mp3_frames import mpeg_frame
from .signatures import Format, after_id3

_MOST = 256  # parts; what follows belongs to the last one
_OGG = re.compile(rb"OggS\0[\x02\x03\x06\x07]\0{8}")  # the first page of a stream
_MP3 = re.compile(
    rb"ID3[\x02-\x04]\0.[\x00-\x7f]{4}"
    rb"|\xff[\xe2-\xff](?:.{11}|.{19}|.{34})(?:Xing|Info)",
    re.DOTALL,
)


def split(format: Format, data: bytes) -> list[bytes]:
    """Return the files that a file is joined from; for nearly every file just itself.

    Examples
    --------
    >>> split(Format("flac", "FLAC", "flac"), b"fLaC....")
    [b'fLaC....']
    """
    find = _STARTS.get(format.name)
    starts: list[int] = []
    if find is not None:
        for start in find(data, format.begin):
            starts.append(start)
            if len(starts) == _MOST - 1:
                break
    if not starts:
        return [data]
    return [data[a:b] for a, b in zip([0, *starts], [*starts, len(data)], strict=True)]


def _ogg(data: bytes, begin: int) -> Iterator[int]:
    """First pages of streams, but those that follow each other: streams side by side."""
    behind = begin
    for found in _OGG.finditer(data, begin):
        at = found.start()
        table = data[at + 27 : at + 27 + data[at + 26]] if at + 27 <= len(data) else b""
        if at != behind:
            yield at
        behind = at + 27 + len(table) + sum(table)


def _mp3(data: bytes, begin: int) -> Iterator[int]:
    """Tags that a frame follows, and frames with a Xing header."""
    least = begin + 1
    for found in _MP3.finditer(data, begin + 1):
        at = found.start()
        if at < least:
            continue
        if data[at] == 0xFF:
            if mpeg_frame(data, at)[0]:
                yield at
            continue
        end = at
        while (behind := after_id3(data, end)) > end:
            end = behind
        if mpeg_frame(data, end)[0]:
            yield at
            least = end + 1


def _chunks(mark: bytes, order: str, kinds: Sequence[bytes]) -> Callable[..., Iterator[int]]:
    """Return what finds a whole file after the chunks of another, with or without padding."""

    def find(data: bytes, begin: int) -> Iterator[int]:
        at = begin
        while data[at : at + 4] == mark and data[at + 8 : at + 12] in kinds:
            if at > begin:
                yield at
            at += 8 + struct.unpack_from(order + "I", data, at + 4)[0]
            at += data[at : at + 4] != mark

    return find


def _marks(mark: bytes) -> Callable[..., Iterator[int]]:
    """Return what finds a first line that no sound is like."""
    pattern = re.compile(mark, re.DOTALL)
    return lambda data, begin: (found.start() for found in pattern.finditer(data, begin + 1))


def _mov(data: bytes, begin: int) -> Iterator[int]:
    """A box ``ftyp`` after other boxes."""
    at = begin
    while at + 16 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"ftyp" and at > begin:
            yield at
        size = struct.unpack_from(">Q", data, at + 8)[0] if size == 1 else size
        at += size if size >= 8 else len(data)


_STARTS: dict[str, Callable[[bytes, int], Iterator[int]]] = {
    "flac": _marks(rb"fLaC[\x00\x80]\0\0\x22"),
    "ogg": _ogg,
    "mp3": _mp3,
    "wav": _chunks(b"RIFF", "<", (b"WAVE",)),
    "aiff": _chunks(b"FORM", ">", (b"AIFF", b"AIFC")),
    "w64": _marks(rb"riff.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0.{8}wave\xf3\xac\xd3\x11"),
    "caf": _marks(rb"caff\0\x01\0\0desc"),
    "mov": _mov,
    "asf": _marks(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))),
    "flv": _marks(rb"FLV\x01[\0-\x07]\0\0\0\x09\0\0\0\0"),
    "tta": _marks(rb"TTA1[\1-\3]\0"),
    "voc": _marks(rb"Creative Voice File\x1a\x1a\0"),
}


class JoinedReader:
    """Reads parts one after the other, as a reader of one file does.

    Parameters
    ----------
    parts : sequence of bytes
        As `split` returns them.
    open_part : callable
        Returns a `SndfileReader` or an `FFmpegReader`.

    Attributes
    ----------
    rate : int
        In Hz.
    total : None
        Known at the end only.

    Raises
    ------
    Unusable
        As the readers do, or parts of different rates.
    """

    total = None

    def __init__(self, parts: Sequence[bytes], open_part: Callable[[bytes], Any]) -> None:
        self._left = list(parts)
        self._whole = sum(map(len, parts))  # bytes
        self._open = open_part
        self._stack = ExitStack()
        self._read: list[Any] = []
        self._unread = 0.0  # seconds in parts that cannot be opened, as far as known
        self._size = 0  # bytes of the parts that were
        self._advance()
        self.rate: int = self._read[0].rate

    def __enter__(self) -> JoinedReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def estimate(self) -> float:
        """Seconds to expect, if the parts are like the first."""
        first = self._read[0]
        known = first.estimate if first.total is None else first.total / first.rate
        return known * (self._size + sum(map(len, self._left))) / self._size

    @property
    def decoded(self) -> int:
        """Frames so far."""
        return sum(part.decoded for part in self._read)

    @property
    def lost(self) -> float:
        """Seconds that were found to be missing so far."""
        return sum(part.lost for part in self._read) + self._unread

    @property
    def cause(self) -> str:
        """Reason code for sound that is missing."""
        return next((part.cause for part in self._read if part.lost > 0), "truncated")

    @property
    def flags(self) -> tuple[str, ...]:
        """Remarks on all parts so far."""
        notes = [note for part in self._read for note in part.flags]
        return tuple(dict.fromkeys([*notes, "joined"]))

    @property
    def ended(self) -> bool:
        """Everything was read."""
        return not self._left and self._read[-1].ended

    def frames(self) -> Iterator[np.ndarray]:
        """Yield ``(frames, channels)`` float32, as they are decoded."""
        while True:
            yield from self._read[-1].frames()
            if not self._left:
                return
            self._advance()

    def snapshot(self) -> JoinedReader:
        """Return what is known of the parts so far."""
        seen = copy.copy(self)
        seen._left, seen._read = self._left[:], [*self._read[:-1], self._read[-1].snapshot()]
        return seen

    def _advance(self) -> None:
        """Go to the next part that can be opened."""
        self._stack.close()  # what was counted of the part before stays
        while self._left:
            part = self._left.pop(0)
            try:
                reader = self._open(part)
            except Unusable as error:
                if not self._read:
                    raise
                if error.code != "empty":
                    self._unread += self.decoded / self.rate * len(part) / self._size
                continue
            self._size += len(part)
            self._stack.callback(reader.__exit__, None, None, None)
            if self._read and reader.rate != self.rate:
                begin = self._whole - sum(map(len, self._left)) - len(part)
                raise Unusable(  # ffmpeg makes one of two MP3, and keeps the first of two Ogg
                    "decode_error",
                    f"several files in one: the sampling rate changes from {self.rate} to"
                    f" {reader.rate} after {self.decoded / self.rate:.1f} s; split it: head"
                    f" -c {begin} FILE > FIRST; tail -c +{begin + 1} FILE > REST",
                )
            self._read.append(reader)
            return
