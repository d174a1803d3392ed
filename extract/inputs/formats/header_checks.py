"""Compare what a file's header promises with what the file holds, before a decoder looks at it.

Decoders forgive where we must not: libsndfile reads a truncated WAV as a shorter one, stops where
a header says less than follows, and FFmpeg drops damaged Ogg pages. `inspect` reads the structure
(chunks, pages, the number in the last FLAC frame), decodes nothing, and takes a time that is linear
in the size of the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...errors import Unusable
from . import films
from .flac_and_mp3_frames import flac_samples, promised_seconds
from .ogg import check_pages
from .signatures import TRAILERS, Format, after_id3, identify

#: Sampling rates outside of this are a broken header, in Hz.
PLAUSIBLE_RATES = (1000, 768_000)

#: Digital silence in FLAC stays below.
FRAMES_PER_BYTE = 4096

_MOST_CHUNKS = 10_000
_PCM, _MPEG = 1, (0x50, 0x55)  # codecs of WAV
_PCM_SIZE = 16  # bytes that describe PCM; of fewer, the last, bits a sample, are not there


@dataclass(frozen=True, slots=True)
class Container:
    """A file of a known format, and how its header compares with its content.

    Attributes
    ----------
    data : bytes
        What to decode, with the sizes in a wrong header corrected.
    flags : tuple of str
        ``size_unknown``, ``longer_than_header``, ``unfinished``, ``gaps``, ``several_tracks``.
    lost : float
        Share of the samples that the header promises and the file does not hold, or that damaged
        pages hold; 0 to 1.
    promised : float or None
        Seconds that a header promises, where the decoder does not know them.
    uncertain : bool
        FFmpeg has to decode it: the length in a FLAC header is not that of its frames, or a WAV
        file holds MP3, whose length libsndfile overstates.
    short_vorbis : bool
        libsndfile has to decode it: FFmpeg misses the end of Ogg Vorbis on a single page.
    """

    format: Format
    data: bytes
    flags: tuple[str, ...] = ()
    lost: float = 0.0
    promised: float | None = None
    uncertain: bool = False
    short_vorbis: bool = False


def inspect(data: bytes) -> Container:
    """Identify a file and compare its header with its content.

    Raises
    ------
    Unusable
        ``empty``, ``not_audio``, ``decode_error`` or ``implausible_header``.

    Examples
    --------
    >>> inspect(b"dear diary")
    Traceback (most recent call last):
    ...
    affekt.extract.errors.Unusable: a text file, begins with 'dear diary'
    """
    format = identify(data)
    # FFmpeg reads a tag before MP3, but after other bytes it misses the delay of the encoder
    if format.begin and (format.name != "mp3" or format.begin != after_id3(data)):
        data = data[format.begin :]
        format = replace(format, begin=0)
    check = _CHECKS.get(format.name)
    return check(format, data) if check else Container(format, data)


# Formats of chunks: (name, begin, size) until the file ends


@dataclass(frozen=True, slots=True)
class _Layout:
    first: int  # offset of the first chunk
    head: str  # struct of name and size
    wanted: bytes  # the chunk of samples
    before: int = 0  # bytes in it before the samples
    align: int = 2
    inclusive: int = 0  # bytes of the head that the size counts too


_RIFF = _Layout(12, "<4sI", b"data")
_RIFX = _Layout(12, ">4sI", b"data")
_AIFF = _Layout(12, ">4sI", b"SSND", before=8)
_W64 = _Layout(
    40, "<16sQ", b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a", align=8, inclusive=24
)
_CAF = _Layout(8, ">4sq", b"data", before=4, align=1)


def _chunks(data: bytes, layout: _Layout, position: int) -> Iterator[tuple[bytes, int, int]]:
    head = struct.calcsize(layout.head)
    for _ in range(_MOST_CHUNKS):
        if position + head > len(data):
            return
        name, size = struct.unpack_from(layout.head, data, position)
        size -= layout.inclusive
        yield name, position + head, size
        if size < 0:
            return
        position += head + size + -size % layout.align


def _samples(
    format: Format, data: bytes, layout: _Layout, begin: int, size: int, *, field: tuple[str, int]
) -> Container:
    """Compare the size of the samples with what follows; `field` is (struct, offset) of it."""
    there = len(data) - begin
    kind = field[0]
    if _streamed(size, kind) or (
        size <= layout.before and there > layout.before and _is_sound(data, layout, begin)
    ):
        return Container(format, _patched(data, field, there + layout.inclusive), ("size_unknown",))
    if size > there:
        held = max(there - layout.before, 0)
        data = _patched(data, field, there + layout.inclusive)
        return Container(format, data, lost=1 - held / (size - layout.before))
    ends = {begin + size, begin + size + -size % layout.align}  # some leave the fill byte out
    if size > layout.before and all(_is_sound(data, layout, end) for end in ends):
        data = _patched(data, field, there + layout.inclusive)
        return Container(format, data, ("longer_than_header",))
    return Container(format, data)


def _streamed(size: int, kind: str) -> bool:
    """Whether a size says "until the end": as large as the number can be, or nearly so."""
    if kind[-1] in "qQ":
        return size == -1 or size >= 2**62
    return 0x7FFFF000 <= size <= 0xFFFFFFFF


def _patched(data: bytes, field: tuple[str, int], value: int) -> bytes:
    kind, offset = field
    number = struct.pack(kind, min(value, 0xFFFFFFFF) if kind[-1] == "I" else value)
    # in one copy: a file may be large
    return b"".join((data[:offset], number, memoryview(data)[offset + len(number) :]))


def _is_sound(data: bytes, layout: _Layout | None, position: int) -> bool:
    """Whether bytes after the samples are samples too: no chunks, no tag, no zeros."""
    rest = data[position : position + 16]
    if len(data) - position < 16 or rest.startswith(TRAILERS):
        return False
    if layout is not None:
        end = position
        for name, begin, size in _chunks(data, layout, position):
            if not re.fullmatch(rb"[ -~]{4}", name[:4]) or size < 0:
                end = -1
                break
            end = begin + size
        if end >= 0 and len(data) - 8 <= end <= len(data) + layout.align:
            return False
    return any(data[at : at + 65_536].strip(b"\0") for at in range(position, len(data), 65_536))


def _wav(format: Format, data: bytes) -> Container:
    if data[:4] == b"BW64":  # RF64 by another name, which libsndfile does not know
        data = b"RF64" + data[4:]
    layout = _RIFX if data[:4] == b"RIFX" else _RIFF
    order = layout.head[0]
    large = kind = 0
    found: Container | None = None
    for name, begin, size in _chunks(data, layout, layout.first):
        if name == b"ds64" and begin + 16 <= len(data):
            large = begin + 8
        elif name == b"fmt " and begin + 8 <= len(data):
            kind, _, rate = struct.unpack_from(order + "HHI", data, begin)
            check_rate(rate)
            if kind == _PCM and size < _PCM_SIZE:
                reason = f"a description of samples in {size} bytes, expected at least {_PCM_SIZE}"
                raise Unusable("implausible_header", reason)
        elif found is not None and name == b"data" and size > 0:
            return replace(found, flags=(*found.flags, "several_tracks"))
        elif found is None and name == b"data":
            field = (order + "I", begin - 4)
            if large and size == 0xFFFFFFFF:
                field, size = ("<Q", large), struct.unpack_from("<Q", data, large)[0]
            found = _samples(format, data, layout, begin, size, field=field)
            found = replace(found, uncertain=kind in _MPEG)
            if found.flags or found.lost:  # what follows is not a chunk
                return found
    if found is None:
        raise Unusable("empty", "a WAV header without a data chunk")
    return found


def _chunked(format: Format, data: bytes) -> Container:
    """AIFF, Wave64, CAF: one chunk of samples, its size in front of it."""
    layout = {"aiff": _AIFF, "w64": _W64, "caf": _CAF}[format.name]
    kind = layout.head[0] + layout.head[-1]
    found = promised = None
    rate = 0.0
    for name, begin, size in _chunks(data, layout, layout.first):
        if layout is _CAF and name in (b"desc", b"pakt") and begin + 16 <= len(data):
            if name == b"desc":
                rate = struct.unpack_from(">d", data, begin)[0]
            else:  # packets are longer than the sound in them
                promised = struct.unpack_from(">q", data, begin + 8)[0]
        elif name == layout.wanted and found is None:
            field = (kind, begin - struct.calcsize(kind))
            found = _samples(format, data, layout, begin, size, field=field)
            if layout is _W64 and not (found.flags or found.lost):
                # libsndfile takes whatever follows for samples
                return replace(found, data=data[: begin + size])
            if layout is not _CAF:
                return found
    if found is not None:
        return replace(found, promised=promised / rate if promised and rate > 0 else None)
    raise Unusable("empty", f"{format.title}: a header without samples")


def _au(format: Format, data: bytes) -> Container:
    if len(data) < 24:
        raise Unusable("empty", "an AU header cut short")
    order = ">" if data[:4] == b".snd" else "<"
    begin, size, _, rate = struct.unpack_from(order + "4I", data, 4)
    check_rate(rate)
    field = (order + "I", 8)
    if _streamed(size, "I"):
        return Container(format, _patched(data, field, 0xFFFFFFFF), ("size_unknown",))
    return _measured(format, data, begin, size, lambda there: _patched(data, field, there))


def _measured(
    format: Format, data: bytes, begin: int, size: int, patched: Callable[[int], bytes]
) -> Container:
    """Compare the size of the samples with what follows; `patched` gives the file another."""
    there = max(len(data) - begin, 0)
    if size > there:
        return Container(format, patched(there), lost=1 - there / size)
    if size < there and _is_sound(data, None, begin + size):
        return Container(format, patched(there), ("longer_than_header",))
    return Container(format, data)


_ONE_BYTE = ("ulaw", "mulaw", "alaw")  # whatever sample_n_bytes says: libsndfile writes 2


def _nist(format: Format, data: bytes) -> Container:
    """Read a SPHERE header: lines of ``name -type value``; its second line is its own length."""
    header = data[:16384].decode("latin-1")
    size = re.match(r"NIST_1A\s+(\d{1,6})\s", header)
    if not size or "end_head" not in header:
        raise Unusable("decode_error", "a NIST SPHERE header without its end")
    begin, end = int(size[1]), header.index("end_head")
    if end > begin:
        reason = f"a NIST SPHERE header of {end} bytes that claims to have {begin}"
        raise Unusable("implausible_header", reason)
    header = header[:end]
    coding = re.search(r"^sample_coding -s\d+ (\S+)", header, re.MULTILINE)
    if coding and "," in coding[1]:
        way = coding[1].split(",", 1)[1]
        raise Unusable(
            "not_audio", f"NIST SPHERE compressed with {way[:40]}: sph2pipe -f wav FILE FILE.wav"
        )
    fields = {
        name: int(value)
        for name, value in re.findall(r"^(\w+) -i (\d{1,15})\s*$", header, re.MULTILINE)
    }
    if long := re.search(r"^(\w+) -i \d{16}", header, re.MULTILINE):
        raise Unusable("implausible_header", f"{long[1]} is a number of more than 15 digits")
    coded = coding is not None and coding[1].lower().replace("-", "") in _ONE_BYTE
    width = (1 if coded else fields.get("sample_n_bytes", 2)) * fields.get("channel_count", 1)
    if not 0 < width <= 1024:
        raise Unusable("implausible_header", f"{width} bytes for each sample")
    if not (claimed := fields.get("sample_count", 0) * width):
        return Container(format, data)
    return _measured(
        format, data, begin, claimed, lambda there: _nist_patched(data, begin, there // width)
    )


def _nist_patched(data: bytes, begin: int, count: int) -> bytes:
    line = b"sample_count -i %d" % count
    header = re.sub(rb"(?m)^sample_count -i \d+", line, data[:begin], count=1)
    return header.rstrip(b" \n\0")[: begin - 1].ljust(begin - 1) + b"\n" + data[begin:]


def _voc(format: Format, data: bytes) -> Container:
    """Read the blocks of a VOC file: kind, three bytes of size; kind 0 ends it."""
    position = int.from_bytes(data[20:22], "little")
    for _ in range(_MOST_CHUNKS):
        if position >= len(data) or data[position] == 0:
            break
        size = int.from_bytes(data[position + 1 : position + 4], "little")
        position += 4 + size
    over = position - len(data)
    return Container(format, data, lost=over / position if over > 0 else 0.0)


def check_rate(rate: int) -> None:
    """Refuse a sampling rate that cannot be true, in Hz."""
    low, high = PLAUSIBLE_RATES
    if not low <= rate <= high:
        raise Unusable("implausible_header", f"a sampling rate of {rate} Hz")


# FLAC: its last frame says how many samples there are


def _flac(format: Format, data: bytes) -> Container:
    if len(data) < 42:
        raise Unusable("decode_error", "a FLAC header cut short")
    total = int.from_bytes(data[21:26], "big") & 0xFFFFFFFFF
    if total > FRAMES_PER_BYTE * len(data):
        reason = f"{total} frames claimed by a file of {len(data)} bytes"
        raise Unusable("implausible_header", reason)
    flags = () if total else ("size_unknown",)
    found = flac_samples(data) if total else -1
    return Container(format, data, flags, uncertain=found != total)


# Formats that FFmpeg reads: what their headers promise


def _ogg(format: Format, data: bytes) -> Container:
    pages = check_pages(data)
    flags = ("unfinished",) * (not pages.ended) + ("gaps",) * pages.late
    return Container(format, data, flags, lost=pages.lost, short_vorbis=pages.short_vorbis)


def _film(
    check: Callable[[Format, bytes], tuple[str, ...]],
) -> Callable[[Format, bytes], Container]:
    return lambda format, data: Container(format, data, check(format, data))


def _avi(format: Format, data: bytes) -> Container:
    flags = films.check_avi(format, data)
    promised = None if films.UNKNOWN in flags else films.avi_seconds(data)
    return Container(format, data, flags, promised=promised)


_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf(format: Format, data: bytes) -> Container:
    at = data.find(_ASF_PROPERTIES, 0, 65_536)
    promised = None
    if at >= 0 and at + 92 <= len(data):
        played, preroll, flags = struct.unpack_from("<Q8xQI", data, at + 64)
        if not flags & 1:  # a broadcast, written as a stream, does not know
            promised = max(played / 1e7 - preroll / 1e3, 0.0) or None
    return Container(format, data, promised=promised)


def _mp3(format: Format, data: bytes) -> Container:
    return Container(format, data, promised=promised_seconds(data, format.begin))


_CHECKS: dict[str, Callable[[Format, bytes], Container]] = {
    "wav": _wav,
    "aiff": _chunked,
    "w64": _chunked,
    "caf": _chunked,
    "au": _au,
    "nist": _nist,
    "voc": _voc,
    "flac": _flac,
    "ogg": _ogg,
    "mp3": _mp3,
    "asf": _asf,
    "mov": _film(films.check_mov),
    "matroska": _film(films.check_matroska),
    "avi": _avi,
    "flv": _film(films.check_flv),
    "mpeg": _film(films.check_program_stream),
}
