"""Store rows in a space: they collect in memory and are committed as shards.

A shard is made and flushed by a thread of its own, so that an encoder does not wait for the disk.
At most one shard is under way while the next collects: what a crash can cost is known.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from .canary import compare_canary
from .collect import Collector, Note, unstorable
from .compact import MANY, SMALL, small_shards
from .errors import InputError

if TYPE_CHECKING:
    from .space import Space

ROWS = 512
NBYTES = 16 << 20
SECONDS = 60.0
BATCH = 64  # rows that are handed to the thread at a time: waking it costs 0.1 ms

Row = tuple[np.ndarray, Note, bool]
"""Values, what belongs to them, and whether the memory of the values is the writer's."""


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
    refused : list of (str, str, str)
        Key, id and code of rows that cannot be stored (``non_finite_output``, ``out_of_range``);
        the space's failures have them too. Complete after `commit`: values are looked at beside
        the encoder, not before it may go on.

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
    >>> writer.stored, [(id, code) for _, id, code in writer.refused]
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
        self.refused: list[tuple[str, str, str]] = []
        self._canary = canary
        self._on_stored = on_stored
        self._dtype = space.spec.dtype
        self._shape = (space.n_layers, space.dim)
        size = math.prod(self._shape) * self._dtype.itemsize
        self._rows = max(1, min(rows, -(-nbytes // size)))
        self._seconds = seconds
        self._ready = False
        self._known: set[str] = set()
        self._batch: list[Row] = []
        self._given = 0  # rows of the shard that collects
        self._since = 0.0
        self._free: list[np.ndarray] = []
        self._collector = Collector(space, self._rows, provenance)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="affekt-commit")
        self._under_way: deque[Future] = deque()
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
        if error is None and self.stored and small_shards(self.space) > MANY:
            self.space.compact(small=SMALL)

    def add(
        self,
        key: str,
        id: str,
        values: np.ndarray,
        frames: int = 0,
        seconds: float = 0.0,
        *,
        copy: bool = True,
    ) -> None:
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
        copy : bool
            False hands the array over: the caller must not write into it again. That saves the
            encoder the time of a copy.

        Raises
        ------
        InputError
            Wrong shape.
        CanaryError
            The encoder computes differently from when the space was made.
        OSError
            An earlier shard could not be stored: disk full, for example.
        """
        values = np.asarray(values, np.float32)
        if values.shape != self._shape:
            raise InputError(
                f"clip {id!r}: values have shape {values.shape}, expected {self._shape}"
            )
        if not self._ready:
            self._prepare()
        if key in self._known:
            return
        if copy:  # into memory that was used before: quicker than new memory
            held = self._free.pop() if self._free else np.empty(self._shape, np.float32)
            held[:] = values
            values = held
        now = time.monotonic()
        if not self._batch and not self._given:
            self._since = now
        self._batch.append((values, (key, id, frames, seconds), copy))
        self._known.add(key)
        if self._given + len(self._batch) >= self._rows or now - self._since > self._seconds:
            self._send()
        elif len(self._batch) >= BATCH:
            self._hand_over()

    def commit(self) -> list[str]:
        """Store what was taken in so far; return the ids stored since the last call."""
        self._send()
        while self._under_way:
            self._settle()
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

    def _hand_over(self) -> None:
        """Give the rows to the thread; raise what went wrong there."""
        batch, self._batch = self._batch, []
        self._given += len(batch)
        self._under_way.append(self._thread.submit(self._take, batch))
        most = 2 + self._rows // BATCH  # one shard may wait for the disk, no more
        while self._under_way and (len(self._under_way) > most or self._under_way[0].done()):
            self._settle()

    def _send(self) -> None:
        """Have the thread store what it was given as a shard."""
        self._hand_over()
        self._given = 0
        self._under_way.append(self._thread.submit(self._store))

    def _settle(self) -> None:
        """Wait for what is longest under way, and raise its error."""
        wait([self._under_way[0]])  # it stays in the row if Ctrl-C comes here
        self._under_way.popleft().result()

    # In the thread

    def _take(self, batch: list[Row]) -> None:
        for values, note, ours in batch:
            if self._collector.full:  # only after a Ctrl-C that somebody caught
                self._store()
            if code := unstorable(values, self._dtype):
                self._refuse(note, code)
            else:
                self._collector.take(values, note)
            if ours:
                self._free.append(values)

    def _refuse(self, note: Note, code: str) -> None:
        key, id_, _, _ = note
        why = f"the embedding cannot be stored as {self._dtype.name}"
        self.space.fail(key, id_, code, why)
        self.refused.append((key, id_, code))

    def _store(self) -> None:
        ids = self._collector.store()
        self.stored.extend(ids)
        if ids and self._on_stored is not None:
            self._on_stored(ids)
