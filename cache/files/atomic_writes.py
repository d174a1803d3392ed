"""Files are written whole or not at all: a draft takes the name of the file when it is complete.

A draft is next to its file, or in the folder ``tmp/`` of a cache. Its name says which process
of which host writes it, so that what a killed process left is found and removed. It is made new,
never through a link.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

DRAFT = re.compile(r"(.+)-(\d+)-(?:[0-9a-f]{32}|[0-9a-f]{8})")  # host, process; 8 of older ones
LONGEST = 30  # characters of a file's name kept in its draft's, which must not be too long
DAY = 86_400.0  # seconds
NO_FOLDER_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # of some FUSE and SMB systems


@contextmanager
def written(path: Path, *, tmp: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Yield a draft that takes the place of `path` at the end, and is removed if that fails.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced. Its folder is made, unless `tmp` is given.
    tmp : Path, optional
        Folder ``tmp/`` of a cache for the draft; default: the folder of `path`. A file of a cache
        has the permissions of its folder, any other those that the user's umask leaves.
    durable : bool
        Flush the file and its folder to the disk.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> with written(place) as unfinished:
    ...     _ = unfinished.write_text("whole")
    >>> place.read_text(), [one.name for one in place.parent.iterdir()]
    ('whole', ['a.txt'])
    """
    if tmp is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with draft(path, tmp) as unfinished, naming(path):
        os.close(create(unfinished, tmp))
        yield unfinished
        if durable:
            _sync(unfinished)
        unfinished.replace(path)
    if durable:
        sync_folder(path.parent)


def write_whole(
    path: Path, content: str | bytes | memoryview, *, tmp: Path | None = None, durable: bool = False
) -> None:
    """Write a file of UTF-8 text or bytes; the parameters are those of `written`."""
    data = content.encode() if isinstance(content, str) else content
    with written(path, tmp=tmp, durable=durable) as unfinished:
        unfinished.write_bytes(data)


def write_json(path: Path, value: Any, *, tmp: Path | None = None, durable: bool = False) -> None:
    """Write a value as JSON that people can read; the parameters are those of `written`."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text, tmp=tmp, durable=durable)


@contextmanager
def draft(path: Path, tmp: Path | None = None) -> Iterator[Path]:
    """Yield an unused name for a file or folder, to be renamed to `path`; remove what stays there.

    Drafts of `path` that killed processes left next to it are removed first.
    """
    start = f".{path.name[:LONGEST]}."
    if tmp is None:
        for found in path.parent.iterdir():
            if found.name.startswith(start) and _is_abandoned(found.name.removeprefix(start)):
                with suppress(OSError):  # another user's, or another process was first
                    remove(found)
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"
    unfinished = tmp / name if tmp is not None else path.with_name(start + name)
    try:
        yield unfinished
    finally:
        if tmp is None:
            remove(unfinished)
        else:
            with suppress(OSError):  # one that stays in tmp/ is found by `leftovers`
                remove(unfinished)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file to an error of the system that names none: that of a full disk, say.

    Examples
    --------
    >>> with naming(Path("a.csv")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
        ...
    OSError: [Errno 28] No space left on device: 'a.csv'
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def create(path: Path, shared: Path | None = None) -> int:
    """Create a file that is not there; return its handle.

    With the permissions of the folder `shared`, if that is given.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o666)
    if shared is not None:
        share(handle, shared)
    return handle


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def is_draft(name: str) -> bool:
    """Whether a file in ``tmp/`` has the name of a draft.

    Examples
    --------
    >>> is_draft("host-12-" + 32 * "a"), is_draft("host-12-0123abcd"), is_draft("draft.txt")
    (True, False, False)
    """
    return DRAFT.fullmatch(name) is not None and len(name.rpartition("-")[2]) == 32


def leftovers(tmp: Path) -> list[Path]:
    """Return drafts in ``tmp/`` whose writer is gone: its process has ended, or a day has passed.

    Files of other names stay: they are the user's, or locks that other processes hold.
    """
    found = [path for path in entries(tmp) if is_draft(path.name) and not path.is_dir()]
    return [path for path in found if _is_abandoned(path.name) or _age(path) > DAY]


def share(handle: int, folder: Path) -> None:
    """Give an open file of a cache the group and permissions of its folder, where one may.

    The user's umask does not count, so that people of different umask can share a cache; a folder
    that affekt makes is its owner's alone.
    """
    if hasattr(os, "fchmod"):
        status = folder.stat()
        with suppress(OSError):  # another user's file, or a group that the user is not in
            os.fchown(handle, -1, status.st_gid)
        with suppress(OSError):  # also of a file system without permissions
            os.fchmod(handle, stat.S_IMODE(status.st_mode) & 0o666 | 0o600)  # its owner's, always


def share_folder(folder: Path) -> None:
    """Give a new folder of a cache the group and permissions of the one that it is in."""
    if hasattr(os, "chown"):
        status = folder.parent.stat()
        with suppress(OSError):
            os.chown(folder, -1, status.st_gid)
        with suppress(OSError):
            folder.chmod(stat.S_IMODE(status.st_mode))


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, where the file system has a call for it."""
    if os.name == "nt":  # Windows has no such call; its file system keeps a journal of names
        return
    try:
        _sync(folder, os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in NO_FOLDER_FLUSH:
            raise


def _sync(path: Path, flags: int = 0) -> None:
    handle = os.open(path, (os.O_RDWR if os.name == "nt" else os.O_RDONLY) | flags)
    try:
        with naming(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted; an empty list if there is no such folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_abandoned(name: str) -> bool:
    """Whether a name is that of a draft of a process of this host that has ended."""
    found = DRAFT.fullmatch(name)
    return found is not None and found[1] == socket.gethostname() and not _is_alive(int(found[2]))


def _is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
