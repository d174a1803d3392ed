"""Sounds, files and manifests for the tests of extract."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest

RATE = 16_000


def _sound(seconds: float = 1.0, rate: int = RATE, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Noise with a few tones: (samples,) or (samples, channels) float32, inside ±0.5."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * hertz * time) for hertz in random.uniform(80, 1500, 3)) * 0.1
    mixed = tone[:, None] + random.normal(0, 0.02, (len(time), channels))
    return (mixed[:, 0] if channels == 1 else mixed).astype(np.float32)


def _encode(samples: np.ndarray, rate: int = RATE, format: str = "WAV", **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def sound() -> Callable[..., np.ndarray]:
    """`_sound(seconds, rate, seed, channels)`."""
    return _sound


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """`_encode(samples, rate, format, subtype=...)`: a file's bytes."""
    return _encode


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Manifest]:
    """Write files (name -> bytes) under ``tmp_path/audio`` and give their manifest; id = stem."""

    def make(files: dict[str, bytes], **columns: Any) -> Manifest:
        folder = tmp_path / "audio"
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        rows = [
            {"id": Path(name).stem, "path": f"audio/{name}"}
            | {column: values[i] for column, values in columns.items()}
            for i, name in enumerate(files)
        ]
        return Manifest.from_rows(rows, root=tmp_path)

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "cache")


@pytest.fixture
def files(sound: Callable[..., np.ndarray], encode: Callable[..., bytes]) -> dict[str, bytes]:
    """Ten clips of all formats, rates and lengths."""
    kinds = [("WAV", 16_000), ("FLAC", 44_100), ("OGG", 16_000), ("MP3", 44_100), ("WAV", 8000)]
    return {
        f"{n}.{format.lower()}": encode(
            sound(0.2 + 0.3 * n, rate, seed=n, channels=1 + n % 2), rate, format
        )
        for n, (format, rate) in enumerate(kinds * 2)
    }
