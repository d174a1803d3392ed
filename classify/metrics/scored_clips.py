"""Test or dev: labelled or rated clips, predictions joined to them, and the groups of clips."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

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


class Part:
    """Labelled clips in the order of their ids, with predictions joined to them.

    The order of ids makes every sum independent of the order of rows in any file.
    """

    def __init__(self, clips: Manifest, dropped: dict[str, int], task: Task):
        self.clips, self.dropped, self.task = clips, dropped, task
        self.codes = metrics.codes(list(clips["label"]), task.labels)
        self.members: dict[str, Predictions] = {}
        self.warnings: list[str] = []
        self.groups = np.arange(len(clips))  # code of the group of each clip
        self.rows = np.arange(len(clips))  # place of each clip in the manifest

    @classmethod
    def of(cls, members: Mapping[str, Predictions], truth: Manifest, task: Task, part: str) -> Part:
        """Select and label clips by the task, and join the members' predictions to them."""
        if not members:
            raise InputError("nothing to compare; expected at least one member's predictions")
        labelled, dropped = task.select(truth)
        self = cls(labelled.select(sorted(labelled.ids)), dropped, task)
        place = {clip_id: row for row, clip_id in enumerate(labelled.ids)}
        self.rows = np.array([place[clip_id] for clip_id in self.clips.ids])
        left_out = set(truth.ids) - set(labelled.ids)
        for name, given in members.items():
            self.members[name] = _joined(given, task, self.clips, left_out)
        missing = metrics.absent(list(self.clips["label"]), task.labels)
        if missing:
            most = 1 - len(missing) / len(task.labels)
            text = (
                f"no {part} clip is {', '.join(missing)}: each label counts 0 in the means, so UAR "
                f"is {most:.3f} at most; if the corpus has no such label, use a task without it"
            )
            self.warnings.append(Finding(text, Kind.LABELS))
        return self

    def describe(self) -> dict[str, Any]:
        """Return counts and hash of the clips, for JSON."""
        labels = list(self.clips["label"])
        return {
            "clips": len(self.clips),
            "manifest": self.clips.hash,
            "labels": {label: labels.count(label) for label in self.task.labels},
            "absent": metrics.absent(labels, self.task.labels),
            "left_out": self.dropped,
        }


class Rated:
    """Rated clips in the order of their ids, with predictions of numbers joined to them."""

    def __init__(self, clips: Manifest, dropped: dict[str, int], task: ScaleTask):
        self.clips, self.dropped, self.task = clips, dropped, task
        self.ratings = task.ratings(clips)
        self.members: dict[str, Estimates] = {}
        self.warnings: list[str] = []
        self.groups = np.arange(len(clips))  # code of the group of each clip

    @classmethod
    def of(
        cls, members: Mapping[str, Predictions], truth: Manifest, task: ScaleTask, part: str
    ) -> Rated:
        """Select the rated clips, and join the members' predictions to them."""
        if not members:
            raise InputError("nothing to compare; expected at least one member's predictions")
        selected, dropped = task.select(truth, blank="drop")
        self = cls(selected.select(sorted(selected.ids)), dropped, task)
        left_out = set(truth.ids) - set(self.clips.ids)
        for name, given in members.items():
            if not isinstance(given, Estimates):
                raise InputError(
                    f"member {name!r} has class probabilities, and the task {task.name!r} is a "
                    "regression task; expected one number for each of " + ", ".join(task.labels)
                )
            self.members[name] = _joined(given, task, self.clips, left_out)
        for dimension, column in zip(task.labels, self.ratings.T, strict=True):
            if warning := no_spread(dimension, column[np.isfinite(column)], part):
                self.warnings.append(Finding(warning, Kind.LABELS))
        return self

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
        return {
            "clips": len(self.clips),
            "manifest": self.clips.hash,
            "labels": {name: one["clips"] for name, one in rated.items()},
            "dimensions": rated,
            "absent": [name for name, one in rated.items() if not one["clips"]],
            "left_out": self.dropped,
        }


def _joined(given: P, task: Task, clips: Manifest, left_out: Collection[str]) -> P:
    """Return the predictions of `clips`; those of clips that the task leaves out are ignored."""
    known = given.reorder(task.labels)
    if left_out:
        known = known.select([i for i in known.ids if i not in left_out])
    return known.align(clips.ids)


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
    blank = sum(name.startswith("\0") for name in names)
    warnings = []
    if blank:
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


def group_noun(column: str | None, count: int = 2) -> str:
    """Return what to call this many groups of a column.

    Examples
    --------
    >>> group_noun("speaker"), group_noun("speaker", 1), group_noun("room"), group_noun(None)
    ('speakers', 'speaker', 'values of room', 'single clips')
    """
    if column in (None, "id"):
        return "single clips"
    if column == "speaker":
        return column + "s" * (count != 1)
    return f"value{'s' * (count != 1)} of {column}"


def task_score(task: Task, clips: Manifest, predictions: Predictions) -> float:
    """Return the measure for dev: the UAR of labels; of numbers the mean CCC over dimensions."""
    found = predictions.align(clips.ids)
    if isinstance(task, ScaleTask):
        return mean_ccc(task.ratings(clips), found.proba)
    return metrics.uar(list(clips["label"]), found.label, task.labels)
