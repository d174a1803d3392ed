"""The perceptron as it learns on a CPU: the loss, gradients and draws of autograd."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from affekt.classify.heads import MLPHead
from affekt.classify.heads.networks.mlp import MLP
from affekt.classify.heads.training.losses import CrossEntropy

ROWS, WIDTH, OUTPUTS = 9, 7, 3
RANDOM = torch.Generator().manual_seed(0)
TARGET = torch.rand(ROWS, OUTPUTS, dtype=torch.float64, generator=RANDOM)  # soft labels, weighted
TARGET[2] = 0  # no label
SHIFT = torch.tensor([0.5, 0.0, -2.0], dtype=torch.float64)
LOSSES = {
    "cross-entropy": CrossEntropy(TARGET),
    "logit adjustment": CrossEntropy(TARGET, shift=SHIFT),
    "no labels": CrossEntropy(torch.zeros_like(TARGET)),
}


def perceptron(kind=MLP, hidden=(6,), dropout=0.3, input_dropout=0.5, **settings):
    torch.manual_seed(0)
    settings = {"activation": "relu", **settings}
    network = kind(WIDTH, hidden, OUTPUTS, dropout=dropout, input_dropout=input_dropout, **settings)
    return network.double()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("hidden", [(), (6,), (5, 8)])
@pytest.mark.parametrize(("dropout", "input_dropout"), [(0.3, 0.5), (0, 0), (1, 0.2), (0.4, 0)])
def test_loss_gradients_and_draws_are_those_of_autograd(loss, hidden, dropout, input_dropout):
    network = perceptron(hidden=hidden, dropout=dropout, input_dropout=input_dropout)
    x = torch.randn(ROWS, WIDTH, dtype=torch.float64)
    before, plain = x.clone(), copy.deepcopy(network)
    written = network.written_out(x, loss)
    for rows in (torch.tensor([4, 2, 8]), torch.tensor([2]), torch.arange(ROWS)):
        torch.manual_seed(1)
        found = written(rows)
        following = torch.rand(())
        torch.manual_seed(1)
        expected = loss(plain(x[rows]), rows)
        assert torch.equal(following, torch.rand(()))
        torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-13)
        theirs = torch.autograd.grad(expected, list(plain.parameters()))
        ours = [one.grad for one in network.parameters()]
        torch.testing.assert_close(ours, list(theirs), rtol=0, atol=1e-13)
    assert torch.equal(x, before)


def test_the_rest_is_left_to_autograd():
    class Own(MLP):
        pass

    given = torch.zeros(ROWS, WIDTH), LOSSES["cross-entropy"]
    assert perceptron(hidden=(4,)).written_out(*given)
    assert perceptron(Own).written_out(*given) is None
    for settings in ({"activation": "gelu"}, {"activation": "tanh"}, {"skip": True}):
        assert perceptron(**settings).written_out(*given) is None
    for loss in (CrossEntropy(TARGET, gamma=2.0), lambda *_: torch.zeros(())):
        assert perceptron().written_out(given[0], loss) is None
    with torch.device("meta"):
        assert perceptron().written_out(*given) is None


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_head_learns_what_it_learns_by_autograd(early_stopping, monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = rng.standard_normal((300, 10)) + (y == 1)[:, None]
    make = partial(
        MLPHead, hidden=(16,), max_epochs=4, random_state=0, early_stopping=early_stopping
    )
    given = {"X_dev": X[200:], "y_dev": y[200:]}
    written, again = (make().fit(X[:200], y[:200], **given) for _ in range(2))
    assert np.array_equal(written.predict_proba(X), again.predict_proba(X))
    monkeypatch.setattr(MLP, "written_out", lambda *_: None)
    plain = make().fit(X[:200], y[:200], **given)
    for row, other in zip(written.history_, plain.history_, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, abs=1e-5)
    assert written.best_epoch_ == plain.best_epoch_
    np.testing.assert_allclose(written.predict_proba(X), plain.predict_proba(X), atol=1e-4)
    for name, array in plain.get_state()[1].items():
        np.testing.assert_allclose(written.get_state()[1][name], array, atol=1e-4)
