"""Strict reading of files from elsewhere and from earlier processes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import DamagedError, InputError, check_characters

LARGEST = 256 << 20  # bytes; the largest that affekt writes has a line for each clip of a report
LFS_POINTER = b"version https://git-lfs"  # begins what Git LFS leaves in place of a file
_MAY_BE_HOLLOW = 64 << 20  # bytes
DEEPEST = 100  # objects and lists inside each other; code that walks through them may be recursive


def is_hollow(status: os.stat_result) -> bool:
    """Whether a large file is sparse: hardly any of it was ever written.

    Examples
    --------
    >>> is_hollow(os.stat(os.curdir))
    False
    """
    stored = getattr(status, "st_blocks", None)
    return (
        stored is not None
        and status.st_size > _MAY_BE_HOLLOW
        and 512 * stored < status.st_size / 100
    )


def refuse_hollow(path: str | os.PathLike[str]) -> None:
    """Refuse a user's file before it is read, if it is sparse: hardly any of it was written."""
    status = Path(path).stat()
    if is_hollow(status):
        raise InputError(
            f"{os.fspath(path)}: a sparse file: of {status.st_size >> 20} MiB hardly any was "
            "written; copy or download it again"
        )


def check_regular(path: str | os.PathLike) -> None:
    """Refuse what is not a regular file, or a link to one: opening a pipe would block.

    Raises
    ------
    FileNotFoundError
        Not there, or not any more.
    DamagedError
        A folder, a pipe, a device or a socket; a large file that is hollow.
    """
    status = Path(path).stat()
    mode = stat.filemode(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise DamagedError(f"{Path(path).name}: is {mode}, not a regular file")
    if is_hollow(status):
        raise DamagedError(f"{Path(path).name}: is sparse: hardly any of it was written")


def parse_json(
    text: str | bytes | bytearray,
    *,
    lenient: bool = False,
    parse_constant: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] | None = None,
) -> Any:
    """Parse JSON strictly.

    Parameters
    ----------
    text : str or bytes
        One JSON value; bytes in UTF-8.
    lenient : bool
        Take NaN and Infinity, and the last of repeated keys, as `json` does.
    parse_constant : callable, optional
        Reads NaN and Infinity, which are refused by default, as is 1e999.
    parse_float : callable, optional
        Reads a number with a point or an exponent.

    Examples
    --------
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
        ...
    ValueError: 'a' appears twice in one object
    """
    if not isinstance(text, str):
        text = text.decode("utf-8-sig")
    try:
        return _decoder(lenient, parse_constant, parse_float).decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # Python's advice is for programmers
            most = sys.get_int_max_str_digits()
            raise ValueError(f"a whole number of more than {most} digits") from None
        raise


def read_json(
    path: str | os.PathLike[str],
    what: str = "JSON",
    *,
    lenient: bool = False,
    largest: int = LARGEST,
) -> Any:
    """Read a JSON file that a user names, or that is part of what they name.

    Parameters
    ----------
    path : path
        A regular file in UTF-8.
    what : str
        What it should be, for the message: ``a comparison``.
    lenient : bool
        As in `parse_json`; for files that other libraries read too.
    largest : int
        Bytes.
    """
    try:
        check_regular(path)
        size = Path(path).stat().st_size
        if size > largest:
            raise ValueError(f"it has {size} bytes, expected at most {largest}")
        data = Path(path).read_bytes()
        found = parse_json(data, lenient=lenient)
        _check_depth(found, DEEPEST)
        if b"\\u" in data:
            check_characters(json.dumps(found, ensure_ascii=False), "a text")
        return found
    except (OSError, ValueError) as error:
        raise InputError(f"{os.fspath(path)} cannot be read as {what}: {error}") from error


def read_object(path: str | os.PathLike[str], what: str = "a JSON object", **limits: Any) -> Any:
    """Read a JSON object as `read_json` does, and refuse every other value."""
    found = read_json(path, what, **limits)
    if not isinstance(found, dict):
        raise InputError(f"{os.fspath(path)} is {type(found).__name__}; expected a JSON object")
    return found


def flag(found: Mapping[str, Any], name: str, source: object) -> bool:
    """Return true or false as JSON has them; a value that is missing is false.

    Examples
    --------
    >>> flag({"lower": "no"}, "lower", "a.json")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: a.json: lower is 'no'; expected true or false
    """
    value = found.get(name)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{source}: {name} is {value!r}; expected true or false")
    return bool(value)


def read_note(path: Path) -> dict[str, Any]:
    """Return the JSON object that an earlier process left as a memo.

    A memo that is missing, damaged or of another shape says nothing: the answer is empty.
    """
    try:
        return read_object(path, lenient=True)
    except InputError:
        return {}


@lru_cache
def _decoder(lenient: bool, parse_constant: Any, parse_float: Any) -> json.JSONDecoder:
    if lenient:
        return json.JSONDecoder()
    return json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_constant=parse_constant or _refuse,
        parse_float=parse_float or (None if parse_constant else _finite),
    )


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return
    for inner in value:
        if isinstance(inner, (dict, list)):
            _check_depth(inner, left - 1)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large for a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r} appears twice in one object")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the sha256 (hex) of a file's bytes; blank for a pipe or a device, which has no end."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        return ""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(value: Any) -> str:
    """Return the sha256 of a value that JSON has, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
