"""EmoBox: the folds of a corpus as JSON lines, with the map of its labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import InputError, listed, nearest, shaped
from ...files.reading import parse_json, read_object, refuse_hollow
from ..manifest import Manifest
from .parts import PARTS


def read_emobox(
    folder: str | os.PathLike, fold: int = 1, root: str | os.PathLike | None = None
) -> Manifest:
    """Read one fold of a corpus of EmoBox.

    Parameters
    ----------
    folder : path
        The corpus: ``data/<corpus>`` with ``label_map.json`` and ``fold_1/<corpus>_train_fold_1
        .jsonl`` and so on.
    fold : int
        Which one.
    root : path, optional
        What ``downloads/...`` in the files is relative to; the folder that holds ``data`` by
        default.

    Returns
    -------
    Manifest
        ``split`` from the file, ``label`` through the label map (case ignored), and the label as
        it is written in ``emo``.
    """
    folder = Path(folder)
    files, beside = {}, []
    for path in sorted((folder / f"fold_{fold}").glob("*.jsonl")):
        if part := re.search(r"_(train|valid|val|dev|test)_fold_\d+$", path.stem):
            files[path] = PARTS[part[1]]
        elif not re.search(r"_fold\d+$", path.stem):  # the same file under its older name
            beside.append(path.name)
    if not files:
        folds = sorted(path.name for path in folder.glob("fold_*"))
        raise InputError(f"{folder} has no fold {fold}; it has {', '.join(folds) or 'none'}")
    if not {"train", "test"} <= set(files.values()):
        raise InputError(
            f"{folder / f'fold_{fold}'} has {listed([path.name for path in files])}; expected a"
            " train and a test file: is the copy complete?"
        )
    table = folder / "label_map.json"
    labels: dict[str, str] | None = None
    if table.is_file():
        labels = read_object(table, "labels of the corpus with their names in EmoBox")
    known = {str(raw).casefold(): label for raw, label in (labels or {}).items()}
    rows = []
    for path, split in files.items():
        for line, row in _json_lines(path):
            place = f"{path} line {line}"
            audio = row.get("wav") or row.get("audio") or row.get("wav_filename")
            emotion = row.get("emo", row.get("label"))
            if not audio or emotion is None:
                raise InputError(f"{place}: {sorted(row)}; expected key, wav and emo")
            if labels is not None and str(emotion).casefold() not in known:
                raise InputError(
                    f"{place}: label {emotion!r} is not in {table} ({', '.join(labels)})."
                    f"{nearest(str(emotion), labels)}"
                )
            rows.append(
                {
                    "id": row.get("key", audio),
                    "path": audio,
                    "start": row.get("start_time"),
                    "end": row.get("end_time"),
                    "label": known[str(emotion).casefold()] if labels is not None else emotion,
                    "speaker": row.get("speaker", ""),
                    "split": split,
                    "dataset": row.get("dataset", folder.name),
                    "emo": emotion,
                }
            )
    base = root or folder.absolute().parent.parent
    clips = Manifest.from_rows(rows, base, source=str(folder), allow_outside=root is None)
    if beside:
        clips.notes = (*clips.notes, f"left out of fold {fold}: {listed(beside)}")
    return clips


def _json_lines(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    with shaped(path, "JSON lines in UTF-8"):
        refuse_hollow(path)
        lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, parse_constant=float)
        except ValueError as error:
            raise InputError(f"{path} line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path} line {number}: expected an object")
        yield number, row
