"""From rows to shards: what the thread of a `Writer` does while the encoder works."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..identity.content_digests import hex_bytes, key_words
from ..shards.checksum import checksums
from ..shards.shard import Rows
from ..shards.shard_writer import shard_pieces
from .row_store import RowStore

LARGEST_HALF = 60_000.0  # float16 ends at 65,504


Note = tuple[str, str, int, float]
"""Key, id, frames and seconds of a row."""


class Collector:
    """Collects the rows of one shard, at most `rows`, in the stored type, and stores it."""

    def __init__(self, space: RowStore, rows: int, provenance: dict[str, Any] | None):
        self.space = space
        self._provenance = provenance
        self._values = np.empty((space.n_layers, rows, space.dim), space.spec.dtype)
        self._rows: list[Note] = []

    @property
    def empty(self) -> bool:
        """Whether nothing was taken in since the last shard."""
        return not self._rows

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return len(self._rows) == self._values.shape[1]

    def take(self, values: np.ndarray, note: Note) -> None:
        """Take in a row ``(layers, dim)`` that can be stored; the array is free afterwards."""
        np.copyto(self._values[:, len(self._rows)], values, casting="same_kind")
        self._rows.append(note)

    def store(self) -> list[str]:
        """Store a shard of what was taken in durably; return the ids."""
        taken, self._rows = self._rows, []
        if not taken:
            return []
        rows = _columns(taken)
        raw = hex_bytes(rows.key)
        words = key_words(raw)
        stored = self._values[:, : len(rows)]
        sums = np.stack([checksums(values, words, layer) for layer, values in enumerate(stored)])

        def values(layer: int, start: int, stop: int) -> np.ndarray:
            return stored[layer, start:stop]

        pieces = shard_pieces(rows, values, sums, self.space.spec, self._provenance)
        self.space.commit(pieces, raw)
        return [id_ for _, id_, _, _ in taken]


def unstorable(values: np.ndarray, dtype: np.dtype) -> str:
    """Return why a row cannot be stored, as a code, or nothing.

    Examples
    --------
    >>> row = np.array([[1.0, 1e6]], np.float32)
    >>> unstorable(row, np.dtype("float32")), unstorable(row, np.dtype("float16"))
    ('', 'out_of_range')
    """
    energy = float(np.vdot(values, values))  # not finite if one of them is not
    if energy <= LARGEST_HALF**2:  # no value is larger than its root
        return ""
    largest = np.abs(values).max(initial=0)
    if not np.isfinite(largest):
        return "non_finite_output"
    return "out_of_range" if dtype.itemsize == 2 and largest > LARGEST_HALF else ""


def _columns(notes: list[Note]) -> Rows:
    keys, ids, frames, seconds = zip(*notes, strict=True)
    return Rows(
        np.array([key.encode() for key in keys], "S64"),
        np.array([id_.encode("utf-8", "surrogatepass") for id_ in ids]),
        np.array(frames, "<u4"),
        np.array(seconds, "<f4"),
    )
