"""Who may read the files of a cache: whoever may read its folders."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["share", "shared_mode"]


def shared_mode(folder: Path) -> int:
    """Return the permissions that a file has in a folder of a cache: the folder's own.

    The user's umask does not count, so that people of different umask can share a cache; a folder
    that affekt makes is its owner's alone.
    """
    return stat.S_IMODE(folder.stat().st_mode) & 0o666


def share(handle: int, folder: Path) -> None:
    """Give an open file of a cache the permissions of its folder, where that is possible."""
    if hasattr(os, "fchmod"):
        with suppress(OSError):  # another user's file, or a file system without permissions
            os.fchmod(handle, shared_mode(folder))
