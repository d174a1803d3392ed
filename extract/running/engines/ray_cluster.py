"""A Ray cluster to run on: one that is there, or one of this machine for the time of a run."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ....cache.errors import AffektError, InputError, first_line

try:
    import fcntl
except ImportError:  # on Windows what a killed run left in the temporary folder stays
    fcntl = None

_TEMPORARY = "affekt-ray-"
_RAYS = ("session_", "ray_", "prom_")  # how the names of what Ray writes there begin
_MEMORY = 80 << 20  # bytes of Ray's store, which needs 75 MB; rows go to the disk, not there


def import_ray() -> Any:
    """Return Ray."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "`engine='ray'` needs Ray, which is not installed: pip install 'affekt[ray]'"
        ) from None
    return ray


@contextmanager
def connected(ray: Any, address: str | None, workers: int) -> Iterator[None]:
    """Use the cluster that the process is connected to, or connect and leave again.

    Parameters
    ----------
    ray : module
    address : str, optional
        Of a cluster, or ``auto`` for one that this machine is part of. Without one, and without
        the variable RAY_ADDRESS, a cluster of this machine is started and ended.
    workers : int
        Processes that a cluster of this machine has room for, however few its processors are.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    local = address == "local"
    with _own_signals() as restore, _temporary() if local else nullcontext() as folder:
        try:
            with chdir(sys.prefix):  # where workers look for modules, before anything of ours runs
                if local:
                    own = {"num_cpus": workers, "object_store_memory": _MEMORY, "_temp_dir": folder}
                    _init(ray, address=address, include_dashboard=False, **own)
                else:
                    _init(ray, address=address)
            restore()
            yield
        finally:
            ray.shutdown()


def places(ray: Any, gpus: float) -> tuple[int, int]:
    """Return how many workers a cluster has room for, and the processors of each.

    Parameters
    ----------
    ray : module
    gpus : float
        That a worker takes. With GPUs the processors of a machine are shared among its workers;
        without, each takes one.
    """
    room, each = 0, []
    for node in ray.nodes():
        resources = node["Resources"] if node["Alive"] else {}
        processors = int(resources.get("CPU", 0))
        if not gpus:
            room += processors
        elif fit := int(resources.get("GPU", 0) / gpus + 1e-9):
            room += fit
            each.append(processors // fit)
    return max(room, 1), max(1, min(each, default=1))


def _init(ray: Any, **options: Any) -> None:
    """Start or join a cluster; Ray ends with 15 on SIGTERM meanwhile, and raises any exception."""
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except SystemExit as end:
        raise SystemExit(128 + signal.SIGTERM if end.code == signal.SIGTERM else end.code) from None
    except Exception as error:  # of several kinds, and a bare Exception where a node is too slow
        if options["address"] == "local":
            what, remedy = "could not start", "run the same command again, or without --engine ray"
        else:
            what = f"found no cluster at {options['address']}"
            remedy = "start one (ray start --head), or leave --address out to use this machine"
        raise AffektError(f"Ray {what} ({first_line(error)[:200]}); {remedy}") from error


@contextmanager
def _temporary() -> Iterator[str]:
    """Yield a folder with a short path, as Ray's sockets need it; remove it in the end.

    Folders that killed runs left are removed first: their locks are free, and they
    hold nothing but what Ray writes.
    """
    top = Path(tempfile.gettempdir())
    if len(str(top)) > 30:  # a socket's path has 107 characters at most, and Ray adds 70
        top = Path("/tmp")
    for left in top.glob(f"{_TEMPORARY}*") if fcntl is not None else ():
        with suppress(OSError), _locked(left):
            if all(one.name.startswith(_RAYS) for one in left.iterdir()):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=top))
    try:
        with _locked(folder):
            yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder; another process that does so raises BlockingIOError here."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_uid != os.getuid():
            raise PermissionError(f"{folder} is another user's")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


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
