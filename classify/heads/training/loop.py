"""The one training loop of all torch heads.

AdamW, linear warm-up then cosine to zero, gradient clipping, early stopping on a dev score with the
best epoch kept. Without early stopping, or without a dev score, it trains the given number of
epochs and keeps the last: nothing is split off silently. Ctrl-C keeps what was reached so far.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ....cache.errors import AffektError
from ....extract.encoders.hardware.device import find_device, on_current
from ....extract.encoders.hardware.exactness import product_precision
from ....extract.encoders.hardware.processor import onednn_is_faster
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
    precision: str = "highest"
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
    """Run with torch's generators seeded, then restore them.

    Dropout and initialisation draw from generators that the whole process shares. Threads that
    train at the same time therefore take turns: one seed gives one result there too.
    """
    with _RANDOM, on_current(device):
        cuda = [torch.cuda.current_device()] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(seed)
            if cuda:
                torch.cuda.manual_seed(seed)
            yield


@contextlib.contextmanager
def cpu_threads(n_threads: int | None) -> Iterator[None]:
    """Run with this many CPU threads of torch, then restore the number."""
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def products(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Multiply in this `torch.set_float32_matmul_precision` on a GPU; on a CPU in float32."""
    if device.type == "cuda":
        return product_precision(precision)
    return product_precision("medium") if onednn_is_faster() else contextlib.nullcontext()


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
        Takes row positions (a tensor) and returns the scalar loss of the network on them; one that
        has no graph has written the gradients.
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
    factor = schedule(settings.warmup, max(1, steps_per_epoch * settings.max_epochs))
    make = AdamW if device.type == "cpu" else TorchAdamW
    optimiser = make(network, _groups(network, settings, rate), rate, factor)
    step = _Step(network, loss, optimiser, settings)

    def one_epoch() -> tuple[float, list[float]]:
        rate = float(optimiser.get_last_lr()[0])
        with products(settings.precision, device):
            return rate, [_one_epoch(network, step, epoch_batches())]

    (trained,) = run_epochs(
        [network], one_epoch, settings, scores=[score], callback=callback, progress=progress
    )
    return trained


def run_epochs(
    networks: Sequence[nn.Module],
    one_epoch: Callable[[], tuple[float, list[float]]],
    settings: Settings,
    *,
    scores: Sequence[Callable[[], tuple[tuple[float, ...], dict[str, float]]] | None],
    callback: Callable[[dict[str, Any]], Any] | None = None,
    progress: str | None = None,
) -> list[Trained]:
    """Train networks side by side, and leave each with the weights of its best epoch.

    Parameters
    ----------
    one_epoch : callable
        Trains all networks, and returns the learning rate and the mean loss of each network.
    scores : sequence of callable or None
        For each network; see `train`.
    """
    courses = [_Course(*one) for one in zip(networks, scores, strict=True)]
    bar = tqdm(
        total=settings.max_epochs, desc=progress, disable=progress is None, file=sys.stderr,
        unit="epoch",
    )  # fmt: skip
    try:
        for epoch in range(1, settings.max_epochs + 1):
            start = time.perf_counter()
            rate, means = one_epoch()
            for course, mean in zip(courses, means, strict=True):
                if course.stopped:
                    continue
                if not math.isfinite(mean):
                    raise DivergedError(
                        f"the training loss is {mean} in epoch {epoch}; try a learning_rate below "
                        f"{settings.learning_rate:g}, or scale the features"
                    )
                row = {"epoch": epoch, "train_loss": mean, "learning_rate": rate}
                course.add(row, start, settings)
                shown = {k: f"{v:.4f}" for k, v in row.items() if k.endswith(("loss", "uar"))}
                bar.set_postfix(shown)
                if callback is not None:
                    callback({**row, "max_epochs": settings.max_epochs})
            bar.update()
            if all(course.stopped for course in courses):
                break
    except KeyboardInterrupt:
        if not all(course.history for course in courses):
            raise
        for course in courses:
            course.stopped = "interrupted"
    finally:
        bar.close()
    return [course.end() for course in courses]


class _Course:
    """The training of one network so far."""

    def __init__(self, network: nn.Module, score: Any) -> None:
        self.network, self.score = network, score
        self.history: list[dict[str, Any]] = []
        self.best: tuple[tuple[float, ...], int, dict[str, Tensor]] | None = None
        self.stopped = ""

    def add(self, row: dict[str, Any], start: float, settings: Settings) -> None:
        """Complete the row of an epoch, keep its weights if it is the best, stop after enough."""
        if self.score is not None:
            self.network.eval()
            with torch.inference_mode():
                key, numbers = self.score()
            row |= numbers
            if settings.early_stopping and (self.best is None or key > self.best[0]):
                weights = {k: v.clone() for k, v in self.network.state_dict().items()}
                self.best = key, row["epoch"], weights
        row["seconds"] = time.perf_counter() - start
        self.history.append(row)
        if self.best and settings.patience and row["epoch"] - self.best[1] >= settings.patience:
            self.stopped = "patience"

    def end(self) -> Trained:
        """Put the best weights back."""
        if self.best is not None:
            self.network.load_state_dict(self.best[2])
        self.network.eval()
        epoch = self.best[1] if self.best is not None else self.history[-1]["epoch"]
        return Trained(self.history, epoch, self.stopped or "max_epochs")


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
        if value.requires_grad or next(self.network.parameters()).grad is None:
            value.backward()  # which says what is wrong with a loss that has no graph
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


def schedule(warmup: float, steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by step: up linearly, then down as a cosine."""
    rise = math.ceil(warmup * steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor
