"""How a file becomes part of a cache: whole, on the disk, or not at all.

Written as a draft in ``tmp/``, flushed to the disk, linked under its name, the folder flushed; only
then is it reported stored. Nothing in a cache is ever written in place, so a reader sees a whole
file or none, two writers never meet, and a crash at any moment leaves at worst a file in ``tmp/``
that is never read.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from .atomic_writes import create, draft, naming, share_folder, sync_folder
from .cache_marker import check_cache_folder, mark
from .free_name import free_path, move_to_free_name
from .reading import file_sha256

NO_LINKS = {
    *(errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK),
    *(errno.EXDEV, errno.EACCES, errno.EINVAL),  # of some network file systems, which can rename
}


def content_name(data: bytes | memoryview, suffix: str) -> str:
    """Return the name of an immutable file: 24 hex of the sha256 of its bytes.

    Examples
    --------
    >>> content_name(b"", ".h5")
    'e3b0c44298fc1c149afbf4c8.h5'
    """
    return hashlib.sha256(data).hexdigest()[:24] + suffix


def publish(data: bytes | memoryview, target: Path, tmp: Path) -> bool:
    """Put a new file in place durably; never replace one that is there.

    Parameters
    ----------
    data : bytes
        The whole file.
    target : Path
        Where it goes. Its folder is there and durable (see `make_folder`).
    tmp : Path
        Folder on the same file system for the unfinished file.

    Returns
    -------
    bool
        True if the file was put there, False if one of that name was there already.

    Raises
    ------
    OSError
        Disk full, no permission, or a failing disk. Nothing was stored, nothing is left behind.
    """
    with flushed([data], tmp) as (path, _):
        return put(path, target)


def put(path: Path, target: Path) -> bool:
    """Give a durable file its name durably; never replace one that is there.

    Returns
    -------
    bool
        True if the file was put there, False if one of that name was there already.
    """
    new = _link(path, target)
    sync_folder(target.parent)  # also for a file of another process, which may not have done it
    return new


def put_content(path: Path, digest: str, target: Path, top: Path) -> None:
    """Give a durable file with this sha256 the name of its content in the cache `top`.

    What is damaged and has that name is set aside, in ``quarantine/``.
    """
    while not put(path, target):
        try:
            if file_sha256(target) == digest:
                return
            set_aside(target, top / "quarantine", top)
        except FileNotFoundError:  # merged into another file, or set aside by others: once more
            continue


@contextmanager
def flushed(pieces: Iterable[bytes | memoryview], tmp: Path) -> Iterator[tuple[Path, str]]:
    """Write a draft and flush it to the disk; it is removed in the end.

    A flush that fails is not tried again: the system may have dropped the data by then.

    Parameters
    ----------
    pieces : iterable of bytes
        The file, one piece after another.
    tmp : Path
        Folder for it.

    Yields
    ------
    path : Path
        The draft.
    digest : str
        sha256 (hex) of its bytes.
    """
    state = hashlib.sha256()
    with draft(tmp, tmp) as path:
        handle = create(path, tmp)
        try:
            for piece in pieces:
                with naming(path):
                    left = memoryview(piece)
                    while left:
                        left = left[os.write(handle, left) :]
                state.update(piece)
            with naming(path):
                os.fsync(handle)
        finally:
            os.close(handle)
        yield path, state.hexdigest()


def make_folder(path: Path, top: Path) -> None:
    """Make a folder and those above it, so that they stay.

    From the one that holds `top` down, each is flushed even if it was there: the process that made
    it may not be done yet. Of those further up, only what is made here is flushed. `top` is
    made for its owner alone, and those in it have the permissions of the folder they are in.
    """
    check_cache_folder(top)
    inside = [path, *(p for p in path.parents if p.is_relative_to(top))]
    above = takewhile(lambda folder: not folder.exists(), top.parents)
    for folder in reversed([*inside, *above]):
        made = _make(folder, 0o700 if folder == top else 0o777)
        if made and folder != top and folder.is_relative_to(top):
            share_folder(folder)
        try:
            sync_folder(folder.parent)
        except PermissionError:
            if made or folder not in (top, *top.parents):
                raise  # only a folder above the cache may be one that cannot be listed
    mark(top)


def set_aside(path: Path, folder: Path, top: Path) -> Path:
    """Move a file into a folder below `top` durably, under a name that is free; return it."""
    make_folder(folder, top)
    target = free_path(folder / path.name)
    path.rename(target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def _make(folder: Path, mode: int = 0o777) -> bool:
    """Make a folder; return False if it was there."""
    try:
        folder.mkdir(mode)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def _link(path: Path, target: Path) -> bool:
    """Link, not rename: a link never replaces a file."""
    try:
        os.link(path, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise OSError(error.errno, error.strerror, str(target)) from error
        return move_to_free_name(path, target)
    return True
