"""What `scale: speaker` would change on dev, for the best cheap member that does without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import leaks, metrics
from ..choosing import Part, new_model

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Space
    from ..predictions import Predictions
    from ..recipe import MemberEntry
    from ..task import Task

__all__ = ["speaker_gain"]

HEADS = ("logistic", "lda")


def speaker_gain(
    members: Mapping[str, MemberEntry],
    task: Task,
    parts: Mapping[str, Part],
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
        The parts of each member's only split, its predictions on dev and what was chosen.
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
        if name in parts and _several(parts[name].train) and _several(parts[name].dev):
            dev = parts[name].dev
            plain[name] = metrics.uar(_labels(dev), devs[name].align(dev.ids).label, task.labels)
    if not plain:
        return {}
    name = max(plain, key=lambda one: plain[one])
    part, record = parts[name], records[name]["parts"][0]
    entry = replace(members[name], scale="speaker")
    seed = record["random_state"]
    model = new_model(entry, task, spaces, record["chosen"], seed, lambda line: None)
    model.fit(part.train, part.dev, test=part.test, **split_options)
    scaled = metrics.uar(_labels(part.dev), model.predict(part.dev).label, task.labels)
    return {
        "member": name,
        "dev_uar": plain[name],
        "dev_uar_scaled": scaled,
        "dev_clips": len(part.dev),
        "dev_speakers": len(set(leaks.speakers(part.dev))),
    }


def _labels(clips: Manifest) -> list[str]:
    return list(clips["label"])


def _several(clips: Manifest) -> bool:
    """Whether every clip names a speaker, and two speakers or more have two clips each."""
    counts = Counter(leaks.speakers(clips))
    return "" not in counts and len(counts) > 1 and min(counts.values()) > 1
