"""The encoders of a first recipe: the built-in ones, or what a cache already holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....cache.cache import Cache
from ....cache.errors import InputError, listed, nearest_beside
from ....cache.identity.spec import short_name
from ....cache.manifest import Manifest
from ....cache.space import Space

NAMES = {"audio": "speech", "text": "text"}  # in the recipe, by modality


@dataclass(frozen=True)
class Proposed:
    """An encoder as a first recipe has it.

    Attributes
    ----------
    name, source, about : str
        Its key, the encoder or the space, and the comment.
    is_space : bool
        Whether `source` is a space of the recipe's cache.
    """

    name: str
    source: str
    about: str
    is_space: bool = False


BUILT_IN = {
    name: Proposed(name, encoder, f"built in; a pretrained one: {other}")
    for name, encoder, other in (
        ("speech", "spectral", "facebook/wav2vec2-large-xlsr-53"),
        ("text", "ngram", "FacebookAI/xlm-roberta-base"),
    )
}


def stored(cache: Path, names: Sequence[str], clips: Manifest) -> tuple[list[Proposed], list[str]]:
    """Return the spaces of a cache as encoders, and notes on those that lack clips.

    Parameters
    ----------
    names
        Of the spaces; without any, all that hold the clips.

    Raises
    ------
    InputError
        No such space, or one that lacks clips.
    """
    if not cache.exists():
        raise InputError(f"there is no cache {cache}.{nearest_beside(cache)}")
    held = Cache(cache, readonly=True)
    every = held.spaces()
    asked = {space.name: space for space in map(held.space, names)}  # perhaps by several names
    spaces = [*asked.values()] or every
    broken = {} if names else held.broken()
    if not spaces and not broken:
        raise InputError(f"{cache} holds no embeddings; affekt extract and cache import store some")
    absent = {space.name: _absent(space, clips) for space in spaces}
    lacks = [f"{name} cannot be read ({why})" for name, why in broken.items()]
    for space in spaces:
        if ids := absent[space.name]:
            damage = f"; {why}" if (why := space.damage()) else ""
            some = f"{len(ids)} of {len(clips)} clips ({listed(ids, 3)}{damage})"
            lacks.append(f"{space.name} lacks {some}")
    found = [space for space in spaces if not absent[space.name]]
    if lacks and (names or not found):
        raise InputError(
            f"{'; '.join(lacks)}; embed them or import their vectors, or leave them out of "
            f"{clips.source}"
        )
    return _proposed(found, every), [f"{text} and is not used" for text in lacks]


def _absent(space: Space, clips: Manifest) -> list[str]:
    """Return the clips that a run would have to embed: what failed before is left out there.

    A space without any of the clips lacks all of them.
    """
    there = [bool(value) for value in clips["path" if space.modality == "audio" else "text"]]
    if not any(there):
        return clips.ids
    wanted = clips.select(np.array(there))
    keys = dict(zip(wanted.ids, space.keys_of(wanted), strict=True))
    failed = {note["id"] for note in space.failures() if note["key"] == keys.get(note["id"])}
    missing = space.missing(wanted)
    none = len(missing) == len(wanted)
    return clips.ids if none else [id_ for id_ in missing if id_ not in failed]


def _proposed(spaces: Sequence[Space], every: Sequence[Space]) -> list[Proposed]:
    """Return spaces as encoders, named by their modality where it is the only one of it.

    Parameters
    ----------
    every
        All spaces of the cache: a name that several have needs the key.
    """
    count = Counter(space.modality for space in spaces)
    shared = Counter(short_name(space.name) for space in every)
    short = {
        one.name: name if shared[name := short_name(one.name)] == 1 else one.name for one in every
    }
    taken = {short[space.name] for space in spaces if count[space.modality] > 1}
    found = []
    for space in spaces:
        name, kind = short[space.name], NAMES[space.modality]
        about = f"{space.dim} numbers for each clip"
        if space.n_layers > 1:
            about = (
                f"{space.n_layers} layers; members read the last one, and layers: probe the best"
            )
        alone = count[space.modality] == 1 and kind not in taken
        found.append(Proposed(kind if alone else name, name, about, is_space=True))
    return found
