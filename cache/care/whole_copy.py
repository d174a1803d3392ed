"""A copy of a cache has all of it, or is not made: damage is never left out without a word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DamagedError, listed
from ..identity.index_files import read_segment, segment_names

if TYPE_CHECKING:
    from ..cache import Cache
    from ..space import Space


def refuse_broken(cache: Cache) -> None:
    """Raise if a space cannot be opened.

    Raises
    ------
    DamagedError
        Names the spaces, and the remedy.
    """
    _refuse(cache.path, list(cache.broken().values()))


def refuse_damaged_clips(cache: Cache) -> None:
    """Raise if a segment of the index of clips is damaged; that of a packed file tells itself."""
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
            f"{path}: a copy would lack what cannot be read: {listed(damaged)}."
            f" Run: affekt cache repair {path}"
        )
