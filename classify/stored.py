"""What the cache holds for the clips of a run, and filling in what it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..cache.cache import Cache
from ..cache.errors import MissingError, listed
from ..cache.space import Space
from .prepare import Source

__all__ = ["Stored", "embed", "look"]


@dataclass(frozen=True)
class Stored:
    """The state of one encoder's embeddings.

    Attributes
    ----------
    digests : dict of str to str or None
        Content digest of every clip that has what the encoder needs; None where it is not known.
    there : frozenset of str
        Ids with a row.
    failed : dict of str to str
        Id -> reason code of clips that could not be embedded.
    pending : list of str
        Ids that an extract has to visit.
    """

    digests: dict[str, str | None]
    there: frozenset[str]
    failed: dict[str, str]
    pending: list[str]


def look(source: Source, cache: Cache) -> Stored:
    """Say what is stored, what failed before, and what is still to be embedded."""
    ids = source.clips.ids
    digests = dict(zip(ids, cache.digests(source.clips, source.spec.modality), strict=True))
    space = _space(source, cache)
    if space is None:
        return Stored(digests, frozenset(), {}, list(ids))
    missing = set(space.missing(source.clips))
    failed = _failed(space, missing, digests)
    pending = [clip for clip in ids if clip in missing and clip not in failed]
    return Stored(digests, frozenset(set(ids) - missing), failed, pending)


def embed(source: Source, cache: Cache, stored: Stored, say: Callable[[str], None]) -> Stored:
    """Embed what is pending, and look again.

    Raises
    ------
    MissingError
        The recipe names a stored space, which lacks rows, and no encoder to compute them.
    """
    if source.encoder is None:
        raise MissingError(
            f"the space of {source.name!r} has no row for {len(stored.pending)} clips "
            f"({listed(stored.pending)}); name the encoder in the recipe to compute them",
            stored.pending,
        )
    from ..extract.loop import extract

    say(f"{source.name}: embedding {len(stored.pending)} of {len(source.clips)} clips")
    extract(source.clips, cache, source.encoder, store_dtype=source.store_dtype)
    return look(source, cache)


def _space(source: Source, cache: Cache) -> Space | None:
    for space in cache.spaces():
        if space.key == source.spec.key:
            return space
    return None


def _failed(space: Space, missing: set[str], digests: Mapping[str, str | None]) -> dict[str, str]:
    failed: dict[str, Any] = {}
    for failure in space.failures():
        if failure["id"] in missing:
            failed[failure["id"]] = failure["code"]
    return failed
