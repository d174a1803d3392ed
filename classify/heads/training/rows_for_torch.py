"""Rows for a network: a tensor, or rows that stay on the disk; and its outputs, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .loop import cpu_threads
from .rows_on_disk import RowsOnDisk


class DiskTensor:
    """Rows on the disk, with the methods of a float32 tensor of the CPU that training calls."""

    def __init__(self, rows: RowsOnDisk) -> None:
        self.rows = rows

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Return rows by position; `dim` is 0."""
        return self._read(rows.numpy())

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the rows in order, `count` at a time."""
        for start in range(0, len(self.rows), count):
            yield self._read(np.arange(start, min(start + count, len(self.rows))))

    def _read(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.rows.read(rows), np.float32))


def on_device(X: np.ndarray | RowsOnDisk, device: torch.device) -> Any:
    """Return features ``(rows, width)`` as a tensor, or as `DiskTensor` where the CPU trains.

    A GPU takes all rows into its own memory, block by block: its steps are a graph, which cannot
    wait for a disk.
    """
    if not isinstance(X, RowsOnDisk):
        return torch.from_numpy(np.ascontiguousarray(X)).to(device)
    if device.type == "cpu":
        return DiskTensor(X)
    held = torch.empty(X.shape, device=device)
    for rows, values in X.blocks():
        block = torch.from_numpy(np.ascontiguousarray(values, np.float32))
        held[torch.from_numpy(rows).to(device)] = block.to(device)
    return held


def float_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """Return numbers as a float32 tensor."""
    return torch.from_numpy(values.astype(np.float32)).to(device)


def row_weights(weight: np.ndarray, device: torch.device) -> Tensor:
    """Return row weights with mean 1: float32 would lose the sum of 1e38 and 1."""
    return float_tensor(weight / weight.mean(), device)


def in_blocks(network: Callable[[Tensor], Tensor], x: Tensor, block: int) -> Tensor:
    """Return the network's outputs (rows, outputs) for rows (rows, width) on the CPU.

    Each of torch's threads takes whole blocks: small products gain little from threads that share
    each of them. So the numbers do not depend on how many threads there are.

    Parameters
    ----------
    network : callable
        Takes exactly `block` rows; called by several threads at once.
    block : int
        The last block is filled up with copies of the last row.

    Examples
    --------
    >>> in_blocks(lambda rows: 2 * rows, torch.arange(5.0)[:, None], 2).flatten().tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    *parts, last = x.split(block)
    parts.append(torch.cat([last, last[-1:].expand(block - len(last), -1)]))
    workers = min(torch.get_num_threads(), len(parts))

    def compute(part: Tensor) -> Tensor:
        with torch.inference_mode():  # holds for one thread
            return network(part)

    # torch's number of threads is each thread's own; setting it also says what later threads
    # start with, which `cpu_threads` sets back
    with cpu_threads(1):
        if workers == 1:
            found = [compute(part) for part in parts]
        else:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as p:
                found = list(p.map(compute, parts))
    return torch.cat(found)[: len(x)]
