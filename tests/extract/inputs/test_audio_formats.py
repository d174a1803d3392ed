"""Formats of phones, browsers and films; headers that are wrong; what is not sound at all."""

from __future__ import annotations

import importlib.util
import io
import shutil
import struct
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from affekt.extract import Unusable, decode
from affekt.extract.inputs import open_file
from affekt.extract.inputs.decode import length
from affekt.extract.inputs.formats import ffmpeg
from affekt.extract.inputs.formats.flac_and_mp3_frames import mpeg_frame
from affekt.extract.inputs.formats.header_checks import inspect
from affekt.extract.inputs.formats.ogg import _ogg_checksum
from affekt.extract.inputs.isolated_decoder import decode_segments, is_plain

from tests.support.audio_toy import written

RATE = 16_000


def said(data: bytes, **options) -> str:
    with pytest.raises(Unusable) as caught:
        decode(data, RATE, **options)
    return f"{caught.value.code}: {caught.value.message}"


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("ipod", "aac", 44100),
        ("mp4", "aac", 16000),
        ("mov", "aac", 22050),
        ("adts", "aac", 44100),
        ("webm", "libopus", 48000),
        ("ogg", "libopus", 48000),
        ("matroska", "aac", 44100),
        ("mp3", "libmp3lame", 44100),
        ("mp2", "mp2", 44100),
        ("amr", "libopencore_amrnb", 8000),
        ("asf", "wmav2", 44100),
        ("flv", "aac", 44100),
        ("wv", "wavpack", 44100),
        ("ipod", "alac", 44100),
        ("wav", "libmp3lame", 16000),
    ],
)
def test_what_people_record_is_read(sound, container, codec, rate):
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    samples = sound(2.0, rate)
    data = written(samples, rate, container, codec)
    signal = decode(data, rate)
    assert signal.flags == ()
    assert abs(len(signal.samples) - len(samples)) <= 2400  # delay and padding of the codec
    assert length(data) == pytest.approx(signal.seconds)
    assert not is_plain(data) or container == "wav"
    # the same sound, delayed: the best correlation of all delays
    n = len(samples) // 2
    spectrum = np.fft.rfft(signal.samples[:n], 2 * n) * np.conj(np.fft.rfft(samples[:n], 2 * n))
    best = np.fft.irfft(spectrum).max()
    norm = np.linalg.norm(signal.samples[:n]) * np.linalg.norm(samples[:n])
    assert best / norm > (0.5 if "amr" in codec else 0.9)
    part = decode(data, rate, 0.5, 1.5)
    first = round(0.5 * rate)
    assert np.array_equal(part.samples, signal.samples[first : first + rate])


def frames(data: bytes) -> list[tuple[int, int]]:
    """(offset, samples) of each MPEG frame."""
    found, at = [], 0
    while length := mpeg_frame(data, at)[0]:
        found.append((at, mpeg_frame(data, at)[1]))
        at += length
    return found


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_an_mp3_without_a_xing_header_is_whole(sound, encode, rate, mode):
    """Streams and cut files; libsndfile keeps 17 to 74 % of them."""
    data = encode(sound(3.0, rate), rate, "MP3", bitrate_mode=mode, compression_level=0.5)
    assert len(decode(data, rate).samples) == 3 * rate  # without the encoder's delay
    bare = data[frames(data)[1][0] :]
    signal = decode(bare, rate)
    assert len(signal.samples) == sum(count for _, count in frames(bare))
    assert signal.flags == ()


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 200 OK\r\n\r\n", b"ID3\4\0\0\0\0\0\5" + bytes(300), bytes(99)]
)
def test_junk_before_an_mp3_does_not_hide_the_delay_of_its_encoder(sound, encode, junk):
    data = encode(sound(1.0, 44_100), 44_100, "MP3")
    assert np.array_equal(decode(junk + data, None).samples, decode(data, None).samples)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("seconds", [0.02, 0.3, 1.0, 2.0, 20.0])
def test_vorbis_has_the_samples_that_were_encoded(sound, encode, rate, seconds):
    """FFmpeg drops up to 256, or adds up to 450, where one page holds all sound."""
    samples = sound(seconds, rate)
    data = encode(samples, rate, format="OGG", subtype="VORBIS")
    found, oracle = decode(data, None).samples, soundfile.read(io.BytesIO(data))[0]
    assert len(found) == len(oracle) == len(samples)
    np.testing.assert_allclose(found, oracle, atol=1e-5)
    if seconds in (0.02, 20.0):  # one page, many pages: libsndfile reads what FFmpeg cannot
        assert inspect(data).short_vorbis == (seconds == 0.02)
    assert not is_plain(data)  # it is decoded in a process of its own, as other packed sound is
    cut = decode(data, None, 0.01, 0.02).samples
    assert np.array_equal(cut, found[round(0.01 * rate) : round(0.02 * rate)])


def test_samples_of_64_bits_are_refused_by_name(sound):
    data = wav(sound(1.0), 2 * RATE)
    wide = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 8 * RATE, 8, 64)
    assert "samples of type s64" in said(data[:16] + wide + data[36:])


def wav(samples: np.ndarray, claimed: int, after: bytes = b"") -> bytes:
    pcm = (samples * 32767).astype("<i2").tobytes()
    head = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    form = b"RIFF" + struct.pack("<I", 36 + claimed) + b"WAVEfmt " + head
    return form + b"data" + struct.pack("<I", claimed) + pcm + after


def test_a_header_that_claims_less_is_not_trusted(sound, encode):
    samples = sound(3.0)
    signal = decode(wav(samples, 3200), RATE)
    assert (len(signal.samples), signal.flags) == (3 * RATE, ("longer_than_header",))
    flac = bytearray(encode(samples, format="FLAC"))
    flac[21:26] = (int.from_bytes(flac[21:26], "big") & ~0xFFFFFFFFF | RATE).to_bytes(5, "big")
    au = bytearray(encode(samples, format="AU", subtype="PCM_16"))
    au[8:12] = struct.pack(">I", 2 * RATE)
    for data in (flac, au):
        signal = decode(bytes(data), RATE)
        assert np.abs(signal.samples - samples).max() < 1e-4
        assert signal.flags == ("longer_than_header",)
    # tags, chunks and padding behind the samples are no samples
    for after in (b"LIST\4\0\0\0abcd", b"TAG" + b"x" * 125, bytes(4000), b"id3 \2\0\0\0ab"):
        assert decode(wav(samples, 6 * RATE, after), RATE).flags == (), after[:4]


@pytest.mark.parametrize("extra", [1, 8, 44, 1500])
def test_a_data_chunk_a_little_too_long_is_read_and_flagged(sound, extra):
    signal = decode(wav(sound(2.0), 4 * RATE + extra), RATE)
    assert (len(signal.samples), signal.flags) == (2 * RATE, ("damaged",))
    assert said(wav(sound(2.0), 4 * RATE + 3000)).startswith("truncated")


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "GSM610"), ("WAV", "IMA_ADPCM"), ("W64", "PCM_16"), ("CAF", "PCM_24"),
     ("VOC", "PCM_16"), ("RF64", "FLOAT"), ("AIFF", "ULAW")],
)  # fmt: skip
def test_whatever_libsndfile_reads_is_read(sound, encode, format, subtype):
    import soundfile

    data = encode(sound(2.0, 8000), 8000, format, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    signal = decode(data, 8000)
    assert signal.flags == ()
    assert np.array_equal(signal.samples, expected)
    assert np.array_equal(decode(data, 8000, 1.0, 1.5).samples, expected[8000:12000])
    tagged = b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + data
    assert np.array_equal(decode(tagged, 8000).samples, expected)


W64_CHUNK = b"list/\x91\xcf\x11\xa5\xd6(\xdb\4\xc1\0\0" + struct.pack("<Q", 424)
W64_CHUNK += b"INFO" * 100


@pytest.mark.parametrize("behind", [W64_CHUNK, bytes(512), b""])
def test_what_follows_the_samples_of_wave64_is_none(sound, encode, behind):
    samples = sound(2.0)
    signal = decode(encode(samples, format="W64", subtype="FLOAT") + behind, RATE)
    assert signal.flags == ()
    assert np.array_equal(signal.samples, samples)


def test_a_voc_file_of_many_blocks_is_read_without_their_heads(sound):
    samples = sound(2.0)
    signal = decode(written(samples, RATE, "voc", "pcm_s16le"), RATE)
    assert signal.flags == ()
    assert np.allclose(signal.samples, samples, rtol=0, atol=2**-15)


NOT_SOUND = {
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:c6f9\nsize 72862\n",
    "dvc pull": b"outs:\n- md5: a304afb96060aad90176268345e10355\n  path: a.wav\n",
    "in SILK": b"\x02#!SILK_V3" + bytes(64),
    "a dictation": b"\3ds2" + bytes(64),
    "audiowrite": b"MATLAB 5.0 MAT-file, Platform: GLNXA64",
    "RealAudio": b".ra\xfd\0\4" + bytes(64),
    "git annex get": b"/annex/objects/SHA256E-s72862--c6f9.wav\n",
    "a web page": b"\n<!DOCTYPE html><html>Quota exceeded</html>",
    "an XML file": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "a JSON file": b'{"error": "no such file"}',
    "gunzip": b"\x1f\x8b\x08\0" + bytes(64),
    "unzip": b"PK\3\4" + bytes(64),
    "a ._ file of macOS": b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(99),
    "only zero bytes": bytes(5000),
    "a playlist": b"#EXTM3U\nhttp://example.org/a.mp3\n",
    "a text file": "liebes Tagebuch, heute war ich fröhlich".encode() * 20,
    "ffmpeg -i": b"\x07\xf3\x99\x12" * 99,
}


@pytest.mark.parametrize("words", NOT_SOUND)
def test_what_is_not_sound_is_named_with_the_command_that_helps(words):
    message = said(NOT_SOUND[words])
    assert message.startswith("not_audio: ")
    assert words in message


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x1cftypM4A \0\0\2\0M4A isomiso2", "MPEG-4 (m4a"),
        (bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d"), "webm"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "Windows Media"),
        (b"FLV\1\4", "flv"),
        (b"caff\0\1\0\0desc", "CAF"),
    ],
)
def test_a_broken_file_is_named_with_its_format(head, name):
    assert name in said(head + bytes(64))


def test_shorten_in_sphere_says_which_program_unpacks_it(sound, encode):
    data = encode(sound(), format="NIST", subtype="PCM_16")
    head = data[:1024].replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00")[:1024]
    assert "sph2pipe -f wav" in said(head.ljust(1024) + b"ajkg\2" + data[1024:])


def test_hostile_headers_end_in_a_reason(sound, encode):
    nist = encode(sound(), format="NIST", subtype="PCM_16")
    number = nist.replace(b"sample_count -i 16000", b"sample_count -i " + b"9" * 5000)
    larger = b"NIST_1A\n   9216\n" + number[16:]
    flac = bytearray(encode(sound(), format="FLAC"))
    frame = b"\xff\xf8\x69\x08\0\0\xff\xf9"  # like the beginning of a frame, without end
    ogg = encode(sound(), format="OGG")
    page = bytearray(b"OggS\0\0" + bytes(8) + ogg[14:18] + bytes(9))  # whole and empty
    page[22:26] = _ogg_checksum(page).to_bytes(4, "little")
    matroska = "1a45dfa39f4286810142f7810142f2810442f381084282847765626d4287810442858102"
    matroska += "1853806701ffffffffffffff"  # a segment of unknown size
    hostile = {
        number: "implausible_header",
        larger: "implausible_header",
        nist.replace(b"_n_bytes -i 2", b"_n_bytes -i " + b"9" * 14): "implausible_header",
        bytes(flac[:42]) + frame * 500_000: "decode_error",
        ogg + (b"OggS" + b"\xff" * 60) * 50_000: "decode_error",
        ogg[:58] + bytes(page) * 60_000: "implausible_header",
        ogg[:58] + b"OggS\0\2" * 60_000: "decode_error",
        b"RIFF\xff\0\0\0WAVE" + b"junk\0\0\0\0" * 99_999: "empty",
        b"\0\0\0\x14ftypM4A \0\0\0\0M4A " + b"\0\0\0\x08free" * 60_000: "implausible_header",
        bytes.fromhex(matroska) + b"\xec\x80" * 60_000: "implausible_header",
    }
    for data, expected in hostile.items():
        [answer] = decode_segments(data, [(None, None)], RATE)
        assert isinstance(answer, Unusable), data[:8]
        assert answer.code == expected, data[:8]


def test_ffmpeg_is_not_started_for_a_file_that_is_nearly_all_damaged(sound, encode, monkeypatch):
    opened = []
    monkeypatch.setattr(open_file, "FFmpegReader", lambda container: opened.append(container))
    ogg = encode(sound(), format="OGG")
    assert said(ogg[:58] + b"OggS\0\2" * 60_000).startswith("decode_error: Ogg: 99.9")
    assert not opened


def test_decoding_in_this_process_has_limits_too(sound, encode, monkeypatch):
    data = encode(sound(), format="MP3")
    monkeypatch.setattr(ffmpeg, "PATIENCE", (-1.0, 0.0))
    assert "took too long" in said(data)
    monkeypatch.undo()
    monkeypatch.setattr(open_file, "LARGEST", 1000)
    assert said(data).startswith("too_large")


def test_a_playlist_inside_a_known_container_opens_nothing(tmp_path, sound, encode):
    """FFmpeg is given the demuxer by name: what follows a familiar head is never probed."""
    inner = tmp_path / "secret.wav"
    inner.write_bytes(encode(sound()))
    for head in (b"ID3\3\0\0\0\0\0\0", b"FLV\1\4", b""):
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{inner}\n#EXT-X-ENDLIST\n"
        with pytest.raises(Unusable):
            decode(head + text.encode(), RATE)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the command ffmpeg")
def test_as_many_samples_as_ffmpeg():
    path = Path(__file__).parents[3] / "benchmarks" / "decoding.py"
    spec = importlib.util.spec_from_file_location("decoding", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["decoding"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    results = module.compare(few=True)
    assert len(results) > 50
    assert [one for one in results if module.is_bad(one)] == []
    assert sum(one.verdict in ("equal", "near") for one in results) > 30
