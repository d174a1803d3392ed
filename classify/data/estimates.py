"""Predictions of numbers: ids and one column for each dimension, on the scale of its ratings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NoReturn

import numpy as np

from affekt.notebook import frame

from ...cache.errors import InputError
from .pred_csv import PREFIX, predictions_of_frame
from .predictions import Predictions

LARGEST = 1e30  # sums of fourth powers stay finite


class Estimates(Predictions):
    """Numbers predicted for clips, one column for each dimension.

    They are joined by id and by name of the dimension as `Predictions` are.

    Parameters
    ----------
    ids
        Unique ids of the clips.
    labels
        Names of the dimensions, in task order.
    values
        Numbers, `(clips, dimensions)` float64, on the scale of the ratings.
    source
        Where they come from, for messages.

    Raises
    ------
    InputError
        A number that is not finite or beyond 1e30, or an id that comes twice.

    Examples
    --------
    >>> found = Estimates(["a", "b"], ["arousal", "valence"], [[1.5, 4.0], [3.0, 2.5]])
    >>> found.select(["b"]).values.tolist()
    [[3.0, 2.5]]
    >>> found.columns
    ['predicted_arousal', 'predicted_valence']
    """

    def _checked(self, values: np.ndarray) -> np.ndarray:
        wrong = np.flatnonzero(~(np.abs(values) <= LARGEST).all(axis=1))
        if len(wrong):
            raise InputError(
                f"{self.source}: {len(wrong)} clips have a number that is not finite or beyond "
                f"{LARGEST:g} (first: {self.ids[wrong[0]]!r}); expected a number for "
                f"{', '.join(self.labels)} in each"
            )
        return values

    @property
    def values(self) -> np.ndarray:
        """The numbers, `(clips, dimensions)`."""
        return self.proba

    @property
    def codes(self) -> np.ndarray:
        """Raise: a number has no class."""
        self._refuse()

    @property
    def label(self) -> list[str]:
        """Raise: a number has no class."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(
            f"{self.source}: numbers for {', '.join(self.labels)}, which are not labels; expected "
            "class probabilities"
        )

    def __iter__(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield id, a blank label and the numbers of each clip."""
        return ((name, "", row) for name, row in zip(self.ids, self.values, strict=True))

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a file, after id."""
        return [PREFIX + name for name in self.labels]

    def cells(self, label: str, row: np.ndarray) -> list[str]:
        """Return a row as these columns have it; digits read back equal."""
        return [repr(value) for value in row.tolist()]

    def __repr__(self) -> str:
        return f"<Estimates of {len(self)} clips for {', '.join(self.labels)}>"

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        labels: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> Estimates:
        """Read a `pred.csv` with the columns id and ``predicted_DIMENSION`` (or ``DIMENSION``).

        Raises
        ------
        InputError
            Not such a table; the message names file, line and what was expected.
        """
        names = {PREFIX + name: name for name in labels or ()} | dict(rename or {})
        found: Any = super().read(path, labels, names)
        return found if labels else found._without_prefix()

    def _without_prefix(self) -> Any:
        return self.renamed({name: name.removeprefix(PREFIX) for name in self.labels})

    @classmethod
    def from_frame(
        cls, frame: Any, labels: Sequence[str] | None = None, *, source: str = "<frame>"
    ) -> Any:
        """Read a pandas DataFrame that has the columns of a `pred.csv`; parameters as of `read`."""
        found = predictions_of_frame(cls, frame, None, source)._without_prefix()
        return found.reorder(labels) if labels else found

    def to_frame(self) -> Any:
        """Return a pandas DataFrame: id, and one column ``predicted_DIMENSION`` per dimension.

        `from_frame` reads it back.

        Raises
        ------
        InputError
            pandas is not installed.
        """
        return frame({"id": self.ids, **dict(zip(self.columns, self.values.T, strict=True))})

    @classmethod
    def one_hot(
        cls, ids: Iterable[str], labels: Sequence[str], chosen: Iterable[str], *, source: str = ""
    ) -> NoReturn:
        """Raise: a number is not a label."""
        raise InputError(
            f"{source}: labels only; expected the columns id and {PREFIX}DIMENSION, as arousal"
        )

    def _agree(self, chosen: Sequence[str]) -> NoReturn:
        raise InputError(
            f"{self.source}: a column label with numbers; expected id and one column for each of "
            f"{', '.join(self.labels)}"
        )

    @staticmethod
    def _undo_rounding(columns: Any, proba: np.ndarray) -> None:
        """Leave numbers as they are written."""
