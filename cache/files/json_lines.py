"""Files to which several processes append a line of JSON at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .atomic_writes import share
from .reading import parse_json


def append_json_lines(path: Path, values: Iterable[Any], shared: Path | None) -> None:
    """Append a line for each value, in one write; it is not flushed to the disk.

    Parameters
    ----------
    shared : Path or None
        Folder whose group and permissions the file gets; None leaves it to the umask.
    """
    lines = "".join(json.dumps(value) + "\n" for value in values)
    if not lines:
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "a+b", buffering=0) as stream:
        if shared is not None:
            share(stream.fileno(), shared)
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":  # an unfinished line: do not continue it
                lines = f"\n{lines}"
        stream.write(lines.encode())


def json_lines(data: bytes) -> Iterator[dict[str, Any]]:
    r"""Yield the objects in the lines of such a file; skip what a kill cut short.

    Examples
    --------
    >>> list(json_lines(b'{"a": 1}\n{"b"\n[3]\n\n{"c": 2}'))
    [{'a': 1}, {'c': 2}]
    """
    for line in data.splitlines():
        with suppress(ValueError):
            if isinstance(found := parse_json(line), dict):
                yield found
