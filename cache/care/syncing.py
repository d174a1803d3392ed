"""Bring one cache up to date with another, here or in object storage: what is new is copied.

Shards never change and are named by their content, so a name that is there, with its size, is done:
an interrupted sync continues where it stopped. Each file is compared with its name before it is
stored. Nothing is removed, and the source is only read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..cache import Cache
from ..errors import AffektError, DamagedError, InputError, SpecError, first_line
from ..files.cache_marker import MARKER, TEXT
from ..files.durable import content_name
from ..files.remote_path import open_address
from ..identity.content_digests import hex_bytes
from ..identity.index_files import NAME as SEGMENT, read_segment, segment_names, store_segment
from ..identity.spec import Spec, short_name
from ..rows.canary import compare_canary, read_canary
from ..rows.failures import read_failures
from ..rows.index import NAME as SHARD
from ..rows.remarks import copy_remarks
from ..shards.shard import open_shard
from ..space import Space
from .merging import (
    check_source,
    copy_failures,
    copy_new,
    copy_shards,
    shards_of_size,
    take_canary,
)

_NOTES = ("failures.jsonl", "remarks.jsonl")
Progress = Callable[[int, int], None]


@dataclass
class Synced:
    """What a sync did.

    Attributes
    ----------
    copied, present : int
        Shards that were copied, and that were there: by name, or all of their rows.
    bytes : int
        Of the shards that were copied.
    """

    copied: int = 0
    present: int = 0
    bytes: int = 0


def sync(source: Cache | str, target: Cache | str, progress: Progress | None = None) -> Synced:
    """Copy to a cache what another one has and it does not.

    Parameters
    ----------
    source, target : Cache, or an address of fsspec such as ``"s3://bucket/my.cache"``
        One of them has to be a folder. The target may hold something already.
    progress : callable (done, total), optional
        Called with shards.

    Raises
    ------
    CanaryError
        The two made a space with encoders that compute differently.
    DamagedError
        A file of the source is not what its name says.
    InputError
        Two addresses, a packed source, or a target that holds something else.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from affekt.cache import Manifest
    >>> from affekt.cache.care.import_export import import_space
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}])
    >>> with tempfile.TemporaryDirectory() as name:
    ...     one, two = Cache(Path(name, "one")), Cache(Path(name, "two"))
    ...     _ = import_space(one, {"a": np.ones(4)}, clips, "toy")
    ...     [sync(one, two).copied for _ in range(2)]
    [1, 0]
    """
    if isinstance(source, Cache) and isinstance(target, Cache):
        return Synced(*copy_new(source, target, progress))
    if isinstance(source, Cache) and isinstance(target, str):
        with _named(target):
            return _to(_Remote(target), source, progress)
    if isinstance(target, Cache) and isinstance(source, str):
        with _named(source):
            return _from(_Remote(source), target, progress)
    raise InputError(f"{source} and {target} are both URLs; one of them has to be a folder")


class _Remote:
    """A cache in a storage of fsspec, laid out as a folder is."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files, root = open_address(address)
        self.root = root.rstrip("/")
        self.files.invalidate_cache()

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the names in a folder, and their sizes."""
        try:
            found = self.files.ls(f"{self.root}/{folder}".rstrip("/"), detail=True)
        except FileNotFoundError:
            return {}
        return {one["name"].rstrip("/").rpartition("/")[2]: one["size"] or 0 for one in found}

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return self.files.cat_file(f"{self.root}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and see that it is there in full."""
        path = f"{self.root}/{name}"
        self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.files.pipe_file(path, data)
        if self.files.size(path) != len(data):
            raise AffektError(
                f"{self.address}: {name} was not transferred completely; run the command again"
            )


def _to(remote: _Remote, source: Cache, progress: Progress | None) -> Synced:
    """Copy a folder to a storage."""
    check_source(source, "sync")
    there = remote.sizes()
    if there and MARKER not in there:
        raise InputError(f"{remote.address} holds files and is not a cache; choose a new name")
    if not there:
        remote.write(MARKER, TEXT)
    spaces = source.spaces()
    known: set[Path] = set()
    for space in spaces:
        _same_space(remote, space)
        known.update(shards_of_size(space, remote.sizes(f"spaces/{space.name}/shards")))

    def put(space: Space, name: str, data: bytes, keys: np.ndarray) -> bool:
        remote.write(f"spaces/{space.name}/shards/{name}", data)
        return True

    copied, nbytes = copy_shards(spaces, put, progress, known)
    for space in spaces:
        _send_notes(remote, space)
    sizes = remote.sizes("clips")
    for name in sorted(segment_names(source.clips.folder)):
        data = read_segment(source.clips.folder / name)
        if sizes.get(name) != len(data):
            remote.write(f"clips/{name}", data)
    return Synced(copied, len(known), nbytes)


def _same_space(remote: _Remote, space: Space) -> None:
    """Send what a space is, or see that it is the same there."""
    folder, there = f"spaces/{space.name}", remote.sizes(f"spaces/{space.name}")
    spec = space.spec.json().encode()
    if "spec.json" not in there:
        remote.write(f"{folder}/spec.json", spec)
    elif (other := Spec.from_json(remote.read(f"{folder}/spec.json"))) != space.spec:
        raise SpecError(
            f"{remote.address}/{folder} has a different spec:\n{other.explain(space.spec)}"
        )
    canary = space.canary()
    if canary is None:
        return
    if "canary.h5" not in there:
        remote.write(f"{folder}/canary.h5", (space.folder / "canary.h5").read_bytes())
        return
    other_canary = _canary(remote, folder)
    if other_canary is not None:
        compare_canary(other_canary, canary, space.spec)


def _send_notes(remote: _Remote, space: Space) -> None:
    """Send lines on failures and remarks that are not there."""
    folder = f"spaces/{space.name}"
    there = remote.sizes(folder)
    for name in _NOTES:
        path = space.folder / name
        if path.is_file():
            before = remote.read(f"{folder}/{name}") if name in there else b""
            known = set(before.splitlines())
            new = [line for line in path.read_bytes().splitlines() if line not in known]
            if new:
                remote.write(
                    f"{folder}/{name}", before.rstrip(b"\n") + b"\n" + b"\n".join(new) + b"\n"
                )


def _from(remote: _Remote, target: Cache, progress: Progress | None) -> Synced:
    """Copy a cache in a storage to a folder."""
    target.check_writable()
    if MARKER not in remote.sizes():
        raise InputError(f"{remote.address}: no cache there")
    done = Synced()
    jobs = []
    for name in sorted(remote.sizes("spaces")):
        folder = f"spaces/{name}"
        spec = Spec.from_json(remote.read(f"{folder}/spec.json"), f"{remote.address}/{folder}")
        space = target.create(spec, short_name(name))
        space.make()
        _take_notes(remote, folder, space)
        known = set(space.index.refresh().shards)
        for shard in sorted(filter(SHARD.fullmatch, remote.sizes(f"{folder}/shards"))):
            if shard in known:
                done.present += 1
            else:
                jobs.append((space, f"{folder}/shards/{shard}", shard))
    for number, (space, place, shard) in enumerate(jobs, start=1):
        with _fetched(remote, place) as path:
            data = path.read_bytes()
            if content_name(data, ".h5") != shard:
                raise DamagedError(f"{remote.address}/{place} is damaged; sync it there again")
            keys = hex_bytes(open_shard(path, space.key).rows.key)
        if space.index.table.find(keys)[0].min(initial=0) >= 0 and len(keys):
            done.present += 1  # merged into another shard here
        else:
            space.commit([data], keys)
            done.copied, done.bytes = done.copied + 1, done.bytes + len(data)
        if progress is not None:
            progress(number, len(jobs))
    known_segments = segment_names(target.clips.folder)
    for name in sorted(filter(SEGMENT.fullmatch, remote.sizes("clips"))):
        if name not in known_segments:
            data = remote.read(f"clips/{name}")
            if content_name(data, ".jsonl") != name:
                raise DamagedError(f"{remote.address}/clips/{name} is damaged; sync it again")
            store_segment(data, target.path)
    for space in {space for space, _, _ in jobs}:
        space.close()
    return done


def _take_notes(remote: _Remote, folder: str, space: Space) -> None:
    """Take over canary, failures and remarks of a space in a storage."""
    there = remote.sizes(folder)
    if "canary.h5" in there:
        take_canary(_canary(remote, folder), space)
    if "failures.jsonl" in there:
        with _fetched(remote, f"{folder}/failures.jsonl") as path:
            copy_failures(read_failures(path), space)
    if "remarks.jsonl" in there:
        with _fetched(remote, f"{folder}/remarks.jsonl") as path:
            copy_remarks(path.parent, space.folder)


def _canary(remote: _Remote, folder: str) -> np.ndarray | None:
    with _fetched(remote, f"{folder}/canary.h5") as path:
        return read_canary(path)


@contextmanager
def _fetched(remote: _Remote, name: str) -> Iterator[Path]:
    """Yield a copy of a file, under its name, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name.rpartition("/")[2])
        path.write_bytes(remote.read(name))
        yield path


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Add the address to an error of a storage, which may be of any class."""
    try:
        yield
    except (AffektError, OSError):
        raise
    except Exception as error:
        raise AffektError(f"{address}: {type(error).__name__}: {first_line(error)}") from error
