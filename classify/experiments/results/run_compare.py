"""What a run adds to its comparison: near-duplicates, a learning curve, a transfer matrix."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError
from ...data.splitting import leaks
from ...evaluation.analyses.learning_curve import learning_curve
from ...evaluation.analyses.transfer import transfer
from ...metrics import measures as metrics
from ...metrics.scored_clips import task_score
from ..members.choosing import Part, choose

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space
    from ...data.predictions import Predictions
    from ...data.splitting.split import Split
    from ...models.model import Model
    from ..recipes.recipe import MemberEntry
    from ..run_inputs import Prepared

CHEAP = "logistic"  # heads that are trained in seconds get a curve unasked
QUICK = (CHEAP, "lda", "ridge")


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

    def make() -> Chosen:
        return Chosen(recipe.members[name], ready, spaces, parts[name])

    points = learning_curve(make, parts[name], ready.task.labels, groups=recipe.group)
    return {"learning_curve": points, "learning_curve_of": name}


def run_transfer(
    ready: Prepared,
    devs: Mapping[str, Predictions],
    spaces: Mapping[str, Space],
    there: Mapping[str, Collection[str]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return the transfer matrix of one member, for `Comparison.data`.

    Parameters
    ----------
    ready
        The recipe, with ``transfer``, and its labelled clips.
    devs
        Predictions on dev, by member: of cheap members the best one is taken.
    spaces
        Where features lie.
    there
        Ids of the clips that each space holds.
    say
        Told what is going on.

    Raises
    ------
    InputError
        Too few speakers among the clips that the member has.
    """
    recipe, by = ready.recipe, ready.recipe.transfer["by"]
    name = recipe.transfer.get("member") or _cheapest(ready, devs)
    entry = recipe.members[name]
    has = frozenset.intersection(*(frozenset(there[on]) for on in entry.on))
    clips = ready.labelled.select([clip for clip in ready.labelled.ids if clip in has])
    say(f"transfer of {name} by {by}")
    # dev is needed to choose settings and to stop early; what does neither learns from all clips
    needs_dev = len(list(entry.candidates())) > 1 or entry.head not in QUICK
    try:
        found = transfer(
            lambda: Chosen(entry, ready, spaces),
            clips,
            ready.task,
            by=by,
            dev_size=0.2 if needs_dev else 0.0,
            groups=recipe.group,
        )
    except InputError as error:
        recipe.at["transfer"].fail(str(error))
    return {"member": name, **found}


class Chosen:
    """A member, trained on other clips as the run trains it on its own.

    Parameters
    ----------
    entry, ready, spaces
        The member, the recipe, and where features lie.
    part
        Its clips, of which `fit` replaces train; without, `fit` is given dev too, and settings are
        chosen there.
    """

    model: Model

    def __init__(
        self,
        entry: MemberEntry,
        ready: Prepared,
        spaces: Mapping[str, Space],
        part: Part | None = None,
    ) -> None:
        self.entry, self.ready, self.spaces = replace(entry, seeds=1), ready, spaces
        self.part = part

    def fit(self, train: Manifest, dev: Manifest | None = None) -> object:
        """Train."""
        nothing = train.select([])
        part = self.part or Part(train, nothing if dev is None else dev, nothing)
        split = self.ready.recipe.split
        self.model, _ = choose(
            self.entry,
            self.ready.task,
            replace(part, train=train),
            self.spaces,
            split_options={k: v for k, v in split.items() if k.startswith("allow_")},
        )
        return self

    def predict(self, clips: Manifest) -> Predictions:
        """Predict clips that are embedded."""
        return self.model.predict(clips)


def _cheapest(ready: Prepared, devs: Mapping[str, Predictions]) -> str:
    """Return the member to train many times: of cheap heads the best on dev; else the first."""
    trained = {name: one for name, one in ready.recipe.members.items() if one.head}
    cheap = [name for name, entry in trained.items() if entry.head in QUICK]

    def score(name: str) -> float:
        if name not in devs:
            return 0.0
        return task_score(ready.task, ready.labelled.select(devs[name].ids), devs[name])

    return max(cheap, key=score) if cheap else next(iter(trained))


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
