"""EmoBox: the folds of a corpus as JSON lines, with the map of its labels."""

from __future__ import annotations

import os
import re

from ...errors import InputError, listed, nearest
from ...files.reading import read_object
from ..manifest import Manifest
from ..paths import corpus_folder
from ..tables import read_table
from ..tables.cells import PARTS


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
        ``split`` from the file, ``label`` through the label map (case is ignored where it does not
        tell two apart), and the label as it is written in ``emo``.
    """
    folder = corpus_folder(folder)
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
    label_map = folder / "label_map.json"
    labels: dict[str, str] | None = None
    if label_map.is_file():
        labels = read_object(label_map, "labels of the corpus with their names in EmoBox")
    known = {str(raw).casefold(): label for raw, label in (labels or {}).items()}
    rows = []
    for path, split in files.items():
        table = read_table(path)
        for i, row in enumerate(table.rows()):
            audio = row.get("wav") or row.get("audio") or row.get("wav_filename")
            emotion = row.get("emo") or row.get("label")
            if not audio or not emotion:
                raise InputError(f"{table.place(i)}: {sorted(row)}; expected key, wav and emo")
            folded = emotion.casefold()
            if labels is not None and folded not in known:
                raise InputError(
                    f"{table.place(i)}: label {emotion!r} is not in {label_map} "
                    f"({', '.join(labels)}).{nearest(emotion, labels)}"
                )
            rows.append(
                {
                    "id": row.get("key") or audio,
                    "path": audio,
                    "start": row.get("start_time"),
                    "end": row.get("end_time"),
                    "label": labels.get(emotion, known[folded]) if labels else emotion,
                    "speaker": row.get("speaker"),
                    "split": split,
                    "dataset": row.get("dataset") or folder.name,
                    "emo": emotion,
                }
            )
    base = root or folder.absolute().parent.parent
    clips = Manifest.from_rows(rows, base, source=str(folder), allow_outside=root is None)
    if beside:
        clips.notes += (f"left out of fold {fold}: {listed(beside)}",)
    return clips
