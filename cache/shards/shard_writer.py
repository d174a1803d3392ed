"""The bytes of a shard, piece by piece.

HDF5 lays the file out in memory, without the values, and never writes to a disk, which may be full.
The values are inserted from where they are: they are not copied, and a large shard need not fit
into memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from ..identity.spec import Spec
from .safe_hdf5 import set_text
from .shard import FORMAT, VERSION, Rows
from .sparse_file import SparseFile

BLOCK = 256  # most rows in a chunk: one layer of one chunk is what HDF5 reads at a time


def shard_pieces(
    rows: Rows,
    values: Callable[[int, int, int], np.ndarray],
    sums: np.ndarray,
    spec: Spec,
    provenance: dict[str, Any] | None = None,
) -> Iterator[memoryview]:
    """Yield the bytes of a shard, one piece after another.

    Parameters
    ----------
    rows : Rows
        Key, id, frames and seconds of each row.
    values : callable (layer, start, stop) -> ndarray (stop - start, dim)
        Gives the values of some rows of a layer, in the stored type.
    sums : ndarray (layers, rows) uint64
        Checksum of each vector; looked at after all values were asked for.
    spec : Spec
        Spec of the space.
    provenance : dict, optional
        Library versions and the like, kept as JSON; decides nothing.
    """
    count, layers = len(rows), spec.n_layers
    block = -(-count // -(-count // BLOCK))  # as many rows in each chunk, but for the last
    shape = (count, layers, spec.dim)
    width = spec.dim * spec.dtype.itemsize
    file = SparseFile()
    first, sums_at = _lay_out(file, rows, shape, block, spec, provenance)
    yield file.piece(0, first)
    end = first
    for start in range(0, count, block):
        stop = min(start + block, count)
        for layer in range(layers):
            yield _bytes(values(layer, start, stop))
            end += block * width
            if stop - start < block:
                yield memoryview(bytes((start + block - stop) * width))
    yield file.piece(end, sums_at)
    yield _bytes(sums.astype("<u8", copy=False))
    yield file.piece(sums_at + sums.nbytes, file.size)


def write_column(file: h5py.File | h5py.Group, name: str, values: np.ndarray) -> None:
    """Write numbers, or UTF-8 of fixed size that other programs know as such."""
    is_text = values.dtype.kind == "S"
    dtype = h5py.string_dtype("utf-8", values.dtype.itemsize) if is_text else values.dtype
    file.create_dataset(name, data=values.view(dtype))


def reserve(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunk: tuple[int, ...] | None = None,
) -> h5py.Dataset:
    """Make a dataset whose bytes have their place in the file, without writing them.

    With `chunk` the chunks follow one another; without, the values.
    """
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CHUNKED if chunk else h5py.h5d.CONTIGUOUS)
    if chunk:
        plan.set_chunk(chunk)
    plan.set_obj_track_times(False)  # the same content has to be the same bytes
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    extent = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.py_create(dtype), extent, plan)
    return h5py.Dataset(made)


def provenance_text(provenance: dict[str, Any] | None) -> str:
    """Return provenance as JSON that fits into an attribute."""
    text = json.dumps(provenance or {}, sort_keys=True)
    return text if len(text) < 30_000 else '{"note": "too long to keep"}'


def _lay_out(
    target: SparseFile,
    rows: Rows,
    shape: tuple[int, int, int],
    block: int,
    spec: Spec,
    provenance: dict[str, Any] | None,
) -> tuple[int, int]:
    """Write everything but values and checksums; return where those begin."""
    count, layers, dim = shape
    with h5py.File(target, "w", libver=VERSION) as file:
        set_text(file, "kind", "affekt shard")
        file.attrs["format"] = FORMAT
        set_text(file, "spec_key", spec.key)
        set_text(file, "spec", spec.json())
        set_text(file, "rows_sha256", rows.digest())
        set_text(file, "provenance", provenance_text(provenance))
        values = reserve(file, "embeddings", shape, spec.dtype, (block, 1, dim))
        set_text(values, "axes", "row layer dim")
        for name, column in vars(rows).items():
            write_column(file, name, column)
        sums = reserve(file, "checksum", (layers, count), np.dtype("<u8"))
        chunks = [values.id.get_chunk_info(i) for i in (0, values.id.get_num_chunks() - 1)]
        first, last = (chunk.byte_offset for chunk in chunks)
        sums_at = sums.id.get_offset()
    many = -(-count // block) * layers
    if last - first != (many - 1) * block * dim * spec.dtype.itemsize or sums_at < last:
        raise RuntimeError(
            "this version of HDF5 writes a shard in an order that affekt does not know"
        )
    return first, sums_at


def _bytes(values: np.ndarray) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1).data
