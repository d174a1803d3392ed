"""FLAC: the number in its last frame says how many samples there are."""

from __future__ import annotations

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
