"""Processes that end with their test, so that no test waits forever and none leaves one behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

SECONDS = 240.0  # before `faulthandler_timeout` of the Makefile ends the test's own process


@contextmanager
def started(words: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process, and kill it and those of its group in the end, or after some minutes.

    Whoever reads its output then comes to the end of it.
    """
    with subprocess.Popen(words, text=True, start_new_session=True, **options) as process:

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        watchdog = threading.Timer(SECONDS, kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            kill()
