"""A leading ~ in a path that a user gives, on a command line or in Python."""

from __future__ import annotations

import os
from typing import Any, TypeVar

T = TypeVar("T", bound="str | os.PathLike[str]")


def at_home(path: T) -> T:
    """Return a path with a leading ``~`` replaced by the home folder.

    A file or folder whose own name begins with ``~`` is what is meant, where there is one.

    Examples
    --------
    >>> at_home("~/my.cache") == os.path.expanduser("~/my.cache"), at_home("my.cache")
    (True, 'my.cache')
    """
    if not os.fspath(path).startswith("~") or os.path.lexists(path):
        return path
    kind: Any = type(path)
    return kind(os.path.expanduser(path))  # noqa: PTH111 - text stays text
