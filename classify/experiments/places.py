"""Paths in a recipe: relative to it, ``~`` and ``$NAME`` replaced; where a run may write."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from ...cache.errors import InputError
from ..located import Located

__all__ = ["check_writable_folder", "expanded", "place"]

_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


def expanded(at: Located, what: str) -> str:
    """Return a path of a recipe with a leading ``~`` and ``$NAME`` replaced.

    Raises
    ------
    InputError
        A variable that is not set, a home folder that is not known; with file and line.

    Examples
    --------
    >>> expanded(Located("~/clips.csv", "recipe.yaml", 1), "manifest") == os.path.expanduser(
    ...     "~/clips.csv")
    True
    """
    text = at.text(what)
    for match in _VARIABLE.finditer(text):
        name = match[1].strip("{}")
        if name not in os.environ:
            at.fail(f"{what} is {text!r}, and the variable {name} is not set; write the path out")
    found = _VARIABLE.sub(lambda match: os.environ[match[1].strip("{}")], text)
    if found.startswith("~"):
        try:
            return str(Path(found).expanduser())
        except RuntimeError:
            at.fail(f"{what} is {text!r}, and no such home folder is known; write the path out")
    return found


def place(at: Located, what: str, folder: Path) -> Path:
    """Return a path of a recipe; a relative one starts at `folder`, where the recipe is."""
    text = expanded(at, what)
    if "\0" in text:
        at.fail(f"{what} is {text!r}; expected a path")
    return folder / text


def check_writable_folder(path: Path, what: str) -> None:
    """Check that a folder is there, or can be made, and takes files.

    Parameters
    ----------
    path : Path
    what : str
        The word for it in messages.

    Raises
    ------
    InputError
        A file is in the way, or the nearest folder that exists takes none.
    """
    try:
        above = next(one for one in (path, *path.parents) if os.path.lexists(one))
        if not above.is_dir():
            raise InputError(f"{what} {path}: {above} is a file; expected a folder")
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise InputError(f"{what} {path} cannot be written: {error.strerror}") from None
