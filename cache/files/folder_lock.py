"""One process at a time writes into the folder of a report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

if os.name == "nt":
    fcntl = None
else:
    import fcntl

LOCK = ".lock"


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder; the lock ends with the process, even if it is killed.

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
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        handle = os.open(path, flags, 0o666)
        if os.fstat(handle).st_size:  # ours is empty
            os.close(handle)
            raise InputError(
                f"report {folder} holds {LOCK}, which no run wrote; name another report, or rename "
                "the file"
            )
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise InputError(
                f"another run is writing into the report {folder}; wait until it has ended, or "
                "name another report"
            ) from None
        except OSError:  # a file system without locks
            pass
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(handle)):
                break
        os.close(handle)  # the run before has just ended, and removed it
    try:
        yield
    finally:
        if fcntl is not None:
            path.unlink(missing_ok=True)
            fcntl.flock(handle, fcntl.LOCK_UN)  # a child that was forked has it open too
        os.close(handle)
