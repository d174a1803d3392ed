"""Tables of features too large for memory: they stay on the disk, and are read some rows at a time.

What learns or predicts goes over blocks. A block is `BLOCK` numbers, however many rows there are.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError
from ....cache.identity.content_digests import hex_bytes
from ....cache.layers import combine_layers

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Features

LARGE = 1 << 26  # numbers: 256 MB in float32. A table with fewer is read whole
BLOCK = 1 << 22  # numbers: 16 MB in float32


class RowsOnDisk:
    """A table ``(rows, width)`` that is read some rows at a time.

    Parameters
    ----------
    read : callable
        Takes positions of rows ``(n,)`` and returns them ``(n, width)``.
    width : int
    order : ndarray (rows,) int
        All positions, in the order in which reading is quickest.

    Examples
    --------
    >>> table = np.arange(6.0).reshape(3, 2)
    >>> rows = RowsOnDisk(table.__getitem__, 2, np.arange(3))
    >>> rows.shape, rows.read(np.array([2, 0])).tolist()
    ((3, 2), [[4.0, 5.0], [0.0, 1.0]])
    >>> rows.changed(np.negative).apply(lambda block: block.sum(axis=1)).tolist()
    [-1.0, -5.0, -9.0]
    """

    ndim = 2

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], width: int, order: np.ndarray):
        self.read = read
        self.width = width
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.order), self.width

    @property
    def size(self) -> int:
        """Number of numbers."""
        return len(self.order) * self.width

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield every row once, as positions ``(n,)`` and values ``(n, width)``."""
        many = max(1, BLOCK // self.width)
        for start in range(0, len(self.order), many):
            rows = self.order[start : start + many]
            yield rows, self.read(rows)

    def apply(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return what a function of rows ``(n, width)`` gives for each, in the order of rows."""
        parts = np.concatenate([np.asarray(function(values)) for _, values in self.blocks()])
        found = np.empty_like(parts)
        found[self.order] = parts
        return found

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> RowsOnDisk:
        """Return the table whose rows are changed as they are read."""
        return RowsOnDisk(lambda rows: change(self.read(rows)), self.width, self.order)

    def select(self, keep: np.ndarray) -> RowsOnDisk:
        """Return the rows of a mask ``(rows,)``."""
        if keep.all():
            return self
        kept, place = np.flatnonzero(keep), np.cumsum(keep) - 1
        return RowsOnDisk(
            lambda rows: self.read(kept[rows]), self.width, place[self.order[keep[self.order]]]
        )


def is_large(rows: int, width: int) -> bool:
    """Whether a table is left on the disk rather than read whole."""
    return rows * width > LARGE


def blocks_of(X: np.ndarray | RowsOnDisk) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield positions and values of all rows: block by block, or an array as it is."""
    if isinstance(X, RowsOnDisk):
        yield from X.blocks()
    else:
        yield slice(None), X


def some_rows(X: Any, keep: np.ndarray) -> Any:
    """Return the rows of a mask ``(rows,)``."""
    return X.select(keep) if isinstance(X, RowsOnDisk) else X[keep]


def on_rows(function: Callable[[np.ndarray], np.ndarray], X: Any) -> np.ndarray:
    """Return what a function of rows gives for each, block by block where they are on the disk."""
    return X.apply(function) if isinstance(X, RowsOnDisk) else function(X)


def by_blocks(head: Any, X: Any) -> Any:
    """Return a trained head that predicts block by block where `X` is on the disk."""
    return ByBlocks(head) if isinstance(X, RowsOnDisk) else head


class ByBlocks:
    """A trained head that predicts block by block."""

    def __init__(self, head: Any):
        self._head = head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._head, name)

    def predict(self, X: RowsOnDisk) -> np.ndarray:
        """Return what the head's `predict` gives for each row."""
        return X.apply(self._head.predict)

    def predict_proba(self, X: RowsOnDisk) -> np.ndarray:
        """Return what the head's `predict_proba` gives for each row."""
        return X.apply(self._head.predict_proba)


def left_on_disk(X: Any) -> Any:
    """Return a large `numpy.memmap` of two axes as `RowsOnDisk`, and anything else as it is.

    What was read is given back to the system at once: a map that is read as a whole would count as
    the process's memory. Reading a row that is not finite raises `InputError`.
    """
    if not isinstance(X, np.memmap) or X.ndim != 2 or not is_large(*X.shape):
        return X
    mapped = getattr(X, "_mmap", None)

    def read(rows: np.ndarray) -> np.ndarray:
        values = np.asarray(X[rows])  # a copy: `rows` are positions
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED") and X.mode != "c":
            mapped.madvise(mmap.MADV_DONTNEED)
        if not np.isfinite(values).all():
            raise InputError("X holds NaN or infinity; expected finite numbers")
        return values

    return RowsOnDisk(read, X.shape[1], np.arange(len(X)))


def stored_rows(clips: Manifest, features: Sequence[Features]) -> RowsOnDisk:
    """Return features of clips ``(clips, width)`` float32, side by side, left in their caches.

    Raises
    ------
    MissingError
        Clips that are not stored.
    """
    keys = []
    for one in features:
        one.space.read_clips(clips, [])  # says what is missing
        keys.append(hex_bytes([key or "" for key in one.space.keys_of(clips)]))

    def read(rows: np.ndarray) -> np.ndarray:
        sides = []
        for one, raw in zip(features, keys, strict=True):
            values, missing = one.space.read(raw[rows], one.layers)
            if len(missing):  # removed since: raises the same error
                one.space.read_clips(clips.select(rows), one.layers)
            sides.append(combine_layers(values, one.combine))
        return sides[0] if len(sides) == 1 else np.concatenate(sides, axis=1)

    width = sum(one.width for one in features)
    return RowsOnDisk(read, width, features[0].space.on_disk(keys[0]))
