"""Transfer matrix: train on one language (or corpus), test on each.

Off the diagonal a model learns from everything of one value and is tested on everything of the
other; on the diagonal it is cross-validated over speakers, so that all cells are of unseen voices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache.errors import InputError
from . import leaks, metrics
from .bootstrap import resample
from .learning import Trainable
from .part import clusters
from .predictions import Predictions
from .splits import splits

if TYPE_CHECKING:
    from ..cache.manifest import Manifest


def transfer(
    make: Callable[[], Trainable],
    clips: Manifest,
    labels: Sequence[str],
    *,
    by: str = "language",
    n_splits: int = 5,
    dev_size: float = 0.1,
    groups: str | None = "speaker",
    n_resamples: int = 2000,
    random_state: int = 0,
) -> dict[str, Any]:
    """Train on each value of a column and test on each.

    Parameters
    ----------
    make
        Returns a new, unfitted model.
    clips
        With task labels (`Task.select`).
    labels
        The task's labels.
    by
        Column of the matrix: language, dataset.
    n_splits, dev_size
        Folds over speakers on the diagonal (fewer where there are fewer speakers), and the share of
        dev in every training.
    groups, n_resamples, random_state
        What is resampled for the intervals, how often, and the seed.

    Returns
    -------
    result
        `names`, and `cells`: by value trained on and value tested on, clips, UAR and interval.

    Raises
    ------
    InputError
        If the column has fewer than two values, or one of them a single speaker.
    """
    values = sorted({str(value) for value in clips[by]}) if by in clips else []
    if len(values) < 2:
        raise InputError(f"a transfer matrix by {by!r} of {values}; expected at least two values")
    parts = {value: clips.where(**{by: value}) for value in values}
    cells: dict[str, dict[str, Any]] = {}
    for here in values:
        found = {here: _within(make, parts[here], n_splits, dev_size, random_state)}
        train, dev = _with_dev(parts[here], dev_size, random_state)
        model = make()
        model.fit(train, dev)
        for there in values:
            if there != here:
                found[there] = model.predict(parts[there])
        cells[here] = {
            there: _cell(found[there], parts[there], labels, groups, n_resamples, random_state)
            for there in values
        }
    return {"by": by, "names": values, "cells": cells}


def _within(
    make: Callable[[], Trainable], clips: Manifest, n_splits: int, dev_size: float, seed: int
) -> Predictions:
    speakers = set(leaks.speakers(clips))
    if len(speakers) < 3:
        raise InputError(
            f"{len(speakers)} speakers in {clips['language'][0] or 'one value'}; expected at least "
            "3 to train, tune and test on different voices"
        )
    folds = splits(
        clips,
        "group-kfold",
        n_splits=max(3, min(n_splits, len(speakers))),  # two voices stay, for train and dev
        dev_size=dev_size,
        random_state=seed,
    )
    found = []
    for fold in folds:
        model = make()
        model.fit(fold.train, fold.dev if len(fold.dev) else None)
        found.append(model.predict(fold.test))
    ids = [i for part in found for i in part.ids]
    first = found[0].labels
    return Predictions(ids, first, np.concatenate([part.reorder(first).proba for part in found]))


def _with_dev(clips: Manifest, dev_size: float, seed: int) -> tuple[Manifest, Manifest | None]:
    if not dev_size:
        return clips, None
    [split] = splits(clips, "speaker", test_size=dev_size, dev_size=0, random_state=seed)
    return split.train, split.test


def _cell(
    predictions: Predictions,
    clips: Manifest,
    labels: Sequence[str],
    groups: str | None,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    truth = metrics.codes(list(clips["label"]), labels)
    codes = predictions.reorder(labels).align(clips.ids).codes
    drawn = resample(
        truth,
        {"": codes},
        clusters(clips, groups)[0],
        len(labels),
        n_resamples=n_resamples,
        random_state=seed,
    )
    return {
        "clips": len(clips),
        "groups": drawn.groups,
        "absent": metrics.absent(list(clips["label"]), labels),
        "uar": {"value": drawn.estimates[""]["uar"], "interval": list(drawn.interval("", "uar"))},
    }
