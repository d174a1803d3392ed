"""Refuse HDF5 files that are not what they seem.

An HDF5 file may name other files, load native code for a filter, or claim a terabyte in a kilobyte.
Everything here is looked at before a value is read, and refused by name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DamagedError, NewerError
from ..files.reading import check_regular
from ..files.remote_path import RemotePath

KINDS = "fiuS"  # numbers and fixed text: nothing of variable length, no references, no objects
MAX_RATIO = 1000  # declared bytes to stored bytes, for data of any size


@contextmanager
def open_plain(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, and say which file it was if anything is wrong.

    No lock is taken: files of a cache never change, and network file systems often have none.
    """
    try:
        if isinstance(path, RemotePath):
            with path.open() as stream, h5py.File(stream, "r") as file:
                yield file
            return
        check_regular(path)
        with h5py.File(os.fspath(path), "r", locking=False) as file:
            yield file
    except PermissionError as error:  # HDF5 makes a long message of it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from error
    except (FileNotFoundError, DamagedError):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        local = path if isinstance(path, RemotePath) else Path(path)
        if not local.exists():  # merged away while it was opened
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise DamagedError(f"{Path(path).name}: damaged or not HDF5: {error}") from error


def check_kind(file: h5py.File, kind: str, newest: int) -> None:
    """Refuse a file of another kind, or of a format that this version cannot read."""
    name = Path(file.filename).name
    form = attribute(file, "format", int)
    if form > newest:  # checked first: the rest of a newer file is unknown
        raise NewerError(f"{name}: format {form} is newer than {newest}: update affekt")
    found = attribute(file, "kind", str)
    if found != kind or form < 1:
        raise DamagedError(f"{name}: is {found!r} of format {form}, expected {kind!r} of 1 or more")


def dataset(
    file: h5py.File | h5py.Group, name: str, shape: tuple[int | None, ...], kinds: str = KINDS
) -> h5py.Dataset:
    """Return a dataset that is stored in this very file, with the shape and type it should have.

    Parameters
    ----------
    file : h5py.File or Group
        Where it is looked for, as a hard link of this group.
    name : str
        One name, not a path.
    shape : tuple of int or None
        Expected lengths; None is any.
    kinds : str
        Allowed numpy kinds.
    """
    where = f"{Path(file.file.filename).name}: {name}"
    link = file.get(name, getlink=True)
    if link is None:
        raise DamagedError(f"{where} is missing")
    if not isinstance(link, h5py.HardLink):
        raise DamagedError(f"{where} is a {type(link).__name__}, links are refused")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DamagedError(f"{where} is not a dataset")
    plan = found.id.get_create_plist()
    if plan.get_external_count():
        raise DamagedError(f"{where} has external storage, refused")
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise DamagedError(f"{where} is a virtual dataset, refused")
    if plan.get_nfilters():
        raise DamagedError(f"{where} has a filter ({plan.get_filter(0)[3]!r}), refused")
    if found.dtype.kind not in kinds or found.dtype.hasobject:
        raise DamagedError(f"{where} has type {found.dtype}, expected fixed size of kind {kinds}")
    fits = len(found.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, found.shape, strict=True)
    )
    if not fits:
        raise DamagedError(f"{where} has shape {found.shape}, expected {shape}")
    claimed = int(np.prod([int(n) for n in found.shape], dtype=object)) * found.dtype.itemsize
    if claimed > MAX_RATIO * max(found.id.get_storage_size(), 1):
        raise DamagedError(f"{where} claims {claimed} bytes, which the file does not hold")
    return found


def set_text(item: h5py.HLObject, name: str, text: str) -> None:
    """Write a text attribute of fixed size: one of variable length would have no checksum."""
    data = text.encode()
    item.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def attribute(file: h5py.File | h5py.Group, name: str, kind: type) -> Any:
    """Return an attribute as a plain int or str, or say that it is missing or of another type."""
    where = f"{Path(file.file.filename).name}: attribute {name}"
    if name not in file.attrs:
        raise DamagedError(f"{where} is missing")
    item = file.attrs.get_id(name)
    if item.shape != () or item.dtype.kind not in KINDS or item.dtype.hasobject:
        raise DamagedError(f"{where} has type {item.dtype}, expected one of fixed size")
    value = file.attrs[name]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, kind):
        raise DamagedError(f"{where} is {value!r}, expected {kind.__name__}")
    return value
