"""Test or dev: labelled or rated clips, predictions joined to them, and the groups of clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ...cache.errors import InputError
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..data.scales import ScaleTask
from ..data.splitting import leaks
from ..data.splitting.findings import Finding, Kind
from ..data.task import Task
from . import measures as metrics
from .bootstrap import FEWEST_GROUPS
from .concordance import Measured, mean_ccc, measure

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

P = TypeVar("P", bound=Predictions)
NO_SPEAKERS = (
    "no speakers are known: clips of one person may be in train and in test, so scores may be too "
    "high for new speakers, and intervals too narrow; add a column speaker"
)


class Scored(Generic[P]):
    """Clips of a task in the order of their ids, with predictions joined to them.

    The order of ids makes every sum independent of the order of rows in any file.

    Attributes
    ----------
    truth
        Label code of each clip, `(clips,)`, or its ratings, `(clips, dimensions)`.
    groups, rows
        Code of the group of each clip, and its place in the manifest, `(clips,)`.
    dropped
        Clips that the task leaves out, by what it has in place of a label.
    """

    truth: np.ndarray

    def __init__(self, members: Mapping[str, P], truth: Manifest, task: Task, blank: Any):
        if not members:
            raise InputError("nothing to compare; expected at least one member's predictions")
        selected, self.dropped = task.select(truth, blank=blank)
        order = sorted(range(len(selected)), key=selected.ids.__getitem__)
        self.clips, self.rows = selected.select(order), np.array(order, dtype=int)
        self.groups = np.arange(len(order))
        self.warnings: list[str] = []
        left_out = set(truth.ids) - set(selected.ids)  # their predictions are ignored
        self.members: dict[str, P] = {}
        for name, given in members.items():
            known = given.reorder(task.labels)
            if left_out:
                known = known.select([i for i in known.ids if i not in left_out])
            self.members[name] = known.align(self.clips.ids)

    def counted(self, labels: Mapping[str, int], **more: Any) -> dict[str, Any]:
        """Return counts and hash of the clips, for JSON."""
        return {
            "clips": len(self.clips),
            "manifest": self.clips.hash,
            "labels": dict(labels),
            **more,
            "absent": [label for label, clips in labels.items() if not clips],
            "left_out": self.dropped,
        }


class Part(Scored[Predictions]):
    """Labelled clips, with predictions joined to them; `part` is "test" or "dev"."""

    def __init__(
        self, members: Mapping[str, Predictions], truth: Manifest, task: Task, part: str
    ) -> None:
        super().__init__(members, truth, task, "error")
        self.task, names = task, list(self.clips["label"])
        self.truth = self.codes = metrics.codes(names, task.labels)
        if missing := metrics.absent(names, task.labels):
            most = 1 - len(missing) / len(task.labels)
            text = (
                f"no {part} clip is {', '.join(missing)}: each label counts 0 in the means, so UAR "
                f"is {most:.3f} at most; if the corpus has no such label, use a task without it"
            )
            self.warnings.append(Finding(text, Kind.LABELS))

    def describe(self) -> dict[str, Any]:
        """Return counts and hash of the clips, for JSON."""
        counts = np.bincount(self.codes, minlength=len(self.task.labels)).tolist()
        return self.counted(dict(zip(self.task.labels, counts, strict=True)))


class Rated(Scored[Estimates]):
    """Rated clips, with predictions of numbers joined to them; `part` is "test" or "dev"."""

    def __init__(
        self, members: Mapping[str, Predictions], truth: Manifest, task: ScaleTask, part: str
    ) -> None:
        numbers: dict[str, Estimates] = {}
        for name, given in members.items():
            if not isinstance(given, Estimates):
                raise InputError(
                    f"member {name!r} has class probabilities, and the task {task.name!r} is a "
                    "regression task; expected one number for each of " + ", ".join(task.labels)
                )
            numbers[name] = given
        super().__init__(numbers, truth, task, "drop")
        self.task = task
        self.truth = self.ratings = task.ratings(self.clips)
        for dimension, column in zip(task.labels, self.ratings.T, strict=True):
            if warning := no_spread(dimension, column[np.isfinite(column)], part):
                self.warnings.append(Finding(warning, Kind.LABELS))

    def measured(
        self,
        systems: Mapping[str, Predictions],
        groups: np.ndarray,
        rows: np.ndarray | slice = slice(None),
        *,
        pooled: bool = False,
        **draws: int,
    ) -> Measured:
        """Return the measures of systems on these clips, or on some of them."""
        values = {name: one.proba[rows] for name, one in systems.items()}
        limits = self.task.limits
        return measure(self.ratings[rows], values, groups, limits, pooled=pooled, **draws)

    def describe(self) -> dict[str, Any]:
        """Return counts, and mean and deviation of the ratings, for JSON."""
        rated = {}
        for name, column in zip(self.task.labels, self.ratings.T, strict=True):
            known = column[np.isfinite(column)]
            mean, sd = (float(known.mean()), float(known.std())) if len(known) else (None, None)
            rated[name] = {"clips": len(known), "mean": mean, "sd": sd}
        return self.counted({n: one["clips"] for n, one in rated.items()}, dimensions=rated)


def no_spread(dimension: str, ratings: np.ndarray, part: str) -> str:
    """Return a note on a dimension whose ratings cannot show concordance; blank if they can."""
    if not len(ratings):
        return f"no {part} clip is rated for {dimension}, which is left out of the means"
    if np.ptp(ratings):
        return ""
    return (
        f"every {part} rating of {dimension} is {ratings[0]:g}: its CCC counts 0 in the means, "
        "whatever is predicted; if that says nothing, use a task without it"
    )


def cluster_names(clips: Manifest, column: str | None) -> list[str]:
    """Return the group of each clip; a clip without one is a group of its own."""
    if column is not None and (column == "speaker" or column in clips):
        names = leaks.group_names(clips, column)
    else:
        names = [""] * len(clips)
    return [name or f"\0{clip_id}" for name, clip_id in zip(names, clips.ids, strict=True)]


def single_clips(clips: Manifest, column: str | None) -> int:
    """Return how many clips are a group of their own because they lack a value of the column."""
    return sum(name.startswith("\0") for name in cluster_names(clips, column))


def clusters(clips: Manifest, column: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the group code of each clip, `(clips,)`, and notes on the groups."""
    names = cluster_names(clips, column)
    if column in (None, "id", "speaker") and not any(leaks.speakers(clips)):
        return np.arange(len(clips)), [Finding(NO_SPEAKERS, Kind.GROUPS)]
    if column in (None, "id") or (column != "speaker" and column not in clips):
        reason = "group: id" if column in (None, "id") else f"no column {column!r}"
        return np.arange(len(clips)), [
            Finding(
                f"{reason}: clips were treated as independent, so intervals may be too narrow",
                Kind.GROUPS,
            )
        ]
    found, codes = np.unique(np.array(names, dtype=object), return_inverse=True)
    warnings = []
    if blank := single_clips(clips, column):
        warnings.append(
            f"{blank} of {len(names)} clips have no {column} and were treated as independent: "
            "intervals may be too narrow"
        )
    if len(found) < FEWEST_GROUPS:
        warnings.append(
            f"{len(found)} {group_noun(column, len(found))} only: too few for an interval or a "
            f"test, which need at least {FEWEST_GROUPS}"
        )
    elif len(found) < 10:
        warnings.append(f"{len(found)} {group_noun(column)} only: intervals are wide and rough")
    return codes, [Finding(text, Kind.GROUPS) for text in warnings]


def group_noun(column: str | None, count: int = 2, single: int = 0) -> str:
    """Return what to call this many groups of a column, some of them single clips without a value.

    Examples
    --------
    >>> group_noun("speaker"), group_noun("speaker", 1), group_noun("room"), group_noun(None)
    ('speakers', 'speaker', 'values of room', 'single clips')
    >>> group_noun("speaker", 9, single=3)
    'speakers and single clips'
    """
    if column in (None, "id"):
        return "single clips"
    if single:
        return f"{group_noun(column)} and single clips"
    if column == "speaker":
        return column + "s" * (count != 1)
    return f"value{'s' * (count != 1)} of {column}"


def task_score(task: Task, clips: Manifest, predictions: Predictions) -> float:
    """Return the measure for dev: the UAR of labels; of numbers the mean CCC over dimensions."""
    found = predictions.align(clips.ids)
    if isinstance(task, ScaleTask):
        return mean_ccc(task.ratings(clips), found.proba)
    return metrics.uar(list(clips["label"]), found.label, task.labels)
