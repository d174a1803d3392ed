"""What `decode` makes of sound audio: rates, channels, sample formats, levels, segments, limits."""

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
from hypothesis import given, settings, strategies as st

from .test_audio_faults import RATE, code_of


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_resampled_like_a_reference(rate):
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


def test_same_rate_is_untouched(sound, encode):
    samples = sound()
    assert np.array_equal(decode(encode(samples, subtype="FLOAT"), RATE).samples, samples)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(sound, encode, channels):
    samples = sound(channels=channels)
    assert samples.shape == (RATE, channels)
    signal = decode(encode(samples, subtype="FLOAT"), RATE)
    assert signal.samples.shape == (RATE,)
    assert np.allclose(signal.samples, samples.mean(axis=1), atol=1e-6)
    assert signal.flags == ()


def test_silent_and_inverted_channels(sound, encode):
    mono = sound()
    half = decode(encode(np.stack([mono, 0 * mono], axis=1), subtype="FLOAT"), RATE)
    assert half.flags == ("silent_channel",)
    assert np.allclose(half.samples, mono / 2)
    gone = decode(encode(np.stack([mono, -mono], axis=1), subtype="FLOAT"), RATE)
    assert "cancelled_downmix" in gone.flags
    assert "silent" in gone.flags
    apart = decode(encode(np.stack([mono, np.roll(mono, 4000)], axis=1), subtype="FLOAT"), RATE)
    assert "separate_channels" in apart.flags
    nearly = decode(encode(np.stack([mono, -0.9 * mono], axis=1), subtype="FLOAT"), RATE)
    assert nearly.flags == ("cancelled_downmix",)


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [("PCM_U8", 1 / 128), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("DOUBLE", 0), ("ULAW", 0.02),
     ("ALAW", 0.02)],
)  # fmt: skip
def test_sample_formats(sound, encode, subtype, tolerance):
    samples = sound()
    read = decode(encode(samples, subtype=subtype), RATE).samples
    assert np.abs(read - samples).max() <= tolerance


def test_against_pythons_own_reader(sound, encode, tmp_path):
    data = encode(sound(), subtype="PCM_16")
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with wave.open(str(path)) as file:
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert np.array_equal(decode(data, RATE).samples, (raw / 32768).astype(np.float32))


def test_clipped(sound, encode):
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
def test_silence(level):
    constant = np.full(RATE, level, np.float32)
    quiet = (level * np.sin(np.arange(RATE))).astype(np.float32) if level < 0.1 else constant
    for samples in (constant, quiet):
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
        assert decode(file.getvalue(), RATE).flags == ("silent",)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples(sound, encode, value):
    samples = sound()
    samples[777] = value
    assert code_of(encode(samples, subtype="FLOAT")) == "non_finite_input"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e10, -1e30])
@pytest.mark.parametrize("channels", [1, 2])
def test_finite_samples_that_are_no_audio(sound, encode, value, channels):
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
     (-np.inf, None), (0.2, np.inf), (1e308, None), (1e308, 1.5e308)],
)  # fmt: skip
@pytest.mark.parametrize("format", ["WAV", "OGG"])
def test_bad_segments(sound, encode, start, end, format):
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


def test_limits_on_length(sound, encode):
    data = encode(sound(3.0))
    assert code_of(data, max_seconds=2.0) == "too_long"
    cut = decode(data, RATE, max_seconds=2.0, truncate=True)
    assert cut.seconds == 2.0
    assert cut.flags == ("truncated_audio",)
    assert np.array_equal(cut.samples, decode(data, RATE).samples[: 2 * RATE])
    assert len(decode(data, RATE, 0.5, 1.5, max_seconds=2.0).samples) == RATE


def test_truncation_does_not_show_in_the_resampling(sound, encode):
    data = encode(sound(4.0, rate=44_100), 44_100)
    cut = decode(data, RATE, max_seconds=2.0, truncate=True).samples
    assert np.abs(cut - decode(data, RATE).samples[: len(cut)]).max() < 1e-6


def test_two_hours_are_refused_by_the_header_alone():
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 2 * RATE * 7200, b"WAVE", b"fmt ", 16,
                         1, 1, RATE, 2 * RATE, 2, 16, b"data", 2 * RATE * 7200)  # fmt: skip
    data = header + bytes(2 * RATE * 7200)
    tracemalloc.start()
    try:
        assert code_of(data, max_seconds=60.0) == "too_long"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
