"""Store rows in a space: they collect in memory and are committed as shards.

A shard is made and flushed by a thread of its own, so that an encoder does not wait for the disk.
At most one shard is under way while the next collects: what a crash can cost is known.

The thread takes orders from a queue that is written in C: Ctrl-C may come at any moment, and a lock
written in Python could stay locked.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .canary import compare_canary
from .collect import Collector, Note, unstorable
from .compact import MANY, SMALL, compact, small_shards
from .row_store import RowStore

ROWS = 512
NBYTES = 16 << 20
SECONDS = 60.0
BATCH = 64  # rows that are handed to the thread at a time: waking it costs 0.1 ms

Row = tuple[np.ndarray, Note, bool]
"""Values, what belongs to them, and whether the memory of the values is the writer's."""


class Batch(NamedTuple):
    """Rows for the thread; none of them was added before `since`."""

    since: float
    rows: list[Row]


class Writer:
    """Stores rows; made by `Space.writer` and used in a ``with`` block.

    Parameters
    ----------
    space : RowStore
        Where the rows go.
    canary : callable, optional
        Returns the encoder's canary ``(inputs, layers, dim)``; called once, before the first row.
    provenance : dict, optional
        Library versions and the like, kept in each shard.
    on_stored : callable, optional
        Called with the ids of each shard once it is durable, from the writer's thread.
    rows, nbytes, seconds : int, int, float
        A shard is committed when it has this many rows or bytes, or is this old.

    Attributes
    ----------
    stored : list of str
        Ids whose rows are durable.
    refused : list of (str, str, str)
        Key, id and code of rows that cannot be stored (``non_finite_output``, ``out_of_range``);
        the space's failures have them too. Complete after `commit`: values are checked in a
        thread, for which the encoder does not wait.

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
        space: RowStore,
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
        self._batch: list[Row] = []
        self._at_once = min(BATCH, self._rows)
        self._handed = 0.0  # when the last batch was handed over
        self._free: deque[np.ndarray] = deque()
        self._reported = 0
        self._orders: SimpleQueue[Batch | SimpleQueue | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._pid, self._ended = os.getpid(), False
        # The thread's
        self._known: set[str] = set()
        self._since = 0.0
        self._collector = Collector(space, self._rows, provenance)
        self._thread = Thread(target=self._work, name="affekt-commit", daemon=True)
        self._thread.start()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if error is None or self._error is None:  # after Ctrl-C too: what is there is kept
                self.commit()
        finally:
            # again, for a Ctrl-C that came before the commit was requested
            self._orders.put(Batch(self._handed, self._batch))
            self._orders.put(None)
            self._thread.join()
            self._ended, self._handed = True, -math.inf  # the next row is an error
            self.space.close()
        if error is None and self.stored and small_shards(self.space) > MANY:
            compact(self.space, small=SMALL)

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
            Wrong shape, key or number of frames; a writer whose ``with`` block has ended.
        CanaryError
            The encoder computes differently from when the space was made.
        OSError
            An earlier shard could not be stored: disk full, for example. The writer is of no use
            afterwards; what is not in `stored` has to be added to another one.
        """
        values = np.asarray(values, np.float32)
        if values.shape != self._shape:
            raise InputError(
                f"clip {id!r}: values have shape {values.shape}, expected {self._shape}"
            )
        if len(key) != 64 or frames < 0:
            raise InputError(
                f"clip {id!r}: key {key!r}, {frames} frames; expected 64 hex digits and at least 0"
            )
        now = time.monotonic()
        if not self._ready:
            self._prepare()
            self._handed = now
        if copy:  # into memory that was used before: quicker than new memory
            held = self._free.pop() if self._free else np.empty(self._shape, np.float32)
            held[:] = values
            values = held
        self._batch.append((values, (key, id, frames, seconds), copy))
        if len(self._batch) >= self._at_once or now - self._handed > self._seconds:
            self._hand_over()
            self._handed = now

    def commit(self) -> list[str]:
        """Store what was taken in so far; return the ids stored since the last call."""
        self._hand_over()
        answer: SimpleQueue[None] = SimpleQueue()
        self._orders.put(answer)
        answer.get()
        self._check()
        new = self.stored[self._reported :]
        self._reported += len(new)
        return new

    def _prepare(self) -> None:
        """Make the folders and check the canary, once before the first row."""
        self._check()
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
        """Hand the rows to the thread; raise what went wrong there."""
        self._check()
        # in this order: if Ctrl-C comes in between they are given twice, and taken once
        self._orders.put(Batch(self._handed, self._batch))
        self._batch = []
        most = max(1, self._rows // self._at_once - 1)  # one shard may wait for the disk, no more
        while self._orders.qsize() > most:
            time.sleep(0.001)

    def _check(self) -> None:
        """Raise what went wrong in the thread, or if it has ended."""
        if self._error is not None:
            raise self._error
        if self._ended or os.getpid() != self._pid:
            raise InputError(
                "this writer is closed, or belongs to the parent of this process; create another "
                "one with `Space.writer`"
            )

    # In the thread

    def _work(self) -> None:
        order: Batch | SimpleQueue | None
        while True:
            order = self._orders.get()
            try:
                if self._error is None and isinstance(order, Batch):
                    self._take(order)
                elif self._error is None:
                    self._store()
            except BaseException as error:
                self._error = error
            if order is None:
                return
            if not isinstance(order, Batch):
                order.put(None)

    def _take(self, batch: Batch) -> None:
        for values, note, ours in batch.rows:
            if note[0] in self._known:
                continue
            self._known.add(note[0])
            if self._collector.empty:
                self._since = batch.since
            if code := unstorable(values, self._dtype):
                self._refuse(note, code)
            else:
                self._collector.take(values, note)
            if ours:
                self._free.append(values)
            if self._collector.full:
                self._store()
        if time.monotonic() - self._since > self._seconds:
            self._store()

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
