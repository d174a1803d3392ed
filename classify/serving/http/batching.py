"""A bounded queue before one worker thread, which takes what waits a batch at a time.

On a CPU a batch is one clip: neither an encoder nor a matrix product gives a clip the same last
bits alone and next to others, and there is nothing to gain. On a GPU larger batches pay.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Full(Exception):
    """The queue is full; try again later."""


class Batcher(Generic[Task, Result]):
    """Answer tasks in the order in which they came, in batches, in one thread.

    Parameters
    ----------
    answer : callable
        Called in the worker thread with 1 to `most` tasks; returns one result for each.
    most : int
        Tasks of a batch.
    wait : float
        Seconds for which the first task of a batch waits for others; only if `most` is over 1.
    places : int
        Requests that may be under way at once, from reading their bodies to their answers.

    Examples
    --------
    >>> async def shout():
    ...     async with Batcher(lambda words: [word.upper() for word in words], places=2) as batcher:
    ...         with batcher.place():
    ...             return await batcher.submit("hello")
    >>> asyncio.run(shout())
    'HELLO'
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Task]], Sequence[Result]],
        *,
        most: int = 1,
        wait: float = 0.005,
        places: int = 32,
    ) -> None:
        self.answer, self.most, self.wait, self.places = answer, most, wait, places
        self.taken = 0
        self._queue: asyncio.Queue[tuple[Task, asyncio.Future[Result]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="affekt-answers")
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Batcher[Task, Result]:
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        await asyncio.to_thread(self._thread.shutdown)

    @contextlib.contextmanager
    def place(self):
        """Hold one of the places in the queue."""
        if self.taken >= self.places:
            raise Full(f"{self.places} requests are in progress, which is the limit")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def submit(self, task: Task) -> Result:
        """Return the result of a task, or raise its exception; a task given up is not started."""
        answered = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((task, answered))
        return await answered

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [(task, one) for task, one in await self._collect() if not one.done()]
            if not batch:
                continue
            tasks, waiting = zip(*batch, strict=True)
            settle: Any = asyncio.Future.set_result
            results: Sequence[Any]
            try:
                results = await loop.run_in_executor(self._thread, self.answer, list(tasks))
            except Exception as error:  # every task of this batch gets it
                settle, results = asyncio.Future.set_exception, [error] * len(batch)
            for one, result in zip(waiting, results, strict=True):
                if not one.done():  # not given up meanwhile
                    settle(one, result)

    async def _collect(self) -> list[tuple[Task, asyncio.Future[Result]]]:
        batch = [await self._queue.get()]
        if self.most > 1:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.wait):
                    while len(batch) < self.most:
                        batch.append(await self._queue.get())
        return batch
