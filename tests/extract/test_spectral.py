"""`Spectral` as a backend: shape, names, determinism, gain, silence, any length."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.extract.spectral import FEATURE_NAMES, Spectral
from hypothesis import given, settings
from hypothesis import strategies as st


def speechlike(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Gliding harmonics in syllables, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    signal = voice * np.clip(np.sin(2 * np.pi * 3 * time), 0, 1) * 0.1
    return (signal + 1e-3 * rng.standard_normal(len(time))).astype(np.float32)


def vector(samples: np.ndarray) -> np.ndarray:
    [pooled] = Spectral().embed([samples])
    return pooled.values[0]


def test_names_are_unique_and_as_many_as_values() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == Spectral.dim
    [pooled] = Spectral().embed([speechlike()])
    assert pooled.values.shape == (1, Spectral.dim)
    assert pooled.values.dtype == np.float32
    assert pooled.frames > 0


def test_bit_equal_in_any_company() -> None:
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
def test_A13_silence_and_constants_are_defined_and_flagged(value: float) -> None:
    [pooled] = Spectral().embed([np.full(8000, value, dtype=np.float32)])
    assert pooled.flags == ("silent",)
    assert not pooled.values[0, :-1].any()
    assert pooled.values[0, -1] == -90
