"""A shard: one immutable HDF5 file with some rows of a space.

Plain HDF5 of fixed-size types, made in memory and named by its content;
``h5py.File(path)["embeddings"]`` reads it without affekt. docs/reference/cache-format.md has every
field.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DamagedError, InputError, NewerError, SpecError
from ..files.reading import check_regular, parse_json
from ..identity.content_digests import hex_bytes, key_words
from ..identity.spec import Spec
from .safe_hdf5 import attribute, check_kind, dataset, open_plain
from .vectors import Vectors

PIECE = 1 << 20  # bytes

FORMAT = 1
VERSION = ("v110", "v110")  # of HDF5: the first whose own structures are all checksummed


@dataclass(frozen=True)
class Rows:
    """What a shard says of its rows, besides their values.

    Parameters
    ----------
    key : ndarray (rows,) of S64
        Row keys, hex.
    id : ndarray (rows,) of S
        The clips' ids when the rows were computed, UTF-8; informational.
    frames : ndarray (rows,) uint32
        Frames or tokens that were pooled.
    seconds : ndarray (rows,) float32
        Duration of the audio; 0 for text.
    """

    key: np.ndarray
    id: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.key)

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        """Return the rows of all parts, in order."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, which: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def digest(self) -> str:
        """Return the sha256 (hex) of the fields' bytes, one after another."""
        state = hashlib.sha256()
        for name in self.__dataclass_fields__:
            state.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Shard:
    """A shard that was opened: its rows, and where its vectors are."""

    rows: Rows
    vectors: Vectors
    spec_key: str
    provenance: dict[str, Any]


def open_shard(path: Path, spec_key: str | None = None) -> Shard:
    """Open a shard, checking its structure but none of its values.

    Raises
    ------
    DamagedError
        Not a shard, damaged, hostile, or of another spec.
    NewerError
        Newer than this affekt.
    """
    with open_plain(path) as file:
        check_kind(file, "affekt shard", FORMAT)
        found = attribute(file, "spec_key", str)
        if spec_key is not None and found != spec_key:
            raise DamagedError(f"{path.name}: belongs to the spec {found[:8]}, not to this space")
        spec = _spec(path.name, attribute(file, "spec", str), found)
        layers, dim = spec.n_layers, spec.dim
        values = dataset(file, "embeddings", (None, layers, dim), "f")
        count, dtype = len(values), values.dtype
        key = dataset(file, "key", (count,), "S")
        if not count or key.dtype != "S64" or dtype != spec.dtype:
            raise DamagedError(
                f"{path.name}: has no rows, or fields of a wrong type: {count} of {dtype} with"
                f" keys of {key.dtype}, expected {spec.dtype} and S64"
            )
        rows = read_rows(file, count, path.name)
        sums = dataset(file, "checksum", (layers, count), "u")
        sums_start = sums.id.get_offset()
        if values.chunks is None or values.chunks[1:] != (1, dim) or sums_start is None:
            raise DamagedError(f"{path.name}: does not have the layout of a shard")
        block = values.chunks[0]
        starts = np.full((layers, -(-count // block)), -1, np.int64)

        def note(chunk: Any) -> None:
            row, layer, _ = chunk.chunk_offset
            starts[layer, row // block] = chunk.byte_offset

        values.id.chunk_iter(note)
        if (starts < 0).any() or sums.dtype != "<u8":
            raise DamagedError(f"{path.name}: has values that were never written")
        provenance = parse_provenance(path.name, attribute(file, "provenance", str))
    vectors = Vectors(path, count, layers, dim, dtype, block, starts, sums_start)
    return Shard(rows, vectors, found, provenance)


def read_rows(group: h5py.File | h5py.Group, count: int, where: str) -> Rows:
    """Read and check what a file says of its rows, besides their values."""
    kinds = zip(Rows.__dataclass_fields__, "SSuf", strict=True)
    rows = Rows(*(dataset(group, name, (count,), kind)[()] for name, kind in kinds))
    if rows.digest() != attribute(group, "rows_sha256", str):
        raise DamagedError(f"{where}: keys, ids, frames or seconds are damaged")
    try:
        hex_bytes(rows.key)
    except ValueError:
        raise DamagedError(f"{where}: has a key that is not 64 hex digits") from None
    return rows


def check_shard(path: Path, spec_key: str) -> int:
    """Check every byte of a shard; return the number of its rows.

    Raises
    ------
    DamagedError
        Not a regular file, the bytes are not those of its name, or a vector is not that of its
        checksum.
    NewerError
        Its format is newer than this affekt.
    """
    check_regular(path)
    state = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            state.update(piece)
    if state.hexdigest()[:24] != path.name.removesuffix(".h5"):
        raise DamagedError(f"{path.name}: its bytes have changed: its sha256 differs")
    shard = open_shard(path, spec_key)
    shard.vectors.check(key_words(hex_bytes(shard.rows.key)))
    return len(shard.rows)


_parse = lru_cache(maxsize=64)(Spec.from_json)  # all shards of a space say the same


def _spec(name: str, text: str, key: str) -> Spec:
    """Return the spec in a shard, which alone decides its shape."""
    try:
        spec = _parse(text)
    except SpecError as error:
        raise NewerError(f"{name}: {error}") from error
    except InputError as error:
        raise DamagedError(f"{name}: {error}") from error
    if spec.key != key:
        raise DamagedError(f"{name}: contains the spec {spec.key[:8]}, but names {key[:8]}")
    return spec


def parse_provenance(name: str, text: str) -> dict[str, Any]:
    """Return what a file says of how its rows were made."""
    try:
        provenance = parse_json(text, lenient=True)
    except ValueError as error:
        raise DamagedError(f"{name}: provenance is not JSON: {error}") from error
    if not isinstance(provenance, dict):
        raise DamagedError(f"{name}: provenance is {text[:40]!r}, expected a JSON object")
    return provenance
