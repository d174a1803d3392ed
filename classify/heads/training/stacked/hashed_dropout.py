"""Dropout without a stored mask: what is kept is a hash, the same in kernels and plain PyTorch.

Of the member's seed, the step, the place in the network and the position: a member drops the same
numbers alone and beside others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Chance:
    """What dropout draws from.

    Attributes
    ----------
    seeds : Tensor (members, 2), int32
    clock : Tensor (2,), int64
        Number of the step, and where its rows start in the epoch; changes from step to step.
    """

    seeds: Tensor
    clock: Tensor


@dataclass(frozen=True)
class Drop:
    """Dropout at one place of a network.

    Attributes
    ----------
    p : float
        Probability that a number is zeroed.
    place : int
        Different for each place.
    """

    p: float
    place: int
    chance: Chance

    @property
    def scale(self) -> float:
        """What is kept is multiplied by it."""
        return 0.0 if self.p == 1 else 1 / (1 - self.p)

    @property
    def threshold(self) -> int:
        """Hashes below are dropped; all of them where `p` is 1, as the scale is 0."""
        return min(round(self.p * 2**32), _WORD)

    def factors(self, like: Tensor) -> Tensor | float:
        """Return what to multiply (members, ...) by: 0 or `scale`."""
        if self.p == 0:
            return 1.0
        seeds = self.chance.seeds.long() & _WORD
        step = self.chance.clock[0]
        first = _mixed(seeds[:, 0] ^ _mixed(step & _WORD))
        second = _mixed(seeds[:, 1] ^ _mixed((step + self.place * 0x9E3779B9) & _WORD))
        position = torch.arange(like[0].numel(), device=like.device)
        word = _mixed(_mixed(position ^ first[:, None]) + second[:, None] & _WORD)
        return (word >= self.threshold).view(like.shape).to(torch.float32) * self.scale

    @property
    def given(self) -> tuple[Any, ...]:
        """What the kernels take."""
        return self.chance.seeds, self.chance.clock, self.place, self.threshold, self.scale


def _mixed(x: Tensor) -> Tensor:
    """Hash 32-bit words (C. Wellons: lowbias32)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)
