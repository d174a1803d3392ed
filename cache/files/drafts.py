"""A file for the user is made beside its place, and takes it only when all of it is there."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .durable import is_alive


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """Give an unused name beside `out`, to be renamed to it; what stays there is removed.

    A process that was killed could not remove its own, so those of `out` are removed first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     with beside(Path(name, "out.txt")) as unfinished:
    ...         _ = unfinished.write_text("all of it")
    ...         _ = unfinished.rename(Path(name, "out.txt"))
    ...     [path.name for path in Path(name).iterdir()]
    ['out.txt']
    """
    for path in _abandoned(out):
        with suppress(OSError):  # another user's, or another process was first: it is in no way
            _remove(path)
    path = out.with_name(f"{_start(out)}{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield path
    finally:
        _remove(path)


def _start(out: Path) -> str:
    """Return how unfinished files of this host for `out` begin: elsewhere, pids mean others."""
    return f".{out.name}.{socket.gethostname()}-"


def _abandoned(out: Path) -> list[Path]:
    """Return unfinished files for `out` of processes of this host that have ended."""
    found = []
    for path in out.parent.iterdir():
        if path.name.startswith(_start(out)):
            pid, _, rest = path.name.removeprefix(_start(out)).partition("-")
            if pid.isdecimal() and len(rest) == 8 and not is_alive(int(pid)):
                found.append(path)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
