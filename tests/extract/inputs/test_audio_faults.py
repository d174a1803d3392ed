"""What `decode` makes of damaged and hostile files."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from affekt.extract import Unusable, decode
from affekt.extract.inputs.formats.header_checks import inspect
from hypothesis import given, settings, strategies as st

RATE = 16_000


def code_of(data: bytes, **options) -> str:
    with pytest.raises(Unusable) as caught:
        decode(data, RATE, **options)
    assert caught.value.message
    return caught.value.code


def test_zero_bytes_header_only_zero_samples(sound, encode):
    assert code_of(b"") == "empty"
    assert code_of(encode(sound())[:44]) in ("empty", "truncated")
    assert code_of(encode(sound())[:36]) == "empty"
    for format in ("WAV", "FLAC", "AIFF"):
        assert code_of(encode(sound()[:0], format=format)) == "empty", format
    assert decode(encode(sound()[:1]), RATE).samples.shape == (1,)


@pytest.mark.parametrize(
    "data",
    [
        b"dear diary, today I was happy\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 20,
        b"\xff\xfe" + "Unicode text".encode("utf-16-le") * 50,
        b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(100),
        b"PK\x03\x04" + bytes(200),
        b"ID3\x04\x00\x00\x00\x00\x00\x05abcde" + b"no audio behind the tag" * 9,
    ],
)
def test_text_or_image_renamed(data):
    assert code_of(data) == "not_audio"


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.05])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_truncated_wav(sound, encode, keep, subtype):
    data = encode(sound(), subtype=subtype)
    assert len(soundfile.read(io.BytesIO(data[: len(data) // 2]))[0]) > 0  # silent
    assert code_of(data[: int(len(data) * keep)]) == "truncated"


@pytest.mark.parametrize("format", ["AIFF", "AU", "NIST", "RF64"])
def test_truncated_other_headers(sound, encode, format):
    data = encode(sound(), format=format)
    assert decode(data, RATE).samples.shape == (RATE,)
    assert code_of(data[: len(data) // 2]) == "truncated"


def test_one_byte_is_missing(sound, encode):
    """50 ms or 1 % may lack: read and flagged."""
    signal = decode(encode(sound())[:-1], RATE)
    assert (len(signal.samples), signal.flags) == (RATE - 1, ("damaged",))
    less = encode(sound())[: -2 * RATE // 25]  # 40 ms
    assert decode(less, RATE).flags == ("damaged",)
    assert code_of(encode(sound())[: -2 * RATE // 15]) == "truncated"  # 67 ms
    long = encode(sound(10.0))
    assert decode(long[: -2 * RATE // 11], RATE).flags == ("damaged",)  # 91 ms of 10 s
    assert code_of(long[: -2 * RATE // 9]) == "truncated"  # 111 ms
    assert len(decode(less[:9000], RATE, damage="accept").samples) == (9000 - 44) // 2


def test_the_last_frame_of_an_mp3_is_cut(sound, encode):
    data = encode(sound(3.0), format="MP3")
    assert decode(data, RATE).flags == ()
    assert decode(data[:-20], RATE).flags == ("unfinished",)


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
@pytest.mark.parametrize("keep", [0.9, 0.6, 0.3])
def test_truncated_compressed(sound, encode, format, keep):
    data = encode(sound(3.0), format=format)
    assert abs(len(decode(data, RATE).samples) - 3 * RATE) < 2500
    cut = data[: int(len(data) * keep)]
    assert code_of(cut) in ("decode_error", "truncated")
    if format == "OGG" and keep == 0.3:
        return  # its first page of sound is not whole
    read = decode(cut, RATE, damage="accept")
    assert {"damaged"} <= set(read.flags) <= {"damaged", "unfinished"}
    assert 0.5 * keep < read.seconds / 3 < 1.1 * keep


def test_truncated_opus(sound, encode):
    data = encode(sound(3.0), format="OGG", subtype="OPUS")
    assert decode(data, RATE).seconds == pytest.approx(3.0, abs=0.1)
    assert code_of(data[: len(data) // 2]) == "decode_error"


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
def test_corrupt_compressed(sound, encode, format):
    data = bytearray(encode(sound(3.0), format=format))
    middle = len(data) // 2
    for place in range(middle, middle + 300):
        data[place] ^= 0x5A
    assert code_of(bytes(data)) == "decode_error"


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.02, 0.999), bit=st.integers(0, 7))
def test_one_flipped_bit_in_ogg_is_found(ogg, share, bit):
    """Decoders drop the page without a word."""
    data = bytearray(ogg)
    data[int(share * len(data))] ^= 1 << bit
    try:
        signal = decode(bytes(data), RATE)
    except Unusable as error:
        assert error.code in ("decode_error", "not_audio")  # noqa: PT017
        return
    assert signal.flags == ("damaged",)  # in a small page
    assert signal.seconds > 1.9


@pytest.fixture(scope="module")
def ogg(sound, encode):
    return encode(sound(2.0), format="OGG")


def test_flac_claims_68_billion_frames(sound, encode):
    data = bytearray(encode(sound(), format="FLAC"))
    data[21] |= 0x0F  # the 36 bits of the number of samples
    data[22:26] = b"\xff" * 4
    tracemalloc.start()
    try:
        assert code_of(bytes(data)) == "implausible_header"
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_flac_that_does_not_know_its_length(sound, encode):
    samples = sound()
    data = bytearray(encode(samples, format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    whole = decode(encode(samples, format="FLAC"), RATE).samples
    assert np.array_equal(decode(bytes(data), RATE).samples, whole)
    assert code_of(bytes(data), end=2.0) == "bad_segment"


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
def test_streamed_wav(sound, encode, size):
    samples = sound()
    data = bytearray(encode(samples))
    data[40:44] = struct.pack("<I", size)
    signal = decode(bytes(data), RATE)
    assert "size_unknown" in signal.flags
    assert np.array_equal(signal.samples, decode(encode(samples), RATE).samples)


def test_a_data_chunk_that_means_to_be_empty(encode):
    empty = encode(np.zeros(0, np.float32))
    note = b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert code_of(empty + note) == "empty"


def test_impossible_sampling_rates(sound, encode):
    data = bytearray(encode(sound()))
    for rate in (0, 1, 999, 768_001, 2**31 - 1, 2**32 - 1):
        data[24:28] = struct.pack("<I", rate)
        assert code_of(bytes(data)) == "implausible_header", rate


def test_tags_before_and_behind_mp3_and_flac(sound, encode):
    tag = b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128)
    for format in ("MP3", "FLAC"):
        data = encode(sound(), format=format)
        assert inspect(tag + data).format.name == format.lower()
        tagged = decode(tag + data, RATE).samples
        assert np.array_equal(tagged, decode(data, RATE).samples)
    mp3 = encode(sound(), format="MP3")
    plain = decode(mp3, RATE).samples
    assert np.array_equal(decode(mp3 + b"TAG" + bytes(125), RATE).samples, plain)


def test_formats_of_measurements_are_refused(sound, encode):
    for format in ("MAT5", "XI", "HTK"):
        subtype = "DPCM_16" if format == "XI" else None
        data = encode(
            sound(), rate=44_100 if format == "XI" else RATE, format=format, subtype=subtype
        )
        assert code_of(data) == "not_audio", format


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_never_raise_anything_else(damaged_seed, data):
    """Any cut and any changed bytes: samples or a reason, never another exception."""
    name = data.draw(st.sampled_from(sorted(damaged_seed)))
    raw = bytearray(damaged_seed[name])
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 200) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        signal = decode(bytes(raw[:cut]), RATE)
    except Unusable:
        return
    assert np.isfinite(signal.samples).all()


@pytest.fixture(scope="module")
def damaged_seed(sound, encode):
    samples = sound(0.3)
    formats = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "NIST")
    return {format: encode(samples, format=format) for format in formats}


@pytest.mark.data
def test_every_real_file_is_whole(shared_data):
    """No false alarm on WAV, FLAC, MP3 and Ogg from eight years of encoders."""
    paths = sorted(shared_data.glob("*/audio/**/*.*"))[::9]
    assert len(paths) > 100
    for path in paths:
        signal = decode(path.read_bytes(), RATE)
        assert signal.seconds > 0.3
        assert set(signal.flags) <= {"clipped"}
