"""What a run works on: a recipe whose inputs were read, and where each encoder's features are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ....cache.cache import Cache
from ....cache.identity.spec import Spec
from ....cache.manifest import Manifest
from ....cache.space import Space
from ...data.task import Task
from ...data.vocabulary import left_out_note
from .entries import EncoderEntry
from .recipe import Recipe

if TYPE_CHECKING:
    from ...data.predictions import Predictions


@dataclass(frozen=True)
class Source:
    """Where the features of one encoder come from.

    Attributes
    ----------
    entry : EncoderEntry
        The recipe's entry for the encoder.
    spec : Spec
        Of the space that holds or will hold its embeddings.
    encoder : Encoder or None
        None where the recipe names a stored space, or where it was not opened: see `open_source`.
    clips : Manifest
        The clips that have what it embeds: a path, or a text.
    note : str
        A message for the user on how it was found.
    """

    entry: EncoderEntry
    spec: Spec
    encoder: Any
    clips: Manifest
    note: str = ""

    @property
    def is_stored_space(self) -> bool:
        """Whether the recipe names a stored space, so that nothing can be embedded."""
        return "space" in self.entry.options

    @property
    def is_imported(self) -> bool:
        """Whether another tool made the rows, so that new clips cannot be embedded."""
        return bool(self.spec.fields["encoder"].get("imported"))


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
    remarks : dict of str to int
        Remark -> clips with a row that have it, as far as the cache has them.
    """

    digests: dict[str, str | None]
    there: frozenset[str]
    failed: dict[str, str]
    pending: list[str]
    remarks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A recipe whose inputs were read and checked.

    Attributes
    ----------
    recipe : Recipe
        With the encoders that its given models read.
    clips : Manifest
        Every clip that takes part, labelled or not.
    labelled : Manifest
        Those that the task uses, with its labels.
    left_out : dict of str to int
        Raw label -> clips that the task leaves out.
    sources : dict of str to Source
        By encoder name; only encoders that a member uses.
    stored : dict of str to Stored
        What the cache holds, by encoder name, as `look` found it.
    """

    recipe: Recipe
    task: Task
    clips: Manifest
    labelled: Manifest
    left_out: dict[str, int]
    cache: Cache
    sources: dict[str, Source]
    stored: dict[str, Stored] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """Notes for the user on the table, clips that are left out, and how encoders were found."""
        of_table = [f"{self.clips.source}: {note}" for note in self.clips.notes]
        found = [source.note for source in self.sources.values() if source.note]
        return [*of_table, *left_out_note(self.left_out), *found]

    @property
    def there(self) -> dict[str, frozenset[str]]:
        """By encoder, the clips with a row."""
        return {name: one.there for name, one in self.stored.items()}

    @property
    def hopeful(self) -> dict[str, frozenset[str]]:
        """By encoder, the clips with a row and those that may get one."""
        return {name: one.there | frozenset(one.pending) for name, one in self.stored.items()}

    @property
    def recordings(self) -> dict[str, str | None] | None:
        """The content digest of each recording; one sentence said by many is not a duplicate."""
        for name, one in self.stored.items():
            if self.sources[name].spec.modality == "audio":
                return one.digests
        return None

    @property
    def quarantined(self) -> dict[str, dict[str, int]]:
        """By encoder and reason, how many clips of this run could not be embedded."""
        used = set(self.labelled.ids)
        return {
            name: dict(sorted(Counter(c for i, c in one.failed.items() if i in used).items()))
            for name, one in self.stored.items()
        }

    @property
    def embedded(self) -> dict[str, int]:
        """By encoder, how many clips of this run have a row."""
        used = set(self.labelled.ids)
        return {name: len(used & one.there) for name, one in self.stored.items()}

    def score(self, found: Predictions) -> float:
        """Return the UAR (or CCC) of predictions of labelled clips."""
        from ...metrics.scored_clips import task_score  # imports scipy

        return task_score(self.task, self.labelled.select(found.ids), found)

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """By encoder, where its rows are; valid once everything is embedded."""
        return {name: self.cache.space(one.spec) for name, one in self.sources.items()}
