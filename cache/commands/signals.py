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
import time
import traceback
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
    threading.Thread(target=_send_again, args=(number,), daemon=True).start()


def _send_again(number: int) -> None:
    """Send a signal once the main thread has left `_ask_again`, where it would be dropped again."""
    main = threading.main_thread().ident or 0
    while any(
        frame.f_code is _ask_again.__code__
        for frame, _ in traceback.walk_stack(sys._current_frames()[main])
    ):
        time.sleep(0.01)
    os.kill(os.getpid(), number)
