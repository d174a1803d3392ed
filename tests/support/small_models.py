"""Small trained models, and files to predict, for the tests of `affekt predict`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import HEADS, Model, Task
from affekt.classify.cli import affekt
from affekt.extract import Encoder, extract
from click.testing import CliRunner, Result

RATE = 16_000


def sound(path: Path, seconds: float = 1.0, seed: int = 0) -> Path:
    """Write noise, so that every file has a content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    soundfile.write(path, samples, RATE)
    return path


def write_models(folder: Path) -> Path:
    """Write ``speech``, ``words`` and ``fused`` (which bears gaps) into a folder, and return it."""
    rows = []
    for number, word in enumerate(["furious", "monday", "wonderful"] * 4):
        label = {"furious": "anger", "monday": "neutral", "wonderful": "happiness"}[word]
        file = sound(folder / "train" / f"{number}.wav", seed=number)
        rows.append({"id": str(number), "path": str(file), "text": f"{word} {number}"})
        rows[-1]["label"] = label
    clips = Manifest.from_rows(rows, root="/", allow_outside=True)
    cache = Cache(folder / "cache")
    speech, words = (
        extract(clips, cache, Encoder(name), progress=False).features()
        for name in ("spectral", "ngram")
    )
    fusion = HEADS["concat"](max_epochs=1, random_state=0, hidden=(8,), missing="predict")
    kinds = {"speech": speech, "words": words, "fused": [speech, words]}
    for name, features in kinds.items():
        head = fusion if name == "fused" else HEADS["logistic"]()
        model = Model(head, Task.named("valence"), features)
        model.fit(clips).save_pretrained(folder / name)
    return folder


def predict(*words: object) -> Result:
    """Run `affekt predict` in this process."""
    return CliRunner().invoke(affekt, ["predict", *map(str, words)])
