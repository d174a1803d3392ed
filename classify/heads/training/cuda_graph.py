"""One step of training as a CUDA graph: a GPU need not wait for Python between kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_WARM_UP = 3  # steps before a capture, as PyTorch asks for


class GraphedStep:
    """Forward, backward, clipping and optimiser for batches of one size.

    Making it leaves weights, optimiser and random numbers as they were.

    Parameters
    ----------
    step : callable
        Takes row positions, trains on them and returns the loss; nothing in it may wait for the
        device.
    network : torch.nn.Module
        On a CUDA device.
    optimiser : torch.optim.Optimizer
        With ``capturable=True`` and its learning rate in a tensor.
    size : int
        Rows of a batch.
    """

    def __init__(
        self,
        step: Callable[[Tensor], Tensor],
        network: nn.Module,
        optimiser: Any,  # TorchAdamW
        size: int,
    ) -> None:
        device = next(network.parameters()).device
        self.rows = torch.zeros(size, dtype=torch.long, device=device)
        weights = [p.detach().clone() for p in network.parameters()]
        random = torch.cuda.get_rng_state(device)
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                step(self.rows)
        torch.cuda.current_stream(device).wait_stream(aside)
        optimiser.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=aside):
            self.loss = step(self.rows)
        with torch.no_grad():
            for parameter, before in zip(network.parameters(), weights, strict=True):
                parameter.copy_(before)
            for state in optimiser.state.values():
                for value in state.values():
                    value.zero_()
        torch.cuda.set_rng_state(random, device)

    def __call__(self, rows: Tensor) -> Tensor:
        """Train on a batch; return its loss, which the next call overwrites."""
        self.rows.copy_(rows)
        self.graph.replay()
        return self.loss
