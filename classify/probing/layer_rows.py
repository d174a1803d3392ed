"""The rows of one layer, block by block: in memory where they are few, else in a scratch file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Self

import numpy as np

BLOCK = 1024  # rows that pass through the processor's cache at a time
SMALL = 256  # rows of a block that several cells share
PIECE = 32 << 20  # bytes that are read at a time


class Rows:
    """Features with a column of ones, in the order of their cells, centred on all rows.

    Parameters
    ----------
    read : callable
        Given positions of clips, returns their features `(clips, dim)`, finite.
    targets : ndarray (clips, ...)
        What is to be learnt of each clip: its class, or its ratings.
    cells : ndarray of int (clips,)
        Cell of each clip: a problem trains on all of a cell or on nothing of it. -1: in no problem.
    scale : bool
        Divide each column by its deviation over all rows; `ratios` returns what that differs by
        from the deviation over some cells.
    in_memory : int
        Bytes of features that are kept in memory; more are written to a scratch file.

    Examples
    --------
    >>> values = np.array([[1.0], [3.0], [5.0]], np.float32)
    >>> with Rows(values.__getitem__, np.array([0, 1, 0]), np.array([0, 0, 1])) as rows:
    ...     [X[:, 0].tolist() for _, _, X, _ in rows.blocks()]
    [[-2.0, 0.0, 2.0]]
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], np.ndarray],
        targets: np.ndarray,
        cells: np.ndarray,
        *,
        scale: bool = False,
        in_memory: int = 1 << 28,
    ) -> None:
        order = np.argsort(cells, kind="stable")
        self.order = order[cells[order] >= 0]
        self.targets, self.cells = targets[self.order], cells[self.order]
        self._blocks = list(_cut(self.cells))
        self._file: Any = None
        self._values = self._fill(read, scale, in_memory)

    def __len__(self) -> int:
        return len(self.order)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def blocks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield place, cells, features `(rows, dim + 1)` float32 and targets of each block."""
        for at in self._blocks:
            X = self._from_file(at) if self._file is not None else self._values[at]
            yield at, self.cells[at], X, self.targets[at]

    def ratios(self, cells: np.ndarray) -> np.ndarray:
        """Return, for some cells, what to multiply each column with to scale it by their deviation.

        Parameters
        ----------
        cells : ndarray of bool (cells,)

        Returns
        -------
        ndarray of float32 (dim + 1,)
            1 for the column of ones, 0 for a column that is constant in these cells.
        """
        count = self._counts[cells].sum()
        mean = self._sums[cells].sum(axis=0) / count
        variance = np.maximum(self._squares[cells].sum(axis=0) / count - mean**2, 0)
        # rounding leaves a constant column a variance of a few parts in 1e12 of its square
        constant = variance <= 1e-12 * self.deviation**2 + 1e-13 * mean**2
        own = np.sqrt(np.where(constant, 1, variance))
        return np.append(np.where(constant, 0, self.deviation / own), 1).astype(np.float32)

    def _fill(
        self, read: Callable[[np.ndarray], np.ndarray], scale: bool, in_memory: int
    ) -> np.ndarray:
        values = np.empty((0, 0), np.float32)
        pivot: Any = None
        piece = len(self.order)
        start = 0
        while start < len(self.order):
            at = slice(start, start + piece)
            if pivot is None:  # the first rows show how wide they are
                at = slice(0, min(16, len(self.order)))
            found = np.asarray(read(self.order[at]), np.float32)
            if pivot is None:
                self.dim = found.shape[1]
                piece = max(1, PIECE // (4 * self.dim))
                pivot = found.mean(axis=0, dtype=np.float64)
                some = int(self.cells.max()) + 1
                self._counts = np.bincount(self.cells, minlength=some)
                self._sums, self._squares = np.zeros((2, some, self.dim))
                if 4 * self.dim * len(self.order) > in_memory:
                    self._file = tempfile.TemporaryFile(prefix="affekt-")  # noqa: SIM115
                else:
                    values = np.ones((len(self.order), self.dim + 1), np.float32)
            self._add(found - pivot, self.cells[at])
            if self._file is None:
                values[at, :-1] = found
            else:
                self._file.write(np.ascontiguousarray(found))
            start = at.start + len(found)
        mean = self._sums.sum(axis=0) / len(self.order)
        self.deviation = np.ones(self.dim)
        if scale:
            variance = self._squares.sum(axis=0) / len(self.order) - mean**2
            deviation = np.sqrt(np.maximum(variance, 0))
            self.deviation = np.where(deviation > 0, deviation, 1)
        self.mean = pivot + mean
        if self._file is None:
            for start in range(0, len(values), BLOCK):
                self._standardise(values[start : start + BLOCK, :-1])
        return values

    def _add(self, values: np.ndarray, cells: np.ndarray) -> None:
        """Add rows to the sums of their cells; cells come in order."""
        found, first = np.unique(cells, return_index=True)
        for cell, own in zip(found, np.split(values, first[1:]), strict=True):
            self._sums[cell] += own.sum(axis=0)
            self._squares[cell] += np.einsum("nf,nf->f", own, own)

    def _standardise(self, values: np.ndarray) -> None:
        values[:] = (values - self.mean) / self.deviation

    def _from_file(self, at: slice) -> np.ndarray:
        self._file.seek(4 * self.dim * at.start)
        plain: Any = np.empty((at.stop - at.start, self.dim), np.float32)
        self._file.readinto(plain.view(np.uint8))
        X = np.ones((len(plain), self.dim + 1), np.float32)
        X[:, :-1] = plain
        self._standardise(X[:, :-1])
        return X


def _cut(cells: np.ndarray) -> Iterator[slice]:
    """Yield blocks of rows, alike in size, that end where a cell ends if that leaves enough."""
    edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), len(cells)]
    start = 0
    for edge in edges[1:]:
        if edge - start < SMALL and edge < len(cells):
            continue
        parts = -(-(edge - start) // BLOCK)
        cuts = np.linspace(start, edge, parts + 1).astype(int).tolist()
        yield from (slice(a, b) for a, b in pairwise(cuts))
        start = edge
