"""Predictions: ids, ordered label names and probabilities, never a bare array.

A file of predictions (`pred.csv`) has the columns ``id,label`` and one probability column per class
in task order. Everything that joins predictions does it by id and by label name; order of rows and
of columns never matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from affekt.notebook import frame, shown

from ...cache.errors import InputError, check_characters, expected_one_of, listed
from ...cache.files.atomic_writes import write_whole
from ...cache.files.home_folder import at_home
from ...cache.manifest.columns import normal
from .escape import csv_text, defused
from .pred_csv import (
    EXACT,
    check_labels,
    in_order,
    other_labels,
    predictions_of_file,
    predictions_of_frame,
    remedy,
    shortest,
    spelling_hint,
    undo_rounding,
)
from .task_file import check_columns

SUM_TOLERANCE = 1e-3


class Predictions:
    """Class probabilities of clips.

    Rows must be distributions: finite, not negative, summing to 1 within 1e-3. A row further than
    1e-9 from 1 is divided by its sum; others are kept bit for bit.

    Parameters
    ----------
    ids
        Unique ids of the clips.
    labels
        Names of the probability columns, in task order.
    proba
        Probabilities, `(clips, labels)` float64.
    hard
        True if only labels were known: likelihoods and calibration mean nothing then.
    source
        Where they come from, for messages.

    Attributes
    ----------
    unlike_training : list of str
        Clips whose features are far from all that a model was trained on, as the model found that
        made these predictions: their answers mean little.

    Raises
    ------
    InputError
        If a row is not a distribution or an id comes twice; the message names the ids.

    Examples
    --------
    >>> Predictions(["a", "b"], ["no", "yes"], [[0.3, 0.7], [0.5, 0.5]]).label
    ['yes', 'no']
    """

    def __init__(
        self,
        ids: Iterable[str],
        labels: Iterable[str],
        proba: object,
        *,
        hard: bool = False,
        source: str = "predictions",
    ):
        self.ids = list(normal([str(i) for i in ids]))
        self.labels = tuple(normal([str(label) for label in labels]))
        self.hard = hard
        self.source = source
        self.unlike_training: list[str] = []
        values = in_order(proba, self.ids, self.labels, source)
        if values.shape != (len(self.ids), len(self.labels)):
            raise InputError(
                f"{source}: probabilities of shape {values.shape} for {len(self.ids)} ids and "
                f"{len(self.labels)} labels; expected ({len(self.ids)}, {len(self.labels)})"
            )
        if len(set(self.labels)) < len(self.labels):
            raise InputError(f"{source}: a label appears twice in {list(self.labels)}")
        twice = [i for i, count in Counter(self.ids).items() if count > 1]
        if twice:
            raise InputError(f"{source}: ids appear twice: {_some(twice)}; expected each id once")
        self.proba = self._checked(values)
        self.proba.flags.writeable = False

    def _checked(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            values[(values < 0) & (values > -EXACT)] = 0  # the last digit of a softmax
            # Summed in order of size, so that the order of the columns cannot move the last digit.
            total = np.sort(values, axis=1).sum(axis=1)
            wrong = {
                "not finite": ~np.isfinite(values).all(axis=1),
                "negative": (values < 0).any(axis=1),
                "not summing to 1": ~(np.abs(total - 1) <= SUM_TOLERANCE),
            }
        for reason, rows in wrong.items():
            if rows.any():
                at = np.flatnonzero(rows)
                first = ", ".join(f"{value:.6g}" for value in values[at[0]])
                raise InputError(
                    f"{self.source}: probabilities {reason} for {_some([self.ids[i] for i in at])} "
                    f"(first row: {first}); expected a distribution over {', '.join(self.labels)} "
                    f"within {SUM_TOLERANCE:g} in each row.{remedy(values, total)}"
                )
        off = np.abs(total - 1) > EXACT
        if off.any():
            values[off] /= total[off, None]
        return values

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, str, np.ndarray]]:
        return zip(self.ids, self.label, self.proba, strict=True)

    def __repr__(self) -> str:
        return f"<Predictions of {len(self)} clips over {', '.join(self.labels)}>"

    def _repr_html_(self) -> str:
        heads = [name for name in self.columns if name == "label"]
        rows = ([clip, *filter(None, [label]), *map(float, proba)] for clip, label, proba in self)
        return shown(repr(self), {}, ("id", *heads, *self.labels), rows, len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Predictions):
            return NotImplemented
        same = self.ids == other.ids and self.labels == other.labels
        return same and np.array_equal(self.proba, other.proba)

    __hash__ = None  # type: ignore[assignment]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a file, after id."""
        return ["label", *map(defused, self.labels)]

    def cells(self, label: str, row: np.ndarray) -> list[str]:
        """Return a row as these columns have it; digits read back equal."""
        return [defused(label), *map(shortest, row.tolist())]

    @property
    def codes(self) -> np.ndarray:
        """Position of the most probable label, `(clips,)`; ties go to the first in task order."""
        return self.proba.argmax(axis=1)

    @property
    def label(self) -> list[str]:
        """The most probable label of each clip; a tie goes to the first in task order."""
        return [self.labels[code] for code in self.codes]

    def align(self, ids: Sequence[str]) -> Self:
        """Return the predictions in the order of `ids`, which must be the same set.

        Raises
        ------
        InputError
            If ids are missing or too many; the message names them.

        Examples
        --------
        >>> Predictions(["a", "b"], ["x", "y"], [[1, 0], [0, 1]]).align(["b", "a"]).label
        ['y', 'x']
        """
        ids = [str(i) for i in ids]
        if ids == self.ids:
            return self
        position = {name: row for row, name in enumerate(self.ids)}
        wanted = set(ids)
        missing = [i for i in ids if i not in position]
        surplus = [i for i in self.ids if i not in wanted]
        if missing or surplus:
            parts = [f"no row for {_some(missing)}"] if missing else []
            parts += [f"unexpected rows: {_some(surplus)}"] if surplus else []
            raise InputError(
                f"{self.source}: {' and '.join(parts)}; expected the same {len(ids)} ids as the "
                f"clips they are joined with{spelling_hint(missing, surplus)}"
            )
        if len(wanted) < len(ids):
            raise InputError(f"{self.source}: joined with ids that appear twice")
        return self.take([position[i] for i in ids])

    def select(self, ids: Sequence[str]) -> Self:
        """Return the predictions of `ids` only, in that order.

        Raises
        ------
        InputError
            If an id is missing; the message names them.
        """
        position = {name: row for row, name in enumerate(self.ids)}
        if missing := [i for i in ids if i not in position]:
            raise InputError(
                f"{self.source}: no row for {_some(missing)}; expected predictions of all "
                f"{len(ids)} clips"
            )
        return self.take([position[i] for i in ids])

    def like(self, ids: Sequence[str], proba: object) -> Self:
        """Return predictions of the same kind and labels for other clips."""
        return type(self)(ids, self.labels, proba, hard=self.hard, source=self.source)

    @staticmethod
    def concatenated(parts: Sequence[Predictions]) -> Predictions:
        """Return the predictions of several groups of clips as one, in their order."""
        ids = [clip for part in parts for clip in part.ids]
        found = parts[0].like(ids, np.concatenate([part.proba for part in parts]))
        found.unlike_training = [clip for part in parts for clip in part.unlike_training]
        return found

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return the predictions in these rows, in their order."""
        return self.like([self.ids[row] for row in rows], self.proba[list(rows)])

    def reorder(self, labels: Sequence[str]) -> Self:
        """Return the predictions with the columns in the order of `labels`, the same set.

        Raises
        ------
        InputError
            If the label sets differ; the message names the difference.

        Examples
        --------
        >>> Predictions(["a"], ["x", "y"], [[0.2, 0.8]]).reorder(["y", "x"]).proba.tolist()
        [[0.8, 0.2]]
        """
        labels = tuple(labels)
        if labels == self.labels:
            return self
        if self.hard and set(self.labels) < set(labels):
            # Labels alone do not show all classes of a system, only those that it chose.
            return type(self).one_hot(self.ids, labels, self.label, source=self.source)
        if set(labels) != set(self.labels) or len(labels) != len(self.labels):
            raise InputError(f"{self.source}: {other_labels(self, labels)}")
        columns = [self.labels.index(label) for label in labels]
        proba = self.proba[:, columns]
        return type(self)(self.ids, labels, proba, hard=self.hard, source=self.source)

    def renamed(self, names: Mapping[str, str]) -> Predictions:
        """Return the predictions with labels renamed; names that are not there are ignored.

        Labels of hard predictions may become one.
        """
        labels = [names.get(label, label) for label in self.labels]
        if self.hard:
            chosen = [names.get(label, label) for label in self.label]
            kept = list(dict.fromkeys(labels))
            return type(self).one_hot(self.ids, kept, chosen, source=self.source)
        return type(self)(self.ids, labels, self.proba, hard=self.hard, source=self.source)

    @classmethod
    def one_hot(
        cls,
        ids: Iterable[str],
        labels: Sequence[str],
        chosen: Iterable[str],
        *,
        source: str = "predictions",
    ) -> Self:
        """Return hard predictions: all weight on the label that was chosen."""
        position = {label: column for column, label in enumerate(labels)}
        ids, chosen = list(ids), list(chosen)
        proba = np.zeros((len(ids), len(labels)))
        for row, label in enumerate(chosen):
            if label not in position:
                raise InputError(
                    f"{source}: {ids[row]!r} has the label {label!r}; "
                    f"{expected_one_of(label, labels)}"
                )
            proba[row, position[label]] = 1
        return cls(ids, labels, proba, hard=True, source=source)

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        labels: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> Predictions:
        """Read a `pred.csv`, also one made elsewhere.

        Parameters
        ----------
        path
            A CSV (commas or semicolons) or TSV file: `id`, one probability column per class and,
            optionally, `label`. With `label` alone the predictions are hard. A `label` has to be
            the most probable. Probabilities with two to four decimals may miss 1 by as much as
            rounding explains. Lines of JSON are read as `affekt predict -o NAME.jsonl` writes them.
        labels
            The label set and order wanted. Columns that are not among them are an error.
        rename
            Label names of the file mapped to those of the task, e.g. ``{"angry": "anger"}``.

        Raises
        ------
        InputError
            If the file is not such a table; the message names file, line and what was expected.
        """
        check_labels(labels)
        if not isinstance(rename or {}, Mapping):
            raise InputError(f"rename is {rename!r}; expected a mapping: {{'THEIRS': 'OURS'}}")
        return predictions_of_file(cls, Path(at_home(path)), labels, rename or {})

    def to_frame(self) -> Any:
        """Return a pandas DataFrame: id, label, one probability column per class.

        `from_frame` reads it back.

        Raises
        ------
        InputError
            pandas is not installed, or a label has the name of another column.
        """
        check_columns(self.labels, "a frame")
        columns = dict(zip(self.labels, self.proba.T, strict=True))
        return frame({"id": self.ids, "label": self.label, **columns})

    @classmethod
    def from_frame(
        cls, frame: Any, labels: Sequence[str] | None = None, *, source: str = "<frame>"
    ) -> Predictions:
        """Read a pandas DataFrame that has the columns of a `pred.csv`; parameters as of `read`."""
        check_labels(labels)
        return predictions_of_frame(cls, frame, labels, source)

    _undo_rounding = staticmethod(undo_rounding)

    def _agree(self, chosen: Sequence[str]) -> None:
        position = {label: column for column, label in enumerate(self.labels)}
        best = self.proba.max(axis=1)
        for row, label in enumerate(chosen):
            column = position.get(label)
            if column is None or self.proba[row, column] < best[row] - 1e-6:
                raise InputError(
                    f"{self.source}: {self.ids[row]!r} has the label {label!r} but its largest "
                    f"probability is that of {self.label[row]!r}; expected the most probable "
                    "class. Correct the file, or drop the label column"
                )

    def write(self, path: str | PathLike[str]) -> None:
        """Write `pred.csv`: id, label, one column per class; digits and ids read back equal.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pred.csv"
        >>> Predictions(["a"], ["no", "yes"], [[0.25, 0.75]]).write(path)
        >>> print(path.read_text(), end="")
        id,label,no,yes
        a,yes,0.25,0.75
        >>> Predictions.read(path).proba.tolist()
        [[0.25, 0.75]]
        """
        check_columns(self.labels, path)
        check_characters("".join([*self.ids, *self.labels]), path)
        place = Path(at_home(path))
        if place.suffix.lower() != ".csv":
            raise InputError(f"{place}: expected a name that ends in .csv")
        rows = ([defused(name), *self.cells(label, row)] for name, label, row in self)
        write_whole(place, csv_text([["id", *self.columns], *rows]))


def _some(ids: Sequence[str]) -> str:
    return listed([repr(i) for i in ids])
