"""Read vectors of many files at once, in the order they were asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from .vectors import Vectors

SMALL = 8 << 20  # bytes that one thread reads faster than several
MOST = 4  # threads: disks and memory give no more


@dataclass(frozen=True)
class Part:
    """Rows of one file that were asked for.

    Parameters
    ----------
    vectors : Vectors
        The file.
    rows : ndarray (n,) int
        Its rows.
    into : ndarray (n,) int
        Where each goes, counted in the rows of the result.
    """

    vectors: Vectors
    rows: np.ndarray
    into: np.ndarray


def gather(
    parts: Sequence[Part],
    layers: Sequence[int],
    words: np.ndarray,
    out: np.ndarray,
    sums_out: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Fill `out` with vectors, and check each.

    Parameters
    ----------
    parts : sequence of Part
        What to read.
    layers : sequence of int
        Layers, counted from 0.
    words : ndarray (rows,) uint64
        First 16 hex digits of the key of each row of the result.
    out : ndarray (layers, rows, dim)
        Filled by this call.
    sums_out : ndarray (layers, rows) uint64, optional
        Filled with the stored checksums.

    Returns
    -------
    dict of str to ndarray
        For each file with damaged vectors, their rows in the result.
    """
    jobs = [
        (part, axis, layer, piece)
        for part in parts
        for piece in _pieces(part)
        for axis, layer in enumerate(layers)
    ]

    def read(job: tuple[Part, int, int, np.ndarray]) -> np.ndarray:
        part, axis, layer, piece = job
        into = part.into[piece]
        sums = None if sums_out is None else sums_out[axis]
        return part.vectors.read(layer, part.rows[piece], words[into], out[axis], into, sums)

    threads = min(MOST, os.cpu_count() or 1, len(jobs))
    if threads < 2 or out.nbytes < SMALL:
        found = list(map(read, jobs))
    else:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(read, jobs))
    bad: dict[str, list[np.ndarray]] = {}
    for job, rows in zip(jobs, found, strict=True):
        if rows.size:
            bad.setdefault(os.fspath(job[0].vectors.path), []).append(rows)
    return {path: np.unique(np.concatenate(rows)) for path, rows in bad.items()}


def _pieces(part: Part) -> list[np.ndarray]:
    """Sort a part by row and cut it into pieces worth a thread."""
    order = np.argsort(part.rows, kind="stable")
    many = max(1, SMALL // part.vectors.width)
    return np.split(order, range(many, len(order), many))
