"""Merge caches: shards never change and rows commute, so copying them is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .cache import Cache
from .canary import compare_canary
from .digests import hex_bytes
from .durable import content_name, make_folder, publish
from .errors import DamagedError, InputError
from .index import NAME
from .space import Space


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
        A shard of a source is damaged: repair that cache first.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from affekt.cache import Manifest
    >>> from affekt.cache.exchange import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}])
    >>> with tempfile.TemporaryDirectory() as name:
    ...     parts = [Cache(Path(name, part)) for part in ("one", "two")]
    ...     spaces = [import_space(part, {"a": np.ones(4)}, clips, "toy")[0] for part in parts]
    ...     merge(parts, Cache(Path(name, "all"))), len(Cache(Path(name, "all")).space("toy"))
    (1, 1)
    """
    out.check_writable()
    for source in sources:
        if source.packed:
            raise InputError(f"{source.path} is packed; merge the folders it was made from")
        if not source.path.is_dir():
            raise InputError(f"{source.path}: there is no such cache")
    pairs = [(space, _target(out, space)) for source in sources for space in source.spaces()]
    jobs = [
        (path, space, target)
        for space, target in pairs
        for path in sorted((space.folder / "shards").iterdir())
        if NAME.fullmatch(path.name)
    ]
    copied = 0
    for done, (path, space, target) in enumerate(jobs, start=1):
        data = path.read_bytes()
        if content_name(data, ".h5") != path.name:
            raise DamagedError(f"{path} is damaged; run: affekt cache repair {space.cache.path}")
        copied += not target.index.path(path.name).exists()
        target.commit([data], hex_bytes(space.index.rows(path.name).key))
        if progress is not None:
            progress(done, len(jobs))
    for space, target in pairs:
        _copy_failures(space, target)
    for source in sources:
        _copy_clips(source, out)
    return copied


def _target(out: Cache, space: Space) -> Space:
    """Return the space of the same spec in the other cache, with the same canary."""
    target = out.create(space.spec, space.name[:-9])
    target.make()
    canary = space.canary()
    if canary is not None:
        target.set_canary(canary)
        there = target.canary()
        if there is not None:
            compare_canary(there, canary, space.spec)
    return target


def _copy_failures(space: Space, target: Space) -> None:
    known = {(note["key"], note["id"], note["code"]) for note in target.failures()}
    for note in space.failures():
        if (note["key"], note["id"], note["code"]) not in known:
            target.fail(note["key"], note["id"], note["code"], note.get("message", ""))


def _copy_clips(source: Cache, out: Cache) -> None:
    folder = out.path / "clips"
    for path in sorted((source.path / "clips").glob("*.jsonl")):
        data = path.read_bytes()
        if content_name(data, ".jsonl") == path.name:
            make_folder(folder, out.path)
            make_folder(out.path / "tmp", out.path)
            publish(data, folder / path.name, Path(out.path / "tmp"))
