"""Fit models on the backend that `joblib.parallel_config` names: threads, loky, Dask or Ray."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

from .side_by_side import Fit, SideBySide, as_numbers, from_numbers, sendable


class JoblibWorkers(SideBySide):
    """Stands in for `SideBySide` where a backend was chosen.

    What waits to be fitted is handed to joblib together, and again when that is done. Each fit
    holds linear algebra to one thread, as everywhere: the numbers are those of one process.

    Parameters
    ----------
    backend : joblib backend
    n_jobs : int
    """

    def __init__(self, backend: Any, n_jobs: int) -> None:
        super().__init__(0)
        self._config: dict[str, Any] = {"backend": backend, "n_jobs": n_jobs}

    @property
    def name(self) -> str:
        """Description of the workers, for messages."""
        return f"workers of {type(self._config['backend']).__name__}"

    @classmethod
    def chosen(cls) -> JoblibWorkers | None:
        """Return the workers that `joblib.parallel_config` selects; None by default."""
        n_jobs = Parallel().n_jobs
        return None if n_jobs == 1 else cls(get_active_backend()[0], n_jobs)

    def __enter__(self) -> JoblibWorkers:
        from ...heads.search import let_workers_stop

        let_workers_stop()
        threading.Thread(target=self._hand_over, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._waiting.put(None)

    def _hand_over(self) -> None:
        with parallel_config(**self._config):
            while (first := self._waiting.get()) is not None:
                together = [first]
                while (more := self._next()) is not None:
                    together.append(more)
                fits = [replace(fit, on_epoch=None) for fit, _ in together]
                try:
                    found: Any = Parallel()(delayed(_fitted)(fit) for fit in fits)
                except BaseException as error:
                    found = [("error", error)] * len(together)
                for (_, future), (kind, value) in zip(together, found, strict=True):
                    if kind == "error":
                        future.set_exception(value)
                        continue
                    future.set_result([from_numbers(*one) for one in value])

    def _next(self) -> Any:
        """Return what is waiting; None if nothing is, or if everything has ended."""
        try:
            found = self._waiting.get_nowait()
        except queue.Empty:
            return None
        if found is None:
            self._waiting.put(None)
        return found


def _fitted(fit: Fit) -> tuple[str, Any]:
    """Fit in a worker, on one thread."""
    from threadpoolctl import threadpool_limits

    from ...heads.training.loop import cpu_threads

    try:
        with threadpool_limits(limits=1), cpu_threads(1):
            return "fitted", [as_numbers(*one) for one in fit()]
    except Exception as error:
        return "error", sendable(error)
