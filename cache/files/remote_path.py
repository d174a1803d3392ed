"""A file in the storage that an address of fsspec names, where a local path is expected."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import AffektError, InputError
from .home_folder import at_home

ADDRESS = re.compile(r"([a-z][a-z0-9+]+):/+")  # `Path` turns two slashes into one


class RemotePath(PurePosixPath):
    """A path in object storage.

    It is kept as ``s3:/folder/file``, since a path has no double slash; as text it is the address.

    Examples
    --------
    >>> path = RemotePath("s3://bucket/packed.h5")
    >>> path.name, str(path)
    ('packed.h5', 's3://bucket/packed.h5')
    """

    def __str__(self) -> str:
        kind, _, rest = super().__str__().partition(":/")
        return f"{kind}://{rest.lstrip('/')}"

    def _found(self) -> tuple[Any, str]:
        return open_address(str(self))

    def is_file(self) -> bool:
        """Whether there is such a file."""
        files, name = self._found()
        return files.isfile(name)

    def is_dir(self) -> bool:
        """Return False: a folder in object storage is not read as one."""
        return False

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.is_file()

    def stat(self) -> os.stat_result:
        """Return its size, as of a regular file; other fields are 0."""
        files, name = self._found()
        return os.stat_result((stat.S_IFREG, 0, 0, 0, 0, 0, files.size(name), 0, 0, 0))

    def open(self, mode: str = "rb", **options: Any) -> Any:
        """Open it for reading; what is read comes by requests of some megabytes."""
        files, name = self._found()
        return files.open(name, "rb")

    def read_bytes(self) -> bytes:
        """Return all of it."""
        files, name = self._found()
        return files.cat_file(name)

    def put(self, file: Path) -> None:
        """Store a local file under this address, and see that it is there in full."""
        files, name = self._found()
        files.makedirs(name.rpartition("/")[0], exist_ok=True)
        files.put_file(os.fspath(file), name)
        if files.size(name) != file.stat().st_size:
            raise AffektError(f"{self} was not transferred completely; run the command again")

    def fill(self, start: int, view: memoryview) -> bool:
        """Fill memory from a byte of the file, by one request; False if the file ends before."""
        files, name = self._found()
        found = files.cat_file(name, start=start, end=start + len(view))
        if len(found) < len(view):
            return False
        view[:] = found
        return True


def open_address(address: str) -> tuple[Any, str]:
    """Return the file system of fsspec that an address is in, and its name there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputError(
            f"{address}: URLs need fsspec, which is not installed: pip install 'affekt[remote]'"
        ) from None
    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(f"{address}: {error}") from None


def local_or_remote(path: str | os.PathLike) -> Any:
    """Return a `Path`, or a `RemotePath` for an address; one of ``file://`` is a local path.

    Examples
    --------
    >>> local_or_remote("file:///tmp/my.cache").name
    'my.cache'
    """
    if isinstance(path, RemotePath):
        return path
    text = at_home(os.fspath(path))
    found = ADDRESS.match(text)
    if found is None or os.path.lexists(text):
        return Path(text)
    return Path("/" + text[found.end() :]) if found[1] == "file" else RemotePath(text)


def path_of_cache(path: str | os.PathLike) -> Any:
    """Return where a cache is; refuse an address that is not of a file."""
    found = local_or_remote(path)
    if isinstance(found, RemotePath) and not found.is_file():
        raise InputError(
            f"{found} is not a file; a packed cache can be read from a URL, a folder only after "
            "affekt cache sync"
        )
    return found
