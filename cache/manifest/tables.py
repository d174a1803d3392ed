"""Tables from files and frames: columns of text, with the line each row came from.

Knows nothing of clips. Everything is text as it was written; only None and NaN of a DataFrame or of
Parquet are blank. A million rows are read in pieces, and repeated values share their memory.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, nearest

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
PIECE = 500  # rows held as rows before they become columns; few, so that they stay in cache
MANY = 10_000  # a column with more distinct values than this is not worth sharing


@dataclass(frozen=True)
class Table:
    """Columns of text, and where they came from."""

    source: str
    columns: dict[str, list[str]]
    lines: np.ndarray
    rows_are_lines: bool = True

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Return where a row stands, for messages."""
        return f"{self.source} {'line' if self.rows_are_lines else 'row'} {self.lines[row]}"


def read_table(path: Path) -> Table:
    """Read a table; the suffix says how.

    Raises
    ------
    InputError
        The file is missing, unreadable, not UTF-8, or not a table.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a table: {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = _json_rows(stream, path) if suffix == ".jsonl" else _csv_rows(stream, path)
            names = next(rows, (0, []))[1]
            return _gather(str(path), names, rows)
    except UnicodeDecodeError:
        raise InputError(_bad_bytes(path)) from None
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.{_beside(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a table ({', '.join(SUFFIXES)})") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None


def table_of_rows(rows: Iterable[Mapping[str, Any]], source: str) -> Table:
    """Return the table of dictionaries; a name that a row lacks is blank."""
    rows = list(rows)
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    columns = {
        name: [
            _text(row.get(name), lambda i=i: f"{source} row {i + 1}", name)
            for i, row in enumerate(rows)
        ]
        for name in names
    }
    return Table(source, columns, np.arange(1, len(rows) + 1), rows_are_lines=False)


def table_of_frame(frame: Any, source: str) -> Table:
    """Return the table of a pandas DataFrame, without its index."""
    columns = {
        str(name): [
            _text(value, lambda i=i: f"{source} row {i + 1}", str(name))
            for i, value in enumerate(frame[name].astype(object).tolist())
        ]
        for name in frame.columns
    }
    return Table(source, columns, np.arange(1, len(frame) + 1), rows_are_lines=False)


def write_table(path: Path, columns: Mapping[str, Sequence[str]]) -> Path:
    """Write columns as ``.csv``, ``.tsv`` or ``.jsonl``: beside the target, then in its place."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES[:3]:
        raise InputError(f"{path}: expected a name that ends in {', '.join(SUFFIXES[:3])}")
    rows = zip(*columns.values(), strict=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8", newline="") as stream:
            if suffix == ".jsonl":
                for row in rows:
                    line = dict(zip(columns, row, strict=True))
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            else:
                writer = csv.writer(
                    stream, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n"
                )
                writer.writerow(columns)
                writer.writerows(rows)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _gather(source: str, names: list[str], rows: Iterator[tuple[int, list[str]]]) -> Table:
    """Turn rows into columns piece by piece, so that a million rows never stand as rows."""
    columns: dict[str, list[str]] = {name: [] for name in names}
    shared: dict[str, dict[str, str] | None] = {name: {} for name in names}
    lines: list[np.ndarray] = []
    while piece := list(islice(rows, PIECE)):
        lines.append(np.array([line for line, _ in piece]))
        for name, values in zip(names, zip(*(row for _, row in piece), strict=True), strict=True):
            seen = shared[name]
            if seen is not None:
                values = [seen.setdefault(value, value) for value in values]
                if len(seen) > MANY:
                    shared[name] = None
            columns[name].extend(values)
    return Table(source, columns, np.concatenate(lines) if lines else np.array([], dtype=int))


def _csv_rows(stream: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the header, then each row with its line; every row has as many fields as the header."""
    header = stream.readline()
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    stream.seek(0)
    csv.field_size_limit(1 << 27)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    line = 1
    try:
        names = next(reader, None)
        if not names:
            raise InputError(f"{path} has 0 rows: expected a header and at least one clip")
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise InputError(f"{path} line 1: column {', '.join(twice)} stands twice")
        names[0] = names[0].removeprefix("\ufeff")  # seek(0) brings the mark back
        yield 1, names
        line = reader.line_num + 1
        for row in reader:
            if len(row) == len(names):
                yield line, row
            elif row:
                raise InputError(
                    f"{path} line {line}: {len(row)} fields, expected {len(names)} as in the header"
                    f" (separated by {delimiter!r}); quote a text that holds the separator"
                )
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path} line {line}: {error}; is a quotation mark left open?") from None


def _json_rows(stream: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of the first object, then the values of each object in that order."""
    names: list[str] = []
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} line {line}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path} line {line}: expected an object with names and values")
        if not names:
            names = list(row)
            yield 0, names
        extra = row.keys() - set(names)
        if extra:
            name = min(extra)
            raise InputError(
                f"{path} line {line}: name {name!r} is not in the first line"
                f" ({', '.join(names)}).{nearest(name, names)}"
            )
        place = f"{path} line {line}"
        yield line, [_text(row.get(name), lambda place=place: place, name) for name in names]


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(
            f"{path}: reading Parquet needs pyarrow: pip install 'affekt[table]'"
        ) from None
    with path.open("rb") as stream:
        try:
            table = parquet.read_table(stream)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a Parquet table: {error}") from None
    columns: dict[str, list[str]] = {}
    for name in table.column_names:
        seen: dict[str, str] = {}
        values = []
        for chunk in table[name].chunks:
            for value in chunk.to_pylist():
                place = len(values) + 1
                text = _text(value, lambda place=place: f"{path} row {place}", name)
                values.append(seen.setdefault(text, text) if len(seen) < MANY else text)
        columns[name] = values
    return Table(str(path), columns, np.arange(1, table.num_rows + 1), rows_are_lines=False)


def _text(value: Any, place: Any, name: str) -> str:
    """Return a value as exact text; nothing is blank, and a float is never an id."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        value = bool(value)
    elif isinstance(value, (int, np.integer)):
        return str(int(value))
    elif isinstance(value, (float, np.floating)):
        if name.strip().casefold() == "id":
            raise InputError(f"{place()}: id is the number {value!r}, expected text")
        return repr(float(value))
    elif type(value).__name__ in ("NaTType", "NAType"):  # pandas' blanks, without importing pandas
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return str(value)


def _bad_bytes(path: Path) -> str:
    with path.open("rb") as stream:
        for line, data in enumerate(stream, start=1):
            try:
                data.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"{path} line {line}: byte {data[error.start]:#04x} at column {error.start + 1}"
                    " is not UTF-8; save the table as UTF-8"
                )
    return f"{path}: not UTF-8; save the table as UTF-8"


def _beside(path: Path) -> str:
    try:
        return nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
