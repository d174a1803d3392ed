"""Frames of FLAC and MPEG audio (mp3, mp2): where they begin, how much sound a header promises."""

from __future__ import annotations

import re

_FAR = 65_536  # bytes in which the first frame has to begin, after zeros
_NOT_ZERO, _ZEROS = re.compile(rb"[^\0]"), bytes(1 << 20)

_BITRATES = {  # kbit/s by (MPEG 1, layer); index 1..14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mpeg_frame(data: bytes, at: int) -> tuple[int, int, int]:
    """Return length in bytes, samples and rate of the MPEG audio frame here; zeros if none is."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0, 0, 0
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    bitrate, rate = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0, 0, 0
    bits = _BITRATES[version == 3, layer][bitrate - 1] * 1000
    padding = data[at + 2] >> 1 & 1
    hertz = _RATES[version][rate]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4, 384, hertz
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // hertz + padding, samples, hertz


def mpeg_start(data: bytes, begin: int) -> int:
    """Return where the first of three frames of a kind begins, or of all there are; -1 if none."""
    behind = begin
    while data.startswith(_ZEROS, behind):  # a hundred times as fast as the search
        behind += len(_ZEROS)
    if (sound := _NOT_ZERO.search(data, behind)) is None:
        return -1
    at = sound.start() - 1
    last = at + _FAR
    while (at := data.find(b"\xff", at + 1, last)) >= 0:
        position, frames, kind = at, 0, _kind(data, at)
        while (
            frames < 3
            and _kind(data, position) == kind
            and (length := mpeg_frame(data, position)[0])
        ):
            position, frames = position + length, frames + 1
        if frames == 3 or (frames and at == begin and position >= len(data)):
            return at
    return -1


def _kind(data: bytes, at: int) -> bytes:
    """Return the version, layer and sampling rate in a frame's head, which a stream keeps."""
    return bytes([data[at + 1] & 0xFE, data[at + 2] & 0x0C]) if at + 2 < len(data) else b""


def promised_seconds(data: bytes, begin: int) -> float | None:
    """Return the length that a Xing, LAME or VBRI header in the first frame promises, or None."""
    _, samples, rate = mpeg_frame(data, begin)
    head = data[begin : begin + 400]
    count = 0
    if (at := max(head.find(b"Xing"), head.find(b"Info"))) > 0 and head[at + 7 : at + 8]:
        flags = head[at + 7]
        count = int.from_bytes(head[at + 8 : at + 12], "big") * samples if flags & 1 else 0
        # LAME's delay and padding, 12 bits each, which are not sound
        tag = at + 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
        both = int.from_bytes(head[tag + 21 : tag + 24], "big")
        count = max(count - (both >> 12) - (both & 0xFFF), 0)
    elif (at := head.find(b"VBRI")) > 0:
        count = int.from_bytes(head[at + 14 : at + 18], "big") * samples
    return count / rate if count else None


_LAST_FRAME = 65_536  # bytes in which the last frame has to begin
_MOST_CANDIDATES = 256


def flac_samples(data: bytes) -> int:
    """Count samples by the number in the last frame's header; 0 where none is found."""
    block_size = int.from_bytes(data[10:12], "big")
    at, least = len(data), max(42, len(data) - _LAST_FRAME)
    for _ in range(_MOST_CANDIDATES):
        at = data.rfind(b"\xff", least, at)
        if at < 0:
            return 0
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
