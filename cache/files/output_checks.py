"""Where a command may write: never over what it reads, nor over a file that it did not write."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from .cache_marker import cache_above

HEAD = 65_536  # bytes of a file that show what it is


def check_output(
    option: str,
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]] = (),
    ours: Callable[[bytes], bool] | None = None,
    advice: str = "choose another name, or remove it first",
) -> None:
    """Check, before any work, that a file can be written and that nothing of the user's is lost.

    Parameters
    ----------
    option : str
        As the user wrote it, for the message: ``-o``.
    path : path
        Its folder is made.
    inputs : iterable of path
        Files that are read.
    ours : callable, optional
        Whether a file that is there, given its first 64 KiB, was written by this command; by
        default none was. A file without content may be replaced.
    advice : str
        What to do about a file of another origin.

    Examples
    --------
    >>> check_output("-o", "/dev/null")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: -o /dev/null is not a regular file; choose a new name
    """
    path = _named(option, path, inputs)
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; expected the name of a file")
    if os.path.lexists(path):
        if not path.is_file():
            raise InputError(f"{option} {path} is not a regular file; choose a new name")
        _refuse_input(option, path, inputs)
        head = _head(option, path)
        if head and not (ours is not None and ours(head)):
            why = ", and this command did not write it, or it was changed since" if ours else ""
            raise InputError(f"{option} {path} already exists{why}; {advice}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(option, path, error) from None
    check_takes_files(option, path, path.parent)


def check_output_folder(
    option: str, path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check, before any work, that a folder is there or can be made, and takes files.

    Parameters
    ----------
    option : str
        As the user wrote it, for the message: ``-o``.
    path : path
        Nothing is made.
    inputs : iterable of path
        Files and folders that are read.
    """
    path = _named(option, path, inputs)
    if os.path.lexists(path):
        if not path.is_dir():
            raise InputError(f"{option} {path} is not a folder; expected a folder")
        _refuse_input(option, path, inputs)
    check_takes_files(option, path)


def check_takes_files(what: str, path: Path, folder: Path | None = None) -> None:
    """Check that a folder takes files, or can be made, by writing and removing one.

    Asking for the permissions is not enough: a disk may be mounted read-only, or full.

    Parameters
    ----------
    what : str
        The word for it in messages.
    path : path
        What is to be written; nothing is made.
    folder : path, optional
        Where a file is written; by default `path`, or what it would be made in.

    Examples
    --------
    >>> check_takes_files("cache", Path("/proc/my.cache"))
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: cache /proc/my.cache cannot be written: ...
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # a name may be too long
        folder = folder or path
        above = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
        if not above.is_dir():
            raise InputError(f"{what} {path}: {above} is a file; expected a folder")
        with tempfile.TemporaryFile(dir=above) as file:
            file.write(bytes(4096))  # a full disk takes the name, but not the content
    except OSError as error:
        raise _cannot(what, path, error) from None


def _cannot(what: str, path: Path, error: OSError) -> InputError:
    over_quota = getattr(errno, "EDQUOT", -1)  # not everywhere
    advice = {
        errno.EROFS: "; mount its disk for writing, or choose another path",
        errno.EACCES: "; ask its owner for write permission, or choose another path",
        errno.EFBIG: "; raise the limit on the size of files (ulimit -f)",
        errno.ENOSPC: "; free some space, or choose another path",
        over_quota: "; your quota is used up: free some space, or choose another path",
    }.get(error.errno or 0, "; choose another path")
    return InputError(f"{what} {path} cannot be written: {error.strerror}{advice}")


def _named(
    option: str, path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]
) -> Path:
    """Return a path that is neither blank, nor a link, nor in a cache."""
    if not os.fspath(path):
        raise InputError(f"{option} is blank; expected a path")
    path = Path(path)
    if cache := cache_above(path):
        raise InputError(f"{option} {path} is inside the cache {cache}; choose another place")
    if path.is_symlink():
        if path.exists():
            _refuse_input(option, path, inputs)
        raise InputError(f"{option} {path} is a symbolic link; give the path that it points to")
    return path


def _refuse_input(option: str, path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    there = path.stat()
    for one in inputs:
        if _is(there, one):
            raise InputError(
                f"{option} {path} is the input {os.fspath(one) or os.curdir}; choose another name"
            )


def _is(there: os.stat_result, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(there, Path(path).stat())
    except (OSError, ValueError):  # reported where it is read
        return False


def _head(option: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be read: {error.strerror}") from None
