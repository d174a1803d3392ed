"""Files that a command writes: checked before any work, whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..cache.errors import InputError

__all__ = ["check_place", "drafted"]


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path` that takes its place in the end, and is gone if that fails.

    Examples
    --------
    >>> place = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> with drafted(place) as draft:
    ...     _ = draft.write_text("whole")
    >>> place.read_text(), [one.name for one in place.parent.iterdir()]
    ('whole', ['a.txt'])
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_place(option: str, path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check, before any work, that a file can be written there and is none of the inputs.

    Parameters
    ----------
    option : str
        What the user wrote, for the message: ``-o``.
    path : Path
        Its folder is made.
    inputs : iterable of path
        Files that are read.

    Raises
    ------
    InputError
    """
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; expected the name of a file")
    with suppress(OSError):
        there = path.stat()
        for one in inputs:
            with suppress(OSError):  # what cannot be read is said where it is read
                if os.path.samestat(there, Path(one).stat()):
                    raise InputError(f"{option} {path} is the input {one}; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror}") from None
