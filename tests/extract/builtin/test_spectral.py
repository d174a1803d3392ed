"""`Spectral` as a backend: shape, names, determinism, gain, silence, any length."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affekt.extract.builtin.frames import spectrogram
from affekt.extract.builtin.spectral import FEATURE_NAMES, VERSION, Spectral, describe_clip
from hypothesis import given, settings, strategies as st


def speechlike(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Gliding harmonics in syllables, and a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    signal = voice * np.clip(np.sin(2 * np.pi * 3 * t), 0, 1) * 0.1
    return (signal + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def vector(samples: np.ndarray) -> np.ndarray:
    [pooled] = Spectral().embed([samples])
    return pooled.values[0]


def test_names_are_unique_and_as_many_as_values() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == Spectral.dim
    [pooled] = Spectral().embed([speechlike()])
    assert pooled.values.shape == (1, Spectral.dim)
    assert pooled.values.dtype == np.float32
    assert pooled.frames > 0


def test_bit_equal_whatever_else_is_in_the_batch() -> None:
    clips = [speechlike(0.1), speechlike(3), speechlike(1, seed=1)]
    together = Spectral().embed(clips)
    for clip, pooled in zip(reversed(clips), reversed(together), strict=True):
        assert np.array_equal(vector(clip), pooled.values[0])


@pytest.mark.parametrize("gain", [0.01, 0.3, 20.0])
def test_gain_moves_only_the_level(gain: float) -> None:
    clip = speechlike()
    plain, changed = vector(clip), vector(clip * np.float32(gain))
    level = FEATURE_NAMES.index("level_db")
    assert changed[level] - plain[level] == pytest.approx(20 * np.log10(gain), abs=1e-3)
    others = np.delete(np.arange(Spectral.dim), level)
    np.testing.assert_allclose(changed[others], plain[others], rtol=1e-3, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(Spectral.min_samples, 9000),
    gain=st.floats(-160, 40),
    offset=st.floats(-1, 1),
    seed=st.integers(0, 99),
)
def test_finite_for_any_length_level_and_offset(
    length: int, gain: float, offset: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).standard_normal(length) * 10 ** (gain / 20) + offset
    assert np.isfinite(vector(noise.astype(np.float32))).all()


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0, 1e-5])
def test_silence_and_constants_are_defined_and_flagged(value: float) -> None:
    [pooled] = Spectral().embed([np.full(8000, value, dtype=np.float32)])
    assert pooled.flags == ("silent",)
    assert not pooled.values[0, :-1].any()
    assert pooled.values[0, -1] == -90


@pytest.mark.parametrize("length", [400, 559, 560, 719, 720])
def test_short_clips_are_the_same_alone_and_beside_long_ones(length: int) -> None:
    short, long = speechlike(0.1)[:length], speechlike(10.0)
    _, beside, _ = Spectral().embed([long, short, long])
    assert np.isfinite(beside.values).all()
    assert np.array_equal(beside.values[0], vector(short))


def test_a_clip_without_voice_gets_neutral_voice_values() -> None:
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    found = dict(zip(FEATURE_NAMES, vector(noise), strict=True))
    for name in ("f0_mean", "f0_range", "h1_h2_mean", "f1_mean", "jitter_mean", "hnr_mean"):
        assert found[name] == 0


def test_input_is_left_as_it_was() -> None:
    clip = speechlike()
    before = clip.copy()
    clip.setflags(write=False)
    vector(clip)
    assert np.array_equal(clip, before)


def test_values_do_not_explode_with_duration() -> None:
    short, long = vector(speechlike(3.0)), vector(speechlike(12.0))
    steady = [FEATURE_NAMES.index(name) for name in ("mfcc1_mean", "centroid_p50", "f0_p50")]
    np.testing.assert_allclose(long[steady], short[steady], rtol=0.1, atol=0.5)


def test_speed_is_a_small_multiple_of_one_spectrogram() -> None:
    clip = speechlike(5.0)

    def seconds(work: Callable[[np.ndarray], object]) -> float:
        started = time.process_time()
        work(clip)
        return time.process_time() - started

    describe_clip(clip)
    whole = min(seconds(describe_clip) for _ in range(8))
    part = min(seconds(spectrogram) for _ in range(8))
    assert whole < 30 * part  # measured: 7 to 10


def test_it_describes_itself_in_json_without_floats() -> None:
    described = Spectral().describe()
    assert json.loads(json.dumps(described)) == described
    assert described["layers"]["dim"] == Spectral.dim == len(FEATURE_NAMES)
    assert described["encoder"]["version"] == VERSION


def test_values_of_this_version_are_those_of_its_first_day() -> None:
    # stored rows of other numbers would be mixed with new ones: raise VERSION and keep a new file
    kept = np.load(Path(__file__).with_name(f"spectral-{VERSION}.npy"))
    np.testing.assert_allclose(vector(speechlike()), kept, rtol=1e-4, atol=1e-5)
