"""The weights of all members in one buffer, their gradients in another; clipping and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..adamw import BETAS, EPSILON
from . import kernels
from .fused import is_fused

_ALIGNED = 64  # numbers; a weight begins at a multiple of this
_SIZE = 2048  # numbers of one program of AdamW
_PART = 16_384  # numbers whose squares one program sums


class FlatWeights:
    """Weights of networks of one shape, as (members, numbers).

    The networks' own parameters become views of the buffer. Vectors come first.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
    low : torch.dtype
        In which products take their numbers.

    Attributes
    ----------
    values, grads, low : Tensor (members, numbers)
        `low` is `values` where products take float32.
    vectors : int
        Numbers of all vectors: biases and norms.
    """

    def __init__(self, networks: Sequence[nn.Module], low: torch.dtype) -> None:
        first = dict(networks[0].named_parameters())
        names = sorted(first, key=lambda name: first[name].dim() != 1)
        self.places: dict[str, tuple[int, torch.Size]] = {}
        end = self.vectors = 0
        for name in names:
            self.places[name] = end, first[name].shape
            end += -(-first[name].numel() // _ALIGNED) * _ALIGNED
            if first[name].dim() == 1:
                self.vectors = end
        device = first[names[0]].device
        self.values = torch.zeros((len(networks), end), device=device)
        self.grads = torch.zeros_like(self.values)
        for member, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                view = self._view(self.values, name)[member]
                view.copy_(parameter.data)
                parameter.data = view
        is_full = low == torch.float32
        self.low = self.values if is_full else self.values.to(low)

    def _view(self, buffer: Tensor, name: str) -> Tensor:
        start, shape = self.places[name]
        return buffer[:, start : start + shape.numel()].view(len(buffer), *shape)

    def __getitem__(self, name: str) -> Tensor:
        """Return a weight of all members (members, ...), in float32."""
        return self._view(self.values, name)

    def matrix(self, name: str) -> Tensor:
        """Return a weight (members, out, in) as products take it."""
        return self._view(self.low, name)

    def grad(self, name: str) -> Tensor:
        """Return the gradient of a weight, to be written to."""
        return self._view(self.grads, name)


class FlatAdamW:
    """`torch.optim.AdamW` after `clip_grad_norm_`, member by member, in two kernels.

    Parameters
    ----------
    weights : FlatWeights
    lr, weight_decay : float
    clip_norm : float or None
    factor : callable
        Takes the number of a step, from 0, and returns what `lr` is multiplied by.
    steps : int
        Of the whole training.
    """

    def __init__(
        self,
        weights: FlatWeights,
        lr: float,
        weight_decay: float,
        clip_norm: float | None,
        factor: Callable[[int], float],
        steps: int,
    ) -> None:
        self.weights, self.clip_norm = weights, clip_norm
        self.first = torch.zeros_like(weights.values)
        self.second = torch.zeros_like(weights.values)
        rate = lr * torch.tensor([factor(step) for step in range(steps)], dtype=torch.float64)
        count = torch.arange(1, steps + 1, dtype=torch.float64)
        columns = (
            1 - rate * weight_decay, rate / (1 - BETAS[0] ** count), (1 - BETAS[1] ** count) ** -0.5
        )  # fmt: skip
        # of each step: what shrinks the weights, the rate, what corrects the second moment
        self.table = torch.stack(columns, 1).float().to(weights.values.device)
        self.parts = weights.values.new_zeros(
            (len(weights.values), -(-weights.values.shape[1] // _PART))
        )

    def step(self, clock: Tensor) -> None:
        """Change the weights; `clock` (2,) holds the number of the step."""
        weights, clips = self.weights, self.clip_norm is not None
        values, grads, first, second = weights.values, weights.grads, self.first, self.second
        members, numbers = values.shape
        if is_fused(values):
            triton = kernels.triton
            blocks = self.parts.shape[1]
            if clips:
                kernels.squares[(blocks, members)](
                    grads, self.parts, numbers, blocks, _PART, num_warps=8
                )
            kernels.adamw[(triton.cdiv(numbers, _SIZE), members)](
                values, weights.low, grads, first, second, self.parts, self.table, clock,
                numbers, blocks, float(self.clip_norm or 0), *BETAS, EPSILON, _SIZE,
                triton.next_power_of_2(blocks), clips, weights.low is not values,
            )  # fmt: skip
            return
        decay, rate, root = self.table[clock[0]].unbind()
        grad = grads
        if clips:
            norm = torch.linalg.vector_norm(grads, dim=1, keepdim=True)
            grad = grads * (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        first.lerp_(grad, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
        values.mul_(decay).sub_(rate * first / (second.sqrt() * root + EPSILON))
        if weights.low is not values:
            weights.low.copy_(values)
