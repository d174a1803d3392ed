"""Containers that may hold pictures next to sound: whether the last element of a file is whole.

FFmpeg reads a cut recording without a word. MPEG-4, Matroska and AVI are trees of elements that
begin with their size, so a cut shows in the last one; a recording that was streamed holds no length
at all, and a cut between two elements cannot be seen.
"""

from __future__ import annotations

import re
import struct

from ...errors import Unusable
from .signatures import Format

_MOST = 500_000  # elements that are looked at
_MANY, _LEAST_BOX, _LEAST_ELEMENT = 50_000, 24, 8  # elements, and the bytes they have on average

UNFINISHED, UNKNOWN = "unfinished", "size_unknown"


def check_mov(format: Format, data: bytes) -> tuple[str, ...]:
    """Walk the boxes; fragments without an index at the end are a stream."""
    kinds: set[bytes] = set()
    at, cut = 0, False
    for count in range(_MOST):
        if at + 8 > len(data):
            break
        _check_content(format, count, at, _LEAST_BOX)
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack_from(">Q", data, at + 8)[0]
        size = size or len(data) - at  # 0: up to the end
        cut = at + size > len(data)
        if size < 8:
            break
        kinds.add(kind)
        at += size
    streamed = b"moof" in kinds and b"mfra" not in kinds
    return (UNFINISHED,) * cut + (UNKNOWN,) * streamed


def _check_content(format: Format, count: int, at: int, least: int) -> None:
    """Refuse element after element without content, which would keep FFmpeg busy for minutes."""
    if count and count % _MANY == 0 and at < least * count:
        reason = f"{format.title}: {count} elements that hold next to nothing"
        raise Unusable("implausible_header", reason)


def check_avi(format: Format, data: bytes) -> tuple[str, ...]:
    """Compare the size of each RIFF list with what follows."""
    at = 0
    while at + 8 <= len(data) and data[at : at + 4] == b"RIFF":
        size = struct.unpack_from("<I", data, at + 4)[0]
        if size in (0, 0xFFFFFFFF):
            return (UNKNOWN,)
        at += 8 + size
    return (UNFINISHED,) if at > len(data) + 1 else ()


def avi_seconds(data: bytes) -> float | None:
    """Return the header's length of a single sound track, which FFmpeg guesses by the size."""
    tracks = list(re.finditer(rb"strh[\x38-\x40]\0\0\0auds", data[:65_536]))
    if len(tracks) != 1 or tracks[0].end() + 32 > len(data):
        return None
    scale, rate, _, count = struct.unpack_from("<4I", data, tracks[0].end() + 16)
    return count * scale / rate or None if rate else None


_SEGMENT = 0x18538067


def check_matroska(format: Format, data: bytes) -> tuple[str, ...]:
    """Walk the elements; a segment of unknown size is a stream."""
    at, streamed = 0, False
    for count in range(_MOST):
        if at >= len(data):
            break
        _check_content(format, count, at, _LEAST_ELEMENT)
        name, at = _number(data, at, keep=True)
        size, at = _number(data, at, keep=False)
        if name is None or size is None:  # cut within a head
            return (UNFINISHED,) + (UNKNOWN,) * streamed
        if size < 0:
            streamed |= name == _SEGMENT
            continue
        if name == _SEGMENT:
            return (UNFINISHED,) if at + size > len(data) else ()
        at += size
    return (UNFINISHED,) * (at > len(data)) + (UNKNOWN,) * streamed


def _number(data: bytes, at: int, *, keep: bool) -> tuple[int | None, int]:
    """Read a number of 1 to 8 bytes, as many as the first one says; -1 is "unknown"."""
    if at >= len(data) or not data[at]:
        return None, at
    length = 9 - data[at].bit_length()
    if at + length > len(data):
        return None, at
    value = int.from_bytes(data[at : at + length], "big")
    if not keep:
        value &= (1 << 7 * length) - 1
        value = -1 if value == (1 << 7 * length) - 1 else value
    return value, at + length


def check_flv(format: Format, data: bytes) -> tuple[str, ...]:
    """Look for a length in the first tag, which is that of ``onMetaData``."""
    head = data[:4096]
    at = head.find(b"duration\0")
    seconds = struct.unpack_from(">d", head, at + 9)[0] if 0 < at < len(head) - 17 else 0.0
    return () if seconds > 0 else (UNKNOWN,)


def check_program_stream(format: Format, data: bytes) -> tuple[str, ...]:
    """Compare the size of the last packet with what follows."""
    at = data.rfind(b"\0\0\x01", max(0, len(data) - 70_000), len(data) - 6)
    if at < 0 or not 0xBB <= data[at + 3] <= 0xEF:
        return ()
    size = int.from_bytes(data[at + 4 : at + 6], "big")
    return (UNFINISHED,) * (at + 6 + size > len(data))
