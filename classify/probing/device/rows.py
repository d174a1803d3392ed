"""The rows of several layers of one width, resident on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

BLOCK = 8192  # rows that pass through a computation at a time
PIECE = 32 << 20  # bytes that are read at a time


class DeviceRows:
    """Features of several layers with a column of ones, centred on all rows.

    What `Rows` is to one layer on the processor, with the rows in the order of `clips`.

    Parameters
    ----------
    read : iterable of callable
        For each layer, one after another: given positions of clips, returns their features
        `(clips, dim)`, finite.
    codes, cells, scale
        As for `Rows`.
    layers, dim : int
        How many, and features of a clip.
    device : str

    Examples
    --------
    >>> values = np.array([[1.0], [3.0], [5.0]], np.float32)
    >>> cells = np.array([0, 1, 0])
    >>> rows = DeviceRows([values.__getitem__], cells, cells, layers=1, dim=1, device="cpu")
    >>> rows.X[0, :, 0].tolist()
    [-2.0, 0.0, 2.0]
    """

    def __init__(
        self,
        read: Iterable[Callable[[np.ndarray], np.ndarray]],
        codes: np.ndarray,
        cells: np.ndarray,
        *,
        layers: int,
        dim: int,
        device: str,
        scale: bool = False,
    ) -> None:
        self.order = np.flatnonzero(cells >= 0)
        self.dim = dim
        self.codes = torch.from_numpy(codes[self.order].astype(np.int64)).to(device)
        self.cells = torch.from_numpy(cells[self.order].astype(np.int64)).to(device)
        self.X = torch.ones(layers, len(self), dim + 1, device=device)
        cell_count = int(cells.max()) + 1
        self._counts = torch.bincount(self.cells, minlength=cell_count).double()
        shape = (2, layers, cell_count, dim)
        self._sums, self._squares = torch.zeros(shape, dtype=torch.float64, device=device)
        self.mean = torch.zeros(layers, dim, dtype=torch.float64, device=device)
        self.deviation = torch.ones_like(self.mean)
        for layer, one in enumerate(read):
            self._fill(layer, one, scale)

    def __len__(self) -> int:
        return len(self.order)

    def blocks(self) -> Iterator[slice]:
        """Yield the rows of each block."""
        for start in range(0, len(self), BLOCK):
            yield slice(start, min(start + BLOCK, len(self)))

    def ratios(self, masks: torch.Tensor) -> torch.Tensor:
        """Return `Rows.ratios` of each layer and mask, `(layers, masks, dim + 1)` float32.

        Parameters
        ----------
        masks : tensor of bool (masks, cells)
        """
        inside = masks.double()
        count = (inside @ self._counts)[:, None]
        mean = inside @ self._sums / count
        variance = (inside @ self._squares / count - mean**2).clip(min=0)
        deviation = self.deviation[:, None]
        constant = variance <= 1e-12 * deviation**2 + 1e-13 * mean**2
        found = torch.where(constant, 0, deviation / torch.where(constant, 1, variance).sqrt())
        return torch.nn.functional.pad(found, (0, 1), value=1).float()

    def _fill(self, layer: int, read: Callable[[np.ndarray], np.ndarray], scale: bool) -> None:
        X = self.X[layer, :, :-1]
        piece = max(1, PIECE // (4 * self.dim))
        for start in range(0, len(self), piece):
            values = np.asarray(read(self.order[start : start + piece]), np.float32)
            X[start : start + piece] = torch.from_numpy(values).to(X.device)
        mean = X.mean(dim=0, dtype=torch.float64)
        sums, squares = self._sums[layer], self._squares[layer]
        for at in self.blocks():
            in_cell = torch.nn.functional.one_hot(self.cells[at], len(sums)).T.double()
            centred = X[at].double() - mean
            sums += in_cell @ centred
            squares += in_cell @ centred**2
        self.mean[layer] = mean
        if scale:
            deviation = (squares.sum(dim=0) / len(self)).sqrt()
            self.deviation[layer] = torch.where(deviation > 0, deviation, 1)
        for at in self.blocks():
            X[at] = (X[at].double() - mean) / self.deviation[layer]
