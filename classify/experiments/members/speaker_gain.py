"""What `scale: speaker` would change on dev, for the best cheap member that does without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...data.splitting import leaks
from ...metrics import measures as metrics
from .trainer import Trainer

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...data.predictions import Predictions
    from ..prepared import Prepared
    from .shares import Division, Part

LINEAR = ("logistic", "lda")


def speaker_gain(ready: Prepared, division: Division) -> dict[str, Any]:
    """Train a linear member again with its chosen settings and `scale: speaker`.

    Returns
    -------
    found
        Member, UAR on dev as it is and with speaker scaling, clips and speakers of dev. Empty where
        no member qualifies, or the speakers of train or dev do not have several clips each.
    """
    members, task, spaces, devs = ready.recipe.members, ready.task, ready.spaces, division.devs
    plain = {}
    for name, entry in members.items():
        heard = all(spaces[on].modality == "audio" for on in entry.on)
        if entry.head not in LINEAR or entry.scale is not True or not heard or name not in devs:
            continue
        parts = division.shares[name].parts
        if all(_several(clips) for part in parts for clips in (part.train, part.dev)):
            plain[name] = metrics.uar(*_on_dev(parts, [devs[name]]), task.labels)
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
    with_scaling = metrics.uar(*_on_dev(parts, scaled), task.labels)
    return {
        "member": name,
        "dev_uar": plain[name],
        "dev_uar_scaled": with_scaling,
        "gain": with_scaling - plain[name],
        "dev_clips": sum(len(part.dev) for part in parts),
        "dev_speakers": len(speakers),
    }


def _on_dev(parts: Sequence[Part], devs: Sequence[Predictions]) -> tuple[list[str], list[str]]:
    """Return label and guess of the dev clips of all folds."""
    guesses = {
        clip: str(label) for dev in devs for clip, label in zip(dev.ids, dev.label, strict=True)
    }
    pairs = [
        (str(label), guesses[clip])
        for part in parts
        for clip, label in zip(part.dev.ids, part.dev["label"], strict=True)
    ]
    return [label for label, _ in pairs], [guess for _, guess in pairs]


def _several(clips: Manifest) -> bool:
    """Whether every clip names a speaker, and two speakers or more have two clips each."""
    counts = Counter(leaks.speakers(clips))
    return "" not in counts and len(counts) > 1 and min(counts.values()) > 1
