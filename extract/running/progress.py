"""Progress of an extraction on stderr: clips, audio seconds per second, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

#: Called with the clips and the seconds of audio that were done since the last call.
Report = Callable[[int, float], None]

_EVERY = {True: 0.2, False: 30.0}  # seconds between lines: on a terminal, and in a log file


class Progress:
    """Called with what was done since the last call; writes a line from time to time.

    Parameters
    ----------
    total : int
        Clips to do.
    what : str
        Said first in the line.
    audio : bool
        Whether seconds of audio are counted, or only clips.
    stream : file, optional
        stderr by default. A terminal and a notebook show one line that changes; a log gets a line
        each 30 s.
    clock : callable, optional
        Gives seconds.

    Examples
    --------
    >>> import io
    >>> log = io.StringIO()
    >>> times = iter([0.0, 40.0, 50.0])
    >>> progress = Progress(4, "ngram", audio=False, stream=log, clock=lambda: next(times))
    >>> progress(2, 0.0); progress.end()
    >>> print(log.getvalue(), end="")
    ngram: 2/4 clips (50 %), 0.05 clips/s, 40 s left
    ngram: 2/4 clips (50 %), 0.04 clips/s, 50 s left
    """

    def __init__(
        self,
        total: int,
        what: str,
        *,
        audio: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.what, self.audio = total, what, audio
        self.stream = stream or sys.stderr
        self.terminal = is_live(self.stream)
        self.clock = clock
        self.begin = self.shown = clock()
        self.clips, self.seconds, self.width = 0, 0.0, 0

    def __call__(self, clips: int, audio_seconds: float) -> None:
        """Count clips and seconds of audio that are done."""
        self.clips += clips
        self.seconds += audio_seconds
        now = self.clock()
        if now - self.shown >= _EVERY[self.terminal]:
            self.shown = now
            self._write(now)

    def end(self) -> None:
        """Write the last line."""
        self._write(self.clock())
        if self.terminal:
            self.stream.write("\n")

    def _write(self, now: float) -> None:
        line = self._line(max(now - self.begin, 1e-3))
        if self.terminal:
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def _line(self, spent: float) -> str:
        share = 100 * self.clips // self.total if self.total else 100
        rate = self.clips / spent
        parts = [f"{self.what}: {self.clips}/{self.total} clips ({share} %)"]
        if self.audio:
            parts.append(f"{self.seconds / spent:.3g} s of audio per s")
        else:
            parts.append(f"{rate:.3g} clips/s")
        if self.clips < self.total:
            left = human_time((self.total - self.clips) / rate) if rate else "unknown time"
            parts.append(f"{left} left")
        return ", ".join(parts)


def is_live(stream: TextIO) -> bool:
    """Whether a line can be written over: on a terminal, and in a cell of a notebook."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")


def human_time(seconds: float) -> str:
    """Return a length of time in two units at most.

    Examples
    --------
    >>> human_time(0.4), human_time(9.7), human_time(75), human_time(7300), human_time(200_000)
    ('0.4 s', '10 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 9.5:
        return f"{seconds:.1g} s"
    whole = round(seconds)
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count:
            parts.append((name, f"{count} {name}"))
    return " ".join(text for _, text in parts[:2])
