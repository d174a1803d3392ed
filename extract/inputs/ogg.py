"""Ogg: pages with a checksum each, of which the last one says so. Decoders drop damaged ones."""

from __future__ import annotations

import zlib

from .formats import TRAILERS

__all__ = ["check_pages"]

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MOST_BAD_PAGES = 64  # what is behind them counts as damaged: the search takes linear time


def check_pages(data: bytes) -> tuple[int, bool]:
    """Return the bytes in damaged pages, and whether the file ends with a stream's last page."""
    position, bad, bad_pages, ended = 0, 0, 0, False
    view = memoryview(data)
    while position < len(data):
        end, last = _ogg_page(view, position)
        if end:
            position, ended = end, last
            continue
        if data[position : position + 4] != b"OggS" and (
            data.startswith(TRAILERS, position) or not data[position:].strip(b"\0")
        ):
            break
        bad_pages += 1
        following = data.find(b"OggS", position + 1) if bad_pages < _MOST_BAD_PAGES else -1
        following = following if following >= 0 else len(data)
        bad += following - position
        position, ended = following, False
    return bad, ended


def _ogg_page(view: memoryview, position: int) -> tuple[int, bool]:
    """Return where a sound page ends, 0 if it is none; and whether it is the last of a stream."""
    table = position + 27
    if table > len(view) or view[position : position + 4] != b"OggS":
        return 0, False
    sizes = view[table : table + view[table - 1]]
    end = table + len(sizes) + sum(sizes)
    if len(sizes) < view[table - 1] or end > len(view):
        return 0, False
    page = bytearray(view[position:end])
    stored = int.from_bytes(page[22:26], "little")
    page[22:26] = bytes(4)
    return (end if _ogg_checksum(page) == stored else 0), bool(page[5] & 4)


def _ogg_checksum(page: bytes | bytearray) -> int:
    """CRC-32 as Ogg has it: zlib's polynomial with the bits the other way round, from zero."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
