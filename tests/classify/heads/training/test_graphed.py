"""Training with steps as CUDA graphs: the same losses as step by step. Skipped without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify.heads import MLPHead, PatchTransformerHead
from affekt.classify.heads.training import loop as training

from tests.support.gpu import ON_GPU, TWO_GPUS

pytestmark = ON_GPU


@pytest.mark.parametrize("make", [MLPHead, PatchTransformerHead])
def test_a_graph_trains_as_its_steps_do(make, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 90)
    X = rng.standard_normal((270, 128), dtype="f4") + 2 * (y == "b")[:, None]
    options = {"max_epochs": 4, "dropout": 0.0, "activation": "gelu"}
    options |= {"random_state": 0, "device": "cuda"}
    graphed = make(**options).fit(X, y)
    monkeypatch.setattr(training._Step, "__call__", training._Step._plain)
    plain = make(**options).fit(X, y)
    losses = [[row["train_loss"] for row in head.history_] for head in (graphed, plain)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    again = make(**{**options, "dropout": 0.2}).fit(X, y)
    assert again.predict_proba(X).shape == (270, 3)


@TWO_GPUS
@pytest.mark.parametrize("activation", ["relu", "gelu"])  # stacked weights, and autograd
def test_the_second_gpu_trains_as_the_first(activation):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 20), dtype="f4"), np.repeat(["a", "b"], 40)
    options = {"max_epochs": 2, "activation": activation, "random_state": 0, "precision": "highest"}
    heads = [MLPHead(**options, device=device).fit(X, y) for device in ("cuda", "cuda:1")]
    losses = [[row["train_loss"] for row in head.history_] for head in heads]
    np.testing.assert_allclose(*losses, rtol=1e-6)
