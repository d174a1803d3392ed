"""A process that only predicts does without scikit-learn and gives the same numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import Model, Task
from affekt.classify.heads import (
    ConcatFusionHead,
    CrossAttentionFusionHead,
    LDAHead,
    LogisticHead,
    MeanFusionHead,
    MLPHead,
    PatchTransformerHead,
    without_sklearn as serving,
)
from affekt.extract import Encoder, extract

QUICK = {"max_epochs": 2, "random_state": 0, "n_threads": 1}
SMALL = {"d_model": 16, "n_blocks": 1, "n_attention_heads": 2, "feedforward": 32, "hidden": 16}
HEADS = [
    LogisticHead(class_weight={"no": 1.0, "yes": 2.0}),
    LDAHead(),
    MLPHead(hidden=(8,), **QUICK),
    PatchTransformerHead(**SMALL, **QUICK),
    ConcatFusionHead(hidden=(8,), **QUICK),
    MeanFusionHead(dim=8, **QUICK),
    CrossAttentionFusionHead(**SMALL, **QUICK),
]
SERVE = """
import json, sys
import numpy as np
from affekt.classify.heads import without_sklearn as serving
serving.only_serve()
from affekt.classify.heads import head_from_state
X = np.load("X.npy")
for name in sys.argv[1:]:
    meta = json.loads(open(f"{name}.json").read())
    head = head_from_state(meta, dict(np.load(f"{name}.npz")))
    np.save(f"{name}.npy", head.predict_proba(X))
    assert head.get_state()[0] == meta
assert "sklearn" not in sys.modules
for wrong in (X[:, 1:], X[0], np.full_like(X, np.inf)):
    try:
        head.predict_proba(wrong)
    except ValueError as error:
        print(error)
try:
    head.fit(X, ["no", "yes"] * (len(X) // 2))
except RuntimeError as error:
    print(error)
"""


def call(words, folder):
    found = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found


def test_every_head_gives_the_same_numbers_without_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 24)).astype(np.float32)
    y = np.where(X[:, 0] + X[:, 20] > 0, "yes", "no")
    np.save(tmp_path / "X.npy", X)
    expected = {}
    for head in HEADS:
        if "widths" in head.get_params():
            head.set_params(widths=(8, 16))
        head.fit(X, y)
        meta, arrays = head.get_state()
        (tmp_path / f"{head.name}.json").write_text(json.dumps(meta), encoding="utf-8")
        np.savez(tmp_path / f"{head.name}.npz", **arrays)
        expected[head.name] = head.predict_proba(X)
    said = call([sys.executable, "-c", SERVE, *expected], tmp_path)
    for name, proba in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), proba)
    assert said.stdout.splitlines() == [
        "X has shape (40, 23); expected (clips, 24)",
        "X has shape (24,); expected (clips, 24)",
        "X holds NaN or infinity; expected finite numbers",
        "this process only predicts",
    ]


def test_the_command_predicts_without_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i, label in enumerate(["negative", "neutral", "positive"] * 2):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * rng.standard_normal(16000), 16000)
        rows.append({"id": str(i), "path": f"{i}.wav", "label": label})
    clips = Manifest.from_rows(rows, root=tmp_path)
    cache = Cache(tmp_path / "cache")
    space = extract(clips, cache, Encoder("spectral"), progress=False)
    model = Model(LogisticHead(), Task.named("valence"), space.features()).fit(clips)
    model.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-X", "importtime", "-m", "affekt.classify.cli"]
    result = call([*command, "predict", "model", "0.wav", "--json"], tmp_path)
    assert "numpy" in result.stderr
    assert not re.search(r"\bsklearn\b", result.stderr)
    [answer] = json.loads(result.stdout)
    [expected] = model.predict(clips.select(["0"]), cache).proba
    assert list(answer["scores"].values()) == pytest.approx(sorted(expected, reverse=True))


def test_a_process_that_has_scikit_learn_keeps_it(monkeypatch):
    monkeypatch.setattr(serving, "_chosen", False)
    serving.only_serve()
    assert not serving.serves_only()
