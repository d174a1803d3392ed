"""Heads of several seeds whose networks train at once: each as it is trained alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.classify.heads import MLPHead, MultiTaskHead, PatchTransformerHead, RegressionHead
from affekt.classify.heads.training.stacked import at_once, stacked_training
from affekt.classify.heads.training.stacked.at_once import fit_at_once, most_at_once
from torch import nn

from tests.support.gpu import CUDA

DEVICES = ["cpu", CUDA]
SEEDS = [0, 7, 2**40, 3]
OPTIONS = {"max_epochs": 6, "precision": "highest", "learning_rate": 3e-3, "batch_size": 16}
SMALL = {"d_model": 16, "n_attention_heads": 2, "feedforward": 24, "hidden": 8}
EARLY = {"early_stopping": True, "patience": 1}
HEADS = [
    (MLPHead, EARLY),
    (MLPHead, {"n_members": 2, "sampling": "class"}),
    (PatchTransformerHead, {**SMALL, **EARLY}),
    (RegressionHead, {"dropout": 0.2}),
    (MultiTaskHead, {}),
]


@pytest.fixture
def stacks(monkeypatch):
    """Let a CPU train networks at once as a GPU does; how many were in each stack."""
    sizes = []

    class Counted(stacked_training.StackedTraining):
        def __init__(self, networks, *given):
            sizes.append(len(networks))
            super().__init__(networks, *given)

    makes = at_once._makes_kernels
    monkeypatch.setattr(at_once, "_makes_kernels", lambda on: on.type == "cpu" or makes(on))
    monkeypatch.setattr(stacked_training, "StackedTraining", Counted)
    return sizes


def data(make):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 120)
    X = rng.standard_normal((120, 20), dtype="f4") + (label == 1)[:, None]
    y = label.astype(float) + rng.random(120) if make is RegressionHead else label
    y = np.stack([label, label == 2], 1) if make is MultiTaskHead else y
    return {"X": X[:80], "y": y[:80], "X_dev": X[80:], "y_dev": y[80:]}


def made(make, device, options):
    options = {**OPTIONS, **options, "device": device}
    return [make(**options, random_state=seed) for seed in SEEDS]


def predicted(head, given):
    found = head.predict_proba(given["X"]) if hasattr(head, "predict_proba") else None
    found = head.predict(given["X"]) if found is None else found
    return np.concatenate(found, axis=1) if isinstance(found, list) else found


def assert_same(heads, others, given, tolerance):
    for head, other in zip(heads, others, strict=True):
        assert set(vars(head)) == set(vars(other))
        assert (head.best_epoch_, head.stopped_) == (other.best_epoch_, other.stopped_)
        assert head.random_state == other.random_state
        for row, alone in zip(head.history_, other.history_, strict=True):
            assert {**row, "seconds": 0} == pytest.approx({**alone, "seconds": 0}, abs=tolerance)
        np.testing.assert_allclose(
            predicted(head, given), predicted(other, given), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("make", "options"), HEADS)
def test_each_head_is_as_if_it_was_trained_alone(make, options, device, stacks):
    given, heads, alone = data(make), made(make, device, options), made(make, device, options)
    fit_at_once(heads, **given)
    members = options.get("n_members", 1)
    assert stacks == [len(SEEDS) * members]
    for head in alone:
        head.fit(**given)
    assert stacks[1:] == [members] * len(SEEDS)
    # on a GPU products of other sizes round otherwise, and steps enlarge it
    assert_same(heads, alone, given, 1e-4 if device == "cpu" else 1e-2)
    assert len({head.history_[0]["train_loss"] for head in heads}) == len(SEEDS)
    assert all("_beside" not in vars(head) for head in heads)


def test_no_more_networks_train_at_once_than_find_room(stacks, monkeypatch):
    given = data(MLPHead)
    heads, others = made(MLPHead, "cpu", {"n_members": 2}), made(MLPHead, "cpu", {"n_members": 2})
    fit_at_once(heads, **given)
    monkeypatch.setattr(at_once, "MOST", 3)  # the members of a head are in two stacks
    fit_at_once(others, **given)
    assert stacks == [8, 3, 3, 2]
    assert_same(heads, others, given, 1e-4)


def test_heads_that_do_not_train_at_once_are_trained_in_turn():
    given, heads, alone = data(MLPHead), made(MLPHead, "cpu", {}), made(MLPHead, "cpu", {})
    assert not heads[0].trains_at_once(20)
    fit_at_once(heads, **given)
    for head in alone:
        head.fit(**given)
    assert_same(heads, alone, given, 0)


def test_which_heads_train_at_once(stacks):
    assert MLPHead(device="cpu").trains_at_once(20)
    assert RegressionHead(device="cpu").trains_at_once(20)
    assert not MLPHead(device="cpu", activation="gelu").trains_at_once(20)
    assert not MLPHead(device="cpu", n_layers=2, layer_mix=True).trains_at_once(20)


def test_heads_whose_turn_does_not_come_are_not_taken_for_trained(stacks, monkeypatch):
    monkeypatch.setattr(at_once, "MOST", 2)
    rows = []

    def interrupt(row):
        rows.append(row)
        if len(rows) == 4:
            raise KeyboardInterrupt

    heads = made(MLPHead, "cpu", {"callback": interrupt})
    with pytest.raises(KeyboardInterrupt):
        fit_at_once(heads, **data(MLPHead))
    assert [head.stopped_ for head in heads[:2]] == ["interrupted"] * 2
    assert not heads[2].networks_


def test_memory_bounds_how_many_train_at_once(monkeypatch):
    network = nn.Linear(1000, 1000)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * 10**8)
    for free, most in ((0, 1), (10**9, 10), (2 * 10**11, at_once.MOST)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 0))
        assert most_at_once(network, 100, torch.device("cuda")) == most
