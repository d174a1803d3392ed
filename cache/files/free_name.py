"""Names that are free; and moving a file to one where the file system has no hard links.

A rename replaces what is there, so two writers must not both find the name free. Linux has a rename
that does not replace; where the file system does not offer it, a lock is held meanwhile; where it
has no locks either, a file that only one process can create serves as one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from .atomic_writes import create
from .file_locks import locked_file

_HERE, _NO_REPLACE = -100, 1  # AT_FDCWD and RENAME_NOREPLACE of Linux
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_LOCK = "rename.lock"
_PATIENCE = 60.0  # seconds to wait for the holder of a file that serves as a lock


def free_path(path: Path) -> Path:
    """Return the path, or the first of ``a-2.txt``, ``a-3.txt`` ... that nothing has.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.txt")
    >>> path.touch()
    >>> free_path(path).name
    'a-2.txt'
    """
    found, number = path, 1
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def move_to_free_name(path: Path, target: Path) -> bool:
    """Rename a draft to a name on the same file system; never replace a file.

    Parameters
    ----------
    path : Path
        In the folder ``tmp/`` of a cache, where a lock may be.

    Returns
    -------
    bool
        True if it was moved, False if there was a file of that name.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("one", "two"):
    ...     _ = (folder / name).write_text(name)
    >>> [move_to_free_name(folder / name, folder / "new") for name in ("one", "two")]
    [True, False]
    >>> (folder / "new").read_text()
    'one'
    """
    try:
        moved = _rename_without_replacing(path, target)
        if moved is not None:
            return moved
        with _alone_in(path.parent):
            if os.path.lexists(target):
                return False
            path.rename(target)
            return True
    except FileExistsError:  # Windows
        return False
    except OSError as error:
        if error.filename == str(path):  # the draft says nothing to a user
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _rename_without_replacing(path: Path, target: Path) -> bool | None:
    """Rename in one step; None where the system or the file system cannot."""
    rename = _renameat2()
    if rename is None:
        return None
    if rename(_HERE, os.fsencode(path), _HERE, os.fsencode(target), _NO_REPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number in _UNSUPPORTED:
        return None
    raise OSError(number, os.strerror(number), str(target))


@cache
def _renameat2() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is not None:
        found.argtypes = [
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_uint,
        ]
    return found


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock a folder, so that only one of several processes renames to a name that is free."""
    with locked_file(folder / _LOCK, wait=True) as is_locked:
        if is_locked or os.name == "nt":  # on Windows a rename never replaces
            yield
            return
        with _created(folder / f"{_LOCK}.held"):
            yield


@contextmanager
def _created(path: Path) -> Iterator[None]:
    """Hold what only one process can create; after a kill it stays, and has to be removed."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            os.close(create(path, path.parent))
            break
        except FileExistsError:
            if time.monotonic() > end:
                raise OSError(
                    errno.EDEADLK,
                    "the file system has neither hard links nor locks, and another process holds "
                    "this file or left it behind: if no process is extracting into this cache, "
                    "remove it",
                    str(path),
                ) from None
            time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
