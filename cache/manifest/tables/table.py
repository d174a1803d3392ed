"""Tables from files, rows and frames: columns of text, with the line each row came from.

Everything is text as it was written; only None and NaN of a DataFrame or of Parquet
are blank. A million rows are read in pieces, and repeated values share their memory.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, check_characters, listed, nearest, shaped
from ...files.atomic_writes import written
from ..paths import MAKERS
from .cells import FloatText, is_frame, text_of
from .json_tables import json_line_rows, json_rows
from .parquet_and_excel import parquet_columns, xlsx_columns
from .separated import read_separated
from .sources import Source, opened

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
WRITTEN = (".csv", ".tsv", ".jsonl")
PIECE = 500  # rows held as rows before they become columns; few, so that they stay in cache
MANY = 10_000  # a column with more distinct values than this is not worth sharing


@dataclass(frozen=True)
class Table:
    """Columns of text, and where they came from.

    Attributes
    ----------
    nameless
        Columns that have no name in the file (an index that was written along).
    typed
        Whether the cells had types: then a number with a point is a `FloatText`.
    notes
        What was not read, such as further sheets of a workbook.
    decimal_commas
        Whether semicolons part the cells, as where numbers have decimal commas.
    given
        Our name -> the column that was read under it, of `renamed`.
    """

    source: str
    columns: dict[str, list[str]]
    lines: np.ndarray
    rows_are_lines: bool = True
    nameless: tuple[str, ...] = ()
    typed: bool = False
    notes: tuple[str, ...] = ()
    decimal_commas: bool = False
    given: Mapping[str, tuple[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def read_of(self) -> str:
        """What was read of it and what was not, for messages."""
        return f" ({'; '.join(self.notes)})" if self.notes else ""

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield each row as name -> cell."""
        for cells in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, cells, strict=True))

    def place(self, row: int) -> str:
        """Return the place of a row, for messages."""
        return f"{self.source} {'line' if self.rows_are_lines else 'row'} {self.lines[row]}"

    def floats(self, name: str) -> int | None:
        """Return the first row in which a column held a number with a point, or None."""
        values = self.columns[name] if self.typed else ()
        return next((i for i, value in enumerate(values) if type(value) is FloatText), None)

    def renamed(self, columns: Mapping[str, str]) -> Table:
        """Return the table with some of its columns under our names.

        Parameters
        ----------
        columns : mapping of str to str
            Our name -> the name in the table; one column may have several of ours.

        Raises
        ------
        InputError
            The table has no such column, or another one of our name.
        """
        for ours, name in columns.items():
            if not isinstance(name, str):
                raise InputError(f"{ours} is read from {name!r}; expected the name of a column")
        named = {unicodedata.normalize("NFC", name.strip()): name for name in self.columns}
        theirs = {ours: unicodedata.normalize("NFC", name) for ours, name in columns.items()}
        for ours, name in theirs.items():
            if name not in named:
                raise InputError(
                    f"{self.source} has no column {name!r} to read as {ours}; it has "
                    f"{listed(list(named), 12)}.{nearest(name, named)}"
                )
            if ours in named and ours not in (name, *theirs.values()):
                raise InputError(
                    f"{self.source} has a column {ours} already; to read {name!r} in its place, "
                    f"read {ours} under another name, such as other_{ours}"
                )
        read = {ours: named[name] for ours, name in theirs.items()}
        chosen = {ours: self.columns[name] for ours, name in read.items()}
        others = {k: values for k, values in self.columns.items() if k not in read.values()}
        given = {ours: (name,) for ours, name in read.items()}
        return replace(self, columns=chosen | others, given=given)

    def plain(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return values as text of the plain type; whole numbers without a point, as in a CSV file.

        pandas gives whole numbers one where a cell of their column is blank.
        """
        if not self.typed:
            return values
        whole = all(value.endswith(".0") for value in values if type(value) is FloatText)
        return [
            value.removesuffix(".0") if whole and type(value) is FloatText else str.__str__(value)
            for value in values
        ]


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a table; the extension says how, or the content of a pipe (``-`` is stdin)."""
    with opened(path, SUFFIXES, encoding) as source:
        try:
            return _READERS[source.kind](source)
        except UnicodeDecodeError:
            raise InputError(source.bad_bytes()) from None


def table_of_rows(rows: Iterable[Mapping[str, Any]], source: str) -> Table:
    """Return a table of dictionaries; a missing name is blank."""
    rows = list(rows)
    if wrong := [row for row in rows if not isinstance(row, Mapping)]:
        raise InputError(
            f"{source}: a row is of type {type(wrong[0]).__name__}, expected a dictionary for "
            f"each clip; {MAKERS}"
        )
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    columns = {name: [text_of(row.get(name)) for row in rows] for name in names}
    _check_text(columns, source)
    lines = np.arange(1, len(rows) + 1)
    return Table(source, columns, lines, rows_are_lines=False, typed=True)


def table_of_frame(frame: Any, source: str) -> Table:
    """Return the table of a pandas DataFrame, with the levels of its index that have a name."""
    if not is_frame(frame):
        raise InputError(
            f"{source} is of type {type(frame).__name__}, expected a pandas DataFrame; {MAKERS}"
        )
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{source}: column {', '.join(twice)} appears twice; rename one")
    given = {name: frame.iloc[:, i] for i, name in enumerate(names)}
    index: Any = frame.index
    for level in index.names:
        if level is not None and str(level) not in given:
            given = {str(level): index.get_level_values(level).to_series(), **given}
    columns = {
        name: [text_of(value) for value in values.array]  # float32 keeps its type
        for name, values in given.items()
    }
    _check_text(columns, source)
    lines = np.arange(1, len(frame) + 1)
    return Table(source, columns, lines, rows_are_lines=False, typed=True)


def _check_text(columns: Mapping[str, Sequence[str]], source: str) -> None:
    """Refuse half characters, except where a later check costs one clip and not the table.

    The name of a file may hold any bytes, which Python reads as such characters; ids and texts
    have checks of their own.
    """
    for name, values in columns.items():
        if name not in ("path", "id", "text"):
            check_characters("".join([name, *values]), f"{source}, column {name}")


def write_table(path: Path, columns: Mapping[str, Sequence[str]]) -> Path:
    """Write columns as ``.csv``, ``.tsv`` or ``.jsonl``: the file is whole, or not there."""
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise InputError(f"{path}: expected a name that ends in {', '.join(WRITTEN)}")
    rows = zip(*columns.values(), strict=True)
    with (
        shaped(path, "names and texts in UTF-8"),
        written(path) as draft,
        draft.open("w", encoding="utf-8", newline="") as stream,
    ):
        if suffix == ".jsonl":
            for row in rows:
                line = dict(zip(columns, row, strict=True))
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        else:
            tabs = suffix == ".tsv"
            # a header quoted throughout says that every mark in the table means something
            breaks = _breaks(list(columns), tabs) or any(
                _breaks(values, tabs) for values in columns.values()
            )
            quoting = csv.QUOTE_ALL if breaks else csv.QUOTE_MINIMAL
            delimiter = "\t" if tabs else ","
            writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    return path


def _breaks(values: Sequence[str], tabs: bool) -> bool:
    """Whether a text holds what would end a line, or a field of a TSV."""
    ends = "\n\r\t" if tabs else "\n\r"
    return any(end in value for value in values for end in ends)


def _gather(
    source: str, names: list[str], rows: Iterator[tuple[int, list[str]]], **more: Any
) -> Table:
    """Turn rows into columns piece by piece, so that a million rows are never held as rows.

    `names` may grow while the rows are read: a new column is blank in the rows before.
    """
    columns: dict[str, list[str]] = {}
    shared: dict[str, dict[str, str] | None] = {}
    lines: list[np.ndarray] = []
    count = 0
    while piece := list(islice(rows, PIECE)):
        lines.append(np.array([line for line, _ in piece]))
        if len(columns) < len(names):
            for name in names[len(columns) :]:
                columns[name], shared[name] = [""] * count, {}
            piece = [(line, row + [""] * (len(names) - len(row))) for line, row in piece]
        count += len(piece)
        for name, values in zip(names, zip(*(row for _, row in piece), strict=True), strict=True):
            seen = shared[name]
            if seen is not None:
                values = [seen.setdefault(value, value) for value in values]
                if len(seen) > MANY:
                    shared[name] = None
            columns[name].extend(values)
    at = np.concatenate(lines) if lines else np.array([], dtype=int)
    return Table(source, columns or {name: [] for name in names}, at, **more)


def _separated(source: Source) -> Table:
    return read_separated(source.text, source.name, partial(_gather, source.name))


def _json(rows: Callable, source: Source, **more: Any) -> Table:
    names: list[str] = []
    return _gather(source.name, names, rows(source.text(), source.name, names), typed=True, **more)


def _typed(columns: Callable, source: Source) -> Table:
    notes: list[str] = []
    found = columns(source, notes)
    count = len(next(iter(found.values()), ()))
    lines = np.arange(1, count + 1)
    return Table(source.name, found, lines, rows_are_lines=False, typed=True, notes=tuple(notes))


_READERS: dict[str, Callable[[Source], Table]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": partial(_json, json_line_rows),
    ".json": partial(_json, json_rows, rows_are_lines=False),
    ".parquet": partial(_typed, parquet_columns),
    ".xlsx": partial(_typed, xlsx_columns),
}
