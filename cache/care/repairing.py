"""Set damaged files aside, so that the next extract computes exactly their rows.

Moves, never deletes: what was damaged stays in ``quarantine/`` for as long as its owner likes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from ..errors import AffektError, DamagedError, NewerError, SpecError
from ..files.atomic_writes import leftovers
from ..files.durable import publish
from ..files.reading import check_regular
from ..identity.spec import Spec
from ..rows.cache_folder import read_spec
from ..shards.safe_hdf5 import attribute, dataset, open_plain
from .verifying import verify

if TYPE_CHECKING:
    from ..cache import Cache


@dataclass
class Repair:
    """What `repair` did.

    Parameters
    ----------
    moved : list of str
        Files that are in ``quarantine/`` now, as they were named before.
    ids : list of str
        Clips whose rows they held, as far as the files still say.
    rebuilt : list of str
        Files that were rebuilt from others.
    removed : list of str
        Unfinished files of writers that are gone.
    hopeless : list of str
        What could not be put right, and why.
    """

    moved: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    hopeless: list[str] = field(default_factory=list)


def repair(cache: Cache, progress: Callable[[int, int], None] | None = None) -> Repair:
    """Verify a cache, move what is damaged into ``quarantine/``, and remove unfinished files.

    The next extract computes exactly the rows that were lost. A damaged ``spec.json`` is rebuilt
    from a shard.

    Parameters
    ----------
    cache : Cache
    progress : callable (done, total), optional
        Called after each shard.

    Raises
    ------
    InputError
        The cache is packed or was opened read-only.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache
    >>> repair(Cache(tempfile.mkdtemp())).moved
    []
    """
    cache.check_writable()
    done = Repair()
    for name in cache.broken():
        _rebuild_spec(cache, cache.path / "spaces" / name, done)
    for finding in verify(cache, progress=progress).damage:
        if not finding.aside:
            done.hopeless.append(f"{finding.path}: not moved: {finding.problem}")
            continue
        path = cache.path / finding.path
        ids = _ids(path) if path.parent.name == "shards" else []
        if _set_aside(cache, path, done):
            done.ids += ids
    for path in leftovers(cache.path / "tmp"):
        with contextlib.suppress(FileNotFoundError):  # of two repairs at once, one was first
            path.unlink()
            done.removed.append(f"tmp/{path.name}")
    return done


def _set_aside(cache: Cache, path: Path, done: Repair) -> bool:
    """Move a file to quarantine; return False if another repair was first."""
    try:
        cache.quarantine(path)
    except FileNotFoundError:
        return False
    done.moved.append(path.relative_to(cache.path).as_posix())
    return True


def _rebuild_spec(cache: Cache, folder: Path, done: Repair) -> None:
    """Write ``spec.json`` again from a shard that holds it."""
    try:
        read_spec(folder, cache.path)
        return  # another repair was first
    except (NewerError, SpecError):
        return  # it may not be damaged
    except DamagedError:
        path = folder / "spec.json"
    except OSError:
        return  # it cannot be read, which need not mean damage either
    shards = sorted((folder / "shards").glob("*.h5"))
    found = (spec for spec in map(_spec, shards) if spec is not None)
    spec = next((spec for spec in found if folder.name.endswith(f"-{spec.key[:8]}")), None)
    if shards and spec is None:
        return
    if os.path.lexists(path):
        _set_aside(cache, path, done)
    if spec is not None and publish(spec.json().encode(), path, cache.path / "tmp"):
        done.rebuilt.append(path.relative_to(cache.path).as_posix())


def _spec(shard: Path) -> Spec | None:
    """Return the spec in a shard, if it is whole."""
    try:
        with open_plain(shard) as file:
            text, key = attribute(file, "spec", str), attribute(file, "spec_key", str)
        return Spec.from_json(text) if hashlib.sha256(text.encode()).hexdigest() == key else None
    except (AffektError, OSError):
        return None


def _ids(shard: Path) -> list[str]:
    """Return the ids that a damaged shard still shows."""
    try:
        check_regular(shard)
        with h5py.File(shard, "r", locking=False) as file:
            ids = dataset(file, "id", (None,), "S")[()]
    except (DamagedError, OSError, RuntimeError, KeyError, ValueError, TypeError):
        return []
    return [id_.decode("utf-8", "replace") for id_ in ids.tolist()]
