"""One model for new clips, trained on all of train and dev once it is known how well it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from .choosing import Part, new_model, with_probed_layers

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space
    from ...data.task import Task
    from ...models.model import Model
    from ..recipes.recipe import MemberEntry

__all__ = ["refit"]


def refit(
    entry: MemberEntry,
    task: Task,
    labelled: Manifest,
    parts: Sequence[Part],
    spaces: Mapping[str, Space],
    fitted: Sequence[Model],
    records: Sequence[Mapping[str, Any]],
    say: Callable[[str], None] = lambda message: None,
) -> tuple[Model, dict[str, Any]]:
    """Train a member once more, on every clip that is train or dev in some fold.

    The settings are those with the best mean UAR (or CCC) over the folds' dev clips. A head that
    stopped early, which it cannot do without dev, takes as many epochs as the median of the folds.

    Parameters
    ----------
    entry, task, labelled, parts, spaces, say
        As for `train_member`.
    fitted : sequence of Model
        The folds' models.
    records : sequence of mapping
        What `choose` returned for each fold.

    Returns
    -------
    model : Model
    record : dict
        Clips, settings and epochs.
    """
    measure = f"dev_{task.measure}"
    scores = [
        [one[measure] for one in record["tried"] if one[measure] is not None] for record in records
    ]
    used = {clip for part in parts for clip in (*part.train.ids, *part.dev.ids)}
    clips = labelled.select([clip for clip in labelled.ids if clip in used])
    entry, probed = with_probed_layers(entry, task, clips, spaces, say)
    candidates = list(entry.candidates())
    means = [mean(fold) for fold in zip(*scores, strict=True)]
    chosen = candidates[int(np.argmax(means))] if len(candidates) > 1 else candidates[0]
    epochs = [
        model.head_.best_epoch_
        for model, part in zip(fitted, parts, strict=True)
        if len(part.dev) and getattr(model.head_, "early_stopping", False)
    ]
    if epochs:
        most = max(1, round(median(epochs)))
        chosen = {**chosen, "settings": {**chosen["settings"], "max_epochs": most}}
    say(f"{entry.name}: refitted on all {len(clips)} clips of train and dev")
    model = new_model(entry, task, spaces, chosen, entry.random_state, say).fit(clips)
    record = {"clips": len(clips), "settings": chosen["settings"], "layers": chosen["layers"]}
    return model, record | ({"probed": probed} if probed else {})
