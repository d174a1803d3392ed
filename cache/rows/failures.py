"""``failures.jsonl``: clips that could not be embedded, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..files.json_lines import append_json_lines, json_lines
from ..identity.content_digests import DIGEST

_FOLDERS = re.compile(r"(?<![\w.~-])(?:[A-Za-z]:)?[/\\](?:[^/\\\n;:'\"]+[/\\])+")
STORED = "stored"  # the code that takes an earlier line back


def note_failure(path: Path, key: str | None, id: str, code: str, message: str) -> None:
    """Append a line. Losing it costs nothing but time, so it is not flushed to the disk."""
    note = {"key": key, "id": id, "code": code, "message": without_folders(message)}
    append_json_lines(path, [note], path.parent)


def without_folders(message: str) -> str:
    """Return a message in which absolute paths are cut to names: a cache may be passed on.

    Examples
    --------
    >>> without_folders("no file /home/ann/my data/a.wav; there is audio/a.flac")
    'no file a.wav; there is audio/a.flac'
    """
    return _FOLDERS.sub("", message)


def read_failures(path: Path) -> list[dict[str, Any]]:
    """Return the last line of each key and id; what was never finished or is damaged is ignored.

    A line with the code ``stored`` says that what it is about was mended, and takes it away.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "failures.jsonl")
    ...     note_failure(path, None, "a", "missing", "no file")
    ...     note_failure(path, None, "a", "empty", "0 bytes")
    ...     [note["code"] for note in read_failures(path)]
    ['empty']
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    last: dict[tuple[str | None, str], dict[str, Any]] = {}
    for note in json_lines(data):
        if _is_note(note):
            last[note["key"], note["id"]] = note
    return [note for note in last.values() if note["code"] != STORED]


def _is_note(note: dict[str, Any]) -> bool:
    if "key" not in note:
        return False
    texts = [note.get(name) for name in ("id", "code", "message")]
    key = note["key"]
    return all(isinstance(text, str) for text in texts) and (
        key is None or (isinstance(key, str) and DIGEST.fullmatch(key) is not None)
    )
