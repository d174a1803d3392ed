"""A folder with a table for each part: train.csv, dev.csv, test.csv; also one for each language."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from ...errors import InputError, listed
from ..manifest import Manifest
from ..paths import corpus_folder
from ..tables import SUFFIXES
from ..tables.cells import PARTS


def part_tables(folder: Path, pattern: str = "*") -> dict[Path, str]:
    """Return the tables of a folder that are named after a part, and the part of each.

    A name is a part where one of its words is: ``train.csv``, ``dev_sent_emo.csv``,
    ``meld-test.tsv``. The pattern ``*/*`` looks into the folders in it: ``hau/train.tsv``.
    """
    found = {}
    for path in sorted(folder.glob(pattern)):
        words = {PARTS[word] for word in re.findall("[a-z]+", _stem(path)) if word in PARTS}
        if len(words) == 1 and _is_table(path):
            found[path] = words.pop()
    return found


def read_parts(folder: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read a folder that holds one table for each part.

    Parameters
    ----------
    folder : path
        Holds tables named after their parts, such as ``train.csv``, ``validation.csv`` and
        ``test.csv``, or folders with such tables, as one for each language. A table's own column
        ``split`` takes precedence over its name.
    root : path, optional
        Folder that the paths of the tables are relative to and may not leave.

    Returns
    -------
    Manifest
        With a column ``split``, and ``folder`` where the tables are in folders. Where two tables
        have one id, as row numbers are, each id follows the name of its table: ``train-1``,
        ``hau/train-1``.
    """
    folder = corpus_folder(folder)
    tables = part_tables(folder) or part_tables(folder, "*/*")
    if not tables:
        raise InputError(f"{folder} has no tables named after parts, such as train.csv, test.csv")
    stems = Counter((path.parent, _stem(path)) for path in tables)
    if twice := [path.name for path in tables if stems[path.parent, _stem(path)] > 1]:
        raise InputError(f"{folder}: {listed(twice)} stand for the same part; keep one of them")
    read = {path: Manifest.read(path, root) for path in tables}
    ids = Counter(id_ for clips in read.values() for id_ in clips.ids)
    named = max(ids.values(), default=0) > 1
    rows = []
    for path, clips in read.items():
        inside = "" if path.parent == folder else f"{path.parent.name}/"
        for i in range(len(clips)):
            row = {name: clips[name][i] for name in clips.columns}
            row["id"] = f"{inside}{path.name.split('.')[0]}-{row['id']}" if named else row["id"]
            row["split"] = row.get("split") or tables[path]
            if inside:
                row["folder"] = path.parent.name
                if row.get("path") and root is None:
                    row["path"] = str(path.parent / row["path"])
            rows.append(row)
    made = Manifest.from_rows(rows, root or folder, source=str(folder), allow_outside=root is None)
    left = [one.name for one in sorted(folder.iterdir()) if _is_table(one) and one not in tables]
    if folders := sorted({path.parent.name for path in tables if path.parent != folder}):
        what = f"column folder says which of {listed(folders)}"
        made.notes += (f"{what}; is it the language? Name it language",)
    if left:
        made.notes += (f"tables that were not read: {listed(left, 12)}",)
    return made


def _stem(path: Path) -> str:
    return path.name.split(".")[0].casefold()


def _is_table(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES) and path.is_file()
