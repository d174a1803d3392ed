"""Tables whose cells have types: Parquet (also as Hugging Face writes it) and Excel."""

from __future__ import annotations

import re
import zipfile
from typing import Any

from ...errors import InputError, listed
from ...files.reading import parse_json
from .cells import text_of
from .sources import Source, most_unpacked, zip_size

#: a cell with a formula and without its value; one of ``t="str"`` holds a blank text
_FORMULA = re.compile(
    r'<c r="([A-Z]+\d+)"(?![^>]* t="str")[^>]*><f(?:[^>]*/>|[^>]*>[^<]*</f>)(?:<v ?/>|<v></v>)?</c>'
)
SHARED = 10_000  # a column with more distinct values than this is not worth sharing


def parquet_columns(source: Source, notes: list[str]) -> dict[str, list[str]]:
    """Return the columns of a Parquet file; class labels of `datasets` by their names.

    Columns of an index that was written along are named in `notes`.
    """
    table = parquet_table(source)
    names = class_names(table.schema)
    columns: dict[str, list[str]] = {}
    for name in table.column_names:
        if name.startswith("__index_level_") or name == "__null_dask_index__":
            notes.append(f"column {name} is the index of a data frame, and was left out")
            continue
        if holds_bytes(table.schema.field(name).type):
            raise InputError(
                f"{source.name}: column {name} holds audio, not paths; affekt manifest"
                f" {source.name} --audio-dir FOLDER -o clips.csv writes the audio to files"
            )
        seen: dict[str, str] = {}
        values = []
        for chunk in table[name].chunks:
            for value in chunk.to_pylist():
                text = text_of(labelled(value, names.get(name)))
                values.append(seen.setdefault(text, text) if len(seen) < SHARED else text)
        columns[name] = values
    return columns


def parquet_table(source: Source) -> Any:
    """Return the pyarrow table of a Parquet file."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(
            f"{source.name}: reading Parquet needs pyarrow: pip install 'affekt[table]'"
        ) from None
    size = source.size()
    try:
        rows = parquet.read_metadata(source.stream).num_rows
        source.stream.seek(0)
        if rows <= max(1_000_000, size):  # ids alone take more than a byte each
            return parquet.read_table(source.stream)
    except (OSError, ValueError) as error:
        raise InputError(f"{source.name}: not Parquet: {error}") from None
    raise InputError(f"{source.name}: claims {rows} rows in {size} bytes, which is impossible")


def holds_bytes(kind: Any) -> bool:
    """Whether a column's type is that of audio in `datasets`: ``{bytes, path}``, or plain bytes."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return types.is_binary(kind) or types.is_large_binary(kind)


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the class labels that `datasets` notes in a schema."""
    try:
        noted = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted.get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return {
        name: list(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    }


def labelled(value: Any, names: list[str] | None) -> Any:
    """Return the name of a class label; -1 means none."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def xlsx_columns(source: Source, notes: list[str]) -> dict[str, list[str]]:
    """Return the columns of the first sheet of an Excel workbook that is not empty.

    Other sheets are named in `notes`.
    """
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            f"{source.name}: reading Excel needs openpyxl: pip install 'affekt[xlsx]'"
        ) from None
    size = source.size()
    try:
        unpacked = zip_size(source.stream)
        book = openpyxl.load_workbook(source.stream, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{source.name}: not an Excel workbook: {error}") from None
    if unpacked > most_unpacked(size):  # before any sheet is read
        raise InputError(
            f"{source.name}: unpacks to {unpacked >> 20} MiB, which is too much for a workbook of "
            f"{size} bytes"
        )
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    title, part, rows = "", "", []
    for name, sheet in sheets.items():
        rows = [row for row in sheet.iter_rows(values_only=True) if any(_there(row))]
        if rows:
            title, part = name, sheet._worksheet_path  # pyright: ignore
            break
    book.close()
    if not rows:
        raise InputError(f"{source.name} has 0 rows: expected a header and at least one clip")
    if others := [name for name in sheets if name != title]:
        notes.append(f"read sheet {title}; not read: {listed(others)}")
    text = _part(source, part)
    if unknown := _FORMULA.findall(text):
        raise InputError(
            f"{source.name}: sheet {title}: cells {listed(unknown)} hold formulas that were never"
            " computed: open the workbook in Excel or LibreOffice, and save it"
        )
    if merged := _merged_rows(text):
        raise InputError(
            f"{source.name}: sheet {title}: cells {listed(merged)} are merged, and hold a value in"
            " the first row only: unmerge them and fill in each row"
        )
    header = [text_of(name).strip() for name in rows[0]]
    columns: dict[str, list[str]] = {}
    for i, name in enumerate(header):
        values = [row[i] if i < len(row) else None for row in rows[1:]]
        if not name and not any(_there(values)):
            continue
        name = name or f"column {i + 1}"
        if name in columns:
            raise InputError(f"{source.name} row 1: column {name} appears twice")
        columns[name] = [_clock(value) for value in values]
    return columns


def _part(source: Source, name: str) -> str:
    """Return a part of a workbook as it is written."""
    source.stream.seek(0)
    with zipfile.ZipFile(source.stream) as book:
        return book.read(name).decode("utf-8", "replace")


def _merged_rows(text: str) -> list[str]:
    """Return the merged cells that reach over several rows below the header, such as ``C2:C9``."""
    found = re.findall(r'<mergeCell ref="([A-Z]+(\d+):[A-Z]+(\d+))"', text)
    return [cells for cells, first, last in found if 1 < int(first) < int(last)]


def _clock(value: Any) -> str:
    """Return a cell as text; a time of day (Excel's h:mm:ss) as ``hh:mm:ss``."""
    return value.isoformat() if hasattr(value, "isoformat") else text_of(value)


def _there(values: Any) -> list[bool]:
    return [value is not None and value != "" for value in values]
