"""A packed cache: one plain HDF5 file with everything in it, read like a folder.

Each space is a group with ``embeddings (layers, rows, dim)``, one layer after another, so that a
layer is read at the speed of memory, or mapped without reading. `affekt.cache.care.pack` makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DamagedError, InputError
from ..files.remote_path import RemotePath
from ..identity.clip_index import ClipIndex, Seen
from ..identity.content_digests import hex_bytes
from ..identity.spec import Spec
from ..shards.safe_hdf5 import attribute, check_kind, dataset, open_plain
from ..shards.shard import FORMAT, Rows, Shard, parse_provenance, read_rows
from ..shards.vectors import Vectors
from .index import Table

COLUMNS = ("label", "speaker", "language", "split", "dataset")


def packed_spaces(path: Path | RemotePath) -> dict[str, Spec]:
    """Return the spaces of a packed file, by name.

    Raises
    ------
    DamagedError
        Not a packed cache, damaged, or newer than this affekt (`NewerError`).
    """
    with open_plain(path) as file:
        check_kind(file, "affekt packed cache", FORMAT)
        names = [str(name) for name in file if name != "clips"]
        return {name: _spec(_group(file, name)) for name in names}


def open_packed(path: Path, name: str, spec: Spec) -> Shard:
    """Open a space of a packed file, checking its structure but none of its values."""
    layers, dim = spec.n_layers, spec.dim
    dtype = spec.dtype
    with open_plain(path) as file:
        group = _group(file, name)
        values = dataset(group, "embeddings", (layers, None, dim), "f")
        count = values.shape[1]
        sums = dataset(group, "checksum", (layers, count), "u")
        rows = read_rows(group, count, f"{path}: {name}")
        _check_columns(group, count)
        start, sums_start = values.id.get_offset(), sums.id.get_offset()
        if values.dtype != dtype or None in (start, sums_start):
            raise DamagedError(f"{path}: {name}: does not have the layout of a packed space")
        provenance = parse_provenance(f"{path.name}: {name}", attribute(group, "provenance", str))
    starts = start + np.arange(layers, dtype=np.int64)[:, None] * (count * dim * dtype.itemsize)
    vectors = Vectors(path, count, layers, dim, dtype, count, starts, sums_start)
    return Shard(rows, vectors, spec.key, provenance)


def columns_digest(columns: Mapping[str, np.ndarray]) -> str:
    """Return the sha256 (hex) of the columns of a manifest: ``<name> NUL <bytes>`` of each."""
    state = hashlib.sha256()
    for name in COLUMNS:
        if name in columns:
            state.update(name.encode() + b"\0")
            state.update(np.ascontiguousarray(columns[name]).tobytes())
    return state.hexdigest()


class PackedIndex:
    """Where the rows of a space of a packed file are; stands in for `Index`."""

    def __init__(self, path: Path, name: str, spec: Spec):
        self.file = path
        self.damaged: dict[str, str] = {}
        self.foreign: list[str] = []
        self._open = partial(open_packed, path, name, spec)
        shard = self._open()
        self._vectors, self._provenance = shard.vectors, shard.provenance
        self.table = Table.of({path.name: hex_bytes(shard.rows.key)})

    @property
    def shards(self) -> list[str]:
        """The one file."""
        return self.table.names

    def refresh(self) -> PackedIndex:
        """Do nothing: a packed file never changes."""
        return self

    def path(self, name: str) -> Path:
        """Return the file."""
        return self.file

    def vectors(self, name: str) -> Vectors:
        """Return where the vectors are."""
        return self._vectors

    def rows(self, name: str) -> Rows:
        """Return the rows of the file."""
        return self._open().rows

    def provenance(self) -> dict[str, Any]:
        """Return the library versions noted when it was packed."""
        return self._provenance

    def save(self, tmp: Path) -> None:
        """Do nothing: there is no memo."""


class PackedClips(ClipIndex):
    """The index of clips that a packed file carries."""

    def refresh(self) -> PackedClips:
        """Read the lines, once."""
        if not self._names:
            with open_plain(self.top) as file:
                data = dataset(file, "clips", (None,), "u")[()].tobytes()
                if hashlib.sha256(data).hexdigest() != attribute(file, "clips_sha256", str):
                    raise DamagedError(f"{self.top}: the index of clips is damaged")
            self._take([data])
            self._names = {"clips"}  # last: other threads take it for the rest
        return self

    def record(self, lines: Iterable[Seen]) -> None:
        """Refuse: a packed file never changes."""
        raise InputError(f"{self.top} is packed and never changes; extract into a folder")


def _spec(group: h5py.Group) -> Spec:
    """Return the spec of a space, if it is the one that its rows are of."""
    spec = Spec.from_json(attribute(group, "spec", str))
    key = attribute(group, "spec_key", str)
    if spec.key != key:
        where = f"{Path(group.file.filename).name}: {group.name}"
        raise DamagedError(f"{where}: holds the spec {spec.key[:8]}, its rows are of {key[:8]}")
    return spec


def _check_columns(group: h5py.Group, count: int) -> None:
    """Check the columns of a manifest; files from before they had a digest are trusted."""
    if "columns_sha256" not in group.attrs:
        return
    here = [name for name in group if name in COLUMNS]  # the names only: no link is followed
    columns = {name: dataset(group, name, (count,), "S")[()] for name in here}
    if columns_digest(columns) != attribute(group, "columns_sha256", str):
        where = f"{Path(group.file.filename).name}: {group.name}"
        raise DamagedError(f"{where}: {', '.join(COLUMNS)}: one of them is damaged")


def _group(file: h5py.File, name: str) -> h5py.Group:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DamagedError(f"{Path(file.filename).name}: {name} is a link, refused")
    found = file[name]
    if not isinstance(found, h5py.Group):
        raise DamagedError(f"{Path(file.filename).name}: {name} is not a group")
    return found
