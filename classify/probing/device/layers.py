"""All layers of a space on a device, as many at a time as its memory has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ....extract.encoders.hardware.exactness import exact_arithmetic
from ..label_layer import LabelJob
from ..logistic_batch import MEMORY, Problems
from .rows import BLOCK, DeviceRows
from .solver import RANK, DeviceProblems, predict, solve

if TYPE_CHECKING:
    from ....cache.space import Features

SHARE = 0.6  # of the memory that is free on the device
ON_CPU = 1 << 29  # bytes, where the device is the processor
GUESSES = 1 << 29  # bytes of guesses that wait in main memory


@dataclass(frozen=True)
class Matrix:
    """One reading of a layer: all masks, or one of them where each scales the layer otherwise."""

    layer: int
    mask: int | None
    served: list[int]
    problems: Problems
    pairs: np.ndarray


def run_layers(job: LabelJob, layers: Sequence[Features], device: str) -> Iterator[np.ndarray]:
    """Yield what `LabelJob.run` returns, layer by layer.

    Parameters
    ----------
    layers : sequence of Features
        Of one width.
    device : str
        A name of torch's, which has float64.
    """
    shape = (len(job.masks.masks), len(job.values), len(job.codes))
    at_once = max(1, GUESSES // (2 * int(np.prod(shape))))
    for start in range(0, len(layers), at_once):
        some = layers[start : start + at_once]
        guesses = np.full((len(some), *shape), -1, np.int16)
        with exact_arithmetic(device):
            _guess(job, some, device, guesses)
        yield from guesses
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _guess(job: LabelJob, layers: Sequence[Features], device: str, guesses: np.ndarray) -> None:
    """Fill in the guesses of some layers `(layers, masks, values, clips)`."""
    width = layers[0].width
    for present, group in job.by_classes():
        parts = [(*part, *job.problems(present, part[1])) for part in job.parts(group)]
        matrices = [Matrix(n, *part) for n in range(len(layers)) for part in parts]
        count = len(matrices[0].pairs)
        at_once, size = _sizes(len(job.codes), width, len(present), count, device)
        for start in range(0, len(matrices), at_once):
            some = matrices[start : start + at_once]
            rows = DeviceRows(
                (job.reader(layers[one.layer], one.mask) for one in some),
                job.codes_among(present),
                job.masks.cells,
                layers=len(some),
                dim=width,
                device=device,
                scale=job.scale is True,
            )
            for first in range(0, count, size):
                which = np.arange(first, min(first + size, count))
                found = _solved(rows, [one.problems.take(which) for one in some], job)
                for one, own in zip(some, found, strict=True):
                    at = one.pairs[which]
                    job.note(own, present, one.served, at, rows.order, guesses[one.layer])
            del rows  # before those of the next layers take its place


def _solved(rows: DeviceRows, several: Sequence[Problems], job: LabelJob) -> np.ndarray:
    """Solve as many problems in each matrix; return guesses `(matrices, problems, rows)`."""
    problems = DeviceProblems.of(several, rows, own_scale=job.scale is True)
    W = solve(rows, problems, check=job.check)
    return predict(rows, W, problems).view(len(several), -1, len(rows)).cpu().numpy()


def _sizes(clips: int, dim: int, classes: int, count: int, device: str) -> tuple[int, int]:
    """Return how many matrices, and how many problems of each, fit into the device's memory."""
    room: Any = ON_CPU
    if device.startswith("cuda"):
        room = SHARE * torch.cuda.mem_get_info(device)[0]
    matrix = 4 * clips * (dim + 1 + RANK) + 32 * dim * RANK
    each = 4 * classes * ((dim + 1) * (2 * MEMORY + 16) + 6 * min(clips, BLOCK)) + 2 * clips
    whole = int(room // (matrix + count * each))
    if whole:
        return whole, count
    return 1, max(1, int((room - matrix) // each))
