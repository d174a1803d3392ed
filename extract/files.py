"""Read an audio file once: its bytes, their digest, and what identified the file at that moment."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import Unusable

__all__ = ["LARGEST", "FileBytes", "read_file"]

#: Files are read whole, so that what is decoded is what was hashed; not beyond this, in bytes.
LARGEST = 2 << 30


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


def read_file(path: Path) -> FileBytes:
    """Read and hash a file.

    Raises
    ------
    Unusable
        ``missing``, ``denied``, ``not_a_file``, ``too_large``, or ``changed`` if somebody wrote
        to it meanwhile.

    Examples
    --------
    >>> read_file(Path("no/such.wav"))
    Traceback (most recent call last):
    ...
    affekt.extract.errors.Unusable: no file no/such.wav
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before opening: a FIFO would wait for ever
            raise Unusable("not_a_file", f"{path} is no regular file")
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > LARGEST:
                size, limit = before.st_size / 2**30, LARGEST >> 30
                raise Unusable("too_large", f"{size:.1f} GiB, the limit is {limit} GiB: split it")
            data = file.read()
            after = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("missing", f"no file {path}") from None
    except PermissionError:
        raise Unusable("denied", f"no permission to read {path}") from None
    except OSError as error:
        raise Unusable("denied", f"cannot read {path}: {error.strerror}") from error
    if len(data) != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise Unusable("changed", f"{path} was written to while it was read")
    return FileBytes(data, hashlib.sha256(data).hexdigest(), before)
