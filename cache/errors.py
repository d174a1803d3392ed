"""What can go wrong, by name.

Every error of affekt says what was given, what was expected and what to do about it. Each carries
the exit code that the command line answers with, and also inherits the builtin that a Python caller
would catch.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MISSHAPEN = (TypeError, AttributeError, ValueError, IndexError, ArithmeticError, RecursionError)


class AffektError(Exception):
    """Anything that affekt reports itself; the command line exits with ``exit_code``.

    Examples
    --------
    >>> AffektError.exit_code, InputError.exit_code, issubclass(InputError, ValueError)
    (1, 2, True)
    """

    exit_code = 1


#: a parameter in a message, with or without its value: `n_splits`, `n_splits=9`
PARAMETER = re.compile(r"`(\w+)(?:=([^`]*))?`")


class InputError(AffektError, ValueError):
    """Wrong input, found before any work was done."""

    exit_code = 2


class SpecError(InputError):
    """Two specs differ where they must agree; the message lists the fields, here and there.

    Parameters
    ----------
    message : str
    count : int
        How many fields differ, where it is known.
    """

    def __init__(self, message: str, count: int = 0):
        super().__init__(message)
        self.count = count


class DamagedError(AffektError, OSError):
    """A stored file is not what was written: a checksum or its structure is wrong."""


class NewerError(DamagedError):
    """A stored file has a format that this affekt does not know yet; nothing says it is damaged."""


class MissingError(AffektError, KeyError):
    """Rows that were asked for are not stored.

    Parameters
    ----------
    message : str
        What is missing, and the command that computes it.
    ids : sequence of str
        The ids of the clips without a row, in the order in which they were asked for.

    Examples
    --------
    >>> error = MissingError("1 of 2 clips is not stored: b", ["b"])
    >>> str(error), error.ids, isinstance(error, KeyError)
    ('1 of 2 clips is not stored: b', ['b'], True)
    """

    def __init__(self, message: str, ids: Sequence[str] = ()):
        super().__init__(message)
        self.ids = list(ids)

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return str(self.args[0])

    def __reduce__(self):
        return type(self), (self.args[0], self.ids)


class CanaryError(AffektError):
    """An encoder computes differently today than when its space was made.

    Parameters
    ----------
    message : str
        Which layers moved, how far, and what may be done.
    layers : sequence of int
        The layers that moved.

    Examples
    --------
    >>> CanaryError("layer 24 moved by 0.32", [24]).layers
    [24]
    """

    def __init__(self, message: str, layers: Sequence[int] = ()):
        super().__init__(message)
        self.layers = list(layers)

    def __reduce__(self):
        return type(self), (self.args[0], self.layers)


@contextmanager
def shaped(source: object, expected: str) -> Iterator[None]:
    """Turn what nested data of another shape raises where it is used into an `InputError`.

    Parameters
    ----------
    source : object
        The file.
    expected : str
        What it should be, and what to do.

    Examples
    --------
    >>> with shaped("a.json", "a list of names"):
    ...     {"names": 3}["names"][0]
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: a.json: 'int' object is not subscriptable; ...
    """
    try:
        yield
    except AffektError:
        raise
    except KeyError as error:
        raise InputError(f"{source}: {error} is missing; expected {expected}") from error
    except MISSHAPEN as error:
        raise InputError(f"{source}: {error}; expected {expected}") from error


def check_characters(text: str, place: object) -> None:
    r"""Refuse a lone surrogate, as JSON can hold: UTF-8 has no bytes for it.

    Examples
    --------
    >>> check_characters("joy\ud800", "a.json")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: a.json: '\ud800' is a lone surrogate (half a character);
    expected text
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = text[error.start]
        raise InputError(
            f"{place}: {found!r} is a lone surrogate (half a character); expected text"
        ) from None


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the end of an error message that names the choice most like `word`, or nothing.

    Examples
    --------
    >>> nearest("speeker", ["speaker", "label"])
    " Did you mean 'speaker'?"
    >>> nearest("xyz", ["speaker", "label"]), nearest("c", ["C", "on"])
    ('', " Did you mean 'C'?")
    """
    folded = {choice.casefold(): choice for choice in reversed([*choices])}  # the first spelling
    like = 0.6 if len(str(word)) > 1 else 1  # a letter is like any short word
    found = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=like)
    return f" Did you mean {folded[found[0]]!r}?" if found else ""


def is_url(path: Path) -> bool:
    """Whether what should be a path is a URL, of which `Path` kept one slash.

    Examples
    --------
    >>> is_url(Path("https://example.org/a.csv")), is_url(Path("C:/a.csv"))
    (True, False)
    """
    return bool(re.match("[a-z][a-z0-9+.-]+:/", str(path)))


def nearest_beside(path: Path) -> str:
    """Return `nearest` among the names in the folder of a file that is not there."""
    if is_url(path):
        return " Expected a file on this machine, not a URL"
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    return nearest(path.name, [name for name in names if name != path.name])  # a dead link


def one_of(value: object, choices: Iterable[str | bool | None], what: str) -> None:
    """Raise `InputError` unless `value` is one of `choices`.

    Examples
    --------
    >>> one_of("frist", ("first", "mean"), "pooling")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: `pooling` is 'frist'; expected one of first, mean. Did you ...
    """
    known = list(choices)
    if not isinstance(value, str | bool | None) or value not in known:
        raise InputError(f"`{what}` is {value!r}; {expected_one_of(value, known)}")


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, whole: bool = False
) -> None:
    """Raise `InputError` unless `value` is a finite number from `low` to `high`.

    Examples
    --------
    >>> check_number("dropout", 1.5, 0, 1)
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: `dropout` is 1.5; expected a finite number from 0 to 1
    >>> check_number("random_state", -1, 0, 2**32 - 1, whole=True)
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: `random_state` is -1; ... whole number from 0 to 4294967295
    """
    kinds: Any = numbers.Integral if whole else numbers.Real
    known = isinstance(value, kinds) and not isinstance(value, bool)
    if not known or not low <= value <= min(high, sys.float_info.max):
        kind = "a whole number" if whole else "a finite number"
        limit = f"of at least {low:g}" if math.isinf(high) else f"from {low:.10g} to {high:.10g}"
        raise InputError(f"`{name}` is {value!r}; expected {kind} {limit}{as_number(value)}")


def as_number(value: Any) -> str:
    """Return how to write a text that reads as a number, for a message; nothing for others.

    Examples
    --------
    >>> as_number("0,01"), as_number("30%"), as_number("5"), as_number("many"), as_number(-1)
    ('; write 0.01', '; write 0.3', '; write 5 without quotation marks', '', '')
    """
    text = value.replace(",", ".") if isinstance(value, str) else ""
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return ""
    quoted = "" if text != value or "%" in text else " without quotation marks"
    return f"; write {number:.10g}{quoted}" if math.isfinite(number) else ""


def expected_one_of(value: object, choices: Iterable[str | bool | None]) -> str:
    """Return the end of an error message that lists the choices and names the nearest.

    Examples
    --------
    >>> expected_one_of("speeker", ["speaker", "label", None])
    "expected one of speaker, label, None. Did you mean 'speaker'?"
    """
    words = [str(choice) for choice in choices]
    return f"expected one of {', '.join(words)}.{nearest(str(value), words)}"


def in_shell(word: object) -> str:
    """Return a path or a name as it is typed in a shell.

    Examples
    --------
    >>> in_shell(Path("my corpus/clips.csv"))
    "'my corpus/clips.csv'"
    """
    return shlex.quote(str(word))


def listed(words: Sequence[str], limit: int = 5) -> str:
    r"""Return the first few words for an error message, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    >>> listed(["an id with a line\nof its own"])  # which may not look like a message of ours
    'an id with a line\\nof its own'
    """
    head = ", ".join(one_line(str(word)) for word in words[:limit])
    return head if len(words) <= limit else f"{head} and {len(words) - limit} more"


def one_line(name: str) -> str:
    r"""Return an id, a path or another name from a user, for a line of a message.

    Examples
    --------
    >>> one_line("an id with a line\nof its own")
    'an id with a line\\nof its own'
    """
    return name.replace("\n", r"\n")


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error of another library, without colours.

    Examples
    --------
    >>> first_line(ValueError("\n  bad header  \ndetails"))
    'bad header'
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return next((line.strip() for line in plain.splitlines() if line.strip()), "")


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, in the plural unless it is one.

    Examples
    --------
    >>> counted(1, "shard"), counted(0, "shard")
    ('1 shard', '0 shards')
    """
    return f"{count} {noun}{'s' * (count != 1)}"


def folder_name(path: Path) -> str:
    """Return a folder for a sentence, where the one of ``.`` would be read as its end.

    Examples
    --------
    >>> folder_name(Path(".")), folder_name(Path("wav"))
    ('this folder', 'wav')
    """
    return "this folder" if str(path) == "." else str(path)
