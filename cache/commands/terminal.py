"""Standard streams through which foreign names and labels cannot control the terminal."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError

if TYPE_CHECKING:
    from ..manifest.manifest import Manifest

#: control characters other than line feed and tab, and marks that turn the direction of a line
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

#: what stands out on a terminal; each colour has a contrast of 3.8 or more with black and white
GREEN, ORANGE, RED, BOLD = "38;5;28", "38;5;130", "38;5;160", "1"
PAINTED = {
    re.compile(r"^(affekt|Error):|^  WRONG\b", re.MULTILINE): f"{BOLD};{RED}",
    re.compile(r"^warning:|^  note\b", re.MULTILINE): f"{BOLD};{ORANGE}",
    re.compile(r"^.+(?=\n-{3,}$)", re.MULTILINE): BOLD,  # the head of a table
    re.compile(r"^.+ \*(?=  ).*$", re.MULTILINE): f"{BOLD};{GREEN}",  # the system that dev chose
}


def visible(text: str) -> str:
    r"""Return text with control characters written as Python would escape them.

    Examples
    --------
    >>> print(visible("\x1b[31mred\x1b[0m\n"), end="")
    \x1b[31mred\x1b[0m
    """
    return HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def painted(text: str) -> str:
    r"""Return text with colours where `PAINTED` has them.

    Examples
    --------
    >>> painted("warning: 3 clips")
    '\x1b[1;38;5;130mwarning:\x1b[0m 3 clips'
    """
    for pattern, colour in PAINTED.items():
        text = pattern.sub(lambda match, colour=colour: f"\x1b[{colour}m{match[0]}\x1b[0m", text)
    return text


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: 2 for a Chinese character.

    Examples
    --------
    >>> width_of("joy"), width_of("喜悦"), width_of("e\u0301")
    (3, 4, 1)
    """
    marks = ("Mn", "Me", "Cf")  # take no place of their own
    shown = [one for one in text if unicodedata.category(one) not in marks]
    return len(shown) + sum(unicodedata.east_asian_width(one) in "FW" for one in shown)


def aligned(rows: Sequence[Sequence[str]], left: int | None = None) -> list[str]:
    """Return a line for each row of a table, in columns of equal width.

    Parameters
    ----------
    rows : sequence of sequence of str
        The header first; each row has a cell for each column.
    left : int, optional
        How many of the first columns are left-aligned; all of them by default.

    Examples
    --------
    >>> aligned([["system", "clips"], ["mean", "7"], ["喜悦", "8"]], left=1)
    ['system  clips', 'mean        7', '喜悦        8']
    """
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    left = len(widths) if left is None else left

    def padded(at: int, cell: str) -> str:
        blanks = " " * (widths[at] - width_of(cell))
        return cell + blanks if at < left else blanks + cell

    return ["  ".join(padded(*one) for one in enumerate(row)).rstrip() for row in rows]


def print_json(value: Any, indent: int | None = None) -> None:
    """Print JSON; hidden characters, and those that stdout cannot encode, as JSON escapes them."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=not unicode)
    click.echo(HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def print_result(value: Any, text: str, as_json: bool, indent: int | None = None) -> None:
    """Print a result as JSON, or the text that says the same."""
    if as_json:
        print_json(value, indent)
    else:
        click.echo(text)


def named_values(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return the values of an option that is repeated, by name.

    Examples
    --------
    >>> named_values("--set", ["C=0.1", "tol=1e-4"])
    {'C': '0.1', 'tol': '1e-4'}
    """
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or name in found:
            raise InputError(f"{option} {text!r}; expected NAME=VALUE, each name once")
        found[name] = value
    return found


def open_streams() -> None:
    """Open the null device for each standard stream that the caller closed.

    A file that is opened later would get its number, and whatever a library prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def has_colours(stream: io.TextIOBase) -> bool:
    """Return whether a stream is a terminal whose user wants colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class PlainStream(io.TextIOWrapper):
    r"""A text stream that escapes control characters; characters it cannot encode, too.

    On a terminal that has colours it paints what begins as an error or a warning does, the head
    of a table and the chosen row: no text that is written can ask for a colour of its own.

    Parameters
    ----------
    stream : io.TextIOWrapper
        The stream whose buffer is written to.
    progress : bool
        The stream shows progress: let through the carriage return that begins a progress bar, and
        drop what a full disk or a closed pipe does not take, since the work continues.

    Examples
    --------
    >>> under = io.BytesIO()
    >>> stream = PlainStream(io.TextIOWrapper(under, encoding="ascii"))
    >>> _ = stream.write("\x1b[2J \u00e9")
    >>> stream.flush()
    >>> print(under.getvalue().decode())
    \x1b[2J \xe9
    """

    def __init__(self, stream: io.TextIOWrapper, *, progress: bool = False) -> None:
        buffer: Any = stream.buffer
        super().__init__(  # a buffer would keep what was not taken, and fail again at the exit
            getattr(buffer, "raw", buffer) if progress else buffer,
            encoding=stream.encoding,
            errors="backslashreplace",
            newline="\n" if progress else None,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._under = stream  # which would close the buffer if it were deleted
        self._progress = progress
        self._colours = has_colours(stream)
        self.written = 0.0  # time of the last write, on the monotonic clock

    def erase(self, lines: int) -> None:
        """Erase the last lines of a terminal; the next ones replace them."""
        super().write(f"\x1b[{lines}A\r\x1b[J")

    def write(self, text: Any, /) -> int:
        """Write text; return the number of its characters."""
        self.written = time.monotonic()
        bar = self._progress and text.startswith("\r")
        shown = "\r" + visible(text[1:]) if bar else visible(text)
        try:
            super().write(painted(shown) if self._colours else shown)
        except OSError:
            if not self._progress:
                raise
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:  # without a name of this module: at the exit, Python calls this when those are gone
            super().flush()
        except OSError:
            if not self._progress:
                raise


PATH = click.Path(path_type=Path)
ROOT = click.option(
    "--root",
    type=PATH,
    metavar="DIR",
    help="Folder that paths are relative to; no path may leave it.",
)

JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def choice(name: str, words: Sequence[str], help: str) -> Callable[[Any], Any]:
    """Return an option that takes one of some words, by default the first."""
    kind = click.Choice(words)
    return click.option(name, type=kind, default=words[0], show_default=True, help=help)


def read_clips(
    path: str | os.PathLike, root: str | os.PathLike | None = None, **options: Any
) -> Manifest:
    """Read a manifest for a command, and say on stderr what its reader should know."""
    from ..manifest.manifest import Manifest

    clips = Manifest.read(path, root, **options)
    echo_notes(clips)
    return clips


def recordings(clips: Manifest) -> Iterator[Path]:
    """Return the files that the clips of a manifest name; they need not be there."""
    return (clips.root / path for path in clips["path"] if path)


def echo_notes(clips: Manifest) -> None:
    """Print on stderr what the reader of a table should know."""
    for note in clips.notes:
        click.echo(f"{clips.source}: {note}", err=True)
