"""Statistics, filters and modulation against numpy, scipy and formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
from affekt.extract.builtin.frames import frames, level_db, spectrogram
from affekt.extract.builtin.functionals import (
    STATISTICS,
    log_covariance,
    percentiles,
    slope,
    summarise,
)
from affekt.extract.builtin.mel import hz_to_mel, mel_filters, mel_to_hz, mfcc
from affekt.extract.builtin.modulation import change_over_lags, coupling, modulation_spectrum
from affekt.extract.builtin.pitch import Pitch
from affekt.extract.builtin.prosody import (
    LOUDNESS_NAMES,
    PITCH_NAMES,
    RHYTHM_NAMES,
    loudness_contour,
    pitch_contour,
    rhythm,
)
from affekt.extract.builtin.timbre import CONTOURS, timbre
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

contours = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e3, width=32),
    fill=st.nothing(),  # each number is drawn
)


@given(contours, st.lists(st.floats(0, 100), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_percentiles_are_those_of_numpy(values, percents):
    expected = np.percentile(values, percents, axis=0)
    np.testing.assert_allclose(percentiles(values, percents), expected, atol=1e-9)


@given(contours)
@settings(max_examples=50, deadline=None)
def test_summaries_are_those_of_numpy(values):
    step = np.diff(values, axis=0) if len(values) > 2 else np.zeros((1, values.shape[1]))
    expected = [
        values.mean(axis=0),
        values.std(axis=0),
        *np.percentile(values, (10, 50, 90), axis=0),
        step.std(axis=0),
    ]
    np.testing.assert_allclose(summarise(values), np.concatenate(expected), atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_frames_have_finite_statistics(count):
    every = (*STATISTICS, "delta4", "speed", "skew", "slope")
    assert np.isfinite(summarise(np.full((count, 3), 7.0), every)).all()


def test_slope_is_least_squares():
    values = np.random.default_rng(0).standard_normal(50)
    time = np.sort(np.random.default_rng(1).uniform(0, 9, 50))
    assert slope(values, time) == pytest.approx(np.polyfit(time, values, 1)[0])


def test_log_covariance_is_the_matrix_logarithm():
    values = np.random.default_rng(0).standard_normal((40, 4)) @ np.diag([1, 2, 3, 4])
    whole = scipy.linalg.logm(np.cov(values.T, bias=True) + np.eye(4))
    expected = np.real(whole)[np.triu_indices(4)]
    np.testing.assert_allclose(log_covariance(values, noise=1.0), expected, atol=1e-9)


def test_frames_lie_inside_and_are_never_none():
    assert frames(np.arange(799.0)).shape == (1, 640)
    assert frames(np.arange(800.0)).shape == (2, 640)
    short = frames(np.ones(400))
    assert short.shape == (1, 640)
    assert short.sum() == 400


def test_spectrogram_is_the_power_of_windowed_transforms():
    samples = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    hann = np.hanning(642)[1:-1]
    expected = np.abs(np.fft.rfft(samples[320:960] * hann, 1024)) ** 2 / np.sum(hann**2)
    np.testing.assert_allclose(spectrogram(samples)[2], expected, rtol=1e-3, atol=1e-5)


def test_level_of_an_amplitude_ramp():
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    levels = [level_db(tone * 10 ** (-db / 20)) for db in range(0, 80, 20)]
    np.testing.assert_allclose(levels, -3.01 - np.arange(0, 80, 20), atol=0.05)
    for quieter, level in ((29, -6.01), (31, -3.01)):  # what is 30 dB below does not count
        both = np.concatenate([tone, tone * 10 ** (-quieter / 20)])
        assert abs(level_db(both) - level) < 0.05


def test_mel_scale_and_its_inverse():
    hz = np.array([50.0, 440.0, 7600.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz)


def test_a_tone_rings_its_own_mel_band():
    filters = mel_filters(40, 50.0, 7600.0)
    centres = mel_to_hz(np.linspace(hz_to_mel(50), hz_to_mel(7600), 42))[1:-1]
    for band in (3, 12, 25, 38):
        tone = np.sin(2 * np.pi * centres[band] * np.arange(8000) / 16000).astype(np.float32)
        assert (spectrogram(tone) @ filters).mean(axis=0).argmax() == band


def test_mfcc_is_the_cosine_transform():
    logmel = np.random.default_rng(0).standard_normal((5, 40))
    expected = scipy.fft.dct(logmel, norm="ortho", axis=1)[:, :20]
    np.testing.assert_allclose(mfcc(logmel, 20), expected, atol=1e-12)


def shape_of(power: np.ndarray) -> dict[str, float]:
    return dict(zip(CONTOURS, timbre(power).mean(axis=0), strict=True))


def test_timbre_of_white_noise_and_of_a_tone():
    white = shape_of(np.ones((4, 513), dtype=np.float32))
    assert np.exp(white["centroid"]) == pytest.approx(4031, rel=0.01)
    assert white["entropy"] == pytest.approx(1, abs=1e-4)
    assert white["flatness"] == pytest.approx(0, abs=1e-3)
    assert white["flux"] == 0
    for name in ("slope0", "slope500", "slope1500", "hammarberg"):
        assert white[name] == pytest.approx(0, abs=0.01)
    tone = shape_of(spectrogram(np.sin(2 * np.pi * 2000 * np.arange(8000) / 16000).astype("f")))
    assert np.exp(tone["centroid"]) == pytest.approx(2000, rel=0.02)
    assert np.exp(tone["rolloff50"]) == pytest.approx(2000, rel=0.04)
    assert tone["entropy"] < 0.4
    assert tone["alpha_ratio"] < -30


def test_timbre_measures_the_slope_of_a_spectrum():
    khz = np.arange(513) * 16 / 1024
    power = (10 ** (-1.2 * khz))[None].repeat(3, axis=0).astype(np.float32)  # -12 dB per kHz
    found = shape_of(power)
    assert [found[name] for name in ("slope0", "slope500", "slope1500")] == pytest.approx(
        [-12, -12, -12], abs=0.05
    )


def test_timbre_does_not_depend_on_its_blocks():
    power = np.random.default_rng(0).exponential(size=(300, 513)).astype(np.float32)
    np.testing.assert_allclose(
        timbre(power)[100:200], timbre(power[99:200])[1:], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("hz", "row"), [(1, 0), (3, 1), (6, 2), (12, 3), (25, 4)])
def test_modulation_is_found_at_its_rate_with_its_variance(hz, row):
    time = np.arange(1000) / 100
    bands = np.repeat(5 * np.sin(2 * np.pi * hz * time)[:, None], 8, axis=1)
    found = np.exp(modulation_spectrum(bands).reshape(5, 8)[:, 0])
    assert found.argmax() == row
    assert found[row] == pytest.approx(12.5, rel=0.1)  # dB²: half the squared amplitude


def test_modulation_does_not_depend_on_duration():
    rng = np.random.default_rng(0)
    bands = rng.standard_normal((1600, 8))
    short, long = modulation_spectrum(bands[:400]), modulation_spectrum(bands)
    assert np.abs(short - long)[-8:].max() < 0.5


def test_change_counts_steps_over_each_lag():
    ramp = np.repeat(np.arange(100.0)[:, None], 8, axis=1)
    found = np.exp(change_over_lags(ramp, np.ones(100, dtype=bool))).reshape(6, 8)[:, 0]
    np.testing.assert_allclose(found, np.array([1, 2, 4, 8, 16, 32]) + 0.1)


def test_coupling_of_nothing_is_nothing():
    assert coupling(np.zeros(0), np.zeros((0, 2)), noise=0.1).tolist() == [0, 0]
    assert coupling(np.ones(9), np.random.default_rng(0).random((9, 1)), noise=0.1).tolist() == [0]


def spoken(hz: np.ndarray) -> Pitch:
    return Pitch(hz, np.where(hz > 0, 0.9, 0.1), np.flatnonzero(hz > 0))


def test_pitch_contour_of_a_glide_in_semitones_per_second():
    hz = 160 * 2 ** (np.arange(100) / 100 / 2)  # six semitones in one second
    found = dict(zip(PITCH_NAMES, pitch_contour(spoken(hz)), strict=True))
    assert found["f0_slope"] == pytest.approx(6)
    assert found["f0_stretch_slope"] == pytest.approx(6)
    assert found["f0_mean"] == pytest.approx(2.97, abs=0.01)
    assert found["f0_range"] == pytest.approx(0.8 * 5.94, abs=0.01)
    assert found["f0_rising"] == 0.5


def test_no_voice_is_neutral():
    assert not pitch_contour(spoken(np.zeros(50))).any()


def test_loudness_contour_of_a_ramp_in_decibel_per_second():
    found = loudness_contour(np.linspace(-20, 0, 101), spoken(np.full(101, 200.0)))
    named = dict(zip(LOUDNESS_NAMES, found, strict=True))
    assert named["loudness_slope"] == pytest.approx(20)
    assert named["voiced_loudness_p50"] == pytest.approx(-10)


def test_rhythm_counts_syllables_and_pauses():
    time = np.arange(200) / 100
    loudness = 10 * np.sin(2 * np.pi * 4 * time) - 10  # four syllables a second
    loudness[90:110] = -60  # and a pause of 0.2 s
    hz = np.where(loudness > -12, 150.0, 0.0)
    found = dict(zip(RHYTHM_NAMES, rhythm(loudness, spoken(hz)), strict=True))
    assert found["syllable_rate"] == pytest.approx(4, abs=0.6)
    assert found["pause_rate"] == pytest.approx(0.5, abs=0.05)
    assert found["pause_fraction"] == pytest.approx(0.1, abs=0.02)
    assert np.exp(found["duration"]) == pytest.approx(2.0)
