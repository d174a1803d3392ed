"""Store rows in a space: they collect in memory and are committed as shards.

A shard is made and flushed by a thread of its own, so that an encoder does not wait for the disk.
At most one shard is under way while the next collects: what a crash can cost is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from .canary import compare_canary
from .checksum import checksums
from .compact import MANY, small_shards
from .digests import hex_bytes, key_words
from .errors import InputError
from .shard import Rows, shard_image

if TYPE_CHECKING:
    from .space import Space

ROWS = 512
NBYTES = 32 << 20
SECONDS = 60.0
LARGEST_HALF = 60_000.0  # float16 ends at 65,504


class Writer:
    """Stores rows; made by `Space.writer` and used in a ``with`` block.

    Parameters
    ----------
    space : Space
        Where the rows go.
    canary : callable, optional
        Returns the encoder's canary ``(inputs, layers, dim)``; called once, before the first row.
    provenance : dict, optional
        Library versions and the like, kept in each shard.
    on_stored : callable, optional
        Called with the ids of each shard once it is durable, from the writer's thread.
    rows, nbytes, seconds : int, int, float
        A shard is committed when it has so many rows or bytes, or is so old.

    Attributes
    ----------
    stored : list of str
        Ids whose rows are durable.
    refused : list of (str, str)
        Ids and codes of rows that cannot be stored: ``non_finite_output``, ``out_of_range``. They
        are written to the space's failures.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Spec
    >>> spec = Spec({"format": 1, "modality": "text", "encoder": {"name": "toy"}, "pooling": "",
    ...              "layers": {"count": 1, "dim": 2}, "store_dtype": "float16"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Cache(folder).create(spec).writer() as writer:
    ...         writer.add("0" * 64, "fine", np.array([[1.0, 2.0]]))
    ...         writer.add("1" * 64, "huge", np.array([[1.0, 1e6]]))
    True
    False
    >>> writer.stored, writer.refused
    (['fine'], [('huge', 'out_of_range')])
    """

    def __init__(
        self,
        space: Space,
        canary: Callable[[], np.ndarray] | None = None,
        *,
        provenance: dict[str, Any] | None = None,
        on_stored: Callable[[list[str]], None] | None = None,
        rows: int = ROWS,
        nbytes: int = NBYTES,
        seconds: float = SECONDS,
    ):
        self.space = space
        self.stored: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self._canary = canary
        self._provenance = provenance
        self._on_stored = on_stored
        self._limits = (rows, nbytes, seconds)
        self._dtype = np.dtype(space.spec.store_dtype).newbyteorder("<")
        self._ready = False
        self._known: set[str] = set()
        self._batch: list[tuple[str, str, np.ndarray, int, float]] = []
        self._since = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="affekt-commit")
        self._under_way: Future | None = None
        self._reported = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if not isinstance(error, OSError):  # after Ctrl-C too: what was computed is kept
                self.commit()
        finally:
            self._thread.shutdown()
            self.space.close()
        if error is None and self.stored and len(small_shards(self.space)) > MANY:
            self.space.compact()

    def add(
        self, key: str, id: str, values: np.ndarray, frames: int = 0, seconds: float = 0.0
    ) -> bool:
        """Take in a row; it is durable once its id is in `stored`.

        Parameters
        ----------
        key : str
            From `row_key`. A key that was added before is skipped.
        id : str
            The clip's id.
        values : ndarray (layers, dim) float32
            The embedding.
        frames : int
            Frames or tokens that were pooled.
        seconds : float
            Duration of the audio, 0 for text.

        Returns
        -------
        bool
            False if the row cannot be stored (see `refused`): not finite, or too large for float16.

        Raises
        ------
        InputError
            Wrong shape.
        CanaryError
            The encoder computes differently from when the space was made.
        OSError
            An earlier shard could not be stored: disk full, for example.
        """
        if not self._ready:
            self._prepare()
        values = np.array(values, np.float32)  # a copy: the caller may use its array again
        shape = (self.space.n_layers, self.space.dim)
        if values.shape != shape:
            raise InputError(f"clip {id!r}: values have shape {values.shape}, expected {shape}")
        if key in self._known:
            return True
        code = _unstorable(values, self._dtype)
        if code:
            self.refused.append((id, code))
            self.space.fail(key, id, code, f"the embedding cannot be stored as {self._dtype.name}")
            return False
        self._known.add(key)
        if not self._batch:
            self._since = time.monotonic()
        self._batch.append((key, id, values, frames, seconds))
        rows, nbytes, age = self._limits
        full = len(self._batch) >= min(rows, nbytes / (values.size * self._dtype.itemsize))
        if full or time.monotonic() - self._since > age:
            self._send()
        return True

    def commit(self) -> list[str]:
        """Store what was taken in so far; return the ids stored since the last call."""
        self._send()
        self._wait()
        new = self.stored[self._reported :]
        self._reported = len(self.stored)
        return new

    def _prepare(self) -> None:
        """Make the folders and check the canary, once before the first row."""
        self.space.make()
        if self._canary is not None:
            today = np.asarray(self._canary(), np.float32)
            stored = self.space.canary()
            if stored is None:
                self.space.set_canary(today)
                stored = self.space.canary()  # of two writers at once, one was first
            if stored is not None:
                compare_canary(stored, today, self.space.spec)
        self._ready = True

    def _send(self) -> None:
        """Hand the batch to the thread, after the one before it is durable."""
        batch, self._batch = self._batch, []
        self._wait()
        if batch:
            self._under_way = self._thread.submit(self._store, batch)

    def _wait(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def _store(self, batch: list[tuple[str, str, np.ndarray, int, float]]) -> None:
        keys, ids, values, frames, seconds = zip(*batch, strict=True)
        rows = Rows(
            np.array([key.encode() for key in keys], "S64"),
            np.array([id_.encode("utf-8", "surrogatepass") for id_ in ids]),
            np.array(frames, "<u4"),
            np.array(seconds, "<f4"),
        )
        raw = hex_bytes(rows.key)
        words = key_words(raw)

        def vectors(layer: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
            piece = np.stack([row[layer] for row in values[start:stop]]).astype(self._dtype)
            return piece, checksums(piece, words[start:stop], layer)

        image = shard_image(rows, vectors, self.space.spec, self._provenance)
        self.space.commit(image, raw)
        self.stored.extend(ids)
        if self._on_stored is not None:
            self._on_stored(list(ids))


def _unstorable(values: np.ndarray, dtype: np.dtype) -> str:
    """Return why a row cannot be stored, or nothing."""
    energy = np.vdot(values, values)  # no value is larger than its root; not finite if one is not
    if dtype.itemsize > 2 and np.isfinite(energy):
        return ""
    if energy <= LARGEST_HALF**2:
        return ""
    largest = np.abs(values).max(initial=0)
    if not np.isfinite(largest):
        return "non_finite_output"
    return "out_of_range" if dtype.itemsize == 2 and largest > LARGEST_HALF else ""
