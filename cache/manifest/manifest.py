"""A manifest: a table of clips.

`Manifest.read` takes CSV, TSV, JSONL or Parquet, `Manifest.from_frame` a pandas DataFrame, and
`Manifest.from_rows` anything with names and values. Ids are exact text, paths are relative to the
manifest and confined to its root, and "nan" and "NA" stay the text they are. All checks that need
no file are made here, so that a wrong table is refused before any work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, listed, nearest
from .checks import check_content, check_ids
from .columns import COLUMNS, TIMES, named
from .paths import Folder
from .tables import Table, read_table, table_of_frame, table_of_rows, write_table

NO_TIME = -np.inf  # a time that is written but is none ("nan", "inf"): extract quarantines the clip


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: an audio file or a segment of one, a text, or both. Blank is ``""`` or None.

    Examples
    --------
    >>> Clip("a", path="a.wav", end=1.5).end
    1.5
    """

    id: str
    path: str = ""
    start: float | None = None
    end: float | None = None
    text: str = ""
    label: str = ""
    speaker: str = ""
    language: str = ""
    split: str = ""
    dataset: str = ""


class Manifest:
    """A table of clips, in order, with its columns by name.

    Made by `read`, `from_rows` or `from_frame`; never changed afterwards (`select`, `where` and
    `with_columns` return new ones that share the text).

    Examples
    --------
    >>> clips = Manifest.from_rows([
    ...     {"id": "01", "text": "good", "emotion": "joy"},
    ...     {"id": "1", "text": "NA", "emotion": "sad"},
    ... ])
    >>> len(clips), clips.ids, list(clips["label"]), clips.clip(1).text
    (2, ['01', '1'], ['joy', 'sad'], 'NA')
    >>> clips.where(label="joy").ids, clips.select(["1", "01"]).ids
    (['01'], ['1', '01'])
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        *,
        folder: Folder,
        source: str,
        lines: np.ndarray,
        rows_are_lines: bool,
    ):
        self._columns = dict(columns)
        self._folder = folder
        self._lines = lines
        self._rows_are_lines = rows_are_lines
        self.source = source

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        root: str | os.PathLike | None = None,
        *,
        allow_outside: bool = False,
        dedupe: bool = False,
    ) -> Manifest:
        """Read a manifest from a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.

        Parameters
        ----------
        path : path
            The table, in UTF-8, with a header. A CSV is separated by commas, semicolons or tabs.
        root : path, optional
            Folder that the paths are relative to and must stay in; default: the table's folder.
        allow_outside : bool
            Allow absolute paths, ``..`` and links that leave the root. Devices and pipes never are.
        dedupe : bool
            Keep the first of rows that are equal in every column, instead of refusing them.

        Raises
        ------
        InputError
            Anything wrong with the table, with the file, the line, and what was expected.
        """
        path = Path(path)
        table = read_table(path)
        root = path.parent if root is None else root
        return _checked(table, root, allow_outside=allow_outside, dedupe=dedupe)

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any] | Clip],
        root: str | os.PathLike = ".",
        source: str = "<rows>",
        *,
        allow_outside: bool = False,
    ) -> Manifest:
        """Make a manifest from dictionaries or clips."""
        plain = (
            {name: getattr(row, name) for name in COLUMNS} if isinstance(row, Clip) else row
            for row in rows
        )
        return _checked(table_of_rows(plain, source), root, allow_outside=allow_outside)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        root: str | os.PathLike = ".",
        *,
        source: str = "<frame>",
        allow_outside: bool = False,
    ) -> Manifest:
        """Make a manifest from a pandas DataFrame; None and NaN are blank."""
        return _checked(table_of_frame(frame, source), root, allow_outside=allow_outside)

    @classmethod
    def from_datasets(cls, dataset: Any, folder: str | os.PathLike, **options: Any) -> Manifest:
        """Make a manifest of a `datasets.Dataset`; see `objects.from_datasets`."""
        from .objects import from_datasets

        return from_datasets(dataset, folder, **options)

    @classmethod
    def from_audformat(cls, table: Any, root: str | os.PathLike, **options: Any) -> Manifest:
        """Make a manifest of an audformat table; see `objects.from_audformat`."""
        from .objects import from_audformat

        return from_audformat(table, root, **options)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Clip]:
        return map(self.clip, range(len(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column: objects of str, or float64 for start and end with NaN for blank."""
        if name in self._columns:
            return self._columns[name]
        if name in TIMES:
            return np.full(len(self), np.nan)
        if name in COLUMNS:
            return np.full(len(self), "", dtype=object)
        known = self.columns
        raise InputError(
            f"{self.source} has no column {name!r}; it has {', '.join(known)}."
            + nearest(name, (*known, *COLUMNS))
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the table has."""
        return tuple(self._columns)

    @property
    def root(self) -> Path:
        """Folder that the paths are relative to."""
        return self._folder.root

    @property
    def allow_outside(self) -> bool:
        """Whether paths may leave the root."""
        return self._folder.allow_outside

    @cached_property
    def ids(self) -> list[str]:
        """Ids in order."""
        return self._columns["id"].tolist()

    @cached_property
    def _position(self) -> dict[str, int]:
        return {id_: i for i, id_ in reversed(list(enumerate(self.ids)))}

    def clip(self, position: int) -> Clip:
        """Return one clip."""
        values: dict[str, Any] = {
            name: self._columns[name][position] for name in COLUMNS if name in self._columns
        }
        for name in TIMES:
            time = values.get(name)
            values[name] = None if time is None or np.isnan(time) else float(time)
        return Clip(**values)

    def file(self, position: int) -> Path:
        """Return the audio file of a clip; it need not be there.

        Raises
        ------
        InputError
            The clip has no path, a link leaves the root, or it is a device, a pipe or a folder.
        """
        written = self["path"][position]
        if not written:
            raise InputError(f"{self.place(position)}: clip {self.ids[position]!r} has no path")
        return self._folder.file(written, lambda: self.place(position))

    def line(self, position: int) -> int:
        """Return the line of a clip in the file it was read from (or its row, counted from 1)."""
        return int(self._lines[position])

    def place(self, position: int) -> str:
        """Return where a clip was read from, for messages: ``clips.csv line 7``."""
        unit = "line" if self._rows_are_lines else "row"
        return f"{self.source} {unit} {self.line(position)}"

    def select(self, which: Sequence[str] | Sequence[int] | np.ndarray) -> Manifest:
        """Return the clips with these ids, at these positions, or where a mask is true.

        The order is kept as given, and a clip may be asked for more than once.
        """
        return self._take(self._positions(which))

    def where(self, **conditions: Any) -> Manifest:
        """Return the clips whose columns have a value, or one of a collection of values."""
        mask = np.ones(len(self), dtype=bool)
        for name, wanted in conditions.items():
            many = isinstance(wanted, Collection) and not isinstance(wanted, str)
            allowed = set(wanted) if many else {wanted}
            mask &= np.fromiter((value in allowed for value in self[name]), bool, len(self))
        return self._take(np.flatnonzero(mask))

    def with_columns(self, **columns: Sequence[Any] | str) -> Manifest:
        """Return a manifest with columns added or replaced; one text stands for all rows."""
        new = dict(self._columns)
        for name, values in columns.items():
            if name in ("id", "path", *TIMES):
                raise InputError(f"column {name} says what a clip is and cannot be replaced")
            if isinstance(values, str):
                values = [values] * len(self)
            if len(values) != len(self):
                raise InputError(f"column {name} has {len(values)} values, expected {len(self)}")
            new[name] = _objects([str(value) for value in values])
        return self._like(new, self._lines)

    @cached_property
    def hash(self) -> str:
        """Sha256 (hex) of the clips' content in order; other columns and the file do not count."""
        state = hashlib.sha256()
        columns = [self[name].tolist() for name in COLUMNS]
        for row in zip(*columns, strict=True):
            text = json.dumps([None if value != value else value for value in row])
            state.update(text.encode() + b"\n")
        return state.hexdigest()

    def write(self, path: str | os.PathLike) -> Path:
        """Write the table as ``.csv``, ``.tsv`` or ``.jsonl``; paths stay as they are written."""
        columns = {
            name: [_time_text(time) for time in values] if name in TIMES else values.tolist()
            for name, values in self._columns.items()
        }
        return write_table(Path(path), columns)

    def __repr__(self) -> str:
        return f"Manifest({self.source}, {len(self)} clips, {', '.join(self.columns)})"

    def _positions(self, which: Any) -> np.ndarray:
        if isinstance(which, str):
            raise InputError(f"select takes a list of ids, not the text {which!r}")
        values = which if isinstance(which, np.ndarray) else list(which)
        if len(values) and isinstance(values[0], str):
            unknown = [id_ for id_ in values if id_ not in self._position]
            if unknown:
                raise InputError(
                    f"{self.source} has no clip {listed([repr(u) for u in unknown])}."
                    + nearest(unknown[0], self.ids[:10_000])
                )
            return np.array([self._position[id_] for id_ in values], dtype=np.intp)
        values = np.asarray(values)
        if values.dtype == bool:
            if len(values) != len(self):
                raise InputError(f"a mask of {len(values)} for {len(self)} clips")
            return np.flatnonzero(values)
        if values.size and values.dtype.kind not in "iu":
            raise InputError(f"select takes ids, positions or a mask, not {values.dtype}")
        if values.size and not (-len(self) <= values.min() and values.max() < len(self)):
            raise InputError(f"position {values.max()} is not among {len(self)} clips")
        return values.astype(np.intp)

    def _take(self, positions: np.ndarray) -> Manifest:
        taken = {name: values[positions] for name, values in self._columns.items()}
        return self._like(taken, self._lines[positions])

    def _like(self, columns: Mapping[str, np.ndarray], lines: np.ndarray) -> Manifest:
        return Manifest(
            columns,
            folder=self._folder,
            source=self.source,
            lines=lines,
            rows_are_lines=self._rows_are_lines,
        )


def _checked(
    table: Table, root: str | os.PathLike, *, allow_outside: bool, dedupe: bool = False
) -> Manifest:
    """Return the manifest of a table, or say what is wrong with it."""
    if not len(table):
        raise InputError(f"{table.source} has 0 rows: expected at least one clip under the header")
    columns = named(table)
    clips = Manifest(
        {
            name: _times(values, name, table) if name in TIMES else _objects(values)
            for name, values in columns.items()
        },
        folder=Folder(Path(root), allow_outside=allow_outside),
        source=table.source,
        lines=table.lines,
        rows_are_lines=table.rows_are_lines,
    )
    kept = check_ids(clips, columns, dedupe=dedupe)
    check_content(clips, allow_outside=allow_outside)
    return clips if kept is None else clips._take(kept)


def _times(values: Sequence[Any], name: str, table: Table) -> np.ndarray:
    times = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if value == "" or value is None:
            continue
        try:
            time = float(value)
        except ValueError:
            raise InputError(
                f"{table.place(i)}: {name} is {value!r}, expected seconds, such as 1.25, or blank"
            ) from None
        times[i] = time if np.isfinite(time) else NO_TIME
    return times


def _time_text(time: float) -> str:
    if np.isnan(time):
        return ""
    return "nan" if time == NO_TIME else repr(float(time))


def _objects(values: Sequence[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
