"""A line every 30 seconds where there is no terminal, so that a log shows progress."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 30.0  # seconds of silence


class Heartbeat:
    """Pass lines on; after 30 seconds without any, repeat what is being done and since when.

    Parameters
    ----------
    progress : callable
        Writes a line.
    clock : callable, optional
        Gives seconds.
    written : callable, optional
        When something else was written last, on the same clock: a progress bar, say.

    Examples
    --------
    >>> times = iter([0.0, 0.0, 20.0, 31.0, 40.0, 61.5])
    >>> beats = Heartbeat(print, clock=lambda: next(times))
    >>> beats.write_line("comparing")
    comparing
    >>> for _ in range(4):
    ...     beats.beat()
    still comparing, for 31 s
    still comparing, for 62 s
    """

    def __init__(
        self,
        progress: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        written: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._write, self._clock, self._written = progress, clock, written
        self._doing, self._since = "at work", clock()
        self._last = self._since

    def write_line(self, line: str) -> None:
        """Write a line, which says what is being done from now on."""
        self._doing, self._since = line, self._clock()
        self._last = self._since
        self._write(line)

    def beat(self) -> None:
        """Write a line if there was none for 30 seconds."""
        now = self._clock()
        if now - max(self._last, self._written()) >= EVERY:
            self._last = now
            self._write(f"still {self._doing}, for {now - self._since:.0f} s")


@contextmanager
def heartbeat(progress: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes lines, with heartbeats between them unless on a terminal."""
    if sys.stderr.isatty():
        yield progress
        return
    beats = Heartbeat(progress, written=lambda: getattr(sys.stderr, "written", 0.0))
    ended = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(ended, beats.beat), daemon=True)
    thread.start()
    try:
        yield beats.write_line
    finally:
        ended.set()
        thread.join()


def _beat_until(ended: threading.Event, beat: Callable[[], None]) -> None:
    while not ended.wait(1.0):
        beat()
