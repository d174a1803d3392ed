"""Data sets of Hugging Face on a disk: Parquet with audio in it, save_to_disk, audio folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from posixpath import normpath
from typing import Any

from ...errors import InputError, listed
from ..manifest import Manifest
from ..paths import corpus_folder
from ..tables.cells import PARTS
from ..tables.parquet_and_excel import class_names, holds_bytes, labelled, parquet_table
from ..tables.sources import opened
from .audio_names import audio_files
from .objects import from_datasets


def metadata_files(folder: Path) -> list[Path]:
    """Return the tables that say what is in an audio folder, of the folder or of its parts."""
    names = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    found = [folder / name for name in names if (folder / name).is_file()]
    return found or sorted(path for name in names for path in folder.glob(f"*/{name}"))


def read_audio_folder(folder: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read a folder of audio with ``metadata.csv`` or ``metadata.jsonl``, also one for each part.

    Parameters
    ----------
    folder : path
    root : path, optional
        Folder that the files may not leave.
    """
    folder = corpus_folder(folder)
    rows: list[dict[str, Any]] = []
    tables = metadata_files(folder)
    for path in tables:
        clips = Manifest.read(path, path.parent, allow_outside=True)
        split = PARTS.get(path.parent.name.casefold(), "") if path.parent != folder else ""
        inside = "" if path.parent == folder else path.parent.relative_to(folder).as_posix() + "/"
        for i in range(len(clips)):
            row = {name: clips[name][i] for name in clips.columns}
            row["path"] = row["path"] and inside + row["path"]
            row["id"] = row["path"] if not clips.taken.get("id") else row["id"]
            rows.append(({"split": split} if split else {}) | row)
    if not rows:
        raise InputError(f"{folder} has no metadata.csv or metadata.jsonl")
    made = Manifest.from_rows(rows, folder, source=str(folder), allow_outside=root is None)
    if left := sorted({*audio_files(folder)[0]}.difference(map(normpath, made["path"]))):
        made.notes += (f"left out {len(left)} files: {listed(left, 20)}",)
    return made


def read_saved(path: str | os.PathLike, audio_dir: str | os.PathLike | None = None) -> Manifest:
    """Read Parquet files with audio in them, or what ``Dataset.save_to_disk`` wrote.

    Parameters
    ----------
    path : path
        A Parquet file, a folder of them (``train-00000-of-00002.parquet``), or a folder with
        ``state.json`` or ``dataset_dict.json``.
    audio_dir : path, optional
        Where the audio goes: each content once, under the hash of its bytes.
    """
    path = Path(path)
    parts: dict[str, list[Any]] = {}
    for file, split in _files(path):
        table, names = _table(file)
        held = [name for name in table.column_names if holds_bytes(table.schema.field(name).type)]
        if held and audio_dir is None:
            raise InputError(
                f"{file}: column {held[0]} holds audio; --audio-dir FOLDER writes it to files"
            )
        parts.setdefault(split, []).append((table, names, held[0] if held else "audio"))
    if not parts:
        raise InputError(f"{path} has no Parquet or Arrow file")
    columns = {audio for tables in parts.values() for _, _, audio in tables}
    read = {
        split or "rest": chain.from_iterable(_rows(*one) for one in tables)
        for split, tables in parts.items()
    }
    folder = Path(audio_dir) if audio_dir is not None else path.parent
    whole = read["rest"] if set(read) == {"rest"} else read
    return from_datasets(whole, folder, audio=columns.pop())


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by save_to_disk, or holds Parquet files."""
    marks = ("state.json", "dataset_dict.json")
    return any((folder / mark).is_file() for mark in marks) or bool(_parquet(folder))


def _parquet(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")])


def _files(path: Path) -> list[tuple[Path, str]]:
    """Return each file and the part it belongs to."""
    if path.is_file():
        return [(path, _part(path.name))]
    arrows = sorted(path.glob("*.arrow"))
    if arrows:
        return [(file, "") for file in arrows]
    inner = sorted(path.glob("*/*.arrow"))
    if inner:
        return [(file, file.parent.name) for file in inner]
    return [(file, _part(file.name)) for file in _parquet(path)]


def _part(name: str) -> str:
    word = re.split(r"[^a-z]", name.casefold())[0]
    return word if word in PARTS else ""


def _table(path: Path) -> tuple[Any, dict[str, list[str]]]:
    with opened(path, (".parquet", ".arrow")) as source:
        if path.suffix == ".parquet":
            table = parquet_table(source)
        else:
            table = _arrow(path)
    return table, class_names(table.schema)


def _arrow(path: Path) -> Any:
    try:
        import pyarrow as arrow
    except ImportError:
        raise InputError(f"{path}: needs pyarrow: pip install 'affekt[table]'") from None
    try:
        with path.open("rb") as stream:
            return arrow.ipc.open_stream(stream).read_all()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an Arrow file of save_to_disk: {error}") from None


def _rows(table: Any, names: dict[str, list[str]], audio: str) -> Iterator[dict[str, Any]]:
    """Yield rows with class labels by name; audio by its bytes, or the file that it names."""
    for batch in table.to_batches(max_chunksize=64):
        for row in batch.to_pylist():
            row = {name: labelled(value, names.get(name)) for name, value in row.items()}
            if isinstance(row.get(audio), bytes):
                row[audio] = {"bytes": row[audio], "path": None}
            yield row
