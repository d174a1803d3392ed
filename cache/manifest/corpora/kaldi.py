"""Kaldi data folders: ``wav.scp`` with ``segments``, ``text``, ``utt2spk`` and labels."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import InputError, listed
from ...files.reading import refuse_hollow
from ..manifest import Manifest
from ..paths import corpus_folder

ARCHIVE = re.compile(r".*\.ark:\d+(\[.*\])?")
#: file -> our column; the first of those that are there
COLUMNS = {
    "text": ("text",),
    "speaker": ("utt2spk",),
    "label": ("utt2emo", "utt2label", "utt2emotion", "utt2category"),
    "language": ("utt2lang",),
}
#: made from others, or of no use here
_DERIVED = re.compile(r"wav\.scp|segments|spk2utt|(feats|cmvn|vad)\.scp|(utt|reco)2(dur|num_\w+)"
                      r"|frame_shift|\..*")  # fmt: skip


def read_kaldi(folder: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read a Kaldi data folder.

    Parameters
    ----------
    folder : path
        With ``wav.scp``; ``segments``, ``text``, ``utt2spk``, ``utt2lang`` and ``utt2emo`` (or
        ``utt2label``) where there are any.
    root : path, optional
        What paths in ``wav.scp`` are relative to and may not leave; by default the folder of the
        recipe, from which Kaldi runs: two above ``data/train``, else the current folder.
    """
    folder = corpus_folder(folder, "wav.scp")
    recordings = _pairs(folder / "wav.scp")
    piped = [name for name, value in recordings.items() if value.endswith("|")]
    if piped:
        raise InputError(
            f"{folder / 'wav.scp'}: {listed(piped)}: made by a command ({recordings[piped[0]]!r});"
            " run it once for each recording, and name the files that it writes"
        )
    if archives := [name for name, value in recordings.items() if ARCHIVE.fullmatch(value)]:
        raise InputError(
            f"{folder / 'wav.scp'}: {listed(archives)}: inside an archive of Kaldi"
            f" ({recordings[archives[0]]!r}); write the recordings to files (wav-copy scp:wav.scp"
            " scp:files.scp), and name those"
        )
    rows: dict[str, dict[str, str]] = {}
    if (folder / "segments").is_file():
        for utterance, value in _pairs(folder / "segments").items():
            fields = value.split()
            if len(fields) != 3 or fields[0] not in recordings:
                raise InputError(
                    f"{folder / 'segments'}: {utterance} {value}: expected a recording of wav.scp,"
                    " a start and an end in seconds"
                )
            start, end = fields[1], fields[2]
            end = "" if end in ("-1", "-1.0") else end  # to the end of the recording
            rows[utterance] = {"path": recordings[fields[0]], "start": start, "end": end}
    else:
        rows = {name: {"path": path} for name, path in recordings.items()}
    notes = []
    for column, names in COLUMNS.items():
        for name in [name for name in names if (folder / name).is_file()][:1]:
            pairs = _pairs(folder / name)
            for utterance in rows.keys() & pairs.keys():
                rows[utterance][column] = pairs[utterance]
            if unknown := [utterance for utterance in pairs if utterance not in rows]:
                notes.append(f"{name} has {listed(unknown)}, which wav.scp or segments do not have")
            if lacking := [utterance for utterance in rows if utterance not in pairs]:
                notes.append(f"{name} does not have {listed(lacking)}: no {column}")
    read = {name for names in COLUMNS.values() for name in names if (folder / name).is_file()}
    left = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
    if left := [name for name in left if name not in read and not _DERIVED.fullmatch(name)]:
        notes.append(f"files that were not read: {listed(left, 12)}")
    base = root
    if base is None:
        above = folder.absolute().parent
        base = above.parent if above.name == "data" else Path()
    clips = [{"id": utterance, **row} for utterance, row in rows.items()]
    made = Manifest.from_rows(clips, base, source=str(folder), allow_outside=root is None)
    made.notes += tuple(notes)
    return made


def _pairs(path: Path) -> dict[str, str]:
    """Return the first word of each line, and the rest."""
    found: dict[str, str] = {}
    refuse_hollow(path)
    try:
        lines = path.read_text("utf-8").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; save it as UTF-8") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = line.strip().split(maxsplit=1)
        if name in found:
            raise InputError(f"{path} line {number}: {name} appears twice")
        found[name] = rest[0] if rest else ""
    return found
