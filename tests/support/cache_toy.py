"""A toy encoder and small corpora, for the tests, the torture and the benchmarks of the cache."""

from __future__ import annotations

import numpy as np
from affekt.cache import Manifest, Space, Spec, row_key, text_digest

LAYERS, DIM = 3, 8


def make_spec(name: str = "toy", layers: int = LAYERS, dim: int = DIM, **fields) -> Spec:
    return Spec(
        {
            "format": 1,
            "modality": "text",
            "encoder": {"name": name, "revision": "0" * 40},
            "layers": {"semantics": "toy-1", "count": layers, "dim": dim},
            "pooling": "mean",
            "compute": {"dtype": "float32"},
            "store_dtype": "float32",
            "numerics_epoch": 1,
        }
        | fields
    )


def make_clips(count: int, start: int = 0) -> Manifest:
    return Manifest.from_rows(
        [{"id": f"clip-{i}", "text": f"text {i}"} for i in range(start, start + count)]
    )


def row_values(text: str, layers: int = LAYERS, dim: int = DIM) -> np.ndarray:
    """What the toy encoder computes: numbers that only this text has."""
    seed = int(text_digest(text)[:8], 16)
    return np.random.default_rng(seed).standard_normal((layers, dim), np.float32)


def fill(space: Space, clips: Manifest, **options) -> list[str]:
    """Extract clips as the loop of extract does: only what is not stored. Return the stored ids."""
    wanted = set(space.missing(clips))
    with space.writer(**options) as writer:
        for clip in clips:
            if clip.id in wanted:
                key = row_key(space.key, "text", text_digest(clip.text))
                values = row_values(clip.text, space.n_layers, space.dim)
                writer.add(key, clip.id, values, frames=3, seconds=0.5)
    return writer.stored


def expected(space: Space, clips: Manifest) -> np.ndarray:
    values = np.empty((len(clips), space.n_layers, space.dim), space.spec.store_dtype)
    for i, text in enumerate(clips["text"]):
        values[i] = row_values(text, space.n_layers, space.dim)
    return values.astype(np.float32)
