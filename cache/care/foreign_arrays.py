"""Arrays that another tool wrote: a folder of .npy, an .npz, a table, a frame, or a mapping.

Nothing is trusted: what is not numbers under an id is reported by the name of its file, and an id
that comes twice is refused, as it is unclear which of the two is meant.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, listed
from ..files.reading import refuse_hollow
from ..manifest.tables import SUFFIXES, Table, read_table, table_of_frame
from ..manifest.tables.sources import most_unpacked, zip_size

Finder = Callable[[str], np.ndarray | None]
"""Gives the array of an id, or None."""

# What numpy and zipfile raise for a file that is broken, encrypted, or claims too much.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def open_foreign(source: Any) -> Finder:
    """Return how to find an id's array in what another tool wrote.

    Parameters
    ----------
    source : path, DataFrame, or mapping of id to ndarray
        As `import_space` takes it.

    Examples
    --------
    >>> find = open_foreign({"a": [1, 2]})
    >>> find("a"), find("b")
    (array([1, 2]), None)
    """
    if isinstance(source, Mapping):
        return lambda id_: None if id_ not in source else _plain(id_, source[id_])
    if hasattr(source, "columns"):
        _refuse_twins("<frame>", "column", map(str, source.columns))
        return _table(table_of_frame(source, "<frame>"))
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"the source is {source!r:.80}, expected a path, a DataFrame, or a mapping of id to"
            " array"
        )
    path = Path(source)
    if path.is_dir():
        return lambda id_: _npy(path, id_)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in SUFFIXES:
        return _table(read_table(path))
    remedy = (
        ". If its rows are in the order of the clips, save it with their ids:"
        f" np.savez('{path.stem}.npz', ids=Manifest.read(TABLE).ids, embeddings=np.load('{path}'))"
    )
    raise InputError(
        f"{path}: expected a folder of .npy, an .npz, or {', '.join(SUFFIXES)}"
        + remedy * (path.suffix == ".npy")
    )


def _plain(id_: str, values: Any) -> np.ndarray:
    if np.ma.is_masked(values):
        raise InputError(
            f"clip {id_!r}: some of its values are masked; fill them, or leave the clip out"
        )
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged, or of another library
        raise InputError(f"clip {id_!r}: not an array of numbers: {error}") from None


def _npy(folder: Path, id_: str) -> np.ndarray | None:
    path = folder / f"{id_}.npy"
    try:
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise InputError(f"{path}: cannot be read: {error}") from None
    found = _load(path)
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds several arrays (.npz), expected one (.npy)")
    return found


def _npz(path: Path) -> Finder:
    found = _load(path)
    if isinstance(found, np.ndarray):
        raise InputError(f"{path}: holds one array (.npy), expected an .npz of several")
    names = [name for name, _ in found]
    _refuse_twins(path, "array", names)
    for name, array in found:
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"{path}: its entry {name!r} is not an array; expected a file written by np.savez"
            )
    arrays = dict(found)
    if not arrays.keys() >= {"ids", "embeddings"}:
        return arrays.get
    ids, values = _ids(path, arrays["ids"]), arrays["embeddings"]
    if not values.ndim or len(ids) != len(values):
        raise InputError(
            f"{path}: embeddings of shape {values.shape} for {len(ids)} ids, expected (ids, dim) or"
            " (ids, layers, dim)"
        )
    return dict(zip(ids, values, strict=True)).get


def _load(path: Path) -> np.ndarray | list[tuple[str, Any]]:
    """Return the array of a file, or the names and members of an archive."""
    try:
        with path.open("rb") as stream:
            refuse_hollow(path)
            if zipfile.is_zipfile(stream):
                unpacked = zip_size(stream)
                if unpacked > most_unpacked(path.stat().st_size):
                    raise ValueError(f"it unpacks to {unpacked >> 20} MiB")
            stream.seek(0)
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            with found:
                return [(name, found[name]) for name in found.files]
    except UNREADABLE as error:
        remedy = "; save ids as text: ids=np.array(ids, dtype=str)"
        raise InputError(
            f"{path}: not an array of numbers: {error}{remedy * ('Object arrays' in str(error))}"
        ) from None


def _ids(path: Path, array: np.ndarray) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise InputError(
            f"{path}: ids is an array {array.shape} of {array.dtype}, expected a list of text"
        )
    try:
        ids = [id_.decode() if isinstance(id_, bytes) else str(id_) for id_ in array.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: ids contains {error.object!r}, which is not UTF-8") from None
    _refuse_twins(path, "id", ids)
    return ids


def _table(table: Table) -> Finder:
    if "id" not in table.columns:
        raise InputError(f"{table.source}: no column id; it has {', '.join(table.columns)}")
    ids = table.columns["id"]
    _refuse_twins(table.source, "id", ids)
    names = [name for name in table.columns if name != "id"]
    if not names:
        raise InputError(
            f"{table.source}: only a column id; expected further columns, one for each number"
        )
    if len(names) == 1 and any(cell.startswith("[") for cell in table.columns[names[0]]):
        return {
            id_: _numbers(table.source, names[0], id_, cell, json.loads)
            for id_, cell in zip(ids, table.columns[names[0]], strict=True)
            if cell
        }.get
    values = np.empty((len(ids), len(names)), np.float32)
    for i, name in enumerate(names):
        cells = table.columns[name]
        with np.errstate(over="ignore"):  # reported when the clip is read
            try:
                values[:, i] = np.array(cells, np.float64)
            except ValueError:
                for id_, cell in zip(ids, cells, strict=True):
                    _numbers(table.source, name, id_, cell, float)
                raise
    return dict(zip(ids, values, strict=True)).get


def _numbers(
    source: str, column: str, id_: str, cell: str, read: Callable[[str], Any]
) -> np.ndarray:
    """Return the number, or the list of numbers (or of lists) in one cell."""
    try:
        return np.array(read(cell), np.float64)
    except (ValueError, TypeError, RecursionError):
        raise InputError(
            f"{source}: column {column} has values that are not numbers: {cell[:40]!r} of the clip "
            f"{id_!r}; leave out other columns and such clips"
        ) from None


def _refuse_twins(source: Any, what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{source}: {what} {listed(twice)} appears more than once; keep only one")
