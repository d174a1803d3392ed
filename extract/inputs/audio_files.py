"""Read an audio file once: its bytes, their digest, and what identified the file at that moment."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ...cache.errors import AffektError, InputError
from ...cache.files.reading import is_hollow
from ...cache.identity.known_digests import LARGEST
from ...cache.manifest import Manifest
from ..errors import Unusable, stopped
from .missing_files import hint_missing

#: Faults of a disk, a server or this machine, and not of the file that was asked for.
_MACHINE = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENOMEM", "EMFILE", "ENFILE", "ESTALE", "ETIMEDOUT", "EREMOTEIO", "EAGAIN")
    if hasattr(errno, name)
)
_PAUSES = (0.1, 1.0)  # before a read is tried again, in seconds


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A file as it was read.

    Attributes
    ----------
    data : bytes
        The whole content.
    digest : str
        sha256 of `data`, hex.
    stat : os.stat_result
        Of the open file, taken before it was read.
    """

    data: bytes
    digest: str
    stat: os.stat_result


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error is a fault of a disk, a server or this machine, and not of a file.

    Examples
    --------
    >>> is_of_the_machine(OSError(errno.EIO, "Input/output error")), is_of_the_machine(ValueError())
    (True, False)
    """
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _MACHINE


def machine_fault(what: object, error: BaseException, tries: int = 1) -> AffektError:
    """Return the error that ends a run without blaming a clip."""
    reason = getattr(error, "strerror", None) or str(error) or "out of memory"
    tried = "" if tries == 1 else f", tried {tries} times"
    return stopped(f"{what}: {reason}; a fault of the disk or the system{tried}")


def read_file(path: Path) -> FileBytes:
    """Read and hash a file.

    Raises
    ------
    Unusable
        ``missing``, ``denied``, ``not_a_file``, ``bad_path``, ``too_large``, or ``changed`` if
        it was written to meanwhile.
    AffektError
        The disk or this machine fails, and keeps failing.

    Examples
    --------
    >>> read_file(Path("no/such.wav"))
    Traceback (most recent call last):
    ...
    affekt.extract.errors.Unusable: no file no/such.wav
    """
    pauses = list(_PAUSES)
    while True:
        try:
            return _read(path)
        except Unusable:
            raise
        except FileNotFoundError:
            raise Unusable("missing", f"no file {path}") from None
        except NotADirectoryError:
            raise Unusable("missing", f"no file {path}: a part of it is not a folder") from None
        except PermissionError:
            raise Unusable("denied", f"no permission to read {path}") from None
        except (OSError, ValueError, MemoryError) as error:
            if not is_of_the_machine(error):
                raise _bad_path(str(path), error) from None
            if not pauses:
                raise machine_fault(path, error, len(_PAUSES) + 1) from error
            time.sleep(pauses.pop(0))


def clip_file(clips: Manifest, position: int) -> Path:
    """Return the path of a clip's file; it need not exist."""
    try:
        return clips.file(position)
    except InputError as error:
        message = str(error).removeprefix(f"{clips.place(position)}: ")
        raise Unusable("outside", message) from None
    except (OSError, ValueError) as error:
        if is_of_the_machine(error):
            raise machine_fault(clips["path"][position], error) from error
        raise _bad_path(clips["path"][position], error) from None


def read_clip(clips: Manifest, position: int) -> FileBytes:
    """Read and hash the file of a clip.

    Raises
    ------
    Unusable
        As `read_file` and `clip_file`; where the file is missing, with a hint at what is there.
    AffektError
        As `read_file`.
    """
    path = clip_file(clips, position)
    try:
        return read_file(path)
    except Unusable as error:
        if error.code != "missing":
            raise
        hint = hint_missing(path, clips["path"][position], Path(clips.root), clips.source)
        raise Unusable("missing", error.message + hint) from None


class ClipReader:
    """Reads the files of clips, each once where the clips of one file follow each other."""

    def __init__(self) -> None:
        self._file: FileBytes | None = None

    def read(self, clips: Manifest, position: int, *, more: bool) -> FileBytes:
        """Read and hash the file of a clip; `more` where the next clip is of the same file.

        Raises
        ------
        Unusable, AffektError
            As `read_clip`.
        """
        file = self._file or read_clip(clips, position)
        self._file = file if more else None
        return file


def _bad_path(path: str, error: Exception) -> Unusable:
    shown = path if len(path) <= 120 else f"{path[:80]}...{path[-30:]}"
    reason = getattr(error, "strerror", None) or str(error)
    return Unusable("bad_path", f"cannot read {shown!r}: {reason}")


def refused_by_size(status: os.stat_result) -> Unusable | None:
    """Return why a file is not read, as far as its size shows.

    Examples
    --------
    >>> refused_by_size(os.stat(os.curdir)) is None
    True
    """
    if status.st_size > LARGEST:
        size, limit = status.st_size / 2**30, LARGEST >> 30
        return Unusable("too_large", f"{size:.1f} GiB, the limit is {limit} GiB: split it")
    if is_hollow(status):
        return Unusable(
            "not_audio",
            f"a sparse file: only {status.st_blocks >> 1} KiB of its {status.st_size >> 20} MiB "
            "were written; copy or download it again",
        )
    return None


def _read(path: Path) -> FileBytes:
    if not stat.S_ISREG(path.stat().st_mode):  # before opening: a FIFO would block
        raise Unusable("not_a_file", f"{path} is not a regular file")
    # a path may become a FIFO between the two: opened without waiting, it is looked at again
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(number, "rb") as file:  # noqa: PTH123
        before = os.fstat(number)
        if not stat.S_ISREG(before.st_mode):
            raise Unusable("not_a_file", f"{path} is not a regular file")
        if (refused := refused_by_size(before)) is not None:
            raise refused
        data = file.read()
        after = os.fstat(number)
    if len(data) != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise Unusable("changed", f"{path} was written to while it was being read")
    return FileBytes(data, hashlib.sha256(data).hexdigest(), before)
