"""Features as a network asks for them: a tensor, or rows that stay on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .rows_on_disk import RowsOnDisk


class DiskTensor:
    """Rows on the disk, indexed as a float32 tensor of the CPU is."""

    def __init__(self, rows: RowsOnDisk) -> None:
        self.rows = rows

    def __getitem__(self, batch: Tensor) -> Tensor:
        return self._read(batch.numpy())

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the rows in order, so many at a time."""
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
