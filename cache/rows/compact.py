"""Merge small shards into large ones, under readers and writers.

A new shard holds the rows of the shards it replaces and is durable before they are removed. So it
does not matter who reads or writes meanwhile, nor when the power fails: a row is at every moment in
at least one durable shard.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from ..errors import DamagedError
from ..files.atomic_writes import sync_folder
from ..files.cache_marker import LOCK
from ..files.file_locks import locked_file
from ..identity.content_digests import hex_bytes, key_words
from ..shards.shard import Rows, Shard, check_shard, open_shard
from ..shards.shard_writer import shard_pieces
from .index import Table
from .row_store import RowStore

TARGET = 256 << 20  # bytes of a merged shard
SMALL = 8 << 20  # bytes: half of what a writer commits at once when rows are large
TRIES = 10  # attempts to read a folder from which another process removes shards
MANY = 64  # small shards that make compaction worthwhile after an extract


def compact(
    space: RowStore,
    target: int = TARGET,
    progress: Callable[[int, int], None] | None = None,
    small: int | None = None,
) -> tuple[int, int]:
    """Merge small shards of a space into shards of about `target` bytes, and drop twins.

    Damaged shards are left alone (see `repair`) while the others are merged; everything is,
    while another process compacts the space. Small is what has less than `small` bytes; by default
    half of `target`.

    Returns
    -------
    before, after : int
        Number of shards.

    Raises
    ------
    DamagedError
        A merged shard could not be read back as it was written; what it would replace stays.
    """
    space.store.check_writable()
    before = len(space.index.refresh().shards)
    with _alone(space) as alone:
        twins = _twins(space) if alone else {}
        groups = _groups(space, target, small or target // 2, twins) if alone is not False else []
        for done, names in enumerate(groups, start=1):
            _merge(space, names, twins)
            if progress is not None:
                progress(done, len(groups))
    after = len(space.index.refresh().shards)
    space.close()
    return before, after


def small_shards(space: RowStore) -> int:
    """Return the number of shards that have less than `SMALL` bytes."""
    return sum(size < SMALL for size in _sizes(space).values())


def _sizes(space: RowStore) -> dict[str, int]:
    sizes = {}
    for name in space.index.refresh().shards:
        with contextlib.suppress(FileNotFoundError):
            sizes[name] = space.index.path(name).stat().st_size
    return sizes


def _twins(space: RowStore) -> dict[str, set[int]]:
    """Return for each shard the rows that are, undamaged, in an earlier shard too."""
    twins: dict[str, set[int]] = {}
    table = _compared(space)
    sound = cache(lambda shard: _is_sound(space, table.names[shard]))
    holder = last = -1
    for at in table.twins.tolist():
        if last != at - 1:  # of another key
            holder = at - 1
        last = at
        if sound(int(table.shard[holder])):
            twins.setdefault(table.names[table.shard[at]], set()).add(int(table.row[at]))
        else:
            holder = at
    return twins


def _compared(space: RowStore) -> Table:
    """Return the rows, with twins where their shards say and not only a memo of the index.

    To be called when no other process compacts: otherwise rows would be dropped here because of a
    shard that another compaction has just removed.
    """
    for attempt in range(TRIES):
        table = space.index.refresh().table
        try:
            for shard in np.unique(table.shard[np.union1d(table.twins - 1, table.twins)]).tolist():
                with contextlib.suppress(DamagedError):  # neither counted on nor touched
                    space.index.vectors(table.names[shard])
            break
        except FileNotFoundError:  # gone, or the memo was wrong and is now forgotten: try again
            if attempt == TRIES - 1:
                raise
    return table


def _is_sound(space: RowStore, name: str) -> bool:
    """Return whether a shard would pass `verify`: repair sets aside whatever would not."""
    try:
        check_shard(space.index.path(name), space.key)
    except OSError:  # damaged, gone, or not to be read
        return False
    return True


def _groups(
    space: RowStore, target: int, small: int, twins: dict[str, set[int]]
) -> list[list[str]]:
    """Split the small shards, and those with twins, into groups of about `target` bytes."""
    groups: list[list[str]] = []
    room = 0
    for name, size in _sizes(space).items():
        if size < small or name in twins:
            if size > room:
                groups.append([])
                room = target
            groups[-1].append(name)
            room -= size
    return [names for names in groups if len(names) > 1 or names[0] in twins]


def _merge(space: RowStore, names: list[str], twins: dict[str, set[int]]) -> None:
    """Store one shard with the rows of others, then remove those."""
    shards: list[Shard] = []
    size = 0
    for name in names:
        with contextlib.suppress(FileNotFoundError, DamagedError):
            shard = open_shard(space.index.path(name), space.key)
            size += shard.vectors.path.stat().st_size
            shards.append(shard)
    if not shards or _short_of_space(space, size):
        return
    rows = Rows.join([shard.rows for shard in shards])
    raw = hex_bytes(rows.key)
    source = np.repeat(np.arange(len(shards)), [len(shard.rows) for shard in shards])
    row = np.concatenate([np.arange(len(shard.rows)) for shard in shards])
    dropped = [twins.get(shard.vectors.path.name, set()) for shard in shards]
    wanted = np.flatnonzero(
        [r not in dropped[s] for s, r in zip(source.tolist(), row.tolist(), strict=True)]
    )
    _, first = np.unique(raw[wanted], axis=0, return_index=True)
    keep = np.sort(wanted[first])
    if not keep.size:
        _remove(space, shards, None)
        return
    source, row, words = source[keep], row[keep], key_words(raw[keep])

    sums = np.empty((space.n_layers, len(keep)), np.uint64)

    def values(layer: int, start: int, stop: int) -> np.ndarray:
        found = np.empty((stop - start, space.dim), shards[0].vectors.dtype)
        for number in np.unique(source[start:stop]).tolist():
            into = np.flatnonzero(source[start:stop] == number)
            these, part = row[start:stop][into], shards[number].vectors
            these_sums = sums[layer, start:stop]
            if part.read(layer, these, words[start:stop][into], found, into, these_sums).size:
                raise DamagedError(f"{part.path.name}: layer {layer} is damaged")
        return found

    provenance = {"merged": [shard.provenance for shard in _distinct(shards)]}
    try:
        pieces = shard_pieces(rows.take(keep), values, sums, space.spec, provenance)
        merged = space.commit(pieces, raw[keep])
    except (DamagedError, FileNotFoundError):
        # One of them is damaged, or another process merged it. The others are merged without it,
        # and keep their twins, whose only other copy may be in it.
        sound = [name for name in names if _is_sound(space, name)]
        if 1 < len(sound) < len(names):
            _merge(space, sound, {})
        return
    if _arrived(space, merged):
        _remove(space, shards, merged)


def _arrived(space: RowStore, merged: str) -> bool:
    """Read a merged shard back, before what it replaces is removed; return whether it is there."""
    path = space.index.path(merged)
    try:
        check_shard(path, space.key)
    except FileNotFoundError:  # without locks: another process merged it, and the others too
        return False
    except DamagedError as error:
        space.store.quarantine(path)
        raise DamagedError(
            f"{error}. It was just written from {space.name} and is set aside; nothing was"
            " removed. Check the disk and the memory, then compact again"
        ) from error
    return True


def _remove(space: RowStore, shards: list[Shard], merged: str | None) -> None:
    for shard in shards:
        if shard.vectors.path.name != merged:
            shard.vectors.path.unlink(missing_ok=True)
    sync_folder(space.folder / "shards")


def _short_of_space(space: RowStore, size: int) -> bool:
    """Return whether a merged shard might not fit on the disk; compaction can wait."""
    return shutil.disk_usage(space.folder).free < size * 1.1 + (1 << 20)


def _distinct(shards: list[Shard]) -> list[Shard]:
    found: dict[str, Shard] = {}
    for shard in shards:
        found.setdefault(repr(sorted(shard.provenance.items())), shard)
    return list(found.values())


@contextlib.contextmanager
def _alone(space: RowStore) -> Iterator[bool | None]:
    """Return whether no other process compacts this space: True, False, or None if unknown.

    Without locks every row of a merged shard is kept, twins too, and then two compactions at once
    do no harm.
    """
    space.make()
    with locked_file(space.store.tmp / f"{LOCK}{space.name}") as is_locked:
        yield is_locked
