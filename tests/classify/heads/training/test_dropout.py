"""Dropout by our own draws: the right share, the mean kept, one seed one result."""

from __future__ import annotations

import pytest
import torch
from affekt.classify.heads.networks.encoder_stack import EncoderStack
from affekt.classify.heads.training.shared_layers import Dropout, dropped


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_share_and_scale(p):
    torch.manual_seed(0)
    x = torch.full((1000, 401), 3.0)
    found = dropped(x, p)
    kept = found != 0
    assert abs(kept.double().mean() - (1 - p)) < 4 * (p * (1 - p) / x.numel()) ** 0.5 + 1e-5
    assert len(found[kept].unique()) == 1
    assert found[kept][0].item() == pytest.approx(3 / (1 - p), rel=2e-4)
    for axis in (0, 1):  # no row or column differs from the others by more than chance
        shares = kept.double().mean(axis)
        spread = (p * (1 - p) / kept.shape[axis]) ** 0.5
        assert (shares - (1 - p)).abs().max() < 6 * spread
    pairs = (kept[:, :-1] & kept[:, 1:]).double().mean()  # neighbours are drawn apart
    assert pairs.item() == pytest.approx((1 - p) ** 2, abs=0.005)


def test_one_seed_gives_one_result_and_gradients_see_the_same_zeros():
    x = torch.randn(7, 5, requires_grad=True)
    results = []
    for _ in range(2):
        torch.manual_seed(1)
        results.append(dropped(x.T, 0.5))
    assert torch.equal(*results)
    results[0].sum().backward()
    assert torch.equal(x.grad.T != 0, results[0] != 0)
    assert torch.equal(results[0], x.T * x.grad.T)


@pytest.mark.parametrize(("p", "factor"), [(0.0, 1), (1e-9, 1), (1.0, 0)])
def test_nothing_or_everything(p, factor):
    x = torch.randn(3, 2)
    assert torch.equal(dropped(x, p), factor * x)


def test_only_training_drops():
    layer, x = Dropout(0.5), torch.ones(50)
    assert torch.equal(layer.eval()(x), x)
    assert (layer.train()(x) == 0).any()


def test_dropout_of_the_encoder_keeps_the_mean():
    """Averaged over draws, attention gives about what it gives in evaluation."""
    torch.manual_seed(0)
    stack = EncoderStack(16, 2, 32, 1, dropout=0.3, activation="relu", norm_first=True).double()
    with torch.no_grad():
        x = torch.randn(4, 5, 16, dtype=torch.float64)
        stack.layers[0].linear2.weight.zero_()  # what is left is linear in what is dropped
        drawn = torch.stack([stack.train()(x) for _ in range(4000)])
        plain = stack.eval()(x)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - plain).abs() < 6 * error + 1e-4).all()
