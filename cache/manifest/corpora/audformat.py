"""Databases of audformat on a disk: a header ``db.yaml`` and a table ``db.<name>.csv`` each.

Tables of audformat are joined by file and segment: one may hold the speakers, another the labels.
Where a scheme says more of its labels (the gender of each speaker), that becomes columns.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError, first_line, listed, nearest, shaped
from ...files.reading import refuse_hollow
from ..manifest import Manifest
from ..paths import corpus_folder
from ..tables import read_table
from ..tables.cells import PARTS

SEGMENT = ("file", "start", "end")


def read_audformat_folder(
    folder: str | os.PathLike,
    table: str | Iterable[str] | None = None,
    root: str | os.PathLike | None = None,
) -> Manifest:
    """Read tables of an audformat database: ``file``, or ``file, start, end``, and their columns.

    Parameters
    ----------
    folder : path
        With ``db.yaml`` and ``db.<table>.csv`` or ``.parquet``.
    table : str or iterable of str, optional
        Which ones; needed where there are several. Rows of one file and segment are one clip.
    root : path, optional
        Folder that the files may not leave.

    Returns
    -------
    Manifest
        ``split`` and ``language`` are from the header where the tables do not have them.

    Raises
    ------
    InputError
        No such table, several without a name, tables that contradict each other, or a header that
        is not of audformat.
    """
    folder = corpus_folder(folder, "db.yaml")
    header = _header(folder / "db.yaml")
    names = _chosen(folder, header, [table] if isinstance(table, str) else list(table or ()))
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    languages = [str(language) for language in header["languages"]]
    for name, path in names.items():
        about = header["tables"].get(name, {})
        split = header["splits"].get(about.get("split_id"), {}).get("type", "")
        given = {"split": PARTS.get(str(split), str(split))} if split else {}
        if len(languages) == 1:
            given["language"] = languages[0]
        for row in _rows(path, _maps(folder, header, about)):
            key = tuple(row.get(column, "") for column in SEGMENT)
            _join(rows.setdefault(key, {}), given | row, name, path)
    clips = Manifest.from_rows(
        rows.values(), root or folder, source=str(folder), allow_outside=root is None
    )
    left = [name for name in header["tables"] if name not in names]
    if left:
        clips.notes += (f"tables that were not read: {listed(left, 12)}",)
    return clips


def _header(path: Path) -> dict[str, Any]:
    """Return the parts of ``db.yaml`` that are used, each a mapping (languages: a list)."""
    import yaml

    parts = ("tables", "misc_tables", "schemes", "splits")
    with shaped(path, "the header of an audformat database"):
        refuse_hollow(path)
        try:
            found = yaml.safe_load(path.read_text("utf-8"))
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not YAML: {first_line(error)}") from None
        header = {part: dict(found.get(part) or {}) for part in parts}
        return header | {"languages": list(found.get("languages") or ())}


def _chosen(folder: Path, header: Mapping[str, Any], wanted: list[str]) -> dict[str, Path]:
    """Return the tables to read, and their files."""
    files = _files(folder)
    tables = [name for name in files if name not in header["misc_tables"]]
    if not tables:
        stored = sorted(path.name for path in folder.glob("db.*.pkl"))
        pickled = (
            f"; it has {listed(stored)}, which are pickles, and affekt never opens pickles: save "
            "the database"
            " with storage_format='csv'"
        )
        raise InputError(f"{folder} has no db.*.csv or db.*.parquet{pickled * bool(stored)}")
    for name in wanted:
        if name not in tables:
            raise InputError(
                f"{folder}: no table {name}; --table takes {', '.join(tables)}."
                f"{nearest(name, tables)}"
            )
    if not wanted and len(tables) > 1:
        shown = "; ".join(_with_columns(name, header["tables"].get(name, {})) for name in tables)
        raise InputError(
            f"{folder}: several tables, which one? --table takes one of {shown}. Given more than"
            " once, it joins them by file and segment"
        )
    return {name: files[name] for name in wanted or tables}


def _with_columns(name: str, about: Mapping[str, Any]) -> str:
    columns = list(about.get("columns") or ())
    return f"{name} ({listed(columns)})" if columns else name


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.name.removeprefix("db.").removesuffix(path.suffix): path
        for path in sorted(folder.glob("db.*"))
        if path.suffix in (".csv", ".parquet")
    }


def _maps(
    folder: Path, header: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, str]]]:
    """Return what schemes say of labels: column -> label -> further columns."""
    maps: dict[str, dict[str, dict[str, str]]] = {}
    with shaped(folder / "db.yaml", "the header of an audformat database"):
        for column, given in (about.get("columns") or {}).items():
            scheme = header["schemes"].get((given or {}).get("scheme_id")) or {}
            labels = scheme.get("labels")
            if isinstance(labels, str) and labels in _files(folder):  # a misc table
                table = read_table(_files(folder)[labels])
                first = next(iter(table.columns))
                maps[column] = {row.pop(first): row for row in table.rows()}
            elif isinstance(labels, Mapping):
                maps[column] = {
                    str(label): (
                        {str(k): str(v) for k, v in more.items()}
                        if isinstance(more, Mapping)
                        else {f"{column}.name": str(more)}
                    )
                    for label, more in labels.items()
                }
    return maps


def _rows(path: Path, maps: Mapping[str, Mapping[str, Mapping[str, str]]]):
    table = read_table(path)
    if "file" not in table.columns:
        raise InputError(f"{path}: columns {', '.join(table.columns)}; expected file first")
    for row in table.rows():
        for column, labels in maps.items():
            for name, value in labels.get(row.get(column, ""), {}).items():
                row.setdefault(name, value)
        yield row


def _join(clip: dict[str, str], row: Mapping[str, str], name: str, path: Path) -> None:
    for column, value in row.items():
        if clip.get(column) and value and clip[column] != value:
            raise InputError(
                f"{path}: {row['file']} has {column} {value!r}, and {clip[column]!r} in another "
                f"table: do not join {name}"
            )
        clip[column] = clip.get(column) or value
