"""Locks between processes; each ends with its process, even if that is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError
from .atomic_writes import share

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)  # to write: NFS locks nothing else


@contextmanager
def locked_file(path: Path, *, wait: bool = False) -> Iterator[bool | None]:
    """Lock a file of a cache, which is made if it is not there.

    Yields True while the lock is held, False where another process holds it, and None where there
    are no locks.
    """
    with os.fdopen(os.open(path, _FLAGS, 0o666), "r+b") as file:
        share(file.fileno(), path.parent)
        is_locked = _lock(file.fileno(), wait)
        try:
            yield is_locked
        finally:
            if is_locked and fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked has it open too


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock the folder of a report.

    Parameters
    ----------
    wait : bool
        Wait for another process that holds the lock; by default it is an `InputError`.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with locked(folder):
    ...     print([path.name for path in folder.iterdir()])
    ['.lock']
    >>> list(folder.iterdir())
    []
    """
    path = folder / LOCK
    while True:
        handle = os.open(path, _FLAGS, 0o666)
        if os.fstat(handle).st_size:  # ours is empty
            os.close(handle)
            raise InputError(
                f"report {folder} holds {LOCK}, which no run wrote; name another report, or rename "
                "the file"
            )
        is_locked = _lock(handle, wait)
        if is_locked is False:
            os.close(handle)
            raise InputError(
                f"another run is writing into the report {folder}; wait until it has ended, or "
                "name another report"
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(handle)):
                break
        os.close(handle)  # the run before has just ended, and removed it
    try:
        yield
    finally:
        if fcntl is not None:
            path.unlink(missing_ok=True)
            if is_locked:
                fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _lock(handle: int, wait: bool) -> bool | None:
    """Lock an open file; False if another process holds the lock, None where there are none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True
