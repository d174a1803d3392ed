"""Signals that end a process the way Ctrl-C does: through every `finally`, with a code of its own.

Python drops an exception that a signal handler raises while a destructor or a weak reference's
callback runs. The signal is then sent again, so that it is never lost.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

__all__ = ["ending", "leave"]


@contextmanager
def ending() -> Iterator[None]:
    """End on SIGTERM and SIGHUP with exit code 128 + signal; a hangup is ignored under nohup."""
    previous = {number: signal.signal(number, _terminate) for number in _signals()}
    sys.unraisablehook, hook = _ask_again, sys.unraisablehook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """Leave the process; after a signal without waiting for threads in a long computation."""
    own = (threading.current_thread(), threading.main_thread())
    others = [one for one in threading.enumerate() if one not in own and not one.daemon]
    if code > 128 and others:
        with suppress(Exception):  # what other libraries clean up
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _signals() -> list[signal.Signals]:
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _ask_again(unraisable: sys.UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    if isinstance(error, KeyboardInterrupt):
        number = signal.SIGINT
    elif isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        number = signal.Signals(error.code - 128)
    else:
        sys.__unraisablehook__(unraisable)
        return
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
