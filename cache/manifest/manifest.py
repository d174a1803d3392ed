"""A manifest: a table of clips.

`Manifest.read` takes CSV, TSV, JSONL, JSON, Parquet or Excel, `Manifest.from_frame` a pandas
DataFrame, and `Manifest.from_rows` anything with names and values. Ids are exact text, paths are
absolute or relative to the manifest, and "nan" and "NA" stay the text they are. All checks that
need no file are made here, so that a wrong table is refused before any work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from affekt.notebook import frame, shown

from ..errors import InputError, nearest
from .checks import check_content, check_ids, doubtful_cells
from .columns import COLUMNS, NORMAL, TIMES, Clip, named, normal, objects
from .paths import MAKERS, Folder, folder_of, path_of
from .selection import allowed_values, one_for_each, positions, sliced
from .speakers import merged
from .tables import Table, read_table, table_of_frame, table_of_rows, write_table
from .tables.rows_of_objects import rows_of_audformat, rows_of_datasets
from .tables.sources import is_regular
from .times import time_text


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
        folder: Folder | None = None,
        source: str = "",
        lines: Any = (),
        rows_are_lines: bool = False,
        taken: Mapping[str, tuple[str, ...]] | None = None,
        notes: Sequence[str] = (),
    ):
        if folder is None:
            raise InputError(f"Manifest(...) reads nothing; {MAKERS}")
        self._columns = dict(columns)
        self._folder = folder
        self._lines = lines
        self._rows_are_lines = rows_are_lines
        self.source = source
        #: our name -> the columns of the table it was read from; none where it was made
        self.taken = dict(taken or {})
        #: what a reader of the table should know: columns not used, speakers spelt in two ways
        self.notes = tuple(notes)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        root: str | os.PathLike | None = None,
        *,
        allow_outside: bool | None = None,
        dedupe: bool = False,
        labels_only: bool = False,
        encoding: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Read a manifest from a file.

        Parameters
        ----------
        path : path
            A ``.csv``, ``.tsv``, ``.jsonl``, ``.json``, ``.parquet`` or ``.xlsx`` file, perhaps as
            ``.gz``; a pipe, or ``-`` for stdin. Text is UTF-8, with a header; a CSV is separated by
            commas, semicolons, tabs or bars.
        root : path, optional
            Folder that the paths are relative to and must stay in, for tables from elsewhere.
            Without it they are relative to the table's folder, and may lead anywhere.
        allow_outside : bool, optional
            Let paths leave a `root` that is given. Devices and pipes are never read.
        dedupe : bool
            Keep the first of rows that are equal in every column, instead of refusing them.
        labels_only : bool
            The table is read for its labels: it need not have paths or texts.
        encoding : str, optional
            Of a text that is not UTF-8, such as ``"cp1252"``.
        columns : mapping of str to str, optional
            Our name -> the column of the table, where it is not recognised.

        Raises
        ------
        InputError
            Anything wrong with the table, with the file, the line, and what was expected.
        """
        table = read_table(path := path_of(path), encoding).renamed(columns or {})
        folder = folder_of(path.parent if is_regular(path) else Path(), root, allow_outside)
        return _made(table, folder, dedupe=dedupe, labels_only=labels_only)

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any] | Clip],
        root: str | os.PathLike | None = None,
        source: str = "<rows>",
        *,
        allow_outside: bool | None = None,
    ) -> Manifest:
        """Make a manifest from dictionaries or clips; without `root` paths are relative to here."""
        plain = (
            {name: getattr(row, name) for name in COLUMNS} if isinstance(row, Clip) else row
            for row in rows
        )
        return _made(table_of_rows(plain, source), folder_of(Path(), root, allow_outside))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        root: str | os.PathLike | None = None,
        *,
        source: str = "<frame>",
        allow_outside: bool | None = None,
    ) -> Manifest:
        """Make a manifest from a pandas DataFrame; None and NaN are blank."""
        return _made(table_of_frame(frame, source), folder_of(Path(), root, allow_outside))

    @classmethod
    def from_datasets(cls, dataset: Any, folder: str | os.PathLike, **options: Any) -> Manifest:
        """Make a manifest of a `datasets.Dataset`; see `affekt.cache.manifest.from_datasets`."""
        folder = path_of(folder)
        rows = rows_of_datasets(dataset, folder, **options)
        return cls.from_rows(rows, folder, source="<datasets>")

    @classmethod
    def from_audformat(cls, table: Any, root: str | os.PathLike, **options: Any) -> Manifest:
        """Make a manifest of an audformat table; see `affekt.cache.manifest.from_audformat`."""
        rows = rows_of_audformat(table, options.pop("columns", None))
        return cls.from_rows(rows, root, source="<audformat>", **options)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Clip]:
        return map(self.clip, range(len(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    @overload
    def __getitem__(self, name: str) -> np.ndarray: ...
    @overload
    def __getitem__(self, name: slice | np.ndarray | Sequence[bool]) -> Manifest: ...
    def __getitem__(self, name: str | slice | np.ndarray | Sequence[bool]) -> np.ndarray | Manifest:
        """Return a column (str; start and end float64, NaN for blank), or clips (slice, mask)."""
        if not isinstance(name, str):
            return self._take(sliced(name, self.ids))
        if name in self._columns:
            return self._columns[name]
        if name in TIMES:
            return np.broadcast_to(np.array(np.nan), len(self))  # at once, however many clips
        if name in COLUMNS:
            return np.broadcast_to(np.array("", dtype=object), len(self))
        known = [one for one in (*self.columns, *COLUMNS) if one not in TIMES]
        raise InputError(
            f"{self.source} has no column {name!r}; it has {', '.join(self.columns)}."
            + nearest(name, known)
        )

    def column(self, name: str) -> np.ndarray:
        """Return a column that the table must have, or say which it has.

        Raises
        ------
        InputError
            The table has no such column, whatever the clips are for.
        """
        if name not in self._columns:
            raise InputError(
                f"{self.source} has no column {name}; it has {', '.join(self.columns)}."
                f"{nearest(name, self.columns)} Rename the column that holds the {name}"
            )
        return self._columns[name]

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
            The clip has no path, or a link leaves the root.
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
        return f"{self.source} {self.spot(position)}"

    def spot(self, position: int) -> str:
        """Return the place of a clip in what it was read from: ``line 7``, ``row 7`` of a frame."""
        return f"{'line' if self._rows_are_lines else 'row'} {self.line(position)}"

    def select(self, which: Sequence[str] | Sequence[int] | np.ndarray) -> Manifest:
        """Return the clips with these ids, at these positions, or where a mask is true.

        The order is kept as given, and a clip may be asked for more than once.
        """
        return self._take(positions(which, self.ids, self._position, self.source))

    def where(self, **conditions: Any) -> Manifest:
        """Return the clips whose columns have a value, or one of several; None is blank."""
        mask = np.ones(len(self), dtype=bool)
        for name, wanted in conditions.items():
            allowed = allowed_values(name, wanted)
            mask &= np.fromiter((value in allowed for value in self[name]), bool, len(self))
        return self._take(np.flatnonzero(mask))

    def with_columns(self, **columns: Any) -> Manifest:
        """Return a manifest with columns added or replaced; None and NaN are blank.

        A column has a value for each clip, in order or by id (mapping, Series), or is one text.
        """
        new = dict(self._columns)
        for name, values in columns.items():
            if name in ("id", "path", *TIMES):
                raise InputError(f"column {name} identifies the clips and cannot be replaced")
            texts = one_for_each(name, values, self.ids)
            new[name] = objects(normal(texts) if name in NORMAL else texts)
        return self._like(new, self._lines)

    def merge_speakers(self) -> Manifest:
        """Return a manifest in which speakers that differ in spelling only have one name.

        Case, blanks, hyphens, leading zeros and Unicode form do not count; the most frequent name
        is kept.

        Examples
        --------
        >>> rows = [{"id": str(i), "text": "t"} for i in range(3)]
        >>> clips = Manifest.from_rows(rows).with_columns(speaker=["s1", "S01", "s1"])
        >>> list(clips.merge_speakers()["speaker"])
        ['s1', 's1', 's1']
        """
        datasets = self["dataset"].tolist() if "dataset" in self else ()
        return self.with_columns(speaker=merged(self["speaker"].tolist(), datasets))

    @cached_property
    def hash(self) -> str:
        """Sha256 (hex) of the clips' content in order; other columns and the file do not count."""
        state = hashlib.sha256()
        for row in zip(*(self[name].tolist() for name in COLUMNS), strict=True):
            text = json.dumps([None if value != value else value for value in row])
            state.update(text.encode() + b"\n")
        return state.hexdigest()

    def moved(self, folder: str | os.PathLike) -> Manifest:
        """Return the clips with their paths as a table in `folder` has to write them."""
        if "path" not in self or os.path.realpath(self.root) == os.path.realpath(folder):
            return self
        paths = {written: self._folder.seen_from(folder, written) for written in set(self["path"])}
        moved = objects([paths[written] for written in self["path"]])
        return self._like({**self._columns, "path": moved}, self._lines)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with the columns of the table; `from_frame` reads it back.

        Raises
        ------
        InputError
            pandas is not installed.
        """
        return frame(self._columns)

    def write(self, path: str | os.PathLike) -> Path:
        """Write the table as ``.csv``, ``.tsv`` or ``.jsonl``; paths stay as they are written."""
        columns = {
            name: [time_text(time) for time in values] if name in TIMES else values.tolist()
            for name, values in self._columns.items()
        }
        return write_table(path_of(path), columns)

    def __repr__(self) -> str:
        return f"Manifest({self.source}, {len(self)} clips, {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        title = f"Manifest {self.source}: {len(self):,} clips"
        rows = zip(*(values[:10] for values in self._columns.values()), strict=True)
        return shown(title, {}, self.columns, rows, len(self))

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
            taken=self.taken,
            notes=self.notes,
        )


def check_manifest(clips: Any, name: str = "clips") -> None:
    """Raise unless `clips` is a manifest."""
    if not isinstance(clips, Manifest):
        raise InputError(f"{name} is of type {type(clips).__name__}, expected a Manifest; {MAKERS}")


def _made(
    table: Table, folder: Folder, *, dedupe: bool = False, labels_only: bool = False
) -> Manifest:
    """Return the manifest of a table, or say what is wrong with it."""
    if not len(table):
        raise InputError(
            f"{table.source} has 0 rows: expected at least one clip under the header{table.read_of}"
        )
    found = named(table, labels_only=labels_only)
    columns = found.columns
    for name in table.nameless:  # an index that was written along, or separators at the end
        if name in columns and not any(columns[name]):
            del columns[name]
    kept = check_ids(table, found, dedupe=dedupe)
    if not labels_only:
        check_content(table, columns, folder)
    clips = Manifest(
        {
            name: np.asarray(values) if name in TIMES else objects(values)
            for name, values in columns.items()
        },
        folder=folder,
        source=table.source,
        lines=table.lines,
        rows_are_lines=table.rows_are_lines,
        taken={**found.taken, **table.given},
        notes=(*found.notes, *doubtful_cells(columns)),
    )
    return clips if kept is None else clips._take(kept)
