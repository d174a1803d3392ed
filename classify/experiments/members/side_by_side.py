"""Fit models in several processes, one thread each: the same numbers as one after another.

Members are trained in threads that take turns: all of them wait for fits but one, so that nothing
else happens at the same time. A worker is ``python -m`` this module: it is sent what to fit over a
socket, sends epochs and the fitted model back, and ends when the other end is closed, however the
run ended. Ctrl-C and signals are for the run, which ends its workers at once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from affekt.children import start_child
from affekt.machine import few_threads, is_small, processors

from ....cache.errors import AffektError
from ...metrics.scored_clips import task_score
from ...models.fitting import fit_models

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...data.splitting.split import Split
    from ...data.task import Task
    from ...models.model import Model
    from ..recipes.entries import MemberEntry

WORTH = 1000  # rows for networks to learn from, beyond the largest fit, that are worth a start
OFTEN = 0.25  # seconds between two reports of a training
CODE = "from affekt.classify.experiments.members.side_by_side import serve; serve()"


@dataclass
class Fit:
    """Models, and the clips to fit them on.

    Attributes
    ----------
    models : sequence of Model
        Not fitted yet; one, or some that differ in nothing but the seed and train at once.
    train : Manifest
    dev, test : Manifest, optional
        As for `Model.fit`; dev may be empty.
    options : dict
        Of `Model.fit`.
    on_epoch : callable, optional
        Given each epoch of a network, as `history_` has it.
    """

    models: Sequence[Model]
    train: Manifest
    dev: Manifest | None = None
    test: Manifest | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    on_epoch: Callable[[Mapping[str, Any]], None] | None = None

    def __call__(self) -> list[tuple[float, Model]]:
        """Return UAR (or CCC) on dev, 0 without dev, and the fitted model, for each."""
        models, dev = self.models, self.dev if self.dev is not None and len(self.dev) else None
        for model in models:
            if "callback" in model.head.get_params():
                model.head.set_params(callback=self.on_epoch)
        fit_models(models, self.train, dev, test=self.test, **self.options)
        if dev is None:
            return [(0.0, model) for model in models]
        with few_threads(len(dev) * self.width):
            return [(task_score(one.task, dev, one.predict(dev)), one) for one in models]

    @property
    def width(self) -> int:
        """Features of a clip."""
        return sum(one.width for one in self.models[0].features)

    @property
    def is_alone(self) -> bool:
        """Whether it needs this process: a GPU, all processors, or a registered head."""
        head = self.models[0].head
        if not _is_ours(type(head)) or not is_small(len(self.train) * self.width):
            return True
        if "device" not in head.get_params():
            return False
        from ...heads.training.loop import pick_device

        return pick_device(head.device).type != "cpu"


def network_rows(entry: MemberEntry, task: Task, parts: Sequence[Split]) -> list[int]:
    """Return how many clips each network of a member learns from; none on a GPU, or without any."""
    from ...heads.registry import heads_for

    cls = heads_for(task.kind)[0][entry.head]
    if not hasattr(cls, "max_epochs") or not _is_ours(cls):
        return []
    from ...heads.training.loop import pick_device

    if any(pick_device(one).type != "cpu" for one in entry.settings.get("device", (cls.device,))):
        return []
    fits = len(list(entry.candidates())) + entry.seeds - 1
    return [len(part.train) for part in parts for _ in range(fits)]


def count_workers(rows: Sequence[int], n_jobs: int = -1) -> int:
    """Return how many processes are worth starting; 1: only this one.

    Parameters
    ----------
    rows : sequence of int
        For each fit of a network that has to be made, the clips it learns from.
    n_jobs : int, default=-1
        At most this many; -1: the number of processors.

    Examples
    --------
    >>> count_workers([5000], 8), count_workers([200, 200, 200], 8), count_workers([900] * 5, 3)
    (1, 1, 3)
    """
    most = processors() if n_jobs < 1 else n_jobs
    if os.name == "nt" or len(rows) < 2 or sum(rows) - max(rows) < WORTH:
        return 1
    return min(most, len(rows))


class SideBySide:
    """Some processes that fit, and threads that wait for them.

    Parameters
    ----------
    count : int
        Processes.

    Examples
    --------
    >>> with SideBySide(2) as pool:  # doctest: +SKIP
    ...     pool.run([train_speech, train_text])
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._turn = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Fit, Future[Any]] | None] = queue.SimpleQueue()
        self._children: list[subprocess.Popen[bytes]] = []
        self._ended = threading.Event()

    def __enter__(self) -> SideBySide:
        try:
            for _ in range(self.count):
                here, there = Pipe()
                with there:
                    self._children.append(_started(there.fileno()))
                args = (here, self._children[-1])
                threading.Thread(target=self._hand_out, args=args, daemon=True).start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for child in self._children:
            child.kill()
            self._waiting.put(None)
        for child in self._children:
            child.wait()

    def run(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Run jobs until all are done, the first in the order given first.

        Raises
        ------
        Exception
            What the first of the jobs that failed raised; the others are ended then.
        """
        done: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()

        def in_turn(number: int) -> None:
            error: BaseException | None = None
            try:
                with self._turn:
                    self._check_open()
                    jobs[number]()
            except BaseException as raised:
                error = raised
            done.put((number, error))

        threads = [
            threading.Thread(target=copy_context().run, args=(in_turn, number))
            for number in range(len(jobs))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in jobs:
                _, error = done.get()
                if error is not None:
                    raise error
        except BaseException:
            self.__exit__()
            deadline = time.monotonic() + 3.0  # they clean up; a long computation is not awaited
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            raise

    def fit_each(self, fits: Sequence[Fit]) -> Iterator[tuple[float, Model]]:
        """Yield what the fits return, in order; others have their turn while one waits."""
        futures: list[Future[Any] | None] = []
        for fit in fits:
            futures.append(None if fit.is_alone else Future())
            if futures[-1] is not None:
                self._waiting.put((fit, futures[-1]))
        for fit, future in zip(fits, futures, strict=True):
            self._check_open()
            if future is None:
                yield from fit()
                continue
            self._turn.release()
            try:
                result = future.result()
            finally:
                self._turn.acquire()
            yield from result

    def _check_open(self) -> None:
        if self._ended.is_set():
            raise KeyboardInterrupt

    def _hand_out(self, connection: Connection, child: subprocess.Popen[bytes]) -> None:
        """Send a worker one fit after another."""
        with connection:
            while (found := self._waiting.get()) is not None:
                fit, future = found
                try:
                    future.set_result(_ask(connection, fit))
                except (EOFError, OSError):
                    future.set_exception(self._why(child))
                except BaseException as error:
                    future.set_exception(error)

    def _why(self, child: subprocess.Popen[bytes]) -> BaseException:
        if self._ended.is_set():
            return KeyboardInterrupt()
        return AffektError(
            f"a process that trained a member ended with {child.wait()} (is memory short?); what "
            "was trained is kept. Run the same command again, with --n-jobs 1"
        )


def _is_ours(head: type) -> bool:
    return head.__module__.startswith("affekt.classify.heads.")


def _started(number: int) -> subprocess.Popen[bytes]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return start_child(
        ["-c", CODE, str(number)],
        {**os.environ, **threads},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if _has_number(sys.stderr) else subprocess.DEVNULL,
        pass_fds=(number,),
    )


def _has_number(stream: Any) -> bool:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return stream.fileno() >= 0
    return False


def _ask(connection: Connection, fit: Fit) -> list[tuple[float, Model]]:
    connection.send(replace(fit, on_epoch=None))
    while True:
        kind, value = connection.recv()
        if kind == "epoch":
            if fit.on_epoch is not None:
                fit.on_epoch(value)
        elif kind == "error":
            raise value
        else:
            return [from_numbers(*one) for one in value]


def rarely(
    call: Callable[[Mapping[str, Any]], object], pause: float, last: float = 0.0
) -> Callable[[Mapping[str, Any]], None]:
    """Return what calls a function with an epoch, but not more often than every `pause` seconds."""

    def on_epoch(row: Mapping[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last >= pause:
            last = time.monotonic()
            call(row)

    return on_epoch


def serve() -> None:
    """Be a worker: fit what comes over the socket, until it is closed."""
    connection = Connection(int(sys.argv[1]))
    given: queue.SimpleQueue[Fit] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, given), daemon=True).start()
    while True:
        fit = given.get()
        fit.on_epoch = rarely(lambda row: connection.send(("epoch", dict(row))), OFTEN)
        try:
            connection.send(("fitted", [as_numbers(*one) for one in fit()]))
        except Exception as error:
            connection.send(("error", sendable(error)))


def as_numbers(score: float, model: Model) -> tuple[float, Model, Any]:
    """Return score, model, and the weights as arrays: tensors would be sent as files."""
    learnt = None
    for head in (model.head, model.head_):
        if "callback" in head.get_params():
            head.set_params(callback=None)
    if hasattr(model.head_, "networks_"):
        learnt = model.head_._learnt()
        del model.head_.networks_
    return score, model, learnt


def from_numbers(score: float, model: Model, learnt: Any) -> tuple[float, Model]:
    """Return score and model of what `as_numbers` returned."""
    if learnt is not None:
        model.head_._restore(*learnt)
    return score, model


def _receive(connection: Connection, given: queue.SimpleQueue[Fit]) -> None:
    """Receive jobs; leave at once when the run has ended."""
    while True:
        try:
            given.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)
        except Exception as error:  # what was sent cannot be made again here
            connection.send(("error", sendable(error)))


def sendable(error: Exception) -> Exception:
    """Return the error; its words if it cannot be made again from its arguments."""
    try:
        made: Any = error.__reduce_ex__(2)  # as pickle does, whatever has been registered
        made[0](*made[1])
    except Exception:
        return AffektError(str(error))
    return error
