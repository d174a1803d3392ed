"""Pitch and voice quality against signals whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from affekt.extract.builtin.formants import formants, linear_prediction
from affekt.extract.builtin.frames import decibel, spectrogram
from affekt.extract.builtin.pitch import CANDIDATES, CHANGE_COST, JUMP_COST, _best_path, track_pitch
from affekt.extract.builtin.voice import VOICE_NAMES, perturbation, voice
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

RATE = 16000


def harmonics(f0: np.ndarray | float, seconds: float = 1.0, fall: float = 1.0) -> np.ndarray:
    """Harmonics of 1 / k ** fall below 7 kHz; `f0` in Hz, constant or per sample."""
    f0 = np.broadcast_to(f0, int(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return sum(np.sin(k * phase) / k**fall for k in range(1, int(7000 / f0.max()) + 1)) * 0.2


def pitch_of(samples: np.ndarray):
    return track_pitch(spectrogram(samples.astype(np.float32)))


def quality(samples: np.ndarray) -> dict[str, float]:
    power = spectrogram(samples.astype(np.float32))
    values = voice(power, decibel(power.mean(axis=1)), track_pitch(power))
    return dict(zip(VOICE_NAMES, values, strict=True))


@pytest.mark.parametrize("f0", [70, 93.7, 120, 200, 333.3, 440, 600])
@pytest.mark.parametrize(
    "make", [harmonics, lambda f0: np.sin(2 * np.pi * f0 * np.arange(RATE) / RATE)]
)
def test_pitch_of_steady_tones_is_within_one_percent(f0, make):
    pitch = pitch_of(make(f0))
    assert len(pitch.voiced) == len(pitch.hz)
    np.testing.assert_allclose(pitch.hz, f0, rtol=0.01)


def test_pitch_follows_a_glide_without_octave_errors():
    f0 = 120 * 2 ** np.linspace(0, 1.2, 2 * RATE)
    pitch = pitch_of(harmonics(f0, seconds=2.0))
    centres = 320 + 160 * np.arange(len(pitch.hz))
    assert len(pitch.voiced) == len(pitch.hz)
    np.testing.assert_allclose(pitch.hz, f0[centres], rtol=0.015)


def test_pitch_survives_a_missing_fundamental_and_noise():
    rng = np.random.default_rng(0)
    tone = sum(np.sin(2 * np.pi * 150 * k * np.arange(RATE) / RATE) for k in range(3, 12))
    pitch = pitch_of(0.1 * tone + 0.05 * rng.standard_normal(RATE))
    assert np.median(pitch.hz) == pytest.approx(150, rel=0.01)


def test_noise_silence_and_clicks_have_no_voice():
    rng = np.random.default_rng(0)
    click = np.zeros(RATE)
    click[8000] = 1
    assert len(pitch_of(rng.standard_normal(2 * RATE)).voiced) < 10
    assert len(pitch_of(np.zeros(RATE)).voiced) == 0
    assert len(pitch_of(click).voiced) == 0


@pytest.mark.parametrize("snr", [0, 10, 20])
def test_harmonics_to_noise_ratio_is_the_one_that_was_mixed(snr):
    rng = np.random.default_rng(1)
    tone = harmonics(200.0, seconds=2.0)
    noise = rng.standard_normal(len(tone)) * tone.std() * 10 ** (-snr / 20)
    assert quality(tone + noise)["hnr_p50"] == pytest.approx(snr, abs=1.5)


def test_first_harmonics_differ_as_they_were_made():
    # amplitudes 1 / k ** fall: the second is 6.02 dB * fall below the first, the fourth 12.04
    for fall in (0.5, 1.0, 2.0):
        found = quality(harmonics(200.0, fall=fall))
        assert found["h1_h2_mean"] == pytest.approx(6.02 * fall, abs=0.7)
        assert found["h1_h4_mean"] == pytest.approx(12.04 * fall, abs=1.0)


def test_breathy_voice_has_less_cepstral_prominence():
    rng = np.random.default_rng(2)
    clear = harmonics(160.0)
    assert quality(clear)["cpp_mean"] > quality(clear + 0.1 * rng.standard_normal(RATE))["cpp_mean"]


@pytest.mark.parametrize("tract", [(500, 1500, 2500), (700, 1200, 2600), (320, 2200, 2900)])
def test_formants_of_a_synthetic_vowel(tract):
    samples = np.zeros(RATE)
    samples[:: RATE // 100] = 1.0
    for hz, width in zip((*tract, 3500, 4500), (60, 90, 120, 150, 200), strict=True):
        radius = np.exp(-np.pi * width / RATE)
        samples = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * hz / RATE), radius**2], samples)
    samples = lfilter([1], [1, -0.97], samples / np.abs(samples).max())
    found, _, frames = formants(spectrogram(samples.astype(np.float32)))
    assert len(frames) > 50
    np.testing.assert_allclose(np.median(found, axis=0), tract, rtol=0.06)


def test_predictors_solve_the_normal_equations():
    power = np.random.default_rng(0).exponential(size=(3, 513)) * np.exp(-np.arange(513) / 60)
    for predictor, row in zip(linear_prediction(power), power @ _correlations(), strict=True):
        expected = solve_toeplitz(row[:-1], -row[1:])
        np.testing.assert_allclose(predictor, [1, *expected], rtol=1e-6, atol=1e-9)


def test_the_predictor_of_silence_predicts_nothing():
    assert linear_prediction(np.zeros((2, 513))).tolist() == [[1.0] + [0.0] * 11] * 2


def _correlations() -> np.ndarray:
    """Autocorrelation of the band below 5.5 kHz by its definition, pre-emphasised and smoothed."""
    bins = 353
    unit = np.eye(513, bins) * (1.9409 - 1.94 * np.cos(2 * np.pi * np.arange(bins) / 1024))
    lags = np.fft.irfft(unit, 2 * (bins - 1), axis=1)[:, :12]
    lags = lags * np.exp(-0.5 * (2 * np.pi * 30 * np.arange(12) / 11000) ** 2)
    lags[:, 0] *= 1 + 1e-7
    return lags


def test_jitter_and_shimmer_rise_with_perturbation_but_not_with_glides():
    rng = np.random.default_rng(3)
    wobble = np.repeat(rng.standard_normal(200), 160)

    def perturbed(f0, gain):
        samples = harmonics(f0, seconds=2.0) * gain
        power = spectrogram(samples.astype(np.float32))
        return perturbation(track_pitch(power), decibel(power.mean(axis=1)))

    steady = perturbed(150.0, 1.0)
    glide = perturbed(150 * 2 ** np.linspace(0, 0.5, 2 * RATE), 1.0)
    jitter = perturbed(150 * (1 + 0.03 * wobble), 1.0)
    shimmer = perturbed(150.0, 1 + 0.2 * np.clip(wobble, -2, 2))
    assert jitter[0] > max(steady[0], glide[0]) + 1
    assert shimmer[2] > max(steady[2], glide[2]) + 1


def test_best_path_is_the_best_of_all_paths():
    rng = np.random.default_rng(4)
    frames, states = 4, CANDIDATES + 1
    for _ in range(20):
        lag = rng.uniform(30, 240, (frames, CANDIDATES))
        strength = rng.uniform(0.2, 1, (frames, CANDIDATES))
        unvoiced = rng.uniform(0.3, 1.2, frames)
        gain = strength - 0.02 * (np.log2(lag) - np.log2(RATE / 620))
        local = np.column_stack([gain, unvoiced])

        def worth(path, local=local, lag=lag):
            total = sum(local[t, state] for t, state in enumerate(path))
            for t, (old, new) in enumerate(pairwise(path)):
                if (old == CANDIDATES) != (new == CANDIDATES):
                    total -= CHANGE_COST
                elif new < CANDIDATES:
                    total -= JUMP_COST * abs(np.log2(lag[t, old] / lag[t + 1, new]))
            ends = sum(path[t] < CANDIDATES for t in (0, -1))
            return total - CHANGE_COST * ends  # a clip is unvoiced before and after

        best = max(worth(path) for path in np.ndindex(*[states] * frames))
        assert worth(tuple(_best_path(lag, strength, unvoiced))) == pytest.approx(best)
