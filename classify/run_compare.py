"""What a run adds to its comparison: near-duplicates across its parts, and a learning curve."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import leaks, metrics
from .choosing import Part, choose
from .learning import learning_curve

if TYPE_CHECKING:
    from ..cache.manifest import Manifest
    from ..cache.space import Space
    from .model import Model
    from .predictions import Predictions
    from .prepare import Prepared
    from .recipe import MemberEntry
    from .split import Split

CHEAP = "logistic"  # heads that are trained in seconds get a curve unasked


def near_duplicates(
    found: Sequence[Split], spaces: Mapping[str, Space], there: Mapping[str, Collection[str]]
) -> list[str]:
    """Return warnings of clips whose recording train holds almost unchanged, by the first space.

    Parameters
    ----------
    found
        The splits.
    spaces
        By encoder; the first one of audio is looked at.
    there
        Ids of the clips that each space holds.
    """
    for name, space in spaces.items():
        if space.modality != "audio" or space.spec.labels:
            continue
        warnings: list[str] = []
        for split in found:
            parts = {
                part: clips.select(np.array([i in there[name] for i in clips.ids], dtype=bool))
                for part, clips in split.parts.items()
            }
            read = space.features(layers=-1).read
            values = {part: read(clips) for part, clips in parts.items() if len(clips)}
            if len(parts["train"]):
                warnings += leaks.check_near_duplicates(parts, values)
        return list(dict.fromkeys(warnings))[:10]
    return []


def run_curve(
    ready: Prepared,
    parts: Mapping[str, Part],
    devs: Mapping[str, Predictions],
    spaces: Mapping[str, Space],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return the learning curve of one member, for `Comparison.data`; empty where there is none.

    Parameters
    ----------
    ready
        The recipe and its labelled clips.
    parts
        The parts of each member's only split.
    devs
        Its predictions on dev.
    spaces
        Where features lie.
    say
        Told what is going on.
    """
    recipe = ready.recipe
    wanted = recipe.compare.get("learning_curve", True)
    if wanted is False or not parts:
        return {}
    name = wanted if isinstance(wanted, str) else _best(recipe.members, parts, devs, ready)
    if name is None:
        return {}
    say(f"learning curve of {name}")
    entry = replace(recipe.members[name], seeds=1)
    allow = {k: v for k, v in recipe.split.items() if k.startswith("allow_")}

    class Chosen:
        """The member, trained on a part of train as the run trains it on all."""

        model: Model

        def fit(self, train: Manifest, dev: Manifest | None = None) -> object:
            part = replace(parts[name], train=train)
            self.model, _ = choose(entry, ready.task, part, spaces, split_options=allow)
            return self

        def predict(self, clips: Manifest) -> Predictions:
            return self.model.predict(clips)

    points = learning_curve(Chosen, parts[name], ready.task.labels, groups=recipe.group)
    return {"learning_curve": points, "learning_curve_of": name}


def _best(
    members: Mapping[str, MemberEntry],
    parts: Mapping[str, Part],
    devs: Mapping[str, Predictions],
    ready: Prepared,
) -> str | None:
    """Return the member of a cheap head that is best on dev; the first one without dev."""

    def score(name: str) -> float:
        if name not in devs:
            return 0.0
        dev = parts[name].dev
        labels = ready.task.labels
        return metrics.uar(list(dev["label"]), devs[name].align(dev.ids).label, labels)

    cheap = [name for name, entry in members.items() if entry.head == CHEAP]
    return max(cheap, key=score) if cheap else None
