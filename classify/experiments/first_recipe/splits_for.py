"""How the clips of a table may be divided, best first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ....cache.errors import InputError, listed
from ....cache.manifest.speakers import note_on, spellings
from ...data.splitting.leaks import speakers
from ...data.splitting.schemes import FEWEST
from ...data.splitting.split import PARTS
from ...data.splitting.split_file import PART_NAMES

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...data.task import Task

OVERLAP = {"allow_speaker_overlap": True}
SIZES = {"test_size": 0.25, "dev_size": 0.2}
MANY_CLIPS = 3000  # a quarter of them is enough to test on; of fewer every one is tested


@dataclass
class Proposal:
    """A way to divide clips.

    Attributes
    ----------
    options : dict
        Of the recipe's `split`.
    about : str
        For the recipe, next to it.
    """

    options: dict[str, Any]
    about: str
    notes: list[str] = field(default_factory=list)

    @property
    def has_dev(self) -> bool:
        """Whether there are clips to choose settings on."""
        return self.options.get("dev_size") != 0

    @property
    def written(self) -> str:
        """The options as a recipe has them."""
        shown = [f"{k}: {str(v).lower() if v is True else v}" for k, v in self.options.items()]
        return f"{{{', '.join(shown)}}}"


def proposals_for(clips: Manifest, task: Task) -> Iterator[Proposal]:
    """Yield the ways to divide the clips that a task uses, best first; some may be refused."""
    clips, _ = task.select(clips, blank="drop")
    notes = []
    if "split" in clips and any(clips["split"]):
        own = [PART_NAMES.get(str(value).strip().casefold()) for value in clips["split"]]
        counts = Counter(part for part in own if part)
        if None in own:
            odd = sorted({v for v, part in zip(clips["split"], own, strict=True) if part is None})
            named = listed([repr(value) if value else "blank" for value in odd])
            notes.append(
                f"column split holds {named} instead of train, dev or test, so it is not used"
            )
        elif not {"train", "test"} <= set(counts):
            notes.append(
                f"column split names {' and '.join(counts)} only, not train and test, so it is not "
                "used"
            )
        else:
            yield from _own(counts, speakers(clips), own)
    names = speakers(clips)
    known = set(names) - {""}
    blank = names.count("")
    if known and blank:
        notes.append(
            f"{blank} of {len(clips)} clips have no speaker, so the split is not by speaker, and "
            "scores will be too high: fill in the column, or leave these clips out"
        )
    elif not known:
        notes.append(
            "no speakers: clips of one person may be in train and in test, which makes scores "
            "too high; add a column speaker"
        )
    elif len(known) == 1:
        notes.append(
            f"one speaker ({next(iter(known))}): nothing can be said about other speakers, and "
            "scores have no intervals over speakers"
        )
    else:
        yield from _by_speaker(len(known), len(clips), notes)
        if groups := spellings(names):
            raise InputError(f"{clips.source}: no split by speaker is possible: {note_on(groups)}")
        notes.append(
            "no split by speaker is possible: see affekt run with split: {scheme: speaker}"
        )
    overlap = OVERLAP if known else {}
    for sizes in (SIZES, {"test_size": 0.34, "dev_size": 0}):
        yield Proposal({"scheme": "stratified", **sizes, **overlap}, "by label", notes)


def _own(counts: Counter[str], names: list[str], parts: list[str | None]) -> Iterator[Proposal]:
    shown = ", ".join(f"{part} {counts[part]}" for part in PARTS if counts[part])
    dev = [] if counts["dev"] else ["the split has no dev: a tenth of train is used"]
    owned = Counter(name for name, _ in set(zip(names, parts, strict=True)) if name)
    both = sorted(name for name, count in owned.items() if count > 1)
    over = (
        f"speakers in more than one part of the table's split: {listed(both)}; scores say little "
        "about new speakers"
    )
    for more, notes in (({}, dev), ({"dev_size": 0}, [])):
        options = {"scheme": "column", **more}
        yield Proposal(options, f"the table's own: {shown}", notes)
        if both:
            yield Proposal({**options, **OVERLAP}, f"the table's own: {shown}", [*notes, over])


def _by_speaker(count: int, clips: int, notes: list[str]) -> Iterator[Proposal]:
    if count >= FEWEST:
        folds = Proposal(
            {"scheme": "group-kfold"},
            f"{count} speakers: five folds, in which each is tested once",
            notes,
        )
        once = Proposal({"scheme": "speaker", **SIZES}, "no speaker is in two parts", notes)
        yield from (once, folds) if clips > MANY_CLIPS else (folds, once)
        return
    few = [*notes, f"{count} speakers: too few for intervals and tests; five would do"]
    each = f"{count} speakers: each is tested once"
    if count > 2:
        yield Proposal({"scheme": "leave-one-speaker-out"}, each, few)
    yield Proposal({"scheme": "leave-one-speaker-out", "dev_size": 0}, each, few)
