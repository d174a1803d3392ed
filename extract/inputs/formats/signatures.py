"""Name the format of a file by its first bytes, or say what it is in place of sound.

The format decides the decoder: libsndfile (through soundfile) reads what holds samples as they are
or without loss, FFmpeg's libraries (through PyAV) everything else. Nothing is probed: FFmpeg is
given the demuxer by name, so that a playlist in disguise can open no other file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ....cache.files.reading import LFS_POINTER
from ...errors import Unusable
from .flac_and_mp3_frames import mpeg_start

#: Formats that libsndfile reads: name -> (what it is called, FFmpeg's demuxer for other codecs).
SOUNDFILE = {
    "wav": ("WAV", "wav"),
    "flac": ("FLAC", "flac"),
    "aiff": ("AIFF", "aiff"),
    "au": ("AU", "au"),
    "nist": ("NIST SPHERE", "nistsphere"),
    "w64": ("Wave64", "w64"),
    "caf": ("CAF", "caf"),
}

#: Formats that FFmpeg reads: its demuxer -> what it is called.
FFMPEG = {
    "mp3": "MPEG audio (mp3, mp2)",
    "ogg": "Ogg",
    "mov": "MPEG-4 (m4a, mp4, mov, 3gp)",
    "matroska": "Matroska (webm, mkv, mka)",
    "aac": "AAC",
    "loas": "AAC (LATM)",
    "amr": "AMR",
    "asf": "Windows Media (wma, asf)",
    "flv": "Flash video (flv)",
    "wv": "WavPack",
    "ac3": "AC-3",
    "dts": "DTS",
    "ape": "Monkey's Audio (ape)",
    "tta": "True Audio (tta)",
    "avi": "AVI",
    "mpeg": "MPEG program stream (mpg, vob)",
    "mpegts": "MPEG transport stream (ts)",
    "rm": "RealMedia",
    "voc": "VOC",  # libsndfile takes the heads of its blocks for samples
}

#: Tags after the samples.
TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    *((0, head, "wav") for head in (b"RIFF", b"RIFX", b"RF64", b"BW64")),
    *((0, b"fLaC", "flac"), (0, b"FORM", "aiff"), (0, b".snd", "au"), (0, b"dns.", "au")),
    *((0, b"NIST", "nist"), (0, b"riff.\x91\xcf\x11", "w64"), (0, b"caff", "caf")),
    *((0, b"Creative Voice File", "voc"), (0, b"OggS", "ogg"), (0, b"\x1aE\xdf\xa3", "matroska")),
    *((4, kind, "mov") for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"pnot")),
    *((0, b"#!AMR", "amr"), (0, b"0&\xb2u\x8ef\xcf\x11", "asf"), (0, b"FLV\x01", "flv")),
    *((0, b"wvpk", "wv"), (0, b"MAC ", "ape"), (0, b"TTA1", "tta"), (0, b"ADIF", "aac")),
    *(
        (0, b"\x7f\xfe\x80\x01", "dts"),
        (0, b"\x0bw", "ac3"),
        (0, b"\0\0\x01\xba", "mpeg"),
        (0, b".RMF", "rm"),
    ),
)

_OTHER: tuple[tuple[bytes, str], ...] = (
    (LFS_POINTER, "a pointer of git-lfs, not the file: run git lfs pull"),
    (rb"(\.\./)*\.git/annex/|/annex/objects/", "a pointer of git-annex: run git annex get FILE"),
    (rb"\x00\x05\x16[\x00\x07]", "a ._ file of macOS, which holds no sound: leave it out"),
    (rb"(?i)\s*(<!doctype html|<html|<head)", "a web page (HTML), saved in place of the file:"
     " download it again"),
    (rb"\s*<\?xml|\s*<[A-Za-z][\w:]*[\s>]", "an XML file, perhaps a server's error message:"
     " download it again"),
    (rb'\s*[{\[]\s*["\[\]{}0-9\-tfn]', "a JSON file"),
    (rb"#EXTM3U|\[playlist\]", "a playlist, which names sound and holds none"),
    (rb"\x1f\x8b", "a gzip archive: unpack it (gunzip FILE)"),
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive: unpack it (unzip FILE)"),
    (rb"7z\xbc\xaf|Rar!|\xfd7zXZ|BZh\d1AY|\x28\xb5\x2f\xfd", "an archive: unpack it"),
    (rb".{257}ustar", "a tar archive: unpack it (tar -xf FILE)"),
    (rb"\x64\xa3[\x01-\x04]\0|\0[\x01-\x04]\xa3\x64", "IRCAM audio (sf): ffmpeg -i FILE FILE.wav"),
    (rb"\.SoX|XoS\.", "SoX's own format: sox FILE FILE.wav"),
    (rb"FWS|CWS", "a Flash animation (swf): ffmpeg -i FILE FILE.wav"),
    (rb"ajkg", "audio compressed with shorten: ffmpeg -i FILE FILE.wav"),
    (rb"\.ra\xfd", "RealAudio: ffmpeg -i FILE FILE.wav"),
    (rb"\x02?#!SILK", "a voice message in SILK (WeChat, QQ): make a WAV file of it with a decoder"
     " of SILK"),
    (rb"[\x02\x03\x06]ds[s2]", "a dictation (DSS, DS2): make a WAV file of it with the program of"
     " the recorder"),
    (rb"MATLAB 5\.0 MAT", "a MATLAB file: audiowrite(FILE, SAMPLES, RATE) makes a WAV file"),
    (rb"outs:\s+- md5:", "a pointer of DVC, not the file: run dvc pull"),
    (rb"MThd", "a MIDI file, which holds notes and no sound"),
    (rb"%PDF", "a PDF document"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "an image"),
    (rb"\x93NUMPY", "a NumPy array: soundfile.write(FILE, SAMPLES, RATE) makes a WAV file"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"PAR1", "a Parquet table: give it as the manifest"),
    (rb"SQLite format 3", "an SQLite database"),
    (rb"\x80[\x02-\x05]", "a Python pickle, which is never opened"),
    (rb"\x7fELF|MZ", "a program"),
)  # fmt: skip
_TABLE = tuple((re.compile(pattern, re.DOTALL), what) for pattern, what in _OTHER)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read.

    Attributes
    ----------
    name : str
        As in `SOUNDFILE` or `FFMPEG`.
    title : str
        What people call it.
    demuxer : str
        FFmpeg's name for it.
    begin : int
        Offset of its first byte, behind an ID3 tag or junk.
    """

    name: str
    title: str
    demuxer: str
    begin: int = 0


def identify(data: bytes) -> Format:
    """Name the format of a file.

    Examples
    --------
    >>> identify(b"fLaC....").title
    'FLAC'
    >>> identify(b'{"error": "not found"}')
    Traceback (most recent call last):
    ...
    affekt.extract.errors.Unusable: a JSON file
    """
    if not data:
        raise Unusable("empty", "0 bytes")
    begin = after_id3(data)
    name = _by_magic(data, begin)
    if name is None and (found := mpeg_start(data, begin)) >= 0:
        name, begin = "mp3", found
    if name is None:
        raise Unusable("not_audio", _other(data))
    if name in SOUNDFILE:
        title, demuxer = SOUNDFILE[name]
        return Format(name, title, demuxer, begin)
    return Format(name, FFMPEG[name], name, begin)


def after_id3(data: bytes, at: int = 0) -> int:
    """Return the offset after an ID3v2 tag, which some writers put before any format."""
    if data[at : at + 3] != b"ID3" or len(data) < at + 10:
        return at
    a, b, c, d = data[at + 6 : at + 10]
    footer = 10 if data[at + 5] & 0x10 else 0
    end = at + 10 + (a << 21 | b << 14 | c << 7 | d) + footer
    return end if end < len(data) else at


def _by_magic(data: bytes, at: int) -> str | None:
    head = data[at : at + 1200]
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            if name == "wav" and head[8:12] == b"AVI ":
                return "avi"
            if name == "wav" and head[8:12] != b"WAVE":
                kind = head[8:12].decode("ascii", "replace")
                raise Unusable("not_audio", f"a RIFF file of type {kind!r}, not WAVE")
            if name == "aiff" and head[8:12] not in (b"AIFF", b"AIFC"):
                kind = head[8:12].decode("ascii", "replace")
                raise Unusable(
                    "not_audio", f"an IFF file of type {kind!r}, not AIFF: ffmpeg -i FILE FILE.wav"
                )
            return name
    if head[:1] == b"\xff" and len(head) > 6 and head[1] & 0xF6 == 0xF0:
        return "aac"  # ADTS: MPEG's sync word with layer 0
    if head[:1] == b"\x56" and len(head) > 2 and head[1] & 0xE0 == 0xE0:
        return "loas"
    if len(head) >= 565 and all(head[i] == 0x47 for i in (0, 188, 376, 564)):
        return "mpegts"
    return None


def _other(data: bytes) -> str:
    """Return what a file is that holds no sound."""
    for pattern, what in _TABLE:
        if pattern.match(data[:600]):
            return what
    if not data[:65_536].strip(b"\0"):
        return "only zero bytes: a copy or a download that failed"
    head = data[:400]
    try:
        text = head[: len(head) - 4 if len(data) > 400 else 400].decode()
    except UnicodeDecodeError:
        text = ""
    if text and all(sign.isprintable() or sign.isspace() for sign in text):
        return f"a text file, begins with {text[:40]!r}"
    return (
        f"of an unknown format, begins with {data[:8].hex(' ')}; ffmpeg -i FILE FILE.wav may help"
    )
