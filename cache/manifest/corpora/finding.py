"""The reader of each kind of table or corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError, listed
from ..manifest import Manifest
from ..tables import SUFFIXES
from ..tables.parquet_and_excel import holds_bytes
from . import audio_names, huggingface as hub
from .annotators import read_annotators
from .audformat import read_audformat_folder
from .emobox import read_emobox
from .kaldi import read_kaldi
from .parts import part_tables, read_parts
from .s3prl import read_s3prl

KINDS = (
    "table", "unified", *audio_names.CORPORA, "folders", "emobox", "s3prl", "kaldi", "audformat",
    "datasets", "audiofolder", "parts",
)  # fmt: skip


def kind_of(path: Path) -> str:
    """Return what a file or folder is, by what is in it."""
    if not path.is_dir():
        return "datasets" if path.suffix == ".parquet" and _with_audio(path) else "table"
    marks = {
        "kaldi": (path / "wav.scp").is_file(),
        "emobox": any(path.glob("fold_*/*.jsonl")),
        "audformat": (path / "db.yaml").is_file(),
        "datasets": hub.is_saved(path),
        "audiofolder": bool(hub.metadata_files(path)),
        "s3prl": _has_wav_path(path),
        "parts": len(part_tables(path)) > 1,
    }
    for kind, there in marks.items():
        if there:
            return kind
    if corpus := audio_names.fits(path):
        return corpus
    inside = (found.parent for form in ("*/fold_1", "*/*/fold_1") for found in path.glob(form))
    if corpora := [str(corpus) for corpus in sorted(inside)]:
        raise InputError(f"{path} holds corpora of EmoBox; name one of them: {listed(corpora)}")
    inside = (found.parent for form in ("*/wav.scp", "*/*/wav.scp") for found in path.glob(form))
    if folders := [str(folder) for folder in sorted(inside)]:
        raise InputError(f"{path} holds data folders of Kaldi; name one of them: {listed(folders)}")
    if len(part_tables(path, "*/*")) > 1:
        return "parts"
    audio, others = audio_names.audio_files(path)
    shown = listed((audio or others)[:3]) if audio or others else "nothing"
    tables = sorted(str(found) for suffix in SUFFIXES for found in path.glob(f"*{suffix}"))
    raise InputError(
        f"{path} holds {shown}: no corpus that affekt recognises. If the folders are named after "
        "the labels, use --as folders, or where the file names begin with the speaker, "
        "--as '{label}/{speaker}_{}'; if the labels are in the file names, give their pattern, "
        "such as --as '{speaker}/{label}_{take}'; otherwise give a table"
        + (f", such as {tables[0]}" if tables else "")
    )


def read_corpus(
    path: Path,
    kind: str,
    *,
    root: Path | None = None,
    fold: int = 1,
    table: Sequence[str] = (),
    label: str = "emotion",
    audio_dir: Path | None = None,
    dedupe: bool = False,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    raters: str | None = None,
) -> Manifest:
    """Read a table or a corpus of a kind of `KINDS`, or whose files are named in a form."""
    for option, given in (("--encoding", encoding), ("--column", columns), ("--raters", raters)):
        if given and kind != "table":
            raise InputError(f"{option} is for one table, and {path} is read as {kind}")
    if "{" in kind:
        return audio_names.read_form(path, kind, root)
    how: Any = {"encoding": encoding, "columns": columns}
    readers: dict[str, Any] = {
        "table": lambda: (
            read_annotators(path, raters, root, **how)
            if raters
            else Manifest.read(path, root, dedupe=dedupe, **how)
        ),
        "unified": lambda: audio_names.read_unified(path, root, label=label),
        "folders": lambda: audio_names.read_folders(path, root),
        "emobox": lambda: read_emobox(path, fold, root),
        "s3prl": lambda: read_s3prl(path, root),
        "kaldi": lambda: read_kaldi(path, root),
        "audformat": lambda: read_audformat_folder(path, table, root),
        "datasets": lambda: hub.read_saved(path, audio_dir),
        "audiofolder": lambda: hub.read_audio_folder(path, root),
        "parts": lambda: read_parts(path, root),
    }
    if kind in readers:
        return readers[kind]()
    return audio_names.read_named(path, kind, root)


def _has_wav_path(folder: Path) -> bool:
    for path in sorted(folder.glob("*.csv")):
        with path.open("rb") as stream:
            if b"wav_path" in stream.readline():
                return True
    return False


def _with_audio(path: Path) -> bool:
    try:
        import pyarrow.parquet as parquet

        schema = parquet.read_schema(path)
    except (ImportError, OSError, ValueError):
        return False  # reading the table says what is wrong
    return any(holds_bytes(field.type) for field in schema)
