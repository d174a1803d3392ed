"""Vectors in a file: read by position, straight from the disk, and checked.

HDF5 says once where the bytes are; afterwards they are read with plain positioned reads into the
caller's memory. So there is no open handle that could cross a fork, no library lock between
threads, and a byte that changes after the file was opened is still found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import DamagedError
from ..files.remote_path import RemotePath
from .checksum import checksums

RUN = 4 << 20  # bytes read and checked at a time: they stay in the processor's cache
GAP = 16 << 10  # bytes to read and discard, rather than start another read


@dataclass(frozen=True)
class Vectors:
    """Where the vectors of a file are.

    Parameters
    ----------
    rows, layers, dim : int
        Shape of what it holds.
    dtype : dtype
        Type of the values.
    block : int
        Number of consecutive rows in a layer.
    starts : ndarray (layers, blocks) int64
        Byte at which each block of a layer starts.
    sums_start : int
        Byte at which the checksums (layers, rows) uint64 start.
    """

    path: Path
    rows: int
    layers: int
    dim: int
    dtype: np.dtype
    block: int
    starts: np.ndarray
    sums_start: int

    @property
    def width(self) -> int:
        """Size of a vector in bytes."""
        return self.dim * self.dtype.itemsize

    def read(
        self,
        layer: int,
        rows: np.ndarray,
        keys: np.ndarray,
        out: np.ndarray,
        into: np.ndarray,
        sums_out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Read vectors of one layer and check each.

        Parameters
        ----------
        layer : int
            Counted from 0.
        rows : ndarray (n,) int
            Rows of the file, ascending, repeats allowed.
        keys : ndarray (n,) uint64
            First 16 hex digits of each row's key.
        out : ndarray (m, dim)
            Where the values go, converted to its type.
        into : ndarray (n,) int
            Row of `out` for each vector.
        sums_out : ndarray (m,) uint64, optional
            Where the stored checksums go.

        Returns
        -------
        ndarray of int
            Those of `into` whose vectors are damaged; their values in `out` mean nothing.
        """
        bad = []
        straight, apart = False, np.diff(rows) > 1 + GAP // self.width
        if out.dtype == self.dtype and out.flags.c_contiguous:
            jumps = (np.diff(rows) != 1) | (np.diff(into) != 1)
            straight = int(jumps.sum()) * GAP <= len(rows) * self.width
            apart = jumps if straight else apart
        with _opened(self.path) as handle:
            for first, last in self._runs(rows, apart):
                low, high = int(rows[first]), int(rows[last - 1]) + 1
                if straight:  # into the caller's memory
                    values = out[into[first] : into[first] + last - first]
                else:
                    values = np.empty((high - low, self.dim), self.dtype)
                block, inside = divmod(low, self.block)
                sums = np.empty(high - low, np.uint64)
                if not (
                    _fill(handle, int(self.starts[layer, block]) + inside * self.width, values)
                    and _fill(handle, self.sums_start + (layer * self.rows + low) * 8, sums)
                ):
                    bad.append(into[first:last])
                    continue
                if not straight:
                    picked = rows[first:last] - low
                    values, sums = values[picked], sums[picked]
                    with np.errstate(over="ignore"):  # the caller looks for infinite ones
                        out[into[first:last]] = values
                if sums_out is not None:
                    sums_out[into[first:last]] = sums
                wrong = checksums(values, keys[first:last], layer) != sums
                if wrong.any():
                    bad.append(into[first:last][wrong])
        return np.concatenate(bad) if bad else np.empty(0, np.intp)

    def check(self, keys: np.ndarray, layers: Sequence[int] | None = None) -> None:
        """Read every vector, of some layers or all, and check it.

        Parameters
        ----------
        keys : ndarray (rows,) uint64
            First 16 hex digits of each row's key.
        layers : sequence of int, optional
            Counted from 0.
        """
        step = max(1, 2 * RUN // self.width)
        out = np.empty((step, self.dim), self.dtype)
        for layer in range(self.layers) if layers is None else layers:
            for start in range(0, self.rows, step):
                rows = np.arange(start, min(start + step, self.rows))
                if self.read(layer, rows, keys[rows], out, rows - start).size:
                    raise DamagedError(f"{self.path.name}: layer {layer} is damaged")

    def _runs(self, rows: np.ndarray, apart: np.ndarray) -> Iterator[tuple[int, int]]:
        """Split ascending rows into runs that are one read each: (first, last + 1) positions."""
        most = max(1, RUN // self.width)
        parts = rows // self.block
        cut = apart | (parts[1:] != parts[:-1])
        bounds = [0, *(np.flatnonzero(cut) + 1).tolist(), len(rows)]
        for first, last in pairwise(bounds):
            while first < last:
                stop = int(np.searchsorted(rows[first:last], rows[first] + most)) + first
                yield first, stop
                first = stop


@contextmanager
def _opened(path: Path) -> Iterator[int | RemotePath]:
    """Return what `_fill` reads from."""
    if isinstance(path, RemotePath):
        yield path
        return
    with path.open("rb", buffering=0) as file:
        yield file.fileno()


def _fill(handle: int | RemotePath, start: int, array: np.ndarray) -> bool:
    """Fill an array from a byte of a file; False if the file ends before."""
    view = memoryview(array.data).cast("B")
    if isinstance(handle, RemotePath):
        return handle.fill(start, view)
    done = 0
    while done < len(view):
        if hasattr(os, "preadv"):
            got = os.preadv(handle, [view[done:]], start + done)
        else:
            os.lseek(handle, start + done, os.SEEK_SET)
            piece = os.read(handle, len(view) - done)
            view[done : done + len(piece)] = piece
            got = len(piece)
        if got == 0:
            return False
        done += got
    return True
