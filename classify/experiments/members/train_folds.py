"""Train and score a head on every fold of a division, and fit the one model that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.predictions import Predictions
from ...metrics.scored_clips import task_score
from .choosing import Part, choose, told_in
from .refit import refit

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space
    from ...data.task import Task
    from ...models.model import Model
    from ..recipes.recipe import MemberEntry

__all__ = ["score_folds", "train_folds"]


def train_folds(
    entry: MemberEntry,
    task: Task,
    labelled: Manifest,
    parts: Sequence[Part],
    spaces: Mapping[str, Space],
    *,
    split_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> tuple[Model, dict[str, Any]]:
    """Train one model per fold, score each on its test clips, and refit on all clips.

    Parameters
    ----------
    entry, task, labelled, parts, spaces, split_options, say
        As for `train_member`.

    Returns
    -------
    model : Model
        Trained on every clip that is train or dev in some fold. It is not one of the models that
        were scored.
    record : dict
        ``refit``; ``dev_uar``, the mean over the folds; and as `score_folds`.
    """
    fitted, records, tests = [], [], []
    for part in parts:
        told = told_in(part, say)
        told(f"training on {len(part.train)} clips")
        model, record = choose(entry, task, part, spaces, split_options=split_options, say=told)
        fitted.append(model)
        records.append(record)
        tests.append(model.predict(part.test))
    model, again = refit(entry, task, labelled, parts, spaces, fitted, records, say)
    measure = f"dev_{task.measure}"
    devs = [one[measure] for one in records if one[measure] is not None]
    return model, {
        "chosen": {key: again[key] for key in ("settings", "layers")},
        measure: float(np.mean(devs)) if devs else None,
        "refit": again,
        **score_folds(task, labelled, parts, tests, records),
    }


def score_folds(
    task: Task,
    labelled: Manifest,
    parts: Sequence[Part],
    tests: Sequence[Predictions],
    records: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the UAR (or CCC) of the test clips of all folds together, and of each fold.

    Parameters
    ----------
    task, labelled
        The task, and every clip with its labels.
    parts
        The folds; no clip is tested twice.
    tests
        Predictions of the test clips of each fold.
    records
        What `choose` returns for each fold.

    Returns
    -------
    record
        ``test_uar`` (or ``test_ccc``) and ``test_clips`` of all folds together, ``test``, the
        joined predictions, and ``folds``: name, clips, dev and test UAR and what was chosen.
    """
    dev, tested = f"dev_{task.measure}", f"test_{task.measure}"
    folds = [
        {
            "fold": part.name,
            "clips": {"train": len(part.train), "dev": len(part.dev), "test": len(part.test)},
            dev: record[dev],
            tested: task_score(task, part.test, test),
            "chosen": record["chosen"],
        }
        for part, test, record in zip(parts, tests, records, strict=True)
    ]
    ids = [clip for test in tests for clip in test.ids]
    joined = tests[0].like(ids, np.concatenate([test.proba for test in tests]))
    return {
        tested: task_score(task, labelled.select(ids), joined),
        "test_clips": len(ids),
        "test": joined,
        "folds": folds,
    }
