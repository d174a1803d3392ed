"""Tables of JSON: one object a line, a list of objects, or objects under their ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from ...errors import InputError, check_characters, listed, nearest
from ...files.reading import parse_json
from .cells import text_of


def json_line_rows(stream: TextIO, source: str, names: list[str]) -> Iterator[tuple[int, list]]:
    """Yield the values of the object in each line, in the order of `names`, which grows."""

    def objects() -> Iterator[tuple[int, Any]]:
        for line, text in enumerate(stream, start=1):
            if text.strip():
                try:
                    yield line, parse_json(text, parse_constant=float)
                except ValueError as error:
                    raise InputError(
                        f"{source} line {line}: not JSON: {_short(error)}; expected an object in "
                        "each line, without commas between them; JSON in one piece is .json"
                    ) from None

    return _rows(objects(), source, names, "line")


def json_rows(stream: TextIO, source: str, names: list[str]) -> Iterator[tuple[int, list]]:
    """Yield the values of each object of a JSON file: a list, or a mapping of id to object."""
    try:
        value = parse_json(stream.read(), parse_constant=float)
    except ValueError as error:
        raise InputError(
            f"{source}: not JSON: {_short(error)}; is it one object a line (.jsonl)?"
        ) from None
    value = _objects(value)
    if not isinstance(value, list):
        raise InputError(
            f"{source}: expected a list of objects, objects under their ids, or a list of values"
            " for each column"
        )
    return _rows(enumerate(value, start=1), source, names, "row")


def _objects(value: Any) -> Any:
    """Return the list of objects of the forms in which tables are written as one piece of JSON."""
    if not isinstance(value, Mapping) or not value:
        return value
    lists = {name: inner for name, inner in value.items() if isinstance(inner, list)}
    tables = {name: rows for name, rows in lists.items() if rows and _all(rows, dict)}
    if {"columns", "data"} <= lists.keys() and _all(lists["data"], list):  # pandas, "split"
        header = [text_of(name) for name in lists["columns"]]
        return [dict(zip(header, row, strict=False)) for row in lists["data"]]
    rows = tables.get("rows", [])
    if rows and all({"row_idx", "row"} <= row.keys() for row in rows):  # the viewer of the Hub
        return [row["row"] for row in rows]
    if len(tables) == 1:  # {"data": [...]}, whatever is next to it
        return next(iter(tables.values()))
    if len(tables) > 1 and len(tables) == len(value):  # {"train": [...], "test": [...]}
        return [{"split": name, **row} for name, rows in tables.items() for row in rows]
    if len(lists) == len(value) and len({len(rows) for rows in lists.values()}) == 1:
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    if _all(value.values(), dict):
        numbered = [key for column in value.values() for key in column]
        if numbered and all(key.isdecimal() for key in numbered):  # pandas' own form: by columns
            rows = dict.fromkeys(numbered)
            return [{name: column.get(key) for name, column in value.items()} for key in rows]
        name = "path" if _all_files(value) else "id"
        return [{name: key, **row} for key, row in value.items()]
    return value


def _all_files(rows: Mapping[str, dict]) -> bool:
    """Whether the keys of the objects are names of files, which the objects do not repeat."""
    ending = re.compile(r".*\.[A-Za-z]\w{1,4}", re.DOTALL)
    first = next(iter(rows.values()))
    texts = [value for value in first.values() if isinstance(value, str)]
    return all(map(ending.fullmatch, rows)) and not any(map(ending.fullmatch, texts))


def _all(values: Any, kind: type) -> bool:
    return all(isinstance(value, kind) for value in values)


def _rows(
    objects: Iterable[tuple[int, Any]], source: str, names: list[str], unit: str
) -> Iterator[tuple[int, list]]:
    known: set[str] = set()
    for number, row in objects:
        place = f"{source} {unit} {number}"
        if not isinstance(row, dict):
            raise InputError(f"{place}: expected an object with names and values")
        if not row.keys() <= known:
            for name in row:
                if name not in known:
                    if known:
                        _check_new(name, [n for n in names if n not in row], place)
                    names.append(name)
                    known.add(name)
        values = [text_of(row.get(name)) for name in names]
        check_characters("".join(v for v in [*row, *values] if isinstance(v, str)), place)
        yield number, values


def _check_new(name: str, absent: list[str], place: str) -> None:
    """Refuse a name that is new here and almost that of a column which this row leaves out."""
    digits = re.compile(r"\d")
    alike = [
        other
        for other in absent
        if abs(len(other) - len(name)) <= 1 and digits.sub("", other) != digits.sub("", name)
    ]
    if hint := nearest(name, alike):
        raise InputError(
            f"{place}: name {name!r} is not in the first line, and"
            f" {listed([repr(a) for a in absent])} not in this one.{hint}"
        )


def _short(error: Exception) -> str:
    return str(error).split(": line", maxsplit=1)[0]
