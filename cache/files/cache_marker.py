"""Which folder is a cache: one that is marked, one of an older version, or an empty one."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import InputError
from .atomic_writes import create, entries, is_draft

MARKER = ".affekt-cache"
TEXT = b"A cache of affekt. Commands of affekt write here and remove what they left unfinished.\n"
#: what a cache held before it was marked
LAYOUT = frozenset({"clips", "spaces", "tmp", "quarantine", "transcripts", "encoders", "kept"})
_SEGMENT = re.compile(r"[0-9a-f]{24}\.jsonl")
LOCK = "compact-"  # how the names of locks of compactions begin


def check_cache_folder(path: Path) -> None:
    """Check that embeddings may be stored in a folder.

    Examples
    --------
    >>> check_cache_folder(Path("/"))
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: / holds files and is not a cache...
    """
    if not os.path.lexists(path) or (path.is_dir() and _is_cache(path)):
        return
    if not path.is_dir():
        raise InputError(f"{path} is not a folder and not a cache; expected a folder")
    raise InputError(
        f"{path} holds files and is not a cache; expected a cache, an empty folder, or a new name "
        f"such as {path / 'my.cache'}"
    )


def cache_above(path: Path) -> Path | None:
    """Return the marked cache that a path is in, or would be."""
    above = Path(os.path.realpath(path)).parents
    return next((one for one in above if os.path.lexists(one / MARKER)), None)


def mark(path: Path) -> None:
    """Mark an existing folder as a cache."""
    try:
        handle = create(path / MARKER, path)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(TEXT)


def _is_cache(path: Path) -> bool:
    names = {entry.name for entry in path.iterdir()} - {".DS_Store", "Thumbs.db"}
    if not names or MARKER in names:
        return True
    if "spaces" in names and any((path / "spaces").glob("*/spec.json")):
        return True
    return (
        names <= LAYOUT
        and all((path / name).is_dir() for name in names)
        and all(_SEGMENT.fullmatch(one.name) for one in entries(path / "clips"))
        and all(is_draft(one.name) for one in entries(path / "tmp") if LOCK not in one.name)
    )
