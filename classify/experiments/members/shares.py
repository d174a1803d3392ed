"""Which clips each member has in each fold, and the folds that it cannot take part in.

A text member has nothing to learn from where a language has no texts. It sits out that fold: its
test clips there are missing, so the common comparison leaves them out, with a note.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

from ...heads.registry import HEADS
from ..recipes.lines import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from ...data.predictions import Predictions
    from ...data.splitting.split import Split
    from ..recipes.entries import MemberEntry
    from ..recipes.recipe import Recipe


@dataclass(frozen=True)
class Share:
    """What one member has of a division of the clips.

    Attributes
    ----------
    parts : list of Split
        The clips that it has features for, of each fold that it takes part in, in order.
    sits_out : dict of str to str
        Name of a fold -> why the member does not take part in it.
    """

    parts: list[Split]
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


@dataclass(frozen=True)
class TrainedMember:
    """What training a member left in its folder.

    Attributes
    ----------
    test, dev
        Predictions, of all folds together; no dev where a clip is in dev of several folds.
    seeds
        Predictions of test by seed; empty where it has one seed.
    parts
        What was tried and chosen, fold by fold.
    files
        What training wrote; other files of the folder are the user's.
    """

    test: Predictions
    dev: Predictions | None
    seeds: dict[str, Predictions]
    parts: list[dict[str, Any]]
    files: list[Path]


@dataclass
class Division:
    """One division of the clips, or its folds: what each member has of it, and the results.

    Attributes
    ----------
    name : str
        Of the repeat; blank where the clips are divided once.
    shares : dict of str to Share
        By member.
    members : dict of str to TrainedMember
        What training left, by member; filled by a run.
    """

    name: str
    folds: list[Split]
    shares: dict[str, Share]
    members: dict[str, TrainedMember] = field(default_factory=dict)

    @property
    def tests(self) -> dict[str, Predictions]:
        """Predictions of the test clips of every fold, by member."""
        return {name: one.test for name, one in self.members.items()}

    @property
    def devs(self) -> dict[str, Predictions]:
        """Predictions of dev, by member, of the members that have dev; each clip once."""
        return {name: one.dev for name, one in self.members.items() if one.dev is not None}

    @property
    def asked(self) -> list[str]:
        """Ids of the test clips of every fold."""
        return [clip for fold in self.folds for clip in fold.test.ids]

    @property
    def sits_out(self) -> list[str]:
        """A sentence for each member that does not take part in every fold.

        Examples
        --------
        >>> Division("", [], {"text": Share([], {"amh": "none of 36 clips has a text"})}).sits_out
        ["text sits out 'amh': none of 36 clips has a text"]
        """
        return [
            f"{name} sits out {fold!r}: {reason}"
            for name, share in self.shares.items()
            for fold, reason in share.sits_out.items()
        ]


def divisions(
    recipe: Recipe, found: Sequence[Split], there: Mapping[str, Collection[str]]
) -> list[Division]:
    """Return the repeats, or the one division, with what each member has of them.

    Parameters
    ----------
    found : sequence of Split
        Of every repeat.
    there : mapping of str to collection of str
        Encoder -> ids of the clips that have a row of it, or may get one.

    Raises
    ------
    InputError
        A member that has clips nowhere, settings to choose from and no dev to choose on, no test
        clip that all members have; with file and line.
    """
    repeats: dict[str, list[Split]] = {}
    for split in found:  # "repeat 2, fold 1" belongs to "repeat 2"
        name = split.name.split(",")[0] if recipe.split.get("repeats", 1) > 1 else ""
        repeats.setdefault(name, []).append(split)
    result = []
    for name, folds in repeats.items():
        members = recipe.members.values()
        shares = {entry.name: _share(entry, folds, there) for entry in members}
        if not reduce(set.intersection, (share.tested for share in shares.values())):
            sizes = ", ".join(f"{one} {len(share.tested)}" for one, share in shares.items())
            raise SettingError(f"no test clip has what every member needs ({sizes})", "members")
        result.append(Division(name, folds, shares))
    return result


def _share(
    entry: MemberEntry, found: Sequence[Split], there: Mapping[str, Collection[str]]
) -> Share:
    rows = [frozenset(there[name]) for name in entry.on]
    # a head that predicts from either side takes part wherever one side is there
    either = entry.settings.get("missing") == ("predict",)
    has = frozenset.union(*rows) if either else frozenset.intersection(*rows)
    parts, out = [], {}
    for split in found:
        part = split.having(has)
        if reason := _lack(entry, split, part):
            out[split.name] = reason
        else:
            parts.append(part)
    if not parts:
        reasons = "; ".join(f"{fold}: {why}" if fold else why for fold, why in out.items())
        raise entry.error(reasons)
    for part in parts:
        check_dev(entry, part)
    return Share(parts, out)


def check_dev(entry: MemberEntry, part: Split) -> None:
    """Raise if there are several settings to choose from and no dev clips to choose on."""
    choices = len(list(entry.candidates()))
    if choices > 1 and not len(part.dev):
        where = f" in fold {part.name!r}" if part.name else ""
        raise entry.error(
            f"it has {choices} settings to choose from and no dev clips"
            f"{where}; set split: {{dev_size: ...}} or write one value for each"
        )


def _lack(entry: MemberEntry, split: Split, part: Split) -> str:
    """Return what is missing to train and test a member on a fold; blank if nothing."""
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
