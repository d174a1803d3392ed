"""Losses against torch's own, their formulas, and what they ignore."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.classify.heads.training.losses import (
    ccc_loss,
    cross_entropy,
    mse_loss,
    weighted_targets,
)
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F


def batch(rows=7, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=generator)
    weight = torch.rand(classes, generator=generator, dtype=torch.float64) + 0.1
    return logits, labels, F.one_hot(labels, classes).double(), weight


@given(st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_equals_torch_with_class_weights_and_label_smoothing(seed, smoothing):
    logits, labels, target, weight = batch(seed=seed)
    ours = cross_entropy(logits, target, class_weight=weight)
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, weight=weight))
    smoothed = cross_entropy(logits, weighted_targets(target, weight, smoothing))
    rows = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    expected = (weight[labels] * rows).sum() / weight[labels].sum()
    torch.testing.assert_close(smoothed, expected)


def test_distributions_equal_torch_with_probability_targets():
    logits, _, _, _ = batch()
    target = torch.softmax(batch(seed=1)[0], dim=1)
    torch.testing.assert_close(cross_entropy(logits, target), F.cross_entropy(logits, target))


def test_a_row_weight_counts_a_row_that_often():
    logits, _, target, weight = batch()
    times = torch.tensor([1, 2, 0, 1, 3, 1, 1])
    repeated = logits.repeat_interleave(times, 0), target.repeat_interleave(times, 0)
    ours = cross_entropy(logits, target, class_weight=weight, row_weight=times.double())
    torch.testing.assert_close(ours, cross_entropy(*repeated, class_weight=weight))


def test_focal_is_its_formula_and_gamma_zero_is_cross_entropy():
    logits, labels, target, _ = batch()
    p = torch.softmax(logits, 1)[torch.arange(7), labels]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    torch.testing.assert_close(cross_entropy(logits, target, gamma=2.0), expected)
    assert cross_entropy(logits, target, gamma=0.0) == cross_entropy(logits, target)


def test_rows_without_a_label_do_not_count():
    logits, _, target, weight = batch()
    target[[1, 4]] = 0
    keep = [0, 2, 3, 5, 6]
    ours = cross_entropy(logits, target, class_weight=weight)
    expected = cross_entropy(logits[keep], target[keep], class_weight=weight)
    torch.testing.assert_close(ours, expected)
    assert cross_entropy(logits, torch.zeros_like(target)) == 0


def test_ccc_equals_the_formula_with_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50))
    cov = ((x - x.mean()) * (y - y.mean())).mean()
    expected = 2 * cov / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    ours = ccc_loss(torch.from_numpy(x)[:, None], torch.from_numpy(y)[:, None])
    assert 1 - ours.item() == pytest.approx(expected)


def test_ccc_and_mse_ignore_what_is_not_annotated():
    values = torch.tensor([[1.0, 5.0], [2.0, 5.0], [4.0, 1.0]])
    truth = torch.tensor([[1.0, torch.nan], [3.0, torch.nan], [3.0, torch.nan]])
    first = ccc_loss(values[:, :1], truth[:, :1])
    torch.testing.assert_close(ccc_loss(values, truth), (first + 1) / 2)  # no truth: CCC 0
    assert mse_loss(values[:, :1], truth[:, :1]).item() == pytest.approx(2 / 3)
    assert torch.isfinite(ccc_loss(torch.ones(3, 1), torch.ones(3, 1)))


def test_smoothing_beside_a_rare_class_asks_for_no_class_above_the_others():
    """A network that knows nothing but the shares answers with equal probabilities."""
    target = F.one_hot(torch.tensor([0] * 96 + [1] * 96 + [2] * 3), 3).double()
    weight = 195 / (3 * target.sum(0))
    smooth = weighted_targets(target, weight, 0.3)
    torch.testing.assert_close(smooth.sum(0), torch.full((3,), 65.0, dtype=torch.float64))
    row = smooth[0] / smooth[0].sum()  # of a frequent class: its own label leads
    torch.testing.assert_close(row, torch.tensor([0.8, 0.1, 0.1], dtype=torch.float64))
    mass = target * weight
    torch.testing.assert_close(weighted_targets(target, weight, 0.0), mass)
