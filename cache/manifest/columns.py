"""The names of a manifest's columns, and the other names that people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError, nearest
from .tables import Table

COLUMNS = (
    "id", "path", "start", "end", "text", "label", "speaker", "language", "split", "dataset",
)  # fmt: skip
TIMES = ("start", "end")

ALIASES = {
    "id": ("clip", "clip_id", "utt", "utt_id", "utterance_id", "uttid"),
    "path": (
        "file", "file_name", "filename", "filepath", "file_path", "wav", "wav_file", "wav_path",
        "audio", "audio_path", "audio_file",
    ),
    "start": ("onset", "begin", "start_time", "start_s"),
    "end": ("offset", "stop", "end_time", "end_s"),
    "text": ("transcript", "transcription", "sentence", "utterance"),
    "label": ("emotion", "emo", "labels", "class", "category"),
    "speaker": ("spk", "speaker_id", "spk_id", "speakerid", "actor"),
    "language": ("lang", "language_id", "locale"),
    "split": ("partition", "subset", "fold_name"),
    "dataset": ("corpus", "database", "db"),
}  # fmt: skip


def named(table: Table) -> Mapping[str, Sequence[Any]]:
    """Give a table's columns our names; a column that has our name wins over an alias.

    Without a column for ids the path is the id. A start or end by another name counts only where it
    holds times in seconds.

    Raises
    ------
    InputError
        No id, neither path nor text, or two columns for one thing.

    Examples
    --------
    >>> from affekt.cache.manifest.tables import table_of_rows
    >>> list(named(table_of_rows([{"file": "a.wav", "emo": "joy", "take": "3"}], "<rows>")))
    ['id', 'path', 'label', 'take']
    """
    folded: dict[str, list[str]] = {}
    for name in table.columns:
        folded.setdefault(name.strip().casefold(), []).append(name)
    renamed: dict[str, str] = {}
    for ours, aliases in ALIASES.items():
        for group in ((ours,), aliases):
            found = [name for alias in group for name in folded.get(alias, ())]
            if ours in TIMES and group is aliases:
                found = [name for name in found if _are_times(table.columns[name])]
            if len(found) > 1:
                raise InputError(
                    f"{table.source}: columns {' and '.join(found)} could all be the {ours};"
                    f" name one of them {ours}"
                )
            if found:
                renamed[found[0]] = ours
                break
    columns = {renamed.get(name, name.strip()): values for name, values in table.columns.items()}
    if "id" not in columns and "path" in columns and not _misspelt("id", table):
        columns = {"id": _ids_of_paths(columns), **columns}
    if "id" not in columns or not ("path" in columns or "text" in columns):
        needed = "id" if "id" not in columns else "path or text"
        raise InputError(
            f"{table.source}: no column {needed}; it has {', '.join(table.columns)}."
            + nearest(needed.split()[0], table.columns)
        )
    return columns


def _misspelt(name: str, table: Table) -> bool:
    return any(0 < abs(len(name) - len(c)) <= 1 and name in c.casefold() for c in table.columns)


def _ids_of_paths(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Without an id column the path is the id, and a segment adds its times as written."""
    paths = [str(path) for path in columns["path"]]
    if not any(name in columns for name in TIMES):
        return paths
    blank = [""] * len(paths)
    times = zip(columns.get("start", blank), columns.get("end", blank), strict=True)
    return [
        f"{path}#{start}-{end}" if f"{start}{end}" else path
        for path, (start, end) in zip(paths, times, strict=True)
    ]


def _are_times(values: Sequence[Any]) -> bool:
    try:
        return any(values) and all(float(value or 0) is not None for value in values)
    except ValueError:
        return False
