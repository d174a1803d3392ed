"""Look at an audio container before a decoder does: is it audio, is it all there, is it true.

libsndfile is forgiving where we must not be: a truncated WAV reads as a shorter one, an Ogg file
with one flipped bit loses everything behind it, a broken MP3 is resynchronised. `inspect` walks
the container's own structure (chunks, pages with their checksums, frames) without decoding.
Frames of FLAC carry checksums that libsndfile does verify.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Unusable

__all__ = ["FORMATS", "Container", "inspect"]

#: Containers that are read; everything else that libsndfile knows is refused.
FORMATS = ("wav", "flac", "ogg", "mp3", "aiff", "au", "nist")

#: Sampling rates outside of this are a broken header, in Hz.
PLAUSIBLE_RATES = (1000, 768_000)

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")


@dataclass(frozen=True, slots=True)
class Container:
    """What `inspect` found: the format, the bytes to decode, and flags such as ``size_unknown``."""

    format: str
    data: bytes
    flags: tuple[str, ...] = ()


def inspect(data: bytes) -> Container:
    """Tell the container from its first bytes and check that it is complete.

    Parameters
    ----------
    data : bytes
        A whole file.

    Returns
    -------
    Container
        With the sizes of a streamed WAV (``0`` or ``0xFFFFFFFF`` in the header) filled in and
        the flag ``size_unknown``; otherwise the same bytes.

    Raises
    ------
    Unusable
        ``empty``, ``not_audio``, ``truncated``, ``decode_error`` or ``implausible_header``.

    Examples
    --------
    >>> inspect(b"dear diary")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    affekt.extract.errors.Unusable: begins with b'dear diary': none of wav, flac, ogg, ...
    """
    if not data:
        raise Unusable("empty", "0 bytes")
    body = _after_id3(data)
    check = _CHECKS.get(data[body : body + 4])
    if check is None and _mp3_frame(data, body):
        check = _mp3
    if check is None and body:
        check = _mp3  # an ID3 tag, then perhaps junk before the first frame
    if check is None:
        known = ", ".join(FORMATS)
        raise Unusable("not_audio", f"begins with {data[:12]!r}: none of {known}")
    return check(data)


def _after_id3(data: bytes) -> int:
    """Offset behind an ID3v2 tag, which some writers put before any format."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    a, b, c, d = data[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[5] & 0x10 else 0)


# RIFF, RIFX, RF64 and AIFF: a list of (name, size, bytes) chunks


def _riff(data: bytes) -> Container:
    order = ">" if data[:4] == b"RIFX" else "<"
    if data[8:12] != b"WAVE":
        raise Unusable("not_audio", f"a RIFF file of type {data[8:12]!r}, not WAVE")
    large = None  # the 64-bit size of RF64
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from(order + "4sI", data, position)
        begin = position + 8
        if name == b"ds64" and begin + 16 <= len(data):
            large = struct.unpack_from("<Q", data, begin + 8)[0]
        elif name == b"fmt " and begin + 8 <= len(data):
            _check_rate(struct.unpack_from(order + "I", data, begin + 4)[0])
        elif name == b"data":
            return _riff_samples(data, order, begin, size, large)
        position = begin + size + size % 2
    raise Unusable("empty", "a WAV header without a data chunk")


def _riff_samples(data: bytes, order: str, begin: int, size: int, large: int | None) -> Container:
    there = len(data) - begin
    if large is not None and size == 0xFFFFFFFF:
        if large > there:
            raise Unusable("truncated", f"the header says {large} bytes of samples, {there} follow")
        return Container("wav", data)
    streamed = size >= 0x7FFFF000 or (size == 0 and not _only_chunks(data, order, begin))
    if streamed and there:
        patched = bytearray(data)
        struct.pack_into(order + "I", patched, begin - 4, there)
        struct.pack_into(order + "I", patched, 4, min(len(data) - 8, 0xFFFFFFFF))
        return Container("wav", bytes(patched), ("size_unknown",))
    if size > there:
        raise Unusable("truncated", f"the header says {size} bytes of samples, {there} follow")
    return Container("wav", data)


def _only_chunks(data: bytes, order: str, position: int) -> bool:
    """Whether the rest is whole chunks (so that an empty data chunk is meant) or samples."""
    while position + 8 <= len(data):
        name, size = struct.unpack_from(order + "4sI", data, position)
        if not re.fullmatch(rb"[ -~]{4}", name):
            return False
        position += 8 + size + size % 2
    return len(data) <= position <= len(data) + 1


def _aiff(data: bytes) -> Container:
    if data[8:12] not in (b"AIFF", b"AIFC"):
        raise Unusable("not_audio", f"an IFF file of type {data[8:12]!r}, not AIFF")
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from(">4sI", data, position)
        if name == b"SSND":
            there = len(data) - position - 8
            if size > there:
                raise Unusable("truncated", f"the header says {size} bytes, {there} follow")
            return Container("aiff", data)
        position += 8 + size + size % 2
    raise Unusable("empty", "an AIFF header without samples")


def _au(data: bytes) -> Container:
    if len(data) < 24:
        raise Unusable("empty", "an AU header cut short")
    order = ">" if data[:4] == b".snd" else "<"
    offset, size, _, rate = struct.unpack_from(order + "4I", data, 4)
    _check_rate(rate)
    there = max(len(data) - offset, 0)
    if size == 0xFFFFFFFF:
        return Container("au", data, ("size_unknown",))
    if size > there:
        raise Unusable("truncated", f"the header says {size} bytes of samples, {there} follow")
    return Container("au", data)


def _nist(data: bytes) -> Container:
    """Read a SPHERE header: lines of ``name -type value``; its second line is its own length."""
    header = data[:16384].decode("latin-1")
    fields = dict(re.findall(r"^(\w+) -i (\d+)", header.split("end_head")[0], re.MULTILINE))
    size = re.match(r"NIST_1A\s+(\d+)", header)
    if not size or "end_head" not in header:
        raise Unusable("decode_error", "a NIST SPHERE header without its end")
    width = int(fields.get("sample_n_bytes", 2)) * int(fields.get("channel_count", 1))
    claimed = int(fields.get("sample_count", 0)) * width
    there = len(data) - int(size[1])
    if claimed > there:
        raise Unusable("truncated", f"the header says {claimed} bytes of samples, {there} follow")
    return Container("nist", data)


def _check_rate(rate: int) -> None:
    low, high = PLAUSIBLE_RATES
    if not low <= rate <= high:
        raise Unusable("implausible_header", f"a sampling rate of {rate} Hz")


# FLAC: its frames are checked by the decoder, which wants to know how many samples there are


def _flac(data: bytes) -> Container:
    begin = _after_id3(data)
    if len(data) < begin + 42:
        raise Unusable("decode_error", "a FLAC header cut short")
    if int.from_bytes(data[begin + 21 : begin + 26], "big") & 0xFFFFFFFFF:
        return Container("flac", data)
    patched = bytearray(data)  # written as a stream: the last frame tells
    patched[begin + 22 : begin + 26] = struct.pack(">I", _flac_samples(data, begin))
    return Container("flac", bytes(patched), ("size_unknown",))


def _flac_samples(data: bytes, begin: int) -> int:
    """Count samples by the number in the last frame's header; 0 without a frame."""
    block_size = int.from_bytes(data[begin + 10 : begin + 12], "big")
    at = len(data)
    while (at := data.rfind(b"\xff", begin + 42, at)) > 0:
        head = data[at : at + 16]
        if len(head) < 6 or head[1] & 0xFE != 0xF8:
            continue
        width = max(1, 8 - (head[4] ^ 0xFF).bit_length())  # of the number, coded like UTF-8
        size, rate = head[2] >> 4, head[2] & 15
        extra = {6: 1, 7: 2}.get(size, 0)
        end = 4 + width + extra + {12: 1, 13: 2, 14: 2}.get(rate, 0)
        if len(head) <= end or _crc8(head[:end]) != head[end]:
            continue
        number = head[4] & (0x7F >> width if width > 1 else 0x7F)
        for byte in head[5 : 4 + width]:
            number = number << 6 | byte & 0x3F
        here = 1 + int.from_bytes(head[4 + width : 4 + width + extra], "big")
        if not extra:
            here = 192 if size == 1 else 576 << (size - 2) if size < 6 else 256 << (size - 8)
        return here + (number if head[1] & 1 else number * block_size)
    return 0


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value


# Ogg: pages with a checksum each; the last one says so


def _ogg(data: bytes) -> Container:
    position, last = 0, False
    view = memoryview(data)
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            raise Unusable("decode_error", f"no Ogg page at byte {position}")
        table = position + 27
        count = data[table - 1] if table <= len(data) else 255
        sizes = data[table : table + count]
        end = table + count + sum(sizes)
        if len(sizes) < count or end > len(data):
            raise Unusable("decode_error", f"the Ogg page at byte {position} is cut short")
        page = bytearray(view[position:end])
        stored = int.from_bytes(page[22:26], "little")
        page[22:26] = bytes(4)
        if _ogg_checksum(page) != stored:
            raise Unusable("decode_error", f"the Ogg page at byte {position} fails its checksum")
        last = bool(data[position + 5] & 4)
        position = end
    if not last:
        raise Unusable("decode_error", "cut short: no page ends the Ogg stream")
    return Container("ogg", data)


def _ogg_checksum(page: bytes | bytearray) -> int:
    """CRC-32 as Ogg has it: zlib's polynomial with the bits the other way round, from zero."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


# MPEG audio: one frame follows the other

_BITRATES = {  # kbit/s by (MPEG 1, layer); index 1..14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _mp3_frame(data: bytes, at: int) -> int:
    """Length in bytes of the MPEG audio frame at this offset, 0 if there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    bitrate, rate = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits = _BITRATES[version == 3, layer][bitrate - 1] * 1000
    padding = data[at + 2] >> 1 & 1
    hertz = _RATES[version][rate]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // hertz + padding


def _mp3(data: bytes) -> Container:
    position = _mp3_start(data, _after_id3(data))
    while position < len(data):
        length = _mp3_frame(data, position)
        if not length:
            rest = data[position : position + 16]
            if rest.startswith(_TRAILERS) or not data[position:].strip(b"\0"):
                break
            raise Unusable("decode_error", f"no MP3 frame at byte {position}")
        position += length
    if position > len(data):
        raise Unusable("decode_error", f"the last MP3 frame lacks {position - len(data)} bytes")
    return Container("mp3", data)


def _mp3_start(data: bytes, begin: int) -> int:
    """First of two frames in a row, at most 64 kB behind the tag."""
    for at in range(begin, min(begin + 65536, len(data))):
        length = _mp3_frame(data, at)
        if length and (at + length >= len(data) or _mp3_frame(data, at + length)):
            return at
    raise Unusable("not_audio", f"no MP3 frame in the first 64 kB behind byte {begin}")


_CHECKS: dict[bytes, Callable[[bytes], Container]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"FORM": _aiff,
    b".snd": _au,
    b"dns.": _au,
    b"NIST": _nist,
    b"fLaC": _flac,
    b"OggS": _ogg,
}
