"""The A rows of the fault matrix that one file decides: what `decode` makes of hostile bytes."""

from __future__ import annotations

import io
import struct
import tracemalloc
import wave

import numpy as np
import pytest
import scipy.signal
import soundfile
from affekt.extract import Unusable, decode
from affekt.extract.inputs.formats.containers import inspect
from hypothesis import given, settings, strategies as st

RATE = 16_000


def code_of(data: bytes, **options) -> str:
    with pytest.raises(Unusable) as caught:
        decode(data, RATE, **options)
    assert caught.value.message
    return caught.value.code


def test_A02_zero_bytes_header_only_zero_samples(sound, encode):
    assert code_of(b"") == "empty"
    assert code_of(encode(sound())[:44]) in ("empty", "truncated")
    assert code_of(encode(sound())[:36]) == "empty"
    for format in ("WAV", "FLAC", "AIFF"):
        assert code_of(encode(sound()[:0], format=format)) == "empty", format


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
def test_A03_text_or_image_renamed(data):
    assert code_of(data) == "not_audio"


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.05])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_A04_truncated_wav(sound, encode, keep, subtype):
    data = encode(sound(), subtype=subtype)
    assert len(soundfile.read(io.BytesIO(data[: len(data) // 2]))[0]) > 0  # silent
    assert code_of(data[: int(len(data) * keep)]) == "truncated"


@pytest.mark.parametrize("format", ["AIFF", "AU", "NIST", "RF64"])
def test_A04_truncated_other_headers(sound, encode, format):
    data = encode(sound(), format=format)
    assert decode(data, RATE).samples.shape == (RATE,)
    assert code_of(data[: len(data) // 2]) == "truncated"


def test_A04_one_byte_is_missing(sound, encode):
    """50 ms or 1 % may lack: read and flagged."""
    signal = decode(encode(sound())[:-1], RATE)
    assert (len(signal.samples), signal.flags) == (RATE - 1, ("damaged",))
    less = encode(sound())[: -2 * RATE // 25]  # 40 ms
    assert decode(less, RATE).flags == ("damaged",)
    assert code_of(encode(sound())[: -2 * RATE // 15]) == "truncated"  # 67 ms
    assert len(decode(less[:9000], RATE, damage="accept").samples) == (9000 - 44) // 2


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
@pytest.mark.parametrize("keep", [0.9, 0.6, 0.3])
def test_A05_truncated_compressed(sound, encode, format, keep):
    data = encode(sound(3.0), format=format)
    assert abs(len(decode(data, RATE).samples) - 3 * RATE) < 2500
    cut = data[: int(len(data) * keep)]
    assert code_of(cut) in ("decode_error", "truncated")
    if format == "OGG" and keep == 0.3:
        return  # its first page of sound is not whole
    read = decode(cut, RATE, damage="accept")
    assert {"damaged"} <= set(read.flags) <= {"damaged", "unfinished"}
    assert 0.5 * keep < read.seconds / 3 < 1.1 * keep


def test_A05_truncated_opus(sound, encode):
    data = encode(sound(3.0), format="OGG", subtype="OPUS")
    assert decode(data, RATE).seconds == pytest.approx(3.0, abs=0.1)
    assert code_of(data[: len(data) // 2]) == "decode_error"


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
def test_A05_corrupt_compressed(sound, encode, format):
    data = bytearray(encode(sound(3.0), format=format))
    middle = len(data) // 2
    for place in range(middle, middle + 300):
        data[place] ^= 0x5A
    assert code_of(bytes(data)) == "decode_error"


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.02, 0.999), bit=st.integers(0, 7))
def test_A05_one_flipped_bit_in_ogg_is_found(ogg, share, bit):
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


def test_A06_flac_claims_68_billion_frames(sound, encode):
    data = bytearray(encode(sound(), format="FLAC"))
    data[21] |= 0x0F  # the 36 bits of the number of samples
    data[22:26] = b"\xff" * 4
    tracemalloc.start()
    try:
        assert code_of(bytes(data)) == "implausible_header"
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_A06_flac_that_does_not_know_its_length(sound, encode):
    samples = sound()
    data = bytearray(encode(samples, format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    whole = decode(encode(samples, format="FLAC"), RATE).samples
    assert np.array_equal(decode(bytes(data), RATE).samples, whole)
    assert code_of(bytes(data), end=2.0) == "bad_segment"


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
def test_A07_streamed_wav(sound, encode, size):
    samples = sound()
    data = bytearray(encode(samples))
    data[40:44] = struct.pack("<I", size)
    signal = decode(bytes(data), RATE)
    assert "size_unknown" in signal.flags
    assert np.array_equal(signal.samples, decode(encode(samples), RATE).samples)


def test_A07_a_data_chunk_that_means_to_be_empty(encode):
    empty = encode(np.zeros(0, np.float32))
    note = b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert code_of(empty + note) == "empty"


def test_A08_impossible_sampling_rates(sound, encode):
    data = bytearray(encode(sound()))
    for rate in (0, 1, 999, 768_001, 2**31 - 1, 2**32 - 1):
        data[24:28] = struct.pack("<I", rate)
        assert code_of(bytes(data)) == "implausible_header", rate


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_A08_resampled_like_a_reference(rate):
    """Tones below every Nyquist frequency, against the same tones made at 16 kHz."""

    def tones(at):
        time = np.arange(at) / at
        return sum(np.sin(2 * np.pi * hertz * time + hertz) for hertz in (200, 950, 2900)) * 0.2

    file = io.BytesIO()
    soundfile.write(file, tones(rate), rate, format="WAV", subtype="FLOAT")
    signal = decode(file.getvalue(), RATE)
    assert len(signal.samples) == RATE
    assert signal.seconds == 1.0
    inside = slice(1000, -1000)
    assert np.abs(signal.samples - tones(RATE))[inside].max() < 2e-4
    window = scipy.signal.resample_poly(
        tones(rate), RATE // np.gcd(rate, RATE), rate // np.gcd(rate, RATE)
    )
    assert np.abs(signal.samples - window)[inside].max() < 2e-2


def test_A08_same_rate_is_untouched(sound, encode):
    samples = sound()
    assert np.array_equal(decode(encode(samples, subtype="FLOAT"), RATE).samples, samples)


@pytest.mark.parametrize("channels", [2, 6])
def test_A09_channels_are_averaged(sound, encode, channels):
    samples = sound(channels=channels)
    assert samples.shape == (RATE, channels)
    signal = decode(encode(samples, subtype="FLOAT"), RATE)
    assert signal.samples.shape == (RATE,)
    assert np.allclose(signal.samples, samples.mean(axis=1), atol=1e-6)
    assert signal.flags == ()


def test_A10_silent_and_inverted_channels(sound, encode):
    mono = sound()
    half = decode(encode(np.stack([mono, 0 * mono], axis=1), subtype="FLOAT"), RATE)
    assert half.flags == ("silent_channel",)
    assert np.allclose(half.samples, mono / 2)
    gone = decode(encode(np.stack([mono, -mono], axis=1), subtype="FLOAT"), RATE)
    assert "cancelled_downmix" in gone.flags
    assert "silent" in gone.flags
    nearly = decode(encode(np.stack([mono, -0.9 * mono], axis=1), subtype="FLOAT"), RATE)
    assert nearly.flags == ("cancelled_downmix",)


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [("PCM_U8", 1 / 128), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("DOUBLE", 0), ("ULAW", 0.02),
     ("ALAW", 0.02)],
)  # fmt: skip
def test_A11_sample_formats(sound, encode, subtype, tolerance):
    samples = sound()
    read = decode(encode(samples, subtype=subtype), RATE).samples
    assert np.abs(read - samples).max() <= tolerance


def test_A11_against_pythons_own_reader(sound, encode, tmp_path):
    data = encode(sound(), subtype="PCM_16")
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with wave.open(str(path)) as file:
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert np.array_equal(decode(data, RATE).samples, (raw / 32768).astype(np.float32))


def test_A12_clipped(sound, encode):
    loud = sound() * 8
    signal = decode(encode(loud, subtype="FLOAT"), RATE)
    assert signal.flags == ("clipped",)
    assert np.array_equal(signal.samples, loud)  # not clamped
    hard = np.clip(sound() * 20, -1, 1)
    assert np.mean(np.abs(hard) >= 1) > 0.3
    assert decode(encode(hard), RATE).flags == ("clipped",)
    one = sound()
    one[5] = 1.0
    assert decode(encode(one), RATE).flags == ()


@pytest.mark.parametrize("level", [0.0, 0.5, 5e-5])
def test_A13_silence(level):
    constant = np.full(RATE, level, np.float32)
    quiet = (level * np.sin(np.arange(RATE))).astype(np.float32) if level < 0.1 else constant
    for samples in (constant, quiet):
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
        assert decode(file.getvalue(), RATE).flags == ("silent",)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_A14_non_finite_samples(sound, encode, value):
    samples = sound()
    samples[777] = value
    assert code_of(encode(samples, subtype="FLOAT")) == "non_finite_input"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e10, -1e30])
@pytest.mark.parametrize("channels", [1, 2])
def test_A14_finite_samples_that_are_no_audio(sound, encode, value, channels):
    samples = np.stack([sound()] * channels, axis=1)
    samples[777] = value
    with pytest.raises(Unusable, match="times full scale") as caught:
        decode(encode(samples, subtype="FLOAT"), RATE)
    assert caught.value.code == "out_of_range"
    samples[777] = 32_768  # floats on the scale of integers are only clipped
    assert decode(encode(samples, subtype="FLOAT"), RATE).samples.max() == 32_768


@pytest.mark.parametrize(
    ("start", "end"),
    [(0.5, 0.5), (0.7, 0.2), (-0.1, 0.5), (0.0, 1.02), (1.5, 2.0), (np.nan, None), (None, np.nan),
     (-np.inf, None), (0.2, np.inf)],
)  # fmt: skip
@pytest.mark.parametrize("format", ["WAV", "OGG"])
def test_M11_bad_segments(sound, encode, start, end, format):
    assert code_of(encode(sound(), format=format), start=start, end=end) == "bad_segment"


@settings(max_examples=40, deadline=None)
@given(
    bounds=st.tuples(st.integers(0, 15_999), st.integers(1, 16_000)).filter(lambda b: b[0] < b[1])
)
def test_segments_are_slices(wav_of_noise, bounds):
    samples, data = wav_of_noise
    first, last = bounds
    part = decode(data, RATE, first / RATE, last / RATE)
    assert np.array_equal(part.samples, samples[first:last])
    assert part.seconds == pytest.approx((last - first) / RATE)


@pytest.fixture(scope="module")
def wav_of_noise(sound, encode):
    samples = sound()
    return samples, encode(samples, subtype="FLOAT")


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG", "AIFF"])
def test_segments_of_compressed_files_are_slices(sound, encode, format):
    """Seeking in Ogg and MP3 is not exact, so they are read from the beginning."""
    data = encode(sound(4.0), format=format)
    whole = decode(data, RATE).samples
    for start, end in ((0.0, 0.5), (1.0, 2.25), (3.0, None)):
        part = decode(data, RATE, start, end).samples
        last = None if end is None else round(end * RATE)
        assert np.array_equal(part, whole[round(start * RATE) : last])


def test_an_end_rounded_a_little_too_far_is_the_files_end(sound, encode):
    assert len(decode(encode(sound()), RATE, 0.5, 1.005).samples) == RATE // 2


def test_A16_limits_on_length(sound, encode):
    data = encode(sound(3.0))
    assert code_of(data, max_seconds=2.0) == "too_long"
    cut = decode(data, RATE, max_seconds=2.0, truncate=True)
    assert cut.seconds == 2.0
    assert cut.flags == ("truncated_audio",)
    assert np.array_equal(cut.samples, decode(data, RATE).samples[: 2 * RATE])
    assert len(decode(data, RATE, 0.5, 1.5, max_seconds=2.0).samples) == RATE


def test_A16_truncation_does_not_show_in_the_resampling(sound, encode):
    data = encode(sound(4.0, rate=44_100), 44_100)
    cut = decode(data, RATE, max_seconds=2.0, truncate=True).samples
    assert np.abs(cut - decode(data, RATE).samples[: len(cut)]).max() < 1e-6


def test_A16_two_hours_are_refused_by_the_header_alone():
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 2 * RATE * 7200, b"WAVE", b"fmt ", 16,
                         1, 1, RATE, 2 * RATE, 2, 16, b"data", 2 * RATE * 7200)  # fmt: skip
    data = header + bytes(2 * RATE * 7200)
    tracemalloc.start()
    try:
        assert code_of(data, max_seconds=60.0) == "too_long"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


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
