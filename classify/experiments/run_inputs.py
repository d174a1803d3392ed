"""What a run works on: a recipe whose inputs were read, and where each encoder's features are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...cache.cache import Cache
from ...cache.identity.spec import Spec
from ...cache.manifest import Manifest
from ..data.task import Task
from .recipes.recipe import EncoderEntry, Recipe

__all__ = ["Prepared", "Source"]


@dataclass(frozen=True)
class Source:
    """Where the features of one encoder come from.

    Attributes
    ----------
    name : str
        The recipe's word for the encoder.
    spec : Spec
        Of the space that holds or will hold its embeddings.
    encoder : Encoder or None
        None where the recipe names a stored space, or where it was not opened: see `open_source`.
    clips : Manifest
        The clips that have what it embeds: a path, or a text.
    store_dtype : str
    entry : EncoderEntry
    note : str
        What the user should know of how it was found.
    """

    name: str
    spec: Spec
    encoder: Any
    clips: Manifest
    store_dtype: str
    entry: EncoderEntry
    note: str = ""

    @property
    def is_stored_space(self) -> bool:
        """Whether the recipe names a stored space, so that nothing can be embedded."""
        return "space" in self.entry.options


@dataclass(frozen=True)
class Prepared:
    """A recipe whose inputs were read and found right.

    Attributes
    ----------
    recipe : Recipe
        With the encoders that its given models read.
    task : Task
    clips : Manifest
        Every clip that takes part, labelled or not.
    labelled : Manifest
        Those that the task uses, with its labels.
    left_out : dict of str to int
        Raw label -> clips that the task leaves out.
    cache : Cache
    sources : dict of str to Source
        By encoder name; only encoders that a member uses.
    """

    recipe: Recipe
    task: Task
    clips: Manifest
    labelled: Manifest
    left_out: dict[str, int]
    cache: Cache
    sources: dict[str, Source]
