"""Where the folder of a space's encoder was last seen, so that it need not be named again.

A memo next to the space: it decides no number, and may be deleted. Paths are written relative to
where they are noted, so that a project can be moved as a whole; only what has no folder in common
with it is written absolute.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..files.atomic_writes import write_json
from ..files.reading import read_note

NAME = "encoder.json"


def to_portable(path: Path, base: Path) -> str:
    """Return a path as it is noted in the folder `base`.

    Examples
    --------
    >>> to_portable(Path("/home/me/models/xlsr"), Path("/home/me/work/out"))
    '../../models/xlsr'
    >>> to_portable(Path("/data/xlsr"), Path("/home/me/work/out"))
    '/data/xlsr'
    """
    path, base = path.resolve(), base.resolve()
    if len(Path(os.path.commonpath([path, base])).parts) < 2:  # the root of the file system
        return str(path)
    return Path(os.path.relpath(path, base)).as_posix()


def from_portable(text: str, base: Path) -> Path:
    """Return the path that was noted in the folder `base`.

    Examples
    --------
    >>> str(from_portable("../../models/xlsr", Path("/home/me/work/out")))
    '/home/me/models/xlsr'
    """
    return Path(os.path.normpath(base.resolve() / text))


def note_encoder_folder(space: Path, folder: Path, tmp: Path) -> None:
    """Note the folder of the encoder that makes a space; if the cache can be written."""
    if encoder_folder(space) == folder.resolve():
        return
    with suppress(OSError, UnicodeEncodeError):
        write_json(space / NAME, {"folder": to_portable(folder, space)}, tmp=tmp)


def encoder_folder(space: Path) -> Path | None:
    """Return the folder of the encoder that made a space, as noted; None if there is no note."""
    found = read_note(space / NAME).get("folder")
    return from_portable(found, space) if isinstance(found, str) else None
