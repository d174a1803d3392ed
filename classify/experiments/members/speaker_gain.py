"""What `scale: speaker` would change on dev, for the best cheap member that does without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...data.splitting import leaks
from ...metrics import measures as metrics
from .choosing import Part, new_model

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space
    from ...data.predictions import Predictions
    from ...data.task import Task
    from ..recipes.recipe import MemberEntry

__all__ = ["speaker_gain"]

HEADS = ("logistic", "lda")


def speaker_gain(
    members: Mapping[str, MemberEntry],
    task: Task,
    parts: Mapping[str, Sequence[Part]],
    devs: Mapping[str, Predictions],
    records: Mapping[str, Any],
    spaces: Mapping[str, Space],
    split_options: Mapping[str, Any],
) -> dict[str, Any]:
    """Train a linear member again with its chosen settings and `scale: speaker`.

    Parameters
    ----------
    members, task
        Of the recipe.
    parts, devs, records
        The parts of each member's split or of its folds, its predictions on dev (of folds joined)
        and what was chosen.
    spaces
        Where features lie.
    split_options
        As for `choose`.

    Returns
    -------
    found
        Member, UAR on dev as it is and with speaker scaling, clips and speakers of dev. Empty where
        no member qualifies, or the speakers of train or dev do not have several clips each.
    """
    plain = {}
    for name, entry in members.items():
        heard = all(spaces[on].modality == "audio" for on in entry.on)
        if entry.head not in HEADS or entry.scale is not True or not heard or name not in devs:
            continue
        if all(_several(clips) for part in parts[name] for clips in (part.train, part.dev)):
            plain[name] = metrics.uar(*_on_dev(parts[name], [devs[name]]), task.labels)
    if not plain:
        return {}
    name = max(plain, key=lambda one: plain[one])
    entry = replace(members[name], scale="speaker")
    scaled = []
    for part, record in zip(parts[name], records[name]["parts"], strict=True):
        seed = record["random_state"]
        model = new_model(entry, task, spaces, record["chosen"], seed, lambda line: None)
        model.fit(part.train, part.dev, test=part.test, **split_options)
        scaled.append(model.predict(part.dev))
    speakers = {speaker for part in parts[name] for speaker in leaks.speakers(part.dev)}
    with_scaling = metrics.uar(*_on_dev(parts[name], scaled), task.labels)
    return {
        "member": name,
        "dev_uar": plain[name],
        "dev_uar_scaled": with_scaling,
        "gain": with_scaling - plain[name],
        "dev_clips": sum(len(part.dev) for part in parts[name]),
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
