"""Several files in one, pages that are missing, recordings that were cut: none is short unsaid."""

from __future__ import annotations

import enum
import io
import struct
import subprocess
from types import SimpleNamespace

import av
import numpy as np
import pytest
from affekt.extract import Unusable, decode
from affekt.extract.inputs.decode import length
from affekt.extract.inputs.formats.ffmpeg import FFmpegReader, _is_default

from tests.support.audio_toy import written

RATE = 16_000


def id3(size: int) -> bytes:
    content = b"\xff\xfb\x90\x64" * (size // 4)  # like frames, as a picture may hold
    return b"ID3\3\0\0" + bytes([0, 0, size >> 7, size & 127]) + content


APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0x80000000) + bytes(8)
BETWEEN = {
    "MP3": (b"", b"TAG" + bytes(125), id3(4000), APE + id3(400) + id3(80)),
    "FLAC": (b"",),
    "WAV": (b"",),
    "AIFF": (b"",),
    "W64": (b"",),
    "CAF": (b"",),
    "OGG": (b"",),
    "OPUS": (b"",),
}


@pytest.mark.parametrize("format", BETWEEN)
def test_each_part_is_decoded_as_the_file_that_it_was(sound, encode, format):
    kind, subtype = ("OGG", "OPUS") if format == "OPUS" else (format, None)
    files = [encode(sound(n, seed=n), format=kind, subtype=subtype) for n in (3, 2, 1)]
    rate = 48_000 if subtype else RATE  # as each is decoded, before any resampling
    parts = [decode(data, None).samples for data in files]
    assert [len(part) for part in parts] == [3 * rate, 2 * rate, rate]
    for between in BETWEEN[format]:
        data = between.join(files)
        signal = decode(data, None)
        assert signal.flags == ("joined",), between[:8]
        assert np.array_equal(signal.samples, np.concatenate(parts)), between[:8]
        assert length(data) == 6.0
        across = decode(data, None, 2.5, 5.5).samples
        assert np.array_equal(across, signal.samples[5 * rate // 2 : 11 * rate // 2])


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "aac"), ("mov", "pcm_s16le"), ("asf", "wmav2"), ("flv", "aac"), ("tta", "tta"),
     ("voc", "pcm_s16le")],
)  # fmt: skip
def test_films_are_joined_too(sound, container, codec):
    one, two = (written(sound(n, seed=n), RATE, container, codec) for n in (2, 1))
    both = decode(one + two, RATE)
    assert both.flags == ("joined",)
    parts = [decode(data, RATE).samples for data in (one, two)]
    assert np.array_equal(both.samples, np.concatenate(parts))
    assert decode(one + bytes(1000), RATE).flags == ()


def test_the_chunks_of_a_part_may_have_an_odd_size(sound, encode):
    whole = encode(sound(1), format="WAV")
    odd = struct.pack("<4sI", b"RIFF", len(whole) - 7) + whole[8:] + b"\1"
    for padding in (b"", b"\0"):
        assert decode(odd + padding + whole, RATE).seconds == 2.0


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chain_changes_its_channels_but_not_its_rate(sound, encode, subtype, tmp_path):
    mono, stereo = (
        encode(sound(1, rate=48_000, channels=n), 48_000, format="OGG", subtype=subtype)
        for n in (1, 2)
    )
    assert decode(mono + stereo, 48_000).samples.shape == (96_000,)
    other = encode(sound(2), format="OGG", subtype="VORBIS")  # Opus knows one rate only
    (tmp_path / "FILE").write_bytes(stereo + other)
    with pytest.raises(Unusable, match="rate changes from 48000 to 16000") as refused:
        decode(stereo + other, RATE)
    remedy = refused.value.message.partition("; split it: ")[2]
    subprocess.run(["sh", "-c", remedy], cwd=tmp_path, check=True)
    parts = [decode((tmp_path / name).read_bytes(), RATE).seconds for name in ("FIRST", "REST")]
    assert parts == [1.0, 2.0]


def test_a_part_that_cannot_be_opened_is_damage(sound, encode):
    one = encode(sound(2), format="OGG")
    data = one + one[: len(one) // 3]
    with pytest.raises(Unusable, match="are missing"):
        decode(data, RATE)
    signal = decode(data, RATE, damage="accept")
    assert signal.seconds == 2.0
    assert {"damaged", "joined"} <= set(signal.flags)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_missing_page_is_not_passed_over(sound, encode, subtype):
    data = encode(sound(6.0), format="OGG", subtype=subtype)
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    assert len(pages) >= 5
    for gone in (2, 3):
        cut = data[: pages[gone]] + data[pages[gone + 1] :]
        with pytest.raises(Unusable, match="missing"):
            decode(cut, RATE)
    # a station that was tuned in late: its pages are numbered from its beginning
    assert decode(data + b"noise behind the last page" * 99, RATE).flags == ()


@pytest.mark.parametrize(
    ("container", "codec"),
    [("avi", "pcm_s16le"), ("avi", "libmp3lame"), ("matroska", "libmp3lame"), ("flv", "aac")],
)
def test_the_length_of_a_stream_is_not_taken_for_a_promise(sound, container, codec):
    data = written(sound(3.0), RATE, container, codec, pipe="1")
    signal = decode(data, RATE)
    assert signal.flags == ("size_unknown",)
    assert 3.0 <= signal.seconds < 3.15


def webm(samples: np.ndarray, **options: str) -> bytes:
    return written(samples, 48_000, "webm", "libopus", **options)


def test_a_cut_film_carries_a_flag(sound):
    samples = sound(3.0, 48_000)
    whole, live = webm(samples), webm(samples, live="1")
    assert decode(whole, RATE).flags == ()
    assert "unfinished" in decode(whole[:-40], RATE).flags
    assert decode(live, RATE).flags == ("size_unknown",)
    cut = decode(live[: len(live) // 2], RATE)
    assert "size_unknown" in cut.flags
    assert cut.seconds < 2.0
    for container, codec, options in (
        ("flv", "aac", {"flvflags": "no_duration_filesize"}),
        ("mp4", "aac", {"movflags": "frag_every_frame+empty_moov+default_base_moof"}),
    ):
        data = written(sound(3.0, 44_100), 44_100, container, codec, **options)
        half = data[: len(data) * 6 // 10]
        try:
            flags = set(decode(half, RATE, damage="accept").flags)
        except Unusable as error:
            assert error.code in ("truncated", "decode_error")  # noqa: PT017
            continue
        assert flags & {"size_unknown", "unfinished", "damaged"}, container


@pytest.mark.parametrize("codec", ["mp2", "pcm_s16le"])
def test_an_avi_file_is_as_long_as_its_header_says(sound, codec):
    data = written(sound(3.0, 44_100), 44_100, "avi", codec)
    assert decode(data, RATE).flags == ()
    with pytest.raises(Unusable, match=r"of [23]\.\d+ s are missing") as caught:
        decode(data[: len(data) * 6 // 10], RATE)
    assert caught.value.code == "truncated"


def test_wav_with_chunks_behind_the_samples(sound):
    values = (sound(1.0)[:-1] * 127 + 128).astype(np.uint8).tobytes()  # an odd number of bytes

    def made(*chunks: bytes, size: int = 16) -> bytes:
        format = struct.pack("<4sIHHIIHH", b"fmt ", size, 1, 1, RATE, RATE, 1, 8)[: 8 + size]
        body = b"WAVE" + format + b"".join(chunks)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    samples = b"data" + struct.pack("<I", len(values)) + values
    note = b"LIST" + struct.pack("<I", 16) + b"INFOISFT" + struct.pack("<I", 4) + b"abc\0"
    for chunks in ((samples + b"\0", note), (samples, note)):  # one leaves the fill byte out
        signal = decode(made(*chunks), RATE)
        assert (len(signal.samples), signal.flags) == (len(values), ())
    two = decode(made(samples + b"\0", samples + b"\0"), RATE)
    assert (len(two.samples), two.flags) == (len(values), ("several_tracks",))
    with pytest.raises(Unusable, match="in 14 bytes, expected at least 16"):
        decode(made(samples, size=14), RATE)


def test_a_recording_without_its_index_says_so(sound):
    data = written(sound(2.0, 44_100), 44_100, "ipod", "aac")
    with pytest.raises(Unusable, match="cut short, and the index at its end") as caught:
        decode(data[: len(data) // 2], RATE)
    assert caught.value.code == "truncated"


def two_tracks(samples: np.ndarray, default: int) -> bytes:
    """A Matroska file with `samples` and half of them, louder; one is marked as the default."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        streams = [output.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition(int(number == default))
        for stream, part in zip(streams, (samples, samples[: len(samples) // 2]), strict=True):
            values = (part[None] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_tracks_the_default_is_read(sound, default):
    signal = decode(two_tracks(sound(2.0), default), RATE)
    assert "several_tracks" in signal.flags
    assert len(signal.samples) == (2 - default) * RATE


def test_the_default_is_known_with_an_older_pyav():
    """There the marks of a track are no numbers."""
    marks = enum.Flag("Disposition", ["default", "dub"])
    assert _is_default(SimpleNamespace(disposition=marks.default | marks.dub))
    assert not _is_default(SimpleNamespace(disposition=marks.dub))


@pytest.mark.parametrize("coding", ["ULAW", "ALAW"])
def test_telephone_speech_in_sphere_is_whole(sound, encode, coding):
    """libsndfile writes two bytes a sample into the header where there is one."""
    data = encode(sound(2.0, 8000), 8000, "NIST", subtype=coding)
    for header in (data, data.replace(b"sample_n_bytes -i 2", b"sample_n_bytes -i 1")):
        assert (len(decode(header, 8000).samples), decode(header, 8000).flags) == (16_000, ())
    with pytest.raises(Unusable, match="missing"):
        decode(data[: len(data) // 2], 8000)


@pytest.mark.parametrize("size", [2**64 - 1, 2**63 - 1, 0])
@pytest.mark.parametrize("magic", [b"RF64", b"BW64", b"W64", b"CAF"])
def test_a_size_as_large_as_can_be_is_unknown(sound, encode, magic, size):
    samples = sound(1.0)
    name = {b"BW64": "RF64"}.get(magic, magic.decode())
    data = bytearray(encode(samples, format=name, subtype="PCM_16"))
    if name == "RF64":
        data[:4] = magic
        at, order = data.find(b"ds64") + 16, "<Q"
    else:
        at, order = (
            (data.find(b"data\xf3") + 16, "<Q") if name == "W64" else (data.find(b"data") + 4, ">Q")
        )
    struct.pack_into(order, data, at, size)
    signal = decode(bytes(data), RATE)
    assert "size_unknown" in signal.flags
    assert len(signal.samples) == RATE


@pytest.mark.parametrize("subtype", ["MP3", "OPUS"])
def test_a_day_of_silence_is_refused_by_its_beginning(encode, subtype, monkeypatch):
    """A small file, of which hours would have to be decoded to see that they are too many."""
    silence = np.zeros(60 * 8000, np.float32)
    kind, codec = ("OGG", "OPUS") if subtype == "OPUS" else ("MP3", None)
    data = encode(silence, 8000, format=kind, subtype=codec)
    monkeypatch.setattr(FFmpegReader, "frames", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(Unusable, match="the limit is 14400 s") as caught:
        decode(data * 1200, RATE)
    assert caught.value.code == "too_long"
