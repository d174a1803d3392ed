"""Which clips each member has in each fold, and the folds that it cannot take part in.

A text member has nothing to learn from where a language has no texts. It sits out that fold: its
test clips there are missing, so the common comparison leaves them out and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from ...heads.registry import HEADS
from .choosing import Part

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ..embeddings import Stored
    from ..recipes.recipe import MemberEntry, Recipe
    from ..run_inputs import Prepared

__all__ = [
    "Share",
    "divisions",
    "hopeful",
    "recordings",
    "share_out",
    "share_out_all",
    "sits_out",
]


@dataclass(frozen=True)
class Share:
    """What one member has of a division of the clips.

    Attributes
    ----------
    parts : list of Part
        One for each fold that it takes part in, in order.
    sits_out : dict of str to str
        Name of a fold -> why the member does not take part in it.
    """

    parts: list[Part]
    sits_out: dict[str, str] = field(default_factory=dict)

    @property
    def tested(self) -> set[str]:
        """Ids of the test clips that it predicts."""
        return {clip for part in self.parts for clip in part.test.ids}

    @property
    def has_dev(self) -> bool:
        """Whether each fold has dev clips, and none of them twice."""
        ids = [clip for part in self.parts for clip in part.dev.ids]
        return all(len(part.dev) for part in self.parts) and len(set(ids)) == len(ids)


def share_out(
    recipe: Recipe, found: Sequence[Split], there: Mapping[str, Collection[str]]
) -> dict[str, Share]:
    """Return what each member has of one division of the clips (a split, or its folds).

    Parameters
    ----------
    recipe : Recipe
    found : sequence of Split
        Of one repeat.
    there : mapping of str to collection of str
        Encoder -> ids of the clips that have a row of it, or may get one.

    Raises
    ------
    InputError
        A member that has clips nowhere, settings to choose from and no dev to choose on, no test
        clip that all members have; with file and line.
    """
    shares = {entry.name: _share(entry, found, there) for entry in recipe.members.values()}
    if not reduce(set.intersection, (share.tested for share in shares.values())):
        sizes = ", ".join(f"{name} {len(share.tested)}" for name, share in shares.items())
        recipe.at["members"].fail(f"no test clip has what every member needs ({sizes})")
    return shares


def divisions(recipe: Recipe, found: Sequence[Split]) -> dict[str, list[Split]]:
    """Return the splits of each repeat by its name; of one division under a blank name."""
    if recipe.split.get("repeats", 1) == 1:
        return {"": list(found)}
    from ..results.repeats import by_repeat

    return by_repeat(found)


def share_out_all(
    recipe: Recipe, found: Sequence[Split], there: Mapping[str, Collection[str]]
) -> dict[str, dict[str, Share]]:
    """Return what each member has in each repeat, by the repeat's name; see `share_out`."""
    return {name: share_out(recipe, own, there) for name, own in divisions(recipe, found).items()}


def hopeful(stored: Mapping[str, Stored]) -> dict[str, frozenset[str]]:
    """Return, by encoder, the clips with a row and those that may get one."""
    return {name: one.there | frozenset(one.pending) for name, one in stored.items()}


def recordings(ready: Prepared, stored: Mapping[str, Stored]) -> dict[str, str | None] | None:
    """Return the content digest of each recording; one sentence said by many is no duplicate."""
    for name, one in stored.items():
        if ready.sources[name].spec.modality == "audio":
            return one.digests
    return None


def sits_out(shares: Mapping[str, Share]) -> list[str]:
    """Return a sentence for each member that does not take part in every fold.

    Examples
    --------
    >>> sits_out({"text": Share([], {"amh": "none of 36 test clips has a text"})})
    ["text sits out 'amh': none of 36 test clips has a text"]
    """
    return [
        f"{name} sits out {fold!r}: {reason}"
        for name, share in shares.items()
        for fold, reason in share.sits_out.items()
    ]


def _share(
    entry: MemberEntry, found: Sequence[Split], there: Mapping[str, Collection[str]]
) -> Share:
    rows = [frozenset(there[name]) for name in entry.on]
    # a head that predicts from either side takes part wherever one side is there
    either = entry.settings.get("missing") == ("predict",)
    has = frozenset.union(*rows) if either else frozenset.intersection(*rows)
    parts, out = [], {}
    for split in found:
        part = Part(**{name: _those(clips, has) for name, clips in split.parts.items()},
                    name=split.name)  # fmt: skip
        if reason := _lack(entry, split, part):
            out[split.name] = reason
        else:
            parts.append(part)
    if not parts:
        reasons = "; ".join(f"{fold}: {why}" if fold else why for fold, why in out.items())
        entry.at.fail(f"member {entry.name!r}: {reasons}")
    choices = len(list(entry.candidates()))
    for part in parts:
        if choices > 1 and not len(part.dev):
            where = f" in fold {part.name!r}" if part.name else ""
            entry.at.fail(
                f"member {entry.name!r} has {choices} settings to choose from and no dev clips"
                f"{where}; set split: {{dev_size: ...}} or write one value for each"
            )
    return Share(parts, out)


def _those(clips: Any, has: frozenset[str]) -> Any:
    if has.issuperset(clips.ids):  # the usual case, and quick
        return clips
    return clips.select(np.array([clip in has for clip in clips.ids], dtype=bool))


def _lack(entry: MemberEntry, split: Split, part: Part) -> str:
    """Say what is missing for a member to be trained and tested on a fold; blank if nothing is."""
    needed = ("train", "test") if entry.head else ("test",)
    for name in needed:
        if not len(getattr(part, name)):
            return (
                f"none of the {len(split.parts[name])} clips of {name} has what "
                f"{' and '.join(entry.on)} needs"
            )
    labels = sorted(set(part.train["label"])) if entry.head in HEADS else []
    if len(labels) == 1:
        return f"all {len(part.train)} train clips that it can use are {labels[0]!r}"
    return ""
