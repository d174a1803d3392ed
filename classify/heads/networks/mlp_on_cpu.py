"""A multilayer perceptron as it learns on a CPU: forward and backward written out.

A network of some hundred thousand weights spends less time in products than in autograd and in
starting torch's functions. NumPy starts faster, so it computes what is between the products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..training.losses import CrossEntropy
from ..training.shared_layers import dropped_


class LearningMLP:
    """The training loss of an `MLP` with ReLU, which writes the gradients without autograd.

    Draws, loss and gradients are those of the network and autograd, mostly to the last bit.

    Parameters
    ----------
    network : MLP
        On the CPU, without skip.
    x : Tensor (all rows, width)
    loss : CrossEntropy
        Not focal.
    """

    def __init__(self, network: Any, x: Any, loss: CrossEntropy) -> None:
        self.x, self.loss = x, loss
        self.first, *self.drops = [one.p for one in network.layers if isinstance(one, nn.Dropout)]
        linears = [one for one in network.layers if isinstance(one, nn.Linear)]
        self.maps = [(one.weight, one.bias) for one in linears]

    @torch.no_grad()
    @np.errstate(all="ignore")  # training says what to do where the loss is not finite
    def __call__(self, rows: Tensor) -> Tensor:
        """Return the loss of rows by position, and write the gradients of all weights."""
        x = self.x.index_select(0, rows)
        *hidden, (last, last_bias) = self.maps
        dropped_(x, self.first)
        seen, scales = [x.t()], []  # (units, rows): MKL takes a third less time for the products
        for (weight, bias), p in zip(hidden, self.drops, strict=True):
            made = weight @ seen[-1]
            values = made.numpy()
            values += bias.detach().numpy()[:, None]
            np.maximum(values, 0, out=values)
            scales.append(dropped_(made.t(), p))
            seen.append(made)
        outputs = torch.addmm(last_bias, seen[-1].t(), last.t())

        value, grad = self.loss.with_gradient(outputs, rows)
        grad = grad.t()
        for weight, bias in reversed(self.maps):
            found = seen.pop()
            weight.grad, bias.grad = grad @ found.t(), grad.sum(1)
            if seen:
                grad = weight.t() @ grad
                values = grad.numpy()
                values *= found.numpy() > 0  # 0 where ReLU or dropout made it 0
                values *= scales.pop()
        return value
