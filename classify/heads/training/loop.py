"""The one training loop of all torch heads.

AdamW, linear warm-up then cosine to zero, gradient clipping, early stopping on a dev score with
the best epoch kept. Without early stopping, or without a dev score, it trains the given number of
epochs and keeps the last: nothing is split off behind the caller's back. Ctrl-C keeps what was
reached so far.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ....cache.errors import AffektError
from ....extract.encoders.hardware.device import find_device
from .adamw import AdamW, TorchAdamW
from .cuda_graph import GraphedStep

_RANDOM = threading.RLock()


class DivergedError(AffektError, ArithmeticError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class Settings:
    """How to train: the hyper-parameters of `train`, named as in the heads."""

    learning_rate: float
    weight_decay: float
    max_epochs: int
    patience: int | None
    warmup: float
    clip_norm: float | None
    early_stopping: bool = True
    mix_rate: float = 50.0  # layer weights are few and start equal: they may move faster


@dataclass(frozen=True)
class Trained:
    """What `train` reports; the network itself holds the kept weights.

    Attributes
    ----------
    history : list of dict
        Per epoch: epoch (from 1), train_loss, learning_rate, seconds, and the dev scores.
    best_epoch : int
        The epoch whose weights were kept.
    stopped : str
        "max_epochs", "patience" or "interrupted".
    """

    history: list[dict[str, Any]]
    best_epoch: int
    stopped: str


def pick_device(device: str) -> torch.device:
    """Return the torch device; "auto" takes a CUDA GPU where there is one, else the CPU.

    Raises
    ------
    InputError
        A device that is unknown or not there.
    """
    return torch.device(find_device(device))


@contextlib.contextmanager
def private_random(seed: int, device: torch.device) -> Iterator[None]:
    """Run with torch's generators seeded, and leave them as they were found.

    Dropout and initialisation draw from generators that the whole process shares. Threads that
    train at the same time therefore take turns: one seed gives one result there too.
    """
    cuda = [device.index or 0] if device.type == "cuda" else []
    with _RANDOM, torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(cuda[0]):
                torch.cuda.manual_seed(seed)
        yield


@contextlib.contextmanager
def cpu_threads(n_threads: int | None) -> Iterator[None]:
    """Run with so many CPU threads of torch, and set back what was there."""
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    epoch_batches: Callable[[], Iterable[np.ndarray]],
    settings: Settings,
    *,
    steps_per_epoch: int,
    score: Callable[[], tuple[tuple[float, ...], dict[str, float]]] | None = None,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    progress: str | None = None,
) -> Trained:
    """Train `network` in place.

    Parameters
    ----------
    loss : callable
        Takes row positions (a tensor) and returns the scalar loss of the network on them.
    epoch_batches : callable
        Returns the row positions of one epoch, batch by batch.
    steps_per_epoch : int
        Number of batches in an epoch; the schedule is laid over all steps of all epochs.
    score : callable, optional
        Called after each epoch in evaluation mode without gradients: returns a key (the larger
        the better, compared as tuples) and the numbers to write into the history.
    callback : callable, optional
        Takes each row of the history as it is made, with `max_epochs`; what it raises stops the
        training.
    progress : str, optional
        Show a progress bar under this title on stderr.
    """
    device = next(network.parameters()).device
    on_gpu = device.type == "cuda"
    rate = torch.tensor(settings.learning_rate, device=device) if on_gpu else settings.learning_rate
    factor = _schedule(settings.warmup, max(1, steps_per_epoch * settings.max_epochs))
    make = AdamW if device.type == "cpu" else TorchAdamW
    optimiser = make(network, _groups(network, settings, rate), rate, factor)
    step = _Step(network, loss, optimiser, settings)
    history: list[dict[str, Any]] = []
    best: tuple[tuple[float, ...], int, dict[str, Tensor]] | None = None
    stopped = "max_epochs"
    bar = tqdm(
        total=settings.max_epochs, desc=progress, disable=progress is None, file=sys.stderr,
        unit="epoch",
    )  # fmt: skip
    try:
        for epoch in range(1, settings.max_epochs + 1):
            start = time.perf_counter()
            rate = float(optimiser.get_last_lr()[0])
            mean = _one_epoch(network, step, epoch_batches())
            if not math.isfinite(mean):
                raise DivergedError(
                    f"the training loss is {mean} in epoch {epoch}; try a learning_rate below "
                    f"{settings.learning_rate:g}, or scale the features"
                )
            row: dict[str, Any] = {"epoch": epoch, "train_loss": mean, "learning_rate": rate}
            key = (float(epoch),)
            if score is not None:
                network.eval()
                with torch.inference_mode():
                    key, numbers = score()
                row |= numbers
            row["seconds"] = time.perf_counter() - start
            history.append(row)
            stops = score is not None and settings.early_stopping
            if stops and (best is None or key > best[0]):
                best = (key, epoch, {k: v.clone() for k, v in network.state_dict().items()})
            bar.set_postfix({k: f"{v:.4f}" for k, v in row.items() if k.endswith(("loss", "uar"))})
            bar.update()
            if callback is not None:
                callback({**row, "max_epochs": settings.max_epochs})
            if best is not None and settings.patience and epoch - best[1] >= settings.patience:
                stopped = "patience"
                break
    except KeyboardInterrupt:
        if not history:
            raise
        stopped = "interrupted"
    finally:
        bar.close()
    if best is not None:
        network.load_state_dict(best[2])
    network.eval()
    return Trained(history, best[1] if best is not None else history[-1]["epoch"], stopped)


class _Step:
    """Train on one batch; on a GPU batches of the first size are one CUDA graph."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor], Tensor],
        optimiser: AdamW | TorchAdamW,
        settings: Settings,
    ) -> None:
        self.network, self.loss, self.optimiser = network, loss, optimiser
        self.clip_norm = settings.clip_norm
        self.graphed: GraphedStep | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the loss."""
        if rows.is_cuda and self.graphed is None:
            self.graphed = GraphedStep(self._plain, self.network, self.optimiser, len(rows))
        if self.graphed is not None and len(rows) == len(self.graphed.rows):
            return self.graphed(rows)
        return self._plain(rows)

    def _plain(self, rows: Tensor) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        value = self.loss(rows)
        value.backward()
        if self.clip_norm is not None:
            self.optimiser.clip(self.clip_norm)
        self.optimiser.step()
        return value.detach()


def _one_epoch(network: nn.Module, step: _Step, epoch: Iterable[np.ndarray]) -> float:
    """Return the mean loss over the rows of the epoch, as seen while training."""
    network.train()
    device = next(network.parameters()).device
    total, count = torch.zeros((), device=device), 0
    order = list(epoch)
    rows = torch.from_numpy(np.concatenate(order)).to(device)  # one copy, not one a step
    for batch in rows.split([len(one) for one in order]):
        total += step(batch) * len(batch)
        step.optimiser.advance()
        count += len(batch)
    return total.item() / max(count, 1)


def _groups(network: nn.Module, settings: Settings, rate: float | Tensor) -> list[dict[str, Any]]:
    mixes = [p for name, p in network.named_parameters() if name.endswith("layer_scores")]
    others = [p for name, p in network.named_parameters() if not name.endswith("layer_scores")]
    groups: list[dict[str, Any]] = [{"params": others, "weight_decay": settings.weight_decay}]
    if mixes:
        faster = rate * settings.mix_rate
        groups.append({"params": mixes, "weight_decay": 0.0, "lr": faster})
    return groups


def _schedule(warmup: float, steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by step: up linearly, then down as a cosine."""
    rise = math.ceil(warmup * steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor
