"""The place of an error: deeper code names the keys of a setting, the recipe adds file and line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ....cache.errors import InputError
from ...data.located_yaml import Located


class SettingError(InputError):
    """A setting that cannot be used.

    Parameters
    ----------
    *keys : str or int
        What leads to it from the top of the recipe, as ``"members", "lr", "head"``; the position
        in a list is a number.

    Examples
    --------
    >>> try:
    ...     with with_lines(Located({"group": Located("room", "a.yaml", 7)}, "a.yaml", 1)):
    ...         raise SettingError("no column 'room'", "group")
    ... except InputError as error:
    ...     print(error)
    a.yaml:7: no column 'room'
    """

    def __init__(self, message: str, *keys: str | int) -> None:
        super().__init__(message)
        self.keys = keys


def find(top: Located, *keys: str | int) -> Located:
    """Return where keys lead; where one is left out, what would hold it."""
    for key in keys:
        match top.value:
            case dict() as items if key in items:
                top = items[key]
            case list() as items if isinstance(key, int):
                top = items[key]
            case _:
                break
    return top


@contextmanager
def with_lines(top: Located) -> Iterator[None]:
    """Put file and line before the message of each `SettingError`."""
    try:
        yield
    except SettingError as error:
        error.args = find(top, *error.keys).error(str(error)).args
        raise


@contextmanager
def in_setting(*keys: str | int) -> Iterator[None]:
    """Turn an `InputError` into the error of a setting."""
    try:
        yield
    except InputError as error:
        raise SettingError(str(error), *keys) from None


@contextmanager
def with_note(top: Located, *keys: str | int) -> Iterator[None]:
    """Add to an error in a file which line of the recipe names the file."""
    try:
        yield
    except SettingError:
        raise
    except InputError as error:
        at = find(top, *keys)
        error.add_note(f"named in {at.source}:{at.line}")
        raise
