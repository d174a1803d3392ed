"""Members trained as stacked weights: the numbers of plain PyTorch, by kernels and without.

Without a GPU the kernels run in Triton's interpreter, in a process of its own.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from affekt.classify.heads.networks.mlp import MLP
from affekt.classify.heads.networks.patch import PatchTransformer
from affekt.classify.heads.training.loop import Settings, schedule
from affekt.classify.heads.training.losses import CrossEntropy
from affekt.classify.heads.training.stacked import fused
from affekt.classify.heads.training.stacked.hashed_dropout import Chance, Drop
from affekt.classify.heads.training.stacked.stacked_training import StackedTraining
from torch import nn

from tests.support.gpu import CUDA

DEVICES = ["cpu", CUDA]
ROWS, WIDTH, BATCH = 20, 44, 7  # the last batch is smaller, the last patch too
SETTINGS = Settings(1e-3, 0.01, 4, None, 0.1, 0.5)


def patches(dropout=0.0, blocks=3):
    return PatchTransformer(
        WIDTH, 3, patch_size=16, d_model=24, n_blocks=blocks, n_attention_heads=2, feedforward=40,
        hidden=20, dropout=dropout,
    )  # fmt: skip


def mlp(dropout=0.0, skip=True):
    return MLP(
        WIDTH, (24, 20), 3, dropout=dropout, activation="relu", input_dropout=dropout, skip=skip
    )


def training(networks, device, seeds, precision="highest"):
    torch.manual_seed(1)
    x, y = torch.randn(ROWS, WIDTH).to(device), torch.randint(0, 3, (ROWS,)).to(device)

    def loss(logits, rows):
        return nn.functional.cross_entropy(logits, y[rows])

    if isinstance(networks[0], PatchTransformer):  # a kernel of its own
        weight, shift = torch.rand(ROWS, 1), torch.randn(3)
        soft = weight.to(device) * (0.9 * nn.functional.one_hot(y, 3) + 0.1 / 3)
        loss = CrossEntropy(soft, shift=shift.to(device))

    networks = [one.to(device) for one in networks]
    stacked = copy.deepcopy(networks[0]).to("meta").stacked()
    steps, settings = -(-ROWS // BATCH), replace(SETTINGS, precision=precision)
    return StackedTraining(networks, stacked, x, loss, seeds, BATCH, settings, steps), x, loss


def networks(make, members, **options):
    torch.manual_seed(0)
    return [make(**options) for _ in range(members)]


def orders(members):
    return np.stack([np.random.default_rng(i).permutation(ROWS) for i in range(members)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("make", "options"),
    [(patches, {}), (patches, {"blocks": 1}), (mlp, {}), (mlp, {"skip": False})],
)
def test_losses_and_weights_are_those_of_networks_trained_by_themselves(make, options, device):
    members = networks(make, 2, **options)
    alone = [copy.deepcopy(one).to(device).train() for one in members]
    stacked, x, loss = training(members, device, [5, 6])
    order = orders(2)
    found = [stacked.epoch(order) for _ in range(2)]
    factor = schedule(SETTINGS.warmup, 3 * SETTINGS.max_epochs)
    for member, network in enumerate(alone):
        optimiser = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=0.01)
        for epoch in range(2):
            total = 0.0
            for step, batch in enumerate(torch.from_numpy(order[member]).to(device).split(BATCH)):
                optimiser.param_groups[0]["lr"] = 1e-3 * factor(3 * epoch + step)
                optimiser.zero_grad()
                value = loss(network(x[batch]), batch)
                value.backward()
                grads = {name: p.grad.clone() for name, p in network.named_parameters()}
                nn.utils.clip_grad_norm_(network.parameters(), 0.5)
                optimiser.step()
                total += value.item() * len(batch)
            assert found[epoch][member] == pytest.approx(total / ROWS, abs=1e-5)
        for name, parameter in network.named_parameters():
            grad = stacked.weights.grad(name)[member]
            torch.testing.assert_close(grad, grads[name], rtol=0, atol=1e-5)
            if not name.endswith("in_proj_bias"):  # that of keys has no effect: rounding moves it
                off = (members[member].get_parameter(name) - parameter).abs()
                assert off.quantile(0.95) < 1e-4


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", [patches, mlp])
def test_a_member_among_others_learns_as_it_does_alone(make, device):
    order = orders(3)
    seeds = [5, 2**50 + 77, 9]
    together, _, _ = training(networks(make, 3, dropout=0.3), device, seeds)
    losses = np.array([together.epoch(order) for _ in range(2)])
    assert len(set(losses[0])) == 3
    for member in range(3):
        network = networks(make, 3, dropout=0.3)[member]
        alone, _, _ = training([network], device, seeds[member : member + 1])
        found = [alone.epoch(order[member : member + 1])[0] for _ in range(2)]
        # on a GPU products of other sizes round otherwise, and steps enlarge it
        np.testing.assert_allclose(losses[0, member], found[0], rtol=1e-5)
        rtol = 1e-5 if device == "cpu" else 1e-3
        np.testing.assert_allclose(losses[1, member], found[1], rtol=rtol)


def chance(device, seeds=(3, 4), step=0):
    halves = torch.tensor([[seed, -seed] for seed in seeds], dtype=torch.int32, device=device)
    return Chance(halves, torch.tensor([step, 0], device=device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("p", [0.2, 0.7, 1.0])
def test_share_and_scale_of_what_is_kept(p, device):
    ones, bias = torch.ones(2, 100, 300, device=device), torch.zeros(2, 300, device=device)
    masks = [
        fused.relu_drop(ones, bias, Drop(p, place, chance(device, step=step)), ones.dtype)
        for place, step in ((1, 0), (2, 0), (1, 1))
    ]
    for found in masks:
        kept = found != 0
        assert abs(kept.double().mean().item() - (1 - p)) < 4 * (p * (1 - p) / 60_000) ** 0.5 + 1e-6
        assert p == 1 or found[kept].unique().tolist() == pytest.approx([1 / (1 - p)])
        for axis in (1, 2):
            share = kept.double().mean(axis)
            assert (share - (1 - p)).abs().max() <= 6 * (p * (1 - p) / kept.shape[axis]) ** 0.5
    every = torch.stack([*masks[0], masks[1][0], masks[2][0]]) != 0  # member, place and step differ
    for one in range(4):
        for other in range(one):
            both = (every[one] & every[other]).double().mean().item()
            assert both == pytest.approx((1 - p) ** 2, abs=0.015)


@pytest.mark.parametrize("device", DEVICES)
def test_kernels_drop_what_plain_pytorch_drops(device, monkeypatch):
    """And gradients see the same zeros."""
    if not fused.is_fused(torch.zeros(1, device=device)):
        pytest.skip("no kernels here: no Triton, or outside of its interpreter")
    order, found = orders(2), []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(fused, "is_fused", lambda _: False)
        stacked, _, _ = training(networks(patches, 2, dropout=0.4), device, [5, 6])
        stacked.order.copy_(torch.from_numpy(order))
        stacked.step(BATCH)
        found.append(stacked.weights.grads.clone())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_products_in_bfloat16_are_near(device):
    order, losses = orders(2), []
    for precision in ("highest", "medium"):
        stacked, _, _ = training(networks(patches, 2), device, [5, 6], precision)
        losses.append(stacked.epoch(order))
    assert losses[0] != losses[1]
    np.testing.assert_allclose(*losses, rtol=1e-2)


@pytest.mark.skipif(find_spec("triton") is None, reason="no Triton")
def test_the_kernels_in_tritons_interpreter():
    if os.environ.get("TRITON_INTERPRET") == "1":
        return
    some = "kernels_drop or share or (by_themselves and (options1 or options3))"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0"]
    command += ["-m", "not gpu", "-W", "ignore", "-k", some, __file__]
    env = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "skipped" not in ran.stdout.splitlines()[-1]
