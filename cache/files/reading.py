"""Files of others and of earlier processes are read strictly."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import DamagedError

__all__ = ["check_regular"]


def check_regular(path: str | os.PathLike) -> None:
    """Refuse what is not a regular file, or a link to one: to open a pipe would wait for ever.

    Raises
    ------
    FileNotFoundError
        Not there, or not any more.
    DamagedError
        A folder, a pipe, a device or a socket.
    """
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        raise DamagedError(f"{Path(path).name}: is {stat.filemode(mode)}, not a regular file")
