"""A table of a run's members on a terminal: state, score on dev, time left; lines go above it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ....cache.commands.terminal import PlainStream, visible

MOST = 15  # rows; a longer table would not fit below the lines
ENDED = ("kept", "done")


class MemberTable:
    """Members and their state, drawn again at every change.

    Parameters
    ----------
    stream : PlainStream
        Of a terminal.
    """

    def __init__(self, stream: PlainStream) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._rows: dict[str, tuple[str, str, str]] = {}
        self._height = 0  # lines on the screen that the next drawing replaces

    def show(
        self, name: str, state: str, score: float | None = None, left: float | None = None
    ) -> None:
        """Change a row.

        Parameters
        ----------
        name : str
        state : str
            waiting, training, kept or done.
        score : float, optional
            UAR or CCC on dev; the one before stays where it is not known.
        left : float, optional
            Seconds until the network that is trained has had all of its epochs.
        """
        with self._lock:
            name = visible(name)
            before = self._rows.get(name, ("", "", ""))[1]
            shown = before if score is None else f"{score:.3f}"
            self._rows[name] = (state, shown, "" if left is None else _time(left))
            self._draw()

    def write_line(self, line: str) -> None:
        """Write a line above the table; below it, once all members have ended."""
        with self._lock:
            if all(state in ENDED for state, _, _ in self._rows.values()):
                self._rows, self._height = {}, 0
            self._erase()
            self._stream.write(line + "\n")
            self._draw()

    def _erase(self) -> None:
        if self._height:
            self._stream.erase(self._height)
            self._height = 0

    def _draw(self) -> None:
        self._erase()
        if self._rows and len(self._rows) <= MOST:
            cells = [("member", "state", "dev", "left"), *((n, *r) for n, r in self._rows.items())]
            width = max(len(row[0]) for row in cells)
            for name, state, score, left in cells:
                text = f"{name:<{width}}  {state:<8}  {score:>5}  {left}"
                self._stream.write(text.rstrip() + "\n")
            self._height = len(cells)
        self._stream.flush()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@contextmanager
def member_table(
    progress: Callable[[str], None],
) -> Iterator[tuple[Callable[[str], None], Callable[..., Any]]]:
    """Yield what writes lines, and what shows members: nothing unless stderr is a terminal.

    Parameters
    ----------
    progress : callable
        Writes a line where there is no table.
    """
    stream = sys.stderr
    if isinstance(stream, PlainStream) and stream.isatty():
        table = MemberTable(stream)
        yield table.write_line, table.show
    else:
        yield progress, lambda *row: None
