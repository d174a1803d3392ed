"""Ogg: pages with a checksum each, the last one marked. Decoders drop damaged pages."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from ...errors import Unusable
from .signatures import TRAILERS

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MANY_PAGES, _LEAST_PAGE = 50_000, 48  # bytes: a page of one packet of speech has more
_MOST_BAD_PAGES = 64  # what follows counts as damaged: the search takes linear time


@dataclass(frozen=True, slots=True)
class Pages:
    """What the pages of an Ogg file say.

    Attributes
    ----------
    lost : float
        Share of the file that damaged and missing pages would hold; 0 to 1.
    ended : bool
        The last page is marked as such.
    late : bool
        Its sound begins within a stream, as in a recording of a radio station.
    short_vorbis : bool
        It is Vorbis, whole, and all its sound is on one page: FFmpeg misses where it ends, by up to
        half a packet.
    """

    lost: float
    ended: bool
    late: bool = False
    short_vorbis: bool = False


def check_pages(data: bytes) -> Pages:
    """Check the pages of a file: their checksums, and that their numbers follow each other."""
    position, bad, bad_pages, pages, missing, ended = 0, 0, 0, 0, 0, False
    sounding = 0  # pages
    numbers: dict[bytes, int] = {}  # of the last page, by stream
    late = False
    view = memoryview(data)
    while position < len(data):
        end, last = _ogg_page(view, position)
        if end:
            stream = data[position + 14 : position + 18]
            number = int.from_bytes(data[position + 18 : position + 22], "little")
            jump = number - numbers.get(stream, number - 1) - 1
            if jump > 0 and not bad:  # where a page is damaged, its bytes are counted
                late |= jump > pages
                missing += jump if jump <= pages else 0
            numbers[stream] = number
            sounding += any(data[position + 6 : position + 14])  # a time: sound ends on it
            position, ended, pages = end, last, pages + 1
            if pages % _MANY_PAGES == 0 and position < _LEAST_PAGE * pages:
                raise Unusable("implausible_header", f"{pages} Ogg pages that hold next to nothing")
            continue
        if data[position : position + 4] != b"OggS" and (
            ended or data.startswith(TRAILERS, position) or not data[position:].strip(b"\0")
        ):
            break
        bad_pages += 1
        following = data.find(b"OggS", position + 1) if bad_pages < _MOST_BAD_PAGES else -1
        following = following if following >= 0 else len(data)
        bad += following - position
        position, ended = following, False
    gone = missing * len(data) / max(pages, 1)
    whole = ended and not (bad or missing or late)
    short_vorbis = whole and sounding == 1 and data[28:35] == b"\x01vorbis"
    return Pages((bad + gone) / (len(data) + gone), ended, late, short_vorbis)


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
