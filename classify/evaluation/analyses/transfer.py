"""Transfer matrix: train on one language (or corpus), test on each.

Off the diagonal a model learns from everything of one value and is tested on everything of the
other; on the diagonal it is cross-validated over speakers, and so are speakers who have clips of
both values, so that all cells are of unseen voices. Where no speaker is known, as of texts, single
clips take their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError, counted
from ....cache.manifest.speakers import spoken
from ...data.predictions import Predictions
from ...data.scales import ScaleTask
from ...data.splitting import leaks
from ...data.splitting.schemes import splits
from ...metrics import measures as metrics
from ...metrics.bootstrap import resample
from ...metrics.concordance import measure
from ...metrics.scored_clips import clusters
from .learning_curve import Trainable

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...data.task import Task

FEWEST_SPEAKERS = 3  # to train, tune and test on different voices


def transfer(
    make: Callable[[], Trainable],
    clips: Manifest,
    task: Task,
    *,
    by: str = "language",
    n_splits: int = 5,
    dev_size: float = 0.1,
    groups: str | None = "speaker",
    n_resamples: int = 2000,
    random_state: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Train on each value of a column and test on each.

    Parameters
    ----------
    make
        Returns a new, unfitted model.
    clips
        With task labels (`Task.select`).
    task
        Of labels (UAR) or of numbers (CCC).
    by
        Column of the matrix: language, dataset.
    n_splits, dev_size
        Folds over speakers on the diagonal (fewer where there are fewer speakers), and the share of
        dev in every training.
    groups, n_resamples, random_state
        What is resampled for the intervals, how often, and the seed.
    level
        Coverage of the intervals.

    Returns
    -------
    result
        `names`, and `cells`: by value trained on and value tested on, clips, UAR (or CCC) and
        interval. UAR is the mean over the labels that the value tested on has.

    Raises
    ------
    InputError
        If the column has fewer than two values, or one of them fewer than three speakers, or
        clips, where no speaker is known, or fewer than two labels.
    """
    values = check_transfer(clips, task, by)
    if not any(leaks.speakers(clips)):
        clips = clips.with_columns(speaker=list(clips.ids))  # each clip is one of its own
    parts = {value: clips.where(**{by: value}) for value in values}
    voices = {value: _voices(part) for value, part in parts.items()}
    cells: dict[str, dict[str, Any]] = {}
    for here in values:
        found: dict[str, list[Predictions]] = {there: [] for there in values}
        own, others = parts[here], np.setdiff1d(np.concatenate([*voices.values()]), voices[here])
        trainings = [*_folds(own, n_splits, dev_size, random_state)]
        trainings += [(*_with_dev(own, dev_size, random_state), others)] if len(others) else []
        for train, dev, asked in trainings:
            model = make()
            model.fit(train, dev if len(dev) else None)
            for there, part in parts.items():
                if len(unseen := part.select(np.isin(voices[there], asked))):
                    found[there].append(model.predict(unseen).reorder(task.labels))
        cells[here] = {
            there: _cell(
                *(Predictions.concatenated(found[there]), parts[there], task, groups, level),
                pooled=len(found[there]) > 1,
                n_resamples=n_resamples,
                random_state=random_state,
            )
            for there in values
        }
    return {"by": by, "measure": task.measure, "names": values, "cells": cells}


def check_transfer(clips: Manifest, task: Task, by: str) -> list[str]:
    """Return the values of a column that can be trained and tested on.

    Parameters
    ----------
    clips
        With task labels.
    task
        Of labels or of numbers.
    by
        Column of the matrix.
    """
    values = sorted({str(value) for value in clips[by]})
    if len(values) < 2:
        only = values[0] and f"it has the value {values[0]!r} only"
        has = only or "the column is blank or not there"
        raise InputError(f"transfer by {by!r}: {has}; expected at least two values")
    known = any(leaks.speakers(clips))
    for value in values:
        part = clips.where(**{by: value})
        own = leaks.speakers(part) if known else part.ids
        if "" in own:
            raise InputError(
                f"transfer by {by!r}: {counted(own.count(''), 'clip')} of {value or '(blank)'} "
                "without a speaker; expected one for each, so that no voice is in both "
                "training and test"
            )
        if len(set(own)) < FEWEST_SPEAKERS:
            raise InputError(
                f"transfer by {by!r}: {counted(len(set(own)), 'speaker' if known else 'clip')} in "
                f"{value or '(blank)'}; expected at least {FEWEST_SPEAKERS} to train, tune and "
                f"test on different {'voices' if known else 'clips'}; leave the value out with "
                "where, or name another column"
            )
        if task.measure == "uar" and len(given := set(part["label"])) < 2:
            raise InputError(
                f"transfer by {by!r}: all clips of {value or '(blank)'} are {given.pop()!r}; "
                "expected at least two labels to train on; leave the value out with where, or "
                "name another column"
            )
    return values


def _voices(clips: Manifest) -> np.ndarray:
    return np.array([spoken(name) for name in leaks.speakers(clips)], dtype=object)


def _folds(
    clips: Manifest, n_splits: int, dev_size: float, seed: int
) -> Iterator[tuple[Manifest, Manifest, np.ndarray]]:
    """Yield train, dev and the voices that are in neither."""
    count = len(set(leaks.speakers(clips)))
    for fold in splits(
        clips,
        "group-kfold",
        # two voices stay, for train and dev
        n_splits=max(FEWEST_SPEAKERS, min(n_splits, count)),
        dev_size=dev_size,
        random_state=seed,
    ):
        yield fold.train, fold.dev, _voices(fold.test)


def _with_dev(clips: Manifest, dev_size: float, seed: int) -> tuple[Manifest, Manifest]:
    if not dev_size:
        return clips, clips.select([])
    [split] = splits(clips, "speaker", test_size=dev_size, dev_size=0, random_state=seed)
    return split.train, split.test


def _cell(
    predictions: Predictions,
    clips: Manifest,
    task: Task,
    groups: str | None,
    level: float,
    **draws: Any,
) -> dict[str, Any]:
    known = predictions.align(clips.ids)
    codes = clusters(clips, groups)[0]
    if isinstance(task, ScaleTask):
        drawn = measure(task.ratings(clips), {"": known.proba}, codes, task.limits, **draws)
        absent = []
    else:
        labels = list(clips["label"])
        truth, absent = metrics.codes(labels, task.labels), metrics.absent(labels, task.labels)
        drawn = resample(truth, {"": known.codes}, codes, len(task.labels), **draws)
    score = drawn.score("", task.measure, level=level)
    if absent:  # as in the tables by a column
        score = metrics.over_present(score, len(task.labels), len(task.labels) - len(absent))
    return {
        "clips": len(clips),
        "groups": drawn.groups,
        "absent": absent,
        task.measure: score,
    }
