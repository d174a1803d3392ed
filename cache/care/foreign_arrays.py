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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, counted, listed
from ..files.reading import refuse_hollow
from ..manifest.tables import SUFFIXES, Table, read_table, table_of_frame
from ..manifest.tables.sources import most_unpacked, zip_size

Finder = Callable[[str], np.ndarray | None]
"""Gives the array of an id, or None."""

TORCH = (".pt", ".pth", ".bin")

# What numpy and zipfile raise for a file that is broken, encrypted, or claims too much.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Foreign:
    """What another tool wrote.

    Attributes
    ----------
    name : str
        Of the file or folder.
    find : callable
        Gives the array of an id, or None.
    ids : callable
        Gives the ids that it has.
    """

    name: str
    find: Finder
    ids: Callable[[], Sequence[str]]


def open_foreign(source: Any, columns: Sequence[str] = ()) -> Foreign:
    """Return how to find an id's array in what another tool wrote.

    Parameters
    ----------
    source : path, DataFrame, or mapping of id to ndarray
        As `import_space` takes it.
    columns : sequence of str
        Which columns of a table may hold the ids if none is called ``id``.

    Examples
    --------
    >>> found = open_foreign({"a": [1, 2]})
    >>> found.find("a"), found.find("b"), found.ids()
    (array([1, 2]), None, ['a'])
    """
    if isinstance(source, Mapping):

        def plain(id_: str) -> np.ndarray | None:
            return None if id_ not in source else _plain(id_, source[id_])

        return Foreign("the mapping", plain, lambda: list(source))
    if hasattr(source, "columns"):
        _refuse_twins("<frame>", "column", map(str, source.columns))
        return _of("<frame>", _table(table_of_frame(source, "<frame>"), columns))
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"the source is {source!r:.80}, expected a path, a DataFrame, or a mapping of id to"
            " array"
        )
    path = Path(source)
    if path.is_dir():
        return Foreign(str(path), lambda id_: _npy(path, id_), lambda: _stems(path))
    if path.suffix == ".npz":
        return _of(str(path), _npz(path))
    if path.suffix in SUFFIXES:
        return _of(str(path), _table(read_table(path), columns))
    raise InputError(
        f"{path}: expected a folder of .npy, an .npz, or {', '.join(SUFFIXES)}{_remedy(path)}"
    )


def _of(name: str, arrays: Mapping[str, np.ndarray]) -> Foreign:
    return Foreign(name, arrays.get, lambda: list(arrays))


def _remedy(path: Path) -> str:
    """Return how to write an .npz of what a .npy or a file of PyTorch holds."""
    if path.suffix == ".npy":
        load = f"np.load('{path}')"
    elif path.suffix in TORCH:
        load = f"torch.load('{path}').numpy()"
    else:
        return ""
    remedy = (
        ". If its rows are in the order of the clips, save it with their ids:"
        f" np.savez('{path.stem}.npz', ids=Manifest.read(TABLE).ids, embeddings={load})"
    )
    if path.suffix in TORCH:
        remedy += (
            f"; if it is a dict of tensors: np.savez('{path.stem}.npz', **{{id: one.numpy() for"
            f" id, one in torch.load('{path}').items()}})"
        )
    return remedy


def _stems(folder: Path) -> list[str]:
    """Return the ids of a folder; an InputError where it has no .npy."""
    names = sorted(one.name for one in folder.iterdir() if one.is_file())
    found = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
    if found:
        return found
    torch = any(Path(name).suffix in TORCH for name in names)
    raise InputError(
        f"{folder}: no .npy among its {counted(len(names), 'file')} ({listed(names, 3)}); expected"
        " ID.npy for each clip"
        + ": np.save('ID.npy', torch.load('ID.pt').numpy()) for each file"
        * torch
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


def _npz(path: Path) -> Mapping[str, np.ndarray]:
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
        return arrays
    ids, values = _ids(path, arrays["ids"]), arrays["embeddings"]
    if not values.ndim or len(ids) != len(values):
        raise InputError(
            f"{path}: embeddings of shape {values.shape} for {len(ids)} ids, expected (ids, dim) or"
            " (ids, layers, dim)"
        )
    return dict(zip(ids, values, strict=True))


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


def _table(table: Table, others: Sequence[str]) -> Mapping[str, np.ndarray]:
    column = next((name for name in ("id", *others) if name in table.columns), None)
    if column is None:
        raise InputError(
            f"{table.source}: no column {' or '.join(dict.fromkeys(('id', *others)))}; it has "
            f"{listed(list(table.columns))}; name the column of the ids id"
        )
    ids = table.columns[column]
    _refuse_twins(table.source, "id", ids)
    names = [name for name in table.columns if name != column]
    if not names:
        raise InputError(
            f"{table.source}: only a column {column}; expected further columns, one for each number"
        )
    if len(names) == 1 and any(cell.startswith("[") for cell in table.columns[names[0]]):
        return {
            id_: _numbers(table.source, names[0], id_, cell, json.loads)
            for id_, cell in zip(ids, table.columns[names[0]], strict=True)
            if cell
        }
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
    return dict(zip(ids, values, strict=True))


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
