"""Databases of audformat on a disk: a header ``db.yaml`` and a table ``db.<name>.csv`` each."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import InputError, nearest
from ..manifest import Manifest

__all__ = ["read_audformat_folder"]


def read_audformat_folder(
    folder: str | os.PathLike, table: str | None = None, root: str | os.PathLike | None = None
) -> Manifest:
    """Read a table of an audformat database: ``file``, or ``file, start, end``, and its columns.

    Parameters
    ----------
    folder : path
        With ``db.yaml`` and ``db.<table>.csv`` or ``.parquet``.
    table : str, optional
        Which one; needed where there are several.
    root : path, optional
        Folder that the files may not leave.

    Raises
    ------
    InputError
        No such table, several without a name, or one that is not read.
    """
    folder = Path(folder)
    files = {
        path.name.removeprefix("db.").removesuffix(path.suffix): path
        for path in sorted(folder.glob("db.*"))
        if path.suffix in (".csv", ".parquet")
    }
    if table is None and len(files) == 1:
        [table] = files
    if table not in files:
        wrong = f"no table {table}" if table else "several tables, which one?"
        raise InputError(
            f"{folder}: {wrong} --table takes one of {', '.join(files) or 'none: no db.*.csv'}."
            f"{nearest(table or '', files)}"
        )
    return Manifest.read(files[table], root or folder, allow_outside=root is None)
