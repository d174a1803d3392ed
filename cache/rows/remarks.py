"""``remarks.jsonl``: what was noticed about clips that were embedded, such as `unknown_tokens`.

A memo: rows of a cache that was made before it, or whose line was lost, have no remarks here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files.json_lines import append_json_lines, json_lines
from ..identity.content_digests import DIGEST

NAME = "remarks.jsonl"
_LARGEST = 1 << 30  # bytes


def note_remarks(folder: Path, rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Append the remarks on rows; losing them costs no value, so they are not flushed to the disk.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     note_remarks(Path(folder), [("0" * 64, ["clipped"]), ("1" * 64, [])])
    ...     read_remarks(Path(folder))
    {'0000000000000000000000000000000000000000000000000000000000000000': ('clipped',)}
    """
    notes = ({"key": key, "remarks": list(names)} for key, names in rows if names)
    append_json_lines(folder / NAME, notes, folder)


def read_remarks(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return row key -> remarks, the last line of each; what is damaged is ignored."""
    path = folder / NAME
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return {}
        data = path.read_bytes()
    except OSError:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for note in json_lines(data):
        key, names = note.get("key"), note.get("remarks")
        if isinstance(key, str) and DIGEST.fullmatch(key) and isinstance(names, list):
            found[key] = tuple(dict.fromkeys(name for name in names if isinstance(name, str)))
    return found


def copy_remarks(source: Path, target: Path) -> None:
    """Add to a space's remarks those that another folder of the same space has."""
    known = read_remarks(target)
    note_remarks(target, ((k, v) for k, v in read_remarks(source).items() if known.get(k) != v))
