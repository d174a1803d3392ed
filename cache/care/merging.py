"""Merge caches: shards never change and rows commute, so copying them is enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import Cache
from ..errors import DamagedError, InputError, in_shell, listed
from ..files.atomic_writes import entries
from ..files.durable import content_name
from ..files.reading import check_regular
from ..identity.content_digests import hex_bytes
from ..identity.index_files import read_segment, segment_names, store_segment
from ..identity.spec import short_name
from ..rows.canary import compare_canary
from ..rows.index import NAME, Index
from ..rows.remarks import copy_remarks
from ..rows.row_store import PATIENCE
from ..space import Space


def merge(
    sources: Sequence[Cache], out: Cache, progress: Callable[[int, int], None] | None = None
) -> int:
    """Copy all spaces, clips and failures of some caches into another.

    Parameters
    ----------
    sources : sequence of Cache
        Folders; they are not changed.
    out : Cache
        The target, which may hold something already. Killed half-way, it is a sound cache, and
        merging again copies the rest.
    progress : callable (done, total), optional
        Called with shards.

    Returns
    -------
    int
        Number of shards copied.

    Raises
    ------
    CanaryError
        Two caches made a space with encoders that compute differently.
    DamagedError
        A space, a shard or the index of clips of a source is damaged: repair that cache first.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from affekt.cache import Manifest
    >>> from affekt.cache.care.import_export import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}])
    >>> with tempfile.TemporaryDirectory() as name:
    ...     parts = [Cache(Path(name, part)) for part in ("one", "two")]
    ...     spaces = [import_space(part, {"a": np.ones(4)}, clips, "toy")[0] for part in parts]
    ...     merge(parts, Cache(Path(name, "all"))), len(Cache(Path(name, "all")).space("toy"))
    (1, 1)
    """
    out.check_writable()
    for source in sources:
        check_source(source, "merge")
    pairs = [(space, _target(out, space)) for source in sources for space in source.spaces()]
    copied, _ = _copy_spaces(pairs, progress)
    for source in sources:
        _copy_clips(source, out, set())
    return copied


def check_source(source: Cache, verb: str) -> None:
    """Refuse to copy from a folder that is not a cache, or is damaged."""
    if source.packed:
        raise InputError(f"{source.path} is packed; {verb} the folders it was made from")
    if not source.path.is_dir():
        raise InputError(f"{source.path}: no such cache")
    refuse_broken(source)
    refuse_damaged_clips(source)


def copy_new(
    source: Cache, out: Cache, progress: Callable[[int, int], None] | None = None
) -> tuple[int, int, int]:
    """Copy what one cache has and another does not; `merge` looks at every file of both.

    Returns
    -------
    copied, present, nbytes : int
        Shards that were copied, and that were there; bytes that were copied.
    """
    out.check_writable()
    check_source(source, "sync")
    pairs = [(space, _target(out, space)) for space in source.spaces()]
    known = {path for space, target in pairs for path in _known(space, target)}
    copied, nbytes = _copy_spaces(pairs, progress, known)
    for _, target in pairs:
        target.close()
    _copy_clips(source, out, segment_names(out.clips.folder))
    return copied, len(known), nbytes


def _known(space: Space, target: Space) -> list[Path]:
    """Return the shards that another space has: under their names, or merged into others."""
    table = target.index.refresh().table
    sizes = {name: target.index.path(name).stat().st_size for name in table.names}
    index = space.index.refresh()
    found = shards_of_size(space, sizes)
    for path in shard_files(space):
        keys = index.keys(path.name) if isinstance(index, Index) else None
        if path.name not in sizes and keys is not None and (table.find(keys)[0] >= 0).all():
            found.append(path)
    return found


def shards_of_size(space: Space, sizes: Mapping[str, int]) -> list[Path]:
    """Return the shards that are elsewhere too, by the sizes of the files there."""
    found = []
    for path in shard_files(space):
        with suppress(FileNotFoundError):  # merged into another one
            if sizes.get(path.name) == path.stat().st_size:
                found.append(path)
    return found


def _copy_spaces(
    pairs: Iterable[tuple[Space, Space]],
    progress: Callable[[int, int], None] | None,
    known: Set[Path] = frozenset(),
) -> tuple[int, int]:
    """Copy each space into the other one; return how many shards were new, and their bytes."""
    targets = dict(pairs)

    def put(space: Space, name: str, data: bytes, keys: np.ndarray) -> bool:
        target = targets[space]
        is_new = not target.index.path(name).exists()
        target.commit([data], keys)
        return is_new

    counts = copy_shards(targets, put, progress, known)
    for space, target in targets.items():
        copy_failures(space.failures(), target)
        copy_remarks(space.folder, target.folder)
    return counts


def copy_shards(
    spaces: Collection[Space],
    put: Callable[[Space, str, bytes, np.ndarray], bool],
    progress: Callable[[int, int], None] | None,
    known: Set[Path] = frozenset(),
) -> tuple[int, int]:
    """Give every shard to `put`, which stores it; return how many were new, and their bytes.

    A shard that is merged into another one meanwhile is found there: the search is repeated
    until there is nothing new.

    Parameters
    ----------
    put : callable (space, name, data, keys)
        Returns whether the shard was not there before.
    known : set of Path
        Shards to leave out.
    """
    copied = nbytes = 0
    done: set[Path] = set()
    for attempt in range(PATIENCE):
        left_out = done | known
        jobs = [(one, path) for one in spaces for path in shard_files(one) if path not in left_out]
        if not jobs:
            break
        total = len(done) + len(jobs)
        for space, path in jobs:
            try:
                data, keys = read_shard(path, space)
            except FileNotFoundError:
                if attempt == PATIENCE - 1:
                    raise
                continue
            copied += put(space, path.name, data, keys)
            nbytes += len(data)
            done.add(path)
            if progress is not None:
                progress(len(done), total)
    return copied, nbytes


def shard_files(space: Space) -> list[Path]:
    """Return the files of the shards; the folder may be missing, as some tools skip empty ones."""
    return [path for path in entries(space.folder / "shards") if NAME.fullmatch(path.name)]


def read_shard(path: Path, space: Space) -> tuple[bytes, np.ndarray]:
    """Return a shard and its keys."""
    check_regular(path)
    data = path.read_bytes()
    if content_name(data, ".h5") != path.name:
        raise DamagedError(
            f"{path} is damaged; run: affekt cache repair {in_shell(space.store.path)}"
        )
    return data, hex_bytes(space.index.rows(path.name).key)


def _target(out: Cache, space: Space) -> Space:
    """Return the space of the same spec in the other cache, with the same canary."""
    target = out.create(space.spec, short_name(space.name))
    target.make()
    take_canary(space.canary(), target)
    return target


def take_canary(canary: np.ndarray | None, target: Space) -> None:
    """Give a space the canary of another one, or compare it with its own."""
    if canary is not None:
        target.set_canary(canary)
        there = target.canary()
        if there is not None:
            compare_canary(there, canary, target.spec)


def copy_failures(notes: Iterable[Mapping[str, Any]], target: Space) -> None:
    """Note in a space what could not be embedded elsewhere, unless it is noted already."""
    known = {(note["key"], note["id"], note["code"]) for note in target.failures()}
    for note in notes:
        if (note["key"], note["id"], note["code"]) not in known:
            target.fail(note["key"], note["id"], note["code"], note["message"])


def _copy_clips(source: Cache, out: Cache, known: Set[str]) -> None:
    folder = source.clips.folder
    for name in sorted(segment_names(folder) - known):
        store_segment(read_segment(folder / name), out.path)


def refuse_broken(cache: Cache) -> None:
    """Raise if a space cannot be opened.

    Raises
    ------
    DamagedError
        Names the spaces, and the remedy.
    """
    _refuse(cache.path, list(cache.broken().values()))


def refuse_damaged_clips(cache: Cache) -> None:
    """Raise if a segment of the index of clips is damaged; a packed file checks its own."""
    if cache.packed:
        return
    damaged = []
    for name in sorted(segment_names(cache.clips.folder)):
        try:
            read_segment(cache.clips.folder / name)
        except DamagedError as error:
            damaged.append(f"clips/{error}")
        except FileNotFoundError:  # a repair has just set it aside
            continue
    _refuse(cache.path, damaged)


def refuse_damaged_shards(space: Space) -> None:
    """Raise if a shard of a space could not be read when its index was refreshed."""
    damaged = [why for _, why in sorted(space.index.damaged.items())]
    _refuse(space.store.path, [f"{space.name}: {why}" for why in damaged])


def _refuse(path: Path, damaged: list[str]) -> None:
    if damaged:
        raise DamagedError(
            f"{path}: a copy would be incomplete, because these cannot be read: {listed(damaged)}."
            f" Run: affekt cache repair {in_shell(path)}"
        )
