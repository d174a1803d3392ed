"""Files of others and of earlier processes are read strictly."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ..errors import DamagedError, InputError

__all__ = ["check_regular", "read_json"]


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


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file that a user names.

    Parameters
    ----------
    path : path
        A regular file in UTF-8.
    what : str
        What it should be, for the message: ``a comparison``.

    Raises
    ------
    InputError
        Not there, a device or a pipe, not UTF-8, not JSON, or nested too deeply.
    """
    try:
        check_regular(path)
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, DamagedError) as error:
        raise InputError(f"{os.fspath(path)} cannot be read as {what}: {error}") from error
