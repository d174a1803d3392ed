"""Clipping and AdamW on a CPU with few calls, in one pass over the gradients.

For a network of some hundred thousand weights `torch.optim.AdamW` and `clip_grad_norm_` take as
long to find out what there is to do as to do it. The numbers are theirs up to rounding: clipping
divides where theirs multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

TORCH: Any = torch  # what the public functions call, after checks that take as long
BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's


class AdamW:
    """`torch.optim.AdamW` of a network in float32 on a CPU, with its schedule.

    Parameters
    ----------
    network : torch.nn.Module
    groups : sequence of dict
        As torch has them: ``params``, ``weight_decay`` and, where it is another one, ``lr``.
    lr : float
        The learning rate of the other groups.
    factor : callable
        Takes the number of a step, from 0, and returns what the rates are multiplied by.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[dict[str, Any]],
        lr: Any,
        factor: Callable[[int], float],
    ) -> None:
        self.groups = [(g["params"], g["weight_decay"], g.get("lr", lr)) for g in groups]
        self.params = list(network.parameters())
        self.state = {
            p: (torch.zeros_like(p), torch.zeros_like(p), torch.zeros(())) for p in self.params
        }
        self.factor = factor
        self.done = 0
        self.divisor: Tensor | None = None  # of the gradients, in the next step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def clip(self, largest: float) -> None:
        """Let the next step scale the gradients so that their norm is `largest` at most."""
        found = [p.grad for p in self.params if p.grad is not None]
        if found:
            norm = torch.linalg.vector_norm(torch.stack(TORCH._foreach_norm(found)))
            divisor = (norm + 1e-6) / largest
            self.divisor = None if divisor <= 1 else divisor  # or it is NaN

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters, and scale their gradients as `clip` set."""
        for params, weight_decay, rate in self.groups:
            moved = [p for p in params if p.grad is not None]
            if not moved:
                continue
            grads: list[Any] = [p.grad for p in moved]
            first, second, steps = ([self.state[p][at] for p in moved] for at in range(3))
            TORCH._foreach_add_(steps, 1)
            TORCH._fused_adamw_(
                moved, grads, first, second, [], steps,
                amsgrad=False, lr=rate * self.factor(self.done),
                weight_decay=weight_decay, maximize=False,
                beta1=BETAS[0], beta2=BETAS[1], eps=EPSILON, grad_scale=self.divisor,
            )  # fmt: skip
        self.divisor = None

    def advance(self) -> None:
        """Go on in the schedule."""
        self.done += 1

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of the next step, by group."""
        return [rate * self.factor(self.done) for _, _, rate in self.groups]


class TorchAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW` on other devices, with the parameters and methods of `AdamW`."""

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[dict[str, Any]],
        lr: Any,
        factor: Callable[[int], float],
    ) -> None:
        self.network = network
        device = next(network.parameters()).device.type
        super().__init__(groups, lr=lr, fused=device != "mps", capturable=device == "cuda")
        self.schedule = LambdaLR(self, factor)

    def clip(self, largest: float) -> None:
        """Scale the gradients so that their norm is `largest` at most."""
        nn.utils.clip_grad_norm_(self.network.parameters(), largest)

    def advance(self) -> None:
        """Go on in the schedule."""
        self.schedule.step()

    def get_last_lr(self) -> list[Any]:
        """Return the learning rate of the next step, by group."""
        return self.schedule.get_last_lr()
