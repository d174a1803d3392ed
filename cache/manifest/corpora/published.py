"""Manifests as others keep them: EmoBox folds, s3prl's CSV files, names that say it all.

==================  =============================================================================
`read_emobox`       the JSONL files of a fold, with the corpus's label map
`read_s3prl`        ``train.csv``, ``valid.csv``, ``test.csv`` with ``id, wav_path, label``
`read_unified`      file names of the unified multilingual data set of emotional utterances
==================  =============================================================================
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import InputError, nearest
from ..manifest import Manifest

__all__ = ["read_emobox", "read_s3prl", "read_unified"]

PARTS = {"train": "train", "valid": "dev", "val": "dev", "dev": "dev", "test": "test"}
VALENCE = {"-1": "negative", "0": "neutral", "1": "positive"}
UNIFIED = ("number", "dataset", "speaker", "gender", "emotion", "valence", "language", "locale")


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
        ``split`` from the file, ``label`` through the label map, and the label as it stands in
        ``emo``.

    Raises
    ------
    InputError
        No such fold, a row without a key or a file, a label that the map does not have.
    """
    folder = Path(folder)
    files = {}
    for path in sorted((folder / f"fold_{fold}").glob("*.jsonl")):
        if part := re.search(r"_(train|valid|val|dev|test)_fold_\d+$", path.stem):
            files[path] = PARTS[part[1]]
    if not files:
        folds = sorted(path.name for path in folder.glob("fold_*"))
        raise InputError(f"{folder} has no fold {fold}; it has {', '.join(folds) or 'none'}")
    table = folder / "label_map.json"
    labels = json.loads(table.read_text("utf-8")) if table.is_file() else None
    rows = []
    for path, split in files.items():
        for line, row in _json_lines(path):
            place = f"{path} line {line}"
            audio = row.get("wav") or row.get("audio") or row.get("wav_filename")
            emotion = row.get("emo", row.get("label"))
            if not audio or emotion is None:
                raise InputError(f"{place}: {sorted(row)}; expected key, wav and emo")
            if labels is not None and emotion not in labels:
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
                    "label": labels[emotion] if labels is not None else emotion,
                    "speaker": row.get("speaker", ""),
                    "split": split,
                    "dataset": row.get("dataset", folder.name),
                    "emo": emotion,
                }
            )
    return Manifest.from_rows(rows, root or folder.parent.parent, source=str(folder))


def read_s3prl(folder: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read the CSV files that s3prl prepares: ``id, wav_path, label`` and optional times.

    Parameters
    ----------
    folder : path
        Holds ``train.csv``, ``valid.csv``, ``test*.csv`` (some of them), or is one CSV file.
    root : path, optional
        Folder that holds the audio. s3prl writes absolute paths; without `root` it is the deepest
        folder that holds them all.

    Raises
    ------
    InputError
        No such files, no such columns, or a file outside `root`.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else sorted(folder.glob("*.csv"))
    rows = []
    for path in files:
        split = PARTS.get(re.split(r"[^a-z]", path.stem.lower())[0], "")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"wav_path", "label"} <= set(reader.fieldnames or ()):
                raise InputError(
                    f"{path}: columns {', '.join(reader.fieldnames or ())}; expected id, wav_path, "
                    "label"
                )
            for row in reader:
                rows.append({**row, "split": split, "line": f"{path} line {reader.line_num}"})
    if not rows:
        raise InputError(f"{folder} holds no rows; expected train.csv, valid.csv, test.csv")
    absolute = [row["wav_path"] for row in rows if Path(row["wav_path"]).is_absolute()]
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
    return Manifest.from_rows(clips, root, source=str(folder))


def read_unified(
    files: str | os.PathLike | Iterable[str],
    root: str | os.PathLike | None = None,
    *,
    label: str = "emotion",
) -> Manifest:
    """Read the file names of the unified multilingual data set of emotional human utterances.

    A name is ``<number>+<source>+<speaker>+<gender>+<emotion>+<valence>+<ISO 639-3>+<locale>.wav``.

    Parameters
    ----------
    files : path or iterable of str
        The folder of the audio, or names.
    root : path, optional
        Folder that names are relative to; needed with names.
    label : {"emotion", "valence"}
        What the label is: the emotion's code, or negative, neutral, positive as the data set maps
        it, source by source. Both stand in columns of their own.

    Raises
    ------
    InputError
        A name of another form.

    Examples
    --------
    >>> clips = read_unified(["00000+aesdd+aesdd.1+f+ang+-1+ell+el-gr.wav"], ".", label="valence")
    >>> clips.clip(0).speaker, clips.clip(0).label, clips.clip(0).language
    ('aesdd.1', 'negative', 'ell')
    """
    if label not in ("emotion", "valence"):
        raise InputError(f"label {label!r}; expected emotion or valence")
    if isinstance(files, str | os.PathLike):
        root = Path(files) if root is None else root
        files = sorted(path.name for path in Path(files).glob("*.wav"))
    rows = []
    for name in files:
        fields = dict(zip(UNIFIED, Path(name).stem.split("+"), strict=False))
        if len(fields) != len(UNIFIED) or fields["valence"] not in VALENCE or name.count("+") != 7:
            form = "+".join(f"<{word}>" for word in UNIFIED)
            raise InputError(f"the name {name!r}; expected {form}.wav")
        valence = VALENCE[fields["valence"]]
        rows.append(
            {
                "id": fields["number"],
                "path": name,
                "label": valence if label == "valence" else fields["emotion"],
                **{word: fields[word] for word in ("speaker", "language", "dataset", "gender")},
                "emotion": fields["emotion"],
                "valence": valence,
                "locale": fields["locale"],
            }
        )
    return Manifest.from_rows(rows, root or ".", source="<unified>")


def _json_lines(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path} line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path} line {number}: expected an object")
        yield number, row
