"""Paths in a recipe: relative to it, ``~`` and ``$NAME`` replaced."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...data.located_yaml import Located

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
