"""A task of numbers: dimensions, the columns of their ratings, and the ranges of these."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError, expected_one_of, listed, nearest, one_of
from ...cache.manifest.column_names import BLANK_LABEL
from ...cache.manifest.tables.cells import rated
from .estimates import Estimates
from .task import Task
from .task_file import check_label

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

KEYS = ("type", "name", "version", "dimensions")
THIRDS = ("low", "middle", "high")
NOT_RATED = "not rated"
FAR = 0.25  # of the length of a scale


@dataclass(frozen=True)
class Scale:
    """The columns of the ratings of one dimension, and the numbers that they are between.

    Attributes
    ----------
    columns
        Of the manifest; a blank cell is a clip that was not rated. Several are those of the raters,
        and a clip is rated by the mean of those who rated it.
    low, high
        The least and the largest rating that is possible.
    """

    columns: tuple[str, ...]
    low: float
    high: float

    def record(self) -> dict[str, Any]:
        """Return the scale as a task file writes it."""
        several = len(self.columns) > 1
        of = {"raters": list(self.columns)} if several else {"column": self.columns[0]}
        return {**of, "range": [self.low, self.high]}

    @property
    def range(self) -> float:
        """Length of the scale."""
        return self.high - self.low


@dataclass(frozen=True)
class ScaleTask(Task):
    """Ratings on scales instead of labels; `labels` holds the names of the dimensions.

    Attributes
    ----------
    scales
        Dimension to its scale, in task order.

    Examples
    --------
    >>> spec = {"type": "regression", "dimensions": {"valence": {"column": "v", "range": [1, 5]}}}
    >>> task = Task.from_spec(spec)
    >>> task.labels, task.scales["valence"].range
    (('valence',), 4.0)
    """

    scales: Mapping[str, Scale] = field(default_factory=dict)

    measure = "ccc"
    kind = "regression"
    of_clips = Estimates

    def __post_init__(self, saved: bool) -> None:
        if not self.scales:
            raise InputError(f"task {self.name!r} has no dimensions; expected at least one")
        for label in self.labels:
            check_label(label, f"task {self.name!r}")

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], *, default_name: str = "task", source: str = "task"
    ) -> ScaleTask:
        """Build a task from a mapping with the keys type, dimensions, name and version.

        Raises
        ------
        InputError
            An unknown key, or a dimension without a range of two numbers, the lower one first.
        """
        for key in spec:
            if key not in KEYS:
                raise InputError(
                    f"{source}: unknown key {key!r} of a regression task; "
                    f"{expected_one_of(key, KEYS)}"
                )
        given = spec.get("dimensions")
        if not isinstance(given, Mapping) or not given:
            raise InputError(
                f"{source}: dimensions is {given!r}; expected for example "
                "{valence: {column: valence, range: [1, 7]}}"
            )
        scales = {str(name): _scale(name, one, source) for name, one in given.items()}
        version = spec.get("version", 1)
        if not isinstance(version, int):
            raise InputError(f"{source}: version is {version!r}; expected a whole number")
        name = str(spec.get("name", default_name))
        return cls(name, tuple(scales), {}, version=version, scales=scales)

    def record(self) -> dict[str, Any]:
        """Return everything that decides the task, for JSON; `Task.from_record` reads it back."""
        return {
            "type": self.kind,
            "name": self.name,
            "version": self.version,
            "hash": self.hash,
            "labels": list(self.labels),
            "dimensions": {name: scale.record() for name, scale in self.scales.items()},
        }

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of dimensions, columns and ranges; the name does not count."""
        content = [self.kind, [[n, *s.columns, s.low, s.high] for n, s in self.scales.items()]]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def select(self, clips: Manifest, *, blank: str = "error") -> tuple[Manifest, dict[str, int]]:
        """Return the clips that have a rating, and how many were left out.

        The column `label` of what is returned holds the third of the first dimension's scale that
        the rating is in: splits are dealt alike in it. The ratings stay in their own columns.

        Raises
        ------
        InputError
            A column that is not there, a cell that is not a number or is out of range, and, unless
            `blank` is "drop", a clip without any rating.
        """
        one_of(blank, BLANK_LABEL, "blank")
        values = self.ratings(clips)
        rated: np.ndarray = np.array(np.isfinite(values).any(axis=1))
        if not rated.any():
            raise InputError(f"{clips.source}: no clip is rated for {', '.join(self.labels)}")
        if not rated.all() and blank != "drop":
            first = int(np.flatnonzero(~rated)[0])
            raise InputError(
                f"{clips.source}: {int((~rated).sum())} clips have no rating for "
                f"{', '.join(self.labels)} (first in {clips.spot(first)}); rate them, leave "
                "them out of the table, set unlabelled: drop in a recipe, or give --unlabelled "
                "drop to train or probe"
            )
        kept = clips.select(rated)
        scale = next(iter(self.scales.values()))
        share = (values[rated, 0] - scale.low) / scale.range
        thirds = [NOT_RATED if math.isnan(one) else THIRDS[min(int(one * 3), 2)] for one in share]
        kept = kept.with_columns(label=thirds, raw_label=list(_cells(kept, "label")))
        left = int((~rated).sum())
        return kept, {"": left} if left else {}

    def targets(self, clips: Manifest) -> np.ndarray:
        """Return what a head learns, `(clips, dimensions)`, or `(clips,)` for one dimension."""
        rated = self.ratings(clips)
        return rated[:, 0] if rated.shape[1] == 1 else rated

    def answers(self, clips: Manifest) -> list[Any]:
        """Return each rater's ratings as JSON, for keys over everything that decides a result."""
        rated = np.concatenate([self.by_rater(clips, name) for name in self.labels], axis=1)
        return [[None if math.isnan(value) else value for value in row] for row in rated.tolist()]

    def predicted(self, ids: list[str], head: Any, values: np.ndarray) -> Estimates:
        """Return the predictions of a trained head for features ``(clips, features)``."""
        found = np.asarray(head.predict(values), np.float64)
        return Estimates(ids, self.labels, found.reshape(len(ids), len(self.labels)))

    def counts(self, clips: Manifest) -> dict[str, int]:
        """Return how many clips are rated for each dimension."""
        rated = np.isfinite(self.ratings(clips)).sum(axis=0)
        return dict(zip(self.labels, rated.tolist(), strict=True))

    def check_head(self, head: Any, source: str) -> None:
        """Raise unless a stored head predicts as many numbers as there are dimensions."""
        count = len(getattr(head, "mean_", getattr(head, "coef_", ())))
        if count != len(self.labels) or hasattr(head, "classes_"):
            raise InputError(
                f"{source}: the head predicts {count} numbers; the task has {len(self.labels)} "
                f"dimensions ({', '.join(self.labels)})"
            )

    def check_train(self, clips: Manifest) -> None:
        """Raise unless each dimension has ratings to learn from."""
        for name, column in zip(self.labels, self.ratings(clips).T, strict=True):
            if not np.isfinite(column).any():
                raise InputError(f"none of {len(clips)} clips of train is rated for {name}")

    @property
    def limits(self) -> np.ndarray:
        """Least and largest rating of each dimension, `(dimensions, 2)`."""
        return np.array([[scale.low, scale.high] for scale in self.scales.values()])

    def far_outside(self, values: np.ndarray) -> np.ndarray:
        """Whether numbers, `(clips, dimensions)`, are far outside of a scale, `(clips,)`.

        Slightly outside is usual, since predictions are not clipped.
        """
        low, high = self.limits.T
        far = FAR * (high - low)
        return ((values < low - far) | (values > high + far)).any(axis=1)

    def ratings(self, clips: Manifest) -> np.ndarray:
        """Return the ratings, `(clips, dimensions)`; NaN where a clip is not rated."""
        return np.stack([_mean(self.by_rater(clips, name)) for name in self.labels], axis=1)

    def by_rater(self, clips: Manifest, name: str) -> np.ndarray:
        """Return the ratings of one dimension, `(clips, columns)`; NaN where there is none."""
        columns = self.scales[name].columns
        return np.stack([self._column(clips, name, column) for column in columns], axis=1)

    def _column(self, clips: Manifest, name: str, column: str) -> np.ndarray:
        scale = self.scales[name]
        if column not in clips:
            raise InputError(
                f"{clips.source}: no column {column!r} for {name} of the task {self.name!r}; "
                f"it has {', '.join(clips.columns)}.{nearest(column, clips.columns)}"
            )
        cells = [str(cell).strip() for cell in _cells(clips, column)]
        read = rated(cells)
        numbers = np.array([_number(cell) for cell in read])
        filled = np.array([cell != "" for cell in read], dtype=bool)
        odd = np.flatnonzero(filled & np.isnan(numbers))
        if len(odd):
            shown = listed([f"{cells[row]!r} ({clips.spot(int(row))})" for row in odd])
            raise InputError(
                f"{clips.source}: column {column!r} holds {shown}; expected numbers from "
                f"{scale.low:g} to {scale.high:g}, or blank where a clip was not rated"
            )
        outside = np.flatnonzero((numbers < scale.low) | (numbers > scale.high))
        if len(outside):
            first = int(outside[0])
            raise InputError(
                f"{clips.source}: {len(outside)} cells of column {column!r} are not between "
                f"{scale.low:g} and {scale.high:g} (first in {clips.spot(first)}: "
                f"{cells[first]}); correct them, or the range of {name} in the task"
            )
        return numbers


def _mean(ratings: np.ndarray) -> np.ndarray:
    """Return the mean of the ratings of each clip, `(clips,)`; NaN where there is none."""
    known = np.isfinite(ratings)
    total, count = np.where(known, ratings, 0.0).sum(axis=1), known.sum(axis=1)
    return np.divide(total, count, out=np.full(len(ratings), np.nan), where=count > 0)


def _cells(clips: Manifest, column: str) -> np.ndarray:
    """Return a column as the table has it, also that of labels where `select` put thirds."""
    is_dealt = column == "label" and "raw_label" in clips
    is_dealt = is_dealt and set(clips["label"]) <= {*THIRDS, NOT_RATED}
    return clips["raw_label" if is_dealt else column]


def _scale(name: Any, given: Any, source: str) -> Scale:
    expected = "expected {column: COLUMN, range: [LOW, HIGH]}, or {raters: [COLUMN, COLUMN], ...}"
    if not isinstance(name, str):
        raise InputError(f"{source}: a dimension is named {name!r}; quote it")
    if not isinstance(given, Mapping) or not set(given) <= {"column", "raters", "range"}:
        raise InputError(f"{source}: dimension {name} is {given!r}; {expected}")
    limits: Any = given.get("range")
    known = isinstance(limits, list | tuple) and len(limits) == 2
    if not known or not all(_is_number(one) for one in limits) or not limits[0] < limits[1]:
        raise InputError(
            f"{source}: range of {name} is {limits!r}; expected [LOW, HIGH], the lowest and the "
            "highest possible rating"
        )
    low, high = map(float, limits)
    if "raters" not in given:
        column = given.get("column", name)
        if not isinstance(column, str) or not column:
            raise InputError(f"{source}: column of {name} is {column!r}; expected a name")
        return Scale((column,), low, high)
    raters = given["raters"]
    if "column" in given:
        raise InputError(f"{source}: {name} has column and raters; expected one of them")
    names = raters if isinstance(raters, list | tuple) else []
    if len(set(map(str, names))) < max(2, len(names)) or not all(
        isinstance(one, str) and one for one in names
    ):
        raise InputError(
            f"{source}: raters of {name} is {raters!r}; expected the columns of at least two "
            "raters, each once"
        )
    return Scale(tuple(names), low, high)


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value)


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


Task.of_numbers = ScaleTask
