"""The encoders of a first recipe: the built-in ones, or what a cache already holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....cache.cache import Cache
from ....cache.errors import InputError, listed, nearest_beside
from ....cache.manifest import Manifest
from ....cache.space import Space

NAMES = {"audio": "speech", "text": "text"}  # in the recipe, by modality
KEY = 9  # characters at the end of a space's name: a hyphen, and its key


@dataclass(frozen=True)
class Proposed:
    """An encoder as a first recipe has it.

    Attributes
    ----------
    name, value, about : str
        Its key, what the recipe says of it, and the comment.
    """

    name: str
    value: str
    about: str


BUILT_IN = {
    one.name: one
    for one in (
        Proposed(
            *("speech", "spectral", "built in; a pretrained one: facebook/wav2vec2-large-xlsr-53")
        ),
        Proposed(*("text", "ngram", "built in; a pretrained one: FacebookAI/xlm-roberta-base")),
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
    spaces = [held.space(name) for name in dict.fromkeys(names)] or held.spaces()
    if not spaces:
        raise InputError(f"{cache} holds no embeddings; affekt extract and cache import store some")
    absent = {space.name: _absent(space, clips) for space in spaces}
    lacks = [
        f"{name} lacks {len(ids)} of {len(clips)} clips ({listed(ids, 3)})"
        for name, ids in absent.items()
        if ids
    ]
    found = [space for space in spaces if not absent[space.name]]
    if lacks and (names or not found):
        raise InputError(
            f"{'; '.join(lacks)}; embed them or import their vectors, or leave them out of "
            f"{clips.source}"
        )
    modalities = Counter(space.modality for space in found)
    proposed = [_proposed(space, held, modalities[space.modality] == 1) for space in found]
    return proposed, [f"{text} and is not used" for text in lacks]


def _absent(space: Space, clips: Manifest) -> list[str]:
    """Return the clips that a run would have to embed: what failed before is left out there."""
    there = [bool(value) for value in clips["path" if space.modality == "audio" else "text"]]
    if not any(there):
        return clips.ids
    failed = {note["id"] for note in space.failures()}
    return [id_ for id_ in space.missing(clips.select(np.array(there))) if id_ not in failed]


def _proposed(space: Space, cache: Cache, alone: bool) -> Proposed:
    """Return a space as an encoder; it is named by its modality where no other space has it."""
    short = space.name[:-KEY]
    twins = [one for one in cache.spaces() if one.name[:-KEY] == short]
    name = short if len(twins) == 1 else space.name
    about = f"{space.dim} numbers for each clip"
    if space.n_layers > 1:
        about = f"{space.n_layers} layers; members read the last one, and layers: probe the best"
    return Proposed(NAMES[space.modality] if alone else name, f"{{space: {name}}}", about)
