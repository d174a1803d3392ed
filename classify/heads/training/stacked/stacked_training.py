"""Epochs of all members at once; on a GPU every step is one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .....extract.encoders.hardware.device import on_current
from ..loop import Settings, Trained, products, run_epochs, schedule
from ..losses import CrossEntropy
from .flat_weights import FlatAdamW, FlatWeights
from .fused import cross_entropy, gather
from .hashed_dropout import Chance
from .stacked_layers import Stacked

Loss = Callable[[Tensor, Tensor], Tensor]


class StackedTraining:
    """Weights, optimiser and steps of several networks of one shape.

    Nothing in a step waits for the device or for Python: which rows it sees and its learning rate
    follow from a clock on the device.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Their parameters become views of one buffer and change with it.
    make : callable
        Takes `FlatWeights` and `Chance`, and returns a `Stacked` network.
    x : Tensor (all rows, width), float32
    loss : callable
        Takes outputs (rows, outputs) and the positions of the rows, and returns a scalar.
    seeds : sequence of int
        Of dropout, one for each member.
    batch_size : int
    settings : Settings
    steps : int
        Steps of an epoch.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        make: Callable[[FlatWeights, Chance], Stacked],
        x: Tensor,
        loss: Loss,
        seeds: Sequence[int],
        batch_size: int,
        settings: Settings,
        steps: int,
    ) -> None:
        self.networks, self.x, self.loss, self.batch_size = networks, x, loss, batch_size
        self.settings, self.steps = settings, steps
        low = torch.bfloat16 if settings.precision == "medium" else torch.float32
        self.weights = FlatWeights(networks, low)
        self.clock = torch.zeros(2, dtype=torch.long, device=x.device)
        words = np.array([[seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF] for seed in seeds])
        halves = torch.from_numpy(words.astype(np.uint32).view(np.int32)).to(x.device)
        self.net = make(self.weights, Chance(halves, self.clock))
        self.net.exact = settings.precision == "highest"
        count = steps * settings.max_epochs
        self.optimiser = FlatAdamW(
            self.weights, settings.learning_rate, settings.weight_decay, settings.clip_norm,
            schedule(settings.warmup, count), count,
        )  # fmt: skip
        self.order = torch.zeros((len(networks), len(x)), dtype=torch.long, device=x.device)
        self.total = torch.zeros(len(networks), device=x.device)
        self.graphs: dict[int, Any] = {}
        self._tick: dict[int, Tensor] = {}

    def run(
        self,
        epochs: Sequence[Callable[[], Iterable[np.ndarray]]],
        scores: Sequence[Any],
        **shown: Any,
    ) -> list[Trained]:
        """Train; see `run_epochs`.

        Parameters
        ----------
        epochs : sequence of callable
            Of each member: returns the row positions of one epoch, batch by batch.
        """
        factor, done = schedule(self.settings.warmup, self.steps * self.settings.max_epochs), 0

        def one_epoch() -> tuple[float, list[float]]:
            nonlocal done
            rate = self.settings.learning_rate * factor(done)
            done += self.steps
            return rate, self.epoch(np.stack([np.concatenate([*one()]) for one in epochs]))

        with on_current(self.x.device):
            return run_epochs(self.networks, one_epoch, self.settings, scores=scores, **shown)

    def epoch(self, order: np.ndarray) -> list[float]:
        """Train on rows in the order (members, all rows); return the mean loss of each member."""
        rows = order.shape[1]
        self.order.copy_(torch.from_numpy(order))
        self.clock[1] = 0
        self.total.zero_()
        for start in range(0, rows, self.batch_size):
            self._step(min(self.batch_size, rows - start))
        return (self.total / rows).tolist()

    @torch.no_grad()
    def step(self, count: int) -> None:
        """Train on the next rows."""
        net, members = self.net, len(self.order)
        rows = self.order.new_empty((members, count))
        taken = self.x.new_empty((members, count, net.numbers), dtype=net.low)
        net.begin(count)
        outputs = net.forward(gather(self.x, self.order, rows, net.lead, net.first, taken))
        losses, grad = self._loss(outputs, rows)
        net.backward(grad)
        net.end()
        self.optimiser.step(self.clock)
        self.total.add_(losses, alpha=count)
        self.clock += self._ticks(count)

    def _loss(self, outputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each member, and the gradient of the outputs."""
        if isinstance(self.loss, CrossEntropy) and self.loss.gamma == 0:
            return cross_entropy(outputs, rows, self.loss.target, self.loss.shift)
        with torch.enable_grad():
            outputs.requires_grad_()
            if len(outputs) == 1:
                losses = self.loss(outputs[0], rows[0])[None]
            else:
                losses = torch.vmap(self.loss)(outputs, rows)
            (grad,) = torch.autograd.grad(losses.sum(), outputs)
        return losses.detach(), grad

    def _ticks(self, count: int) -> Tensor:
        if count not in self._tick:
            self._tick[count] = torch.tensor([1, count], device=self.x.device)
        return self._tick[count]

    def _step(self, count: int) -> None:
        if not self.x.is_cuda:
            self.step(count)
            return
        if count not in self.graphs:
            with products(self.settings.precision, self.x.device):
                self.graphs[count] = self._captured(count)
        self.graphs[count].replay()

    def _captured(self, count: int) -> Any:
        """Return a step as a graph, and leave everything as it was."""
        changed = [
            self.weights.values, self.weights.low, self.optimiser.first, self.optimiser.second,
            self.clock, self.total,
        ]  # fmt: skip
        before = [one.clone() for one in changed]
        aside = torch.cuda.Stream(self.x.device)
        aside.wait_stream(torch.cuda.current_stream(self.x.device))
        with torch.cuda.stream(aside):
            self.step(count)
            graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize(self.x.device)
        torch.cuda.current_stream(self.x.device).wait_stream(aside)
        with torch.cuda.graph(graph, stream=aside):
            self.step(count)
        for one, old in zip(changed, before, strict=True):
            one.copy_(old)
        return graph
