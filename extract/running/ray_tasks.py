"""Extraction on a Ray cluster: each task takes a share of the clips, into the same cache.

The cache, the manifest's root and the encoder must be reachable under the same paths on every
machine (a shared file system). Ray is the extra ``affekt[ray]``, imported here only.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ...cache.errors import AffektError, InputError
from ...cache.manifest import Manifest
from ..encoder import Encoder
from ..encoder_names import is_code
from .extraction import Extraction
from .jobs import add, make_jobs, reraise, run_job
from .progress import Report

__all__ = ["embed_on_ray"]

_CLIPS_PER_TASK = 2000  # what a task may lose if its machine dies, at most


def embed_on_ray(
    clips: Manifest,
    positions: np.ndarray,
    encoder: Encoder,
    done: Extraction,
    report: Report,
    workers: int | None,
) -> None:
    """Deal the clips out as tasks, and add up what they tell.

    Raises
    ------
    InputError
        Ray is not installed.
    AffektError
        Workers died, or Ray could not start.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "engine='ray' needs Ray, which is not installed: pip install 'affekt[ray]'"
        ) from None
    on_gpu = encoder.backend.on_gpu
    count = workers or max(1, -(-len(positions) // _CLIPS_PER_TASK))
    jobs = make_jobs(clips, positions, encoder, done, count)
    for job in jobs:
        job |= {name: str(Path(job[name]).absolute()) for name in ("cache", "root")}
        job["threads"] = 1
        name = job["encoder"]["name"]
        if not is_code(name) and Path(name).expanduser().is_dir():
            job["encoder"]["name"] = str(Path(name).expanduser().absolute())
        if on_gpu:  # Ray shows each task its own device
            job["encoder"]["device"] = "cuda"
    errors: list[AffektError] = []
    try:
        with _connected(ray):
            task = ray.remote(num_cpus=1, num_gpus=1 if on_gpu else 0, max_retries=2)(_task)
            waiting = {task.remote(job): len(job["rows"]) for job in jobs}
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1)
                for one in ready:
                    rows = waiting.pop(one)
                    told = ray.get(one)
                    if "error" in told:
                        errors.append(reraise(told["error"]))
                        continue
                    add(done, told)
                    report(rows, told["audio_seconds"])
    except (ray.exceptions.RayError, ConnectionError, TimeoutError) as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        said = next((line for line in plain.splitlines() if line.strip()), "")
        raise AffektError(
            f"Ray failed with {type(error).__name__} ({said.strip()[:200]}); what was stored is "
            "kept. Run the same command again to go on"
        ) from error
    if errors:
        raise errors[0]


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """Use the cluster that the process is connected to, or connect and leave again."""
    if ray.is_initialized():
        yield
        return
    with _own_signals() as restore:
        try:
            with chdir(sys.prefix):  # where workers look for modules, before anything of ours runs
                _init(ray)
            restore()
            yield
        finally:
            ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[Callable[[], None]]:
    """Keep our handlers of signals and their exit codes; yield what puts the handlers back.

    Ray puts a handler of its own in place of ours, and a `SystemExit` that a handler raises while
    Ray waits leaves it with exit code 1.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        handler = before[number]
        if callable(handler):
            handler(number, frame)

    def restore(handlers: Mapping[int, Any]) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)

    noted = {number: note if callable(handler) else handler for number, handler in before.items()}
    try:
        restore(noted)
        yield lambda: restore(noted)
    except SystemExit:
        if received:
            raise SystemExit(128 + received[-1]) from None
        raise
    finally:
        restore(before)


def _init(ray: Any) -> None:
    """Start or join a cluster; Ray ends with 15 on SIGTERM meanwhile, and raises bare exceptions.

    Raises
    ------
    AffektError
        It could not start.
    """
    try:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    except SystemExit as end:
        raise SystemExit(128 + signal.SIGTERM if end.code == signal.SIGTERM else end.code) from None
    except Exception as error:  # of several kinds, and a bare Exception where a node is too slow
        raise AffektError(
            f"Ray could not start ({str(error)[:200]}); run the same command again, or without "
            "--engine ray"
        ) from error


def _task(job: dict[str, Any]) -> dict[str, Any]:
    """Be a task; errors travel as values, since their classes may not unpickle elsewhere."""
    try:
        return run_job(job, lambda clips, seconds: None)
    except AffektError as error:
        told = {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        return {"error": {**told, "layers": getattr(error, "layers", [])}}
    except OSError as error:
        return {"error": {"kind": "OSError", "message": str(error), "exit_code": 1}}
