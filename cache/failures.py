"""``failures.jsonl``: clips that could not be embedded, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STORED = "stored"  # the code that takes an earlier line back


def note_failure(path: Path, key: str | None, id: str, code: str, message: str) -> None:
    """Append a line. Losing it costs nothing but time, so it is not flushed to the disk."""
    line = json.dumps({"key": key, "id": id, "code": code, "message": message}) + "\n"
    with path.open("ab", buffering=0) as stream:
        stream.write(line.encode())


def read_failures(path: Path) -> list[dict[str, Any]]:
    """Return the last line of each key and id; the end of one that was never finished is ignored.

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
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    last: dict[tuple[str | None, str], dict[str, Any]] = {}
    for line in lines:
        try:
            note = json.loads(line)
            last[note["key"], note["id"]] = note
        except (ValueError, KeyError, TypeError):
            continue
    return [note for note in last.values() if note.get("code") != STORED]
