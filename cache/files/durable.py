"""How a file becomes part of a cache: whole, on the disk, or not at all.

Written beside, flushed to the disk, linked under its name, the folder flushed; only then is it
reported stored. Nothing in a cache is ever written in place, so a reader sees a whole file or none,
two writers never meet, and a crash at any moment leaves at worst a file in ``tmp/`` that nobody
reads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from .marker import check_cache_folder, is_temporary, mark
from .permissions import share

NO_LINKS = {
    *(errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK),
    *(errno.EXDEV, errno.EACCES),  # of AFS and some network file systems, where a rename is allowed
}
NO_FOLDER_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # of some FUSE and SMB systems
DAY = 86_400.0  # seconds
LOCK = "compact-"  # how the locks of compactions are called


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
    beside, _ = write_beside([data], tmp)
    try:
        return put(beside, target)
    finally:
        discard(beside)


def put(beside: Path, target: Path) -> bool:
    """Give a durable file its name durably; never replace one that is there.

    Returns
    -------
    bool
        True if the file was put there, False if one of that name was there already.
    """
    new = _link(beside, target)
    sync_folder(target.parent)  # also for a file of another process, which may not have done it
    return new


def replace(data: bytes | memoryview, target: Path, tmp: Path) -> None:
    """Put a file in place durably, over one that is there."""
    beside, _ = write_beside([data], tmp)
    try:
        beside.replace(target)
        sync_folder(target.parent)
    finally:
        discard(beside)


def write_beside(pieces: Iterable[bytes | memoryview], tmp: Path) -> tuple[Path, str]:
    """Write a file of an unused name in `tmp` and flush it to the disk.

    A flush that fails is not tried again: the system may have dropped the data by then.

    Parameters
    ----------
    pieces : iterable of bytes
        The file, one piece after another.
    tmp : Path
        Folder for it.

    Returns
    -------
    path : Path
        The file.
    digest : str
        sha256 (hex) of its bytes.
    """
    path = unused(tmp)
    state = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        try:
            share(handle, tmp)
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(handle, left) :]
                state.update(piece)
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:
        discard(path)
        raise
    return path, state.hexdigest()


def unused(tmp: Path) -> Path:
    """Return an unused name in `tmp`, which tells `leftovers` whose it is."""
    return tmp / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"


def discard(beside: Path) -> None:
    """Remove an unfinished file, if it can be: one that stays is found by `leftovers`."""
    with suppress(OSError):
        beside.unlink()


def file_digest(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes; of a pipe or a device, which has no end, none."""
    if not stat.S_ISREG(path.stat().st_mode):
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path, top: Path) -> None:
    """Make a folder and those above it, so that they stay.

    From the one that holds `top` down, each is flushed even if it was there: the process that made
    it may not have come so far. Of those further up, only what is made here is flushed. `top` is
    made for its owner alone, and those in it have the permissions of the folder they are in.
    """
    check_cache_folder(top)
    inside = [path, *(p for p in path.parents if p.is_relative_to(top))]
    above = takewhile(lambda folder: not folder.exists(), top.parents)
    for folder in reversed([*inside, *above]):
        made = _make(folder, 0o700 if folder == top else 0o777)
        if made and folder != top and folder.is_relative_to(top):
            with suppress(OSError):  # of a file system without permissions
                folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))
        try:
            sync_folder(folder.parent)
        except PermissionError:
            if made or folder not in (top, *top.parents):
                raise  # only what holds a cache may be a folder that one may not list
    mark(top)


def set_aside(path: Path, folder: Path, top: Path) -> Path:
    """Move a file into a folder below `top` durably, under a name that is free; return it."""
    make_folder(folder, top)
    target = folder / path.name
    while os.path.lexists(target):
        target = target.with_name(f"{target.stem}+{target.suffix}")
    path.rename(target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, where the file system has a call for it."""
    if os.name == "nt":  # Windows has no such call; its file system keeps a journal of names
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(handle)


def leftovers(tmp: Path) -> list[Path]:
    """Return unfinished files whose writer is gone: its process has ended, or a day has passed.

    Files of other names stay: they are the user's, or the lock of a compaction, which would be none
    if it was removed while it is held.
    """
    found = []
    for path in tmp.iterdir() if tmp.is_dir() else ():
        if not is_temporary(path.name) or path.is_dir():
            continue
        host, pid, _ = [*path.name.rsplit("-", 2), "", ""][:3]
        gone = host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid))
        if gone or _age(path) > DAY:
            found.append(path)
    return sorted(found)


def _make(folder: Path, mode: int = 0o777) -> bool:
    """Make a folder; return False if it was there."""
    try:
        folder.mkdir(mode)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def _link(beside: Path, target: Path) -> bool:
    """Link, not rename: a link never replaces a file."""
    try:
        os.link(beside, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise OSError(error.errno, error.strerror, str(target)) from error
        with _alone_in(target.parent):
            if os.path.lexists(target):
                return False
            beside.rename(target)
    return True


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, so that of two processes only one renames to a name that is free."""
    try:
        import fcntl
    except ImportError:  # on Windows a rename never replaces
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system that locks nothing
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
