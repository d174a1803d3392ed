"""The CSV files that s3prl prepares."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import InputError
from ..manifest import Manifest
from ..tables import read_table
from ..tables.cells import PARTS


def read_s3prl(folder: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read the CSV files that s3prl prepares: ``id, wav_path, label`` and optional times.

    Parameters
    ----------
    folder : path
        Holds ``train.csv``, ``valid.csv``, ``test*.csv`` (some of them), or is one CSV file.
    root : path, optional
        Folder that holds the audio. s3prl writes absolute paths; without `root` it is the deepest
        folder that holds them all.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else sorted(folder.glob("*.csv"))
    rows = []
    for path in files:
        split = PARTS.get(re.split(r"[^a-z]", path.stem.lower())[0], "")
        table = read_table(path)
        if not {"wav_path", "label"} <= table.columns.keys():
            raise InputError(
                f"{path}: columns {', '.join(table.columns)}; expected id, wav_path, label"
            )
        for i, row in enumerate(table.rows()):
            rows.append({**row, "split": split, "line": table.place(i)})
    if not rows:
        raise InputError(f"{folder} holds no rows; expected train.csv, valid.csv, test.csv")
    absolute = [row["wav_path"] for row in rows if Path(row["wav_path"]).is_absolute()]
    given = root is not None
    if root is None:
        root = os.path.commonpath([os.path.dirname(path) for path in absolute] or [folder])  # noqa: PTH120
    clips = []
    for row in rows:
        place, audio = row.pop("line"), row.pop("wav_path")
        if Path(audio).is_absolute():
            if not Path(audio).is_relative_to(root):
                raise InputError(f"{place}: {audio} is outside {root}; give another root")
            audio = Path(audio).relative_to(root).as_posix()
        clips.append(
            {
                "id": row.pop("id", audio),
                "path": audio,
                "start": row.pop("start_sec", ""),
                "end": row.pop("end_sec", ""),
                **row,
            }
        )
    return Manifest.from_rows(clips, root, source=str(folder), allow_outside=not given)
