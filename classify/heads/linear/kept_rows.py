"""The rows of a linear problem as its solver reads them over and over: centred, block by block."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from ....cache.errors import InputError
from ..training.rows_on_disk import RowsOnDisk

BLOCK = 1 << 17  # numbers that pass through the processor's cache at a time

Blocks = Callable[[], Iterator[tuple[Any, np.ndarray]]]


def too_large() -> InputError:
    """Return the error for features too large to compute with."""
    return InputError(
        "X holds numbers too large to compute with, next to the others; scale the features, as "
        "StandardScaler does, or leave such clips out"
    )


def centred_blocks(X: np.ndarray | RowsOnDisk, centre: np.ndarray, scale: float) -> Blocks:
    """Return what yields positions of rows and their features, centred and scaled, float64."""

    def blocks() -> Iterator[tuple[Any, np.ndarray]]:
        if isinstance(X, RowsOnDisk):
            for at, values in X.blocks():
                yield at, (values - centre) / scale
            return
        for at in _slices(X):
            yield at, (X[at] - centre) / scale

    return blocks


class KeptRows:
    """Centred rows as `dtype`, in memory, or in a scratch file if they were on the disk.

    Without room for the file they are read again in each pass.
    """

    def __init__(
        self, X: np.ndarray | RowsOnDisk, centre: np.ndarray, scale: float, dtype: type
    ) -> None:
        self.X, self.dtype = X, dtype
        self.plain = centred_blocks(X, centre, scale)
        self.values: Any = None
        self.file: Any = None

    def __enter__(self) -> Self:
        if not isinstance(self.X, RowsOnDisk):
            self.values = np.empty(self.X.shape, self.dtype)
            for at, values in self.plain():
                self.values[at] = self._cast(values)
            return self
        try:
            self.file = tempfile.TemporaryFile(prefix="affekt-")
            for _, values in self.plain():
                self.file.write(self._cast(values))
        except OSError:
            self.__exit__()
            self.file = None
        return self

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            self.file.close()

    def _cast(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            found = values.astype(self.dtype)
        if not np.isfinite(found).all():
            raise too_large()
        return found

    def blocks(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield positions of rows and their features."""
        X = self.X
        if not isinstance(X, RowsOnDisk):
            yield from ((at, self.values[at]) for at in _slices(X))
        elif self.file is None:
            yield from ((at, self._cast(x)) for at, x in self.plain())
        else:
            self.file.seek(0)
            buffer = np.empty((_many(X), X.width), self.dtype)
            for at in _slices(X):
                rows = X.order[at]
                self.file.readinto(buffer[: len(rows)].view(np.uint8))
                yield rows, buffer[: len(rows)]


def _many(X: np.ndarray | RowsOnDisk) -> int:
    return max(1, BLOCK // X.shape[1])


def _slices(X: np.ndarray | RowsOnDisk) -> Iterator[slice]:
    return (slice(start, start + _many(X)) for start in range(0, len(X), _many(X)))
