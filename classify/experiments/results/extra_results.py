"""What a run adds to its comparison: near-duplicates, speaker scaling, curve, transfer matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.files.kept_results import kept
from ...data.predictions import Predictions
from ...data.splitting import leaks
from ...data.splitting.findings import Finding, Kind
from ...data.splitting.near_duplicates import check_near_duplicates
from ...data.splitting.split import Split
from ...evaluation.analyses.learning_curve import learning_curve
from ...evaluation.analyses.transfer import transfer
from ...evaluation.compare_options import CompareOptions
from ..members.trainer import Trainer
from ..recipes.lines import in_setting
from .run_keys import member_key

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...models.model import Model
    from ..members.shares import Division
    from ..recipes.entries import MemberEntry
    from ..recipes.prepared import Prepared

CHEAP = "logistic"  # heads that are trained in seconds get a curve by default
QUICK = (CHEAP, "lda", "ridge")
LINEAR = (CHEAP, "lda")


def extra_results(
    ready: Prepared, division: Division, progress: Callable[[str], None], *, with_curves: bool
) -> dict[str, Any]:
    """Return what a run adds to `Comparison.data`; ``warnings`` are added to those there.

    Parameters
    ----------
    ready
        The recipe and its labelled clips.
    division
        With what its members predicted.
    progress
        Called with what is going on.
    with_curves
        Whether the learning curve and the transfer matrix are made: once for several repeats.
    """
    more = run_curve(ready, division, progress) if with_curves else {}
    if ready.recipe.transfer and with_curves:
        more["transfer"] = run_transfer(ready, division, progress)
    decides = [
        [member_key(entry, ready, parts := division.shares[name].parts)]
        + [_names(part, None) for part in parts]
        for name, entry in ready.recipe.members.items()
        if entry.head in LINEAR
    ]
    more["speaker_scaling"] = kept("speaker gain", decides, lambda: speaker_gain(ready, division))
    more["warnings"] = [
        *near_duplicates(ready, division.folds),
        *ready.cache.corpus_warnings.values(),
    ]
    return more


def near_duplicates(ready: Prepared, folds: Sequence[Split]) -> Sequence[str]:
    """Return warnings of clips whose recording train holds almost unchanged.

    The first space of recordings decides.
    """
    for name, space in ready.spaces.items():
        if space.modality != "audio" or space.spec.labels:
            continue
        there = ready.stored[name].there
        warnings: list[str] = []
        for split in folds:
            parts = split.having(there).parts
            read = space.features(layers=-1).read
            values = {part: read(clips) for part, clips in parts.items() if len(clips)}
            if len(parts["train"]):
                inputs = [{part: clips.ids for part, clips in parts.items()}, values]
                check = partial(check_near_duplicates, parts, values)
                warnings += [
                    Finding(text, Kind.COPIES) for text in kept("near duplicates", inputs, check)
                ]
        return list(dict.fromkeys(warnings))[:10]
    return []


def run_curve(
    ready: Prepared, division: Division, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Return the learning curve of one member; empty where there is none, as with folds."""
    recipe, level = ready.recipe, _level(ready)
    wanted = recipe.compare.get("learning_curve", True)
    if wanted is False or len(division.folds) > 1:
        return {}
    name = wanted if isinstance(wanted, str) else _best(ready, division.devs, [CHEAP])
    if name is None:
        return {}
    progress(f"learning curve of {name}")
    [part] = division.shares[name].parts

    def make() -> Chosen:
        return Chosen(recipe.members[name], ready, part)

    member = recipe.members[name]
    whole = division.members[name].test if member.seeds == 1 else None
    points = kept(
        "learning curve",
        [member_key(make().entry, ready, [part]), recipe.group, level, _names(part, recipe.group)],
        lambda: learning_curve(
            make, part, ready.task.labels, groups=recipe.group, level=level, whole=whole
        ),
    )
    return {"learning_curve": points, "learning_curve_of": name}


def run_transfer(
    ready: Prepared, division: Division, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Return the transfer matrix of one member: of cheap ones the one that is best on dev.

    Raises
    ------
    InputError
        Too few speakers among the clips that the member has.
    """
    recipe, by, level = ready.recipe, ready.recipe.transfer["by"], _level(ready)
    trained = [name for name, one in recipe.members.items() if one.head]
    name = recipe.transfer.get("member") or _best(ready, division.devs, QUICK) or trained[0]
    entry = recipe.members[name]
    has = frozenset.intersection(*(ready.stored[on].there for on in entry.on))
    clips = ready.labelled.select([clip for clip in ready.labelled.ids if clip in has])
    progress(f"transfer of {name} by {by}")
    # dev is needed to choose settings and to stop early; what does neither learns from all clips
    needs_dev = len(list(entry.candidates())) > 1 or entry.head not in QUICK
    whole = Split(clips, clips.select([]), clips.select([]), "all clips")
    values = [str(value) for value in clips[by]]
    with in_setting("transfer"):
        found = kept(
            "transfer",
            [member_key(entry, ready, [whole]), by, level, values, _names(whole, recipe.group)],
            lambda: transfer(
                lambda: Chosen(entry, ready),
                clips,
                ready.task,
                by=by,
                dev_size=0.2 if needs_dev else 0.0,
                groups=recipe.group,
                level=level,
            ),
        )
    return {"member": name, **found}


def _level(ready: Prepared) -> float:
    return ready.recipe.compare.get("level", CompareOptions.level)


def speaker_gain(ready: Prepared, division: Division) -> dict[str, Any]:
    """Return what `scale: speaker` would change on dev, for the best cheap member without it.

    It is trained again with its chosen settings.

    Returns
    -------
    found
        Member, UAR on dev as it is and with speaker scaling, clips and speakers of dev. Empty where
        no member qualifies, or the speakers of train or dev do not have several clips each.
    """
    members, task, spaces, devs = ready.recipe.members, ready.task, ready.spaces, division.devs
    plain = {}
    for name, entry in members.items():
        all_audio = all(spaces[on].modality == "audio" for on in entry.on)
        if entry.head not in LINEAR or entry.scale is not True or not all_audio or name not in devs:
            continue
        parts = division.shares[name].parts
        if all(_several(clips) for part in parts for clips in (part.train, part.dev)):
            plain[name] = ready.score(devs[name])
    if not plain:
        return {}
    name = max(plain, key=lambda one: plain[one])
    entry = replace(members[name], scale="speaker")
    parts, scaled = division.shares[name].parts, []
    for part, record in zip(parts, division.members[name].parts, strict=True):
        seed = record["random_state"]
        model = Trainer(entry, task, spaces).new_model(record["chosen"], seed)
        model.fit(part.train, part.dev, test=part.test, **ready.recipe.allowed)
        scaled.append(model.predict(part.dev))
    speakers = {speaker for part in parts for speaker in leaks.speakers(part.dev)}
    with_scaling = ready.score(Predictions.concatenated(scaled))
    return {
        "member": name,
        "dev_uar": plain[name],
        "dev_uar_scaled": with_scaling,
        "gain": with_scaling - plain[name],
        "dev_clips": sum(len(part.dev) for part in parts),
        "dev_speakers": len(speakers),
    }


class Chosen:
    """A member, trained on other clips as the run trains it on its own.

    Parameters
    ----------
    entry, ready
        The member, and the recipe with its spaces.
    part
        Its clips, of which `fit` replaces train; without, `fit` is given dev too, and settings are
        chosen there. They are chosen at the first fit.
    """

    model: Model

    def __init__(self, entry: MemberEntry, ready: Prepared, part: Split | None = None) -> None:
        self.entry, self.ready, self.part = replace(entry, seeds=1), ready, part

    def fit(self, train: Manifest, dev: Manifest | None = None) -> object:
        """Train."""
        nothing = train.select([])
        part = self.part or Split(train, nothing if dev is None else dev, nothing, "all clips")
        ready = self.ready
        trainer = Trainer(self.entry, ready.task, ready.spaces, ready.recipe.allowed)
        self.model, record = trainer.choose(replace(part, train=train))
        if len(tried := record["tried"]) > 1 and "probed" not in record:
            scores = [one[f"dev_{ready.task.measure}"] for one in tried]
            self.entry = self.entry.only(list(self.entry.candidates())[int(np.argmax(scores))])
        return self

    def predict(self, clips: Manifest) -> Predictions:
        """Predict clips that are embedded."""
        return self.model.predict(clips)


def _names(part: Split, group: str | None) -> list[list[str]]:
    """Return what distinguishes groups, of all clips of a part."""
    clips = (part.train, part.dev, part.test)
    names = [name for name in ("speaker", "dataset", group) if name]
    return [[str(value) for value in one[name]] for one in clips for name in names]


def _best(ready: Prepared, devs: Mapping[str, Predictions], heads: Sequence[str]) -> str | None:
    """Return the member of these heads that is best on dev; the first one without dev."""
    members = [name for name, entry in ready.recipe.members.items() if entry.head in heads]
    scores = {name: ready.score(devs[name]) if name in devs else 0.0 for name in members}
    return max(members, key=lambda name: scores[name], default=None)


def _several(clips: Manifest) -> bool:
    """Whether every clip names a speaker, and two speakers or more have two clips each."""
    counts = Counter(leaks.speakers(clips))
    return "" not in counts and len(counts) > 1 and min(counts.values()) > 1
