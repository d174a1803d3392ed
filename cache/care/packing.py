"""Pack a cache into one plain HDF5 file, which h5py, h5ls, R and MATLAB read without affekt.

The room on the disk is claimed first, so that a full disk is an error before the work. The file is
written as a draft, every vector is read back from the disk and checked, and only then does it
get its name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np

from ..errors import AffektError, DamagedError, InputError, NewerError
from ..files.atomic_writes import written
from ..files.output_checks import check_output
from ..files.remote_path import RemotePath, local_or_remote
from ..identity.content_digests import hex_bytes, key_words
from ..manifest import Manifest
from ..manifest.selection import content_column
from ..rows.packed import COLUMNS, PackedIndex, columns_digest, packed_spaces
from ..shards.safe_hdf5 import set_text
from ..shards.shard import FORMAT, VERSION, Rows
from ..shards.shard_writer import provenance_text, reserve, write_column
from ..shards.sparse_file import SparseFile
from ..space import Space
from .merging import refuse_broken, refuse_damaged_clips, refuse_damaged_shards

if TYPE_CHECKING:
    from ..cache import Cache

SLICE = 64 << 20  # bytes held in memory at a time
PAGE = 4096  # large data starts at a multiple of this, for memory maps


@dataclass(frozen=True)
class Plan:
    """What goes into the file for one space, and where."""

    space: Space
    rows: Rows
    columns: dict[str, np.ndarray]


def pack(
    cache: Cache,
    out: str | os.PathLike,
    clips: Manifest | None = None,
    spaces: Iterable[str | Space] | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path | RemotePath:
    """Write one plain HDF5 file with everything in it; `Cache` reads it like a folder.

    Parameters
    ----------
    cache : Cache
    out : path, or an address of fsspec such as ``"s3://bucket/packed.h5"``
        The file. For an address it is made in the folder for temporary files, and then sent.
    clips : Manifest, optional
        Whose rows go in, in this order and with their labels, speakers, languages and splits.
        Clips without text are left out of a space of texts, those without audio out of one of
        audio. Of other clips the file holds nothing, neither ids nor hashes. Default: all rows.
    spaces : iterable of Space or str, optional
        Which spaces; default: all.
    overwrite : bool
        Replace a packed cache that is there.
    progress : callable (done, total), optional
        Called with rows.

    Raises
    ------
    MissingError
        Clips that are not stored.
    OSError
        Not enough room; nothing was written.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache
    >>> from affekt.cache.care import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}])
    >>> with tempfile.TemporaryDirectory() as name:
    ...     cache = Cache(Path(name, "my.cache"))
    ...     space, _ = import_space(cache, {"a": np.ones(4)}, clips, "toy")
    ...     Cache(pack(cache, Path(name, "packed.h5"))).read(space.name, clips).shape
    (1, 1, 4)
    """
    target = local_or_remote(out)
    if isinstance(target, RemotePath):
        return _pack_remotely(cache, target, clips, spaces, overwrite, progress)
    out = Path(target)
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file, such as {out / 'packed.h5'}")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist")
    if overwrite:
        check_output("OUT", out, ours=lambda head: _is_packed(out))
    elif os.path.lexists(out):
        raise InputError(
            f"{out} already exists; choose another name, or overwrite it with `overwrite=True`"
        )
    if spaces is None:
        refuse_broken(cache)
    refuse_damaged_clips(cache)
    chosen = cache.spaces() if spaces is None else [cache.space(space) for space in spaces]
    plans = [_plan(space, clips) for space in dict.fromkeys(chosen)]
    plans = [plan for plan in plans if len(plan.rows)]
    if not plans:
        raise InputError(f"{cache.path} has nothing to pack")
    lines = np.frombuffer(_index_lines(cache, plans, clips), np.uint8)
    with written(out, durable=True) as unfinished:
        with unfinished.open("r+b", buffering=0) as stream:
            skeleton, offsets = _skeleton(plans, lines)
            _claim(stream, skeleton.size, out)
            for start, page in skeleton.pages():
                _write_at(stream, start, page)
            for plan, places in zip(plans, offsets, strict=True):
                _copy(stream, plan, places, progress)
            os.fsync(stream.fileno())
        for plan in plans:
            _check(unfinished, plan)
    return out


def _pack_remotely(
    cache: Cache, target: RemotePath, clips: Any, spaces: Any, overwrite: bool, progress: Any
) -> RemotePath:
    if target.is_file() and not (overwrite and _is_packed(target)):
        raise InputError(
            f"{target} already exists; choose another name, or overwrite a packed cache with "
            "`overwrite=True`"
        )
    with tempfile.TemporaryDirectory() as folder:
        target.put(Path(pack(cache, Path(folder, target.name), clips, spaces, progress=progress)))
    return target


def _is_packed(path: Path | RemotePath) -> bool:
    try:
        packed_spaces(path)
    except NewerError:
        return True
    except (AffektError, OSError):
        return False
    return True


def _plan(space: Space, clips: Manifest | None) -> Plan:
    if clips is None:
        rows = _all_rows(space)
        refuse_damaged_shards(space)
        return Plan(space, rows, {})
    fed = clips[content_column(space.modality)]
    some = clips.select(np.flatnonzero([bool(value.strip()) for value in fed]))
    rows = _all_rows(space)
    place = {key.decode(): i for i, key in enumerate(rows.key.tolist())}
    positions = [place.get(key or "", -1) for key in space.keys_of(some)]
    if -1 in positions:
        space.read_clips(some, [])  # says what is missing, and the command
        raise _unsteady(space)
    picked = rows.take(np.array(positions, np.intp))
    rows = Rows(picked.key, _bytes(some["id"]), picked.frames, picked.seconds)
    return Plan(space, rows, {n: _bytes(some[n]) for n in COLUMNS if n in some})


def _index_lines(cache: Cache, plans: list[Plan], clips: Manifest | None) -> bytes:
    """Return what the index knows of the clips that are packed."""
    index = cache.clips.refresh()
    if clips is None:
        return index.lines()
    if all(plan.space.modality == "text" for plan in plans):
        return b""
    return index.lines_of(clips, cache.digests(clips, "audio", refuse=False))


def _all_rows(space: Space) -> Rows:
    """Return what the shards say of all rows, each key once, shard by shard."""

    def read() -> list[Rows]:
        return [space.index.rows(name) for name in space.index.refresh().shards]

    shards = space.patiently(read)
    if not shards:
        empty = np.empty(0, np.uint32)
        return Rows(np.empty(0, "S64"), np.empty(0, "S1"), empty, empty.astype("<f4"))
    rows = Rows.join(shards)
    _, first = np.unique(rows.key, return_index=True)
    return rows.take(np.sort(first))


def _unsteady(space: Space) -> DamagedError:
    return DamagedError(f"{space.name}: rows were added or removed while it was packed; try again")


def _bytes(column: np.ndarray) -> np.ndarray:
    return np.array([text.encode("utf-8", "surrogatepass") for text in column] or [b""], "S")


def _claim(stream: BinaryIO, size: int, out: Path) -> None:
    """Claim space on the disk, or raise OSError."""
    free = shutil.disk_usage(out.parent).free
    if free < size:
        message = f"packing needs {size} bytes, {out.parent} has {free}: free some space"
        raise OSError(28, message, str(out))
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)


def _skeleton(plans: list[Plan], lines: np.ndarray) -> tuple[SparseFile, list[tuple[int, int]]]:
    """Lay out everything but the values; return where each space's values and checksums go."""
    offsets = []
    skeleton = SparseFile()
    with h5py.File(
        skeleton, "w", libver=VERSION, alignment_threshold=PAGE, alignment_interval=PAGE
    ) as file:
        set_text(file, "kind", "affekt packed cache")
        file.attrs["format"] = FORMAT
        set_text(file, "clips_sha256", hashlib.sha256(lines.tobytes()).hexdigest())
        file["clips"] = lines
        for plan in plans:
            space, rows = plan.space, plan.rows
            group = file.create_group(space.name)
            set_text(group, "spec", space.spec.json())
            set_text(group, "spec_key", space.key)
            set_text(group, "rows_sha256", rows.digest())
            set_text(group, "columns_sha256", columns_digest(plan.columns))
            set_text(group, "provenance", provenance_text(space.provenance()))
            for name, column in (vars(rows) | plan.columns).items():
                write_column(group, name, column)
            shape = (space.n_layers, len(rows))
            values = reserve(group, "embeddings", (*shape, space.dim), space.spec.dtype)
            sums = reserve(group, "checksum", shape, np.dtype("<u8"))
            set_text(values, "axes", "layer row dim")
            offsets.append((values.id.get_offset(), sums.id.get_offset()))
    return skeleton, offsets


def _copy(
    stream: BinaryIO,
    plan: Plan,
    places: tuple[int, int],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Copy the values and their checksums, a slice of rows of all layers at a time."""
    space, count = plan.space, len(plan.rows)
    layers = range(space.n_layers)
    dtype = space.spec.dtype
    width = space.dim * dtype.itemsize
    step = max(1, SLICE // (width * space.n_layers))
    keys = [key.decode() for key in plan.rows.key.tolist()]
    for start in range(0, count, step):
        some = keys[start : start + step]
        sums = np.empty((space.n_layers, len(some)), "<u8")
        values, missing = space.read(some, layers, dtype.str, sums)
        if missing.size:
            raise _unsteady(space)
        for layer in layers:
            row = layer * count + start
            piece = np.ascontiguousarray(values[:, layer])
            _write_at(stream, places[0] + row * width, piece.data)
            _write_at(stream, places[1] + row * 8, sums[layer].data)
        if progress is not None:
            progress(start + len(some), count)


def _write_at(stream: BinaryIO, start: int, data: bytes | memoryview) -> None:
    left = memoryview(data).cast("B")
    stream.seek(start)
    while left:
        left = left[stream.write(left) or 0 :]


def _check(out: Path, plan: Plan) -> None:
    """Read every vector back and check it, from the disk where the system lets us."""
    with out.open("rb") as file, suppress(AttributeError, OSError):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    index = PackedIndex(out, plan.space.name, plan.space.spec)
    index.vectors(out.name).check(key_words(hex_bytes(plan.rows.key)))
