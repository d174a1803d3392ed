"""AdamW and clipping on a CPU, against torch's own."""

from __future__ import annotations

import pytest
import torch
from affekt.classify.heads.training.adamw import AdamW, TorchAdamW
from torch import nn


class Two(nn.Module):
    """Two maps; in every third step one of them is not used and has no gradient."""

    def __init__(self):
        super().__init__()
        self.often, self.seldom = nn.Linear(37, 5), nn.Linear(37, 5)
        self.scores = nn.Parameter(torch.zeros(3))

    def forward(self, x, step):
        found = self.often(x) * self.scores.softmax(0)[1]
        return found if step % 3 == 1 else found + self.seldom(x)


def factor(step):
    return (step + 1) / 10 if step < 10 else 1.0 / step


def trained(largest, kind, steps=25):
    torch.manual_seed(0)
    network = Two()
    *others, last = [network.scores, *network.often.parameters(), *network.seldom.parameters()]
    groups = [
        {"params": [*others[1:], last], "weight_decay": 0.1},
        {"params": [network.scores], "weight_decay": 0.0, "lr": 0.05},
    ]
    if kind is not None:
        schedule = optimiser = kind(network, groups, 1e-2, factor)
    else:
        optimiser = torch.optim.AdamW(groups, lr=1e-2, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    rates = []
    for step in range(steps):
        rates.append(schedule.get_last_lr())
        optimiser.zero_grad()
        (network(torch.randn(8, 37), step) ** 2).sum().backward()
        if kind is None:
            nn.utils.clip_grad_norm_(network.parameters(), largest)
            optimiser.step()
            schedule.step()
        else:
            optimiser.clip(largest)
            optimiser.step()
            optimiser.advance()
    return rates, [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("kind", [AdamW, TorchAdamW])
@pytest.mark.parametrize("largest", [0.5, 3.0, 1e9])
def test_the_numbers_are_torchs(largest, kind):
    rates, weights = trained(largest, kind)
    expected_rates, expected = trained(largest, None)
    assert rates == expected_rates
    clips = kind is AdamW and largest < 1e9  # dividing where torch multiplies
    for mine, theirs in zip(weights, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5 * clips, atol=1e-6 * clips)


def test_a_gradient_that_is_not_a_number_reaches_the_weights():
    network = nn.Linear(2, 1)
    optimiser = AdamW(
        network, [{"params": list(network.parameters()), "weight_decay": 0.0}], 1, factor
    )
    (network(torch.tensor([[1.0, torch.inf]])) * 0).sum().backward()
    optimiser.clip(1.0)
    optimiser.step()
    assert network.weight.isnan().any()
