"""Signals that end a process the way Ctrl-C does: through every `finally`, with a code of its own.

Python can lose a signal: it drops an exception that a handler raises while a destructor or a weak
reference's callback runs, and a signal that arrives just before the main thread blocks in a read
waits until that read ends. A thread therefore sends a signal again until it has been handled.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

#: seconds from a signal to the check that the main thread has handled it
PAUSE = 0.1


@contextmanager
def ending() -> Iterator[None]:
    """End on SIGTERM and SIGHUP with exit code 128 + signal; a hangup is ignored under nohup."""
    handled: set[int] = set()
    repeated: set[int] = set()  # sent again
    sending = threading.Lock()

    def end(number: int, frame: object) -> None:
        if number in handled and number in repeated:
            repeated.discard(number)  # the first one came through after all
            return
        handled.add(number)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def send_again() -> None:
        while data := os.read(arrivals, 1):
            time.sleep(PAUSE)
            number = data[0]
            with sending:
                lost = number in previous and number not in handled
                if lost and signal.getsignal(number) is end:
                    repeated.add(number)
                    signal.pthread_kill(main, number)  # which writes to `arrivals` once more
        os.close(arrivals)

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        number = _number_of(unraisable.exc_value)
        if number is None:
            hook(unraisable)
        else:
            handled.discard(number)
            repeated.discard(number)
            os.write(arrived, bytes([number]))

    main = threading.get_ident()
    arrivals, arrived = os.pipe()
    os.set_blocking(arrived, False)
    previous = {number: signal.signal(number, end) for number in _signals()}
    wakeup = signal.set_wakeup_fd(arrived, warn_on_full_buffer=False)
    sys.unraisablehook, hook = dropped, sys.unraisablehook
    watch = threading.Thread(target=send_again, daemon=True)
    watch.start()
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.set_wakeup_fd(wakeup)
        with sending:
            for number, handler in previous.items():
                signal.signal(number, handler)
        os.close(arrived)  # ends the thread


def leave(code: int) -> NoReturn:
    """Leave the process; after a signal without waiting for threads in a long computation."""
    own = (threading.current_thread(), threading.main_thread())
    others = [one for one in threading.enumerate() if one not in own and not one.daemon]
    if code > 128 and others:
        converters = getattr(sys.modules.get("h5py"), "_unregister_converters", None)
        if converters is not None:  # a thread may be reading with what this takes away
            atexit.unregister(converters)
        with suppress(Exception):  # what other libraries clean up
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _signals() -> list[signal.Signals]:
    """Return the signals to handle."""
    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signals.append(signal.SIGINT)
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signals.append(hangup)
    return signals


def _number_of(error: BaseException | None) -> int | None:
    """Return the signal that raised an error."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return error.code - 128
    return None


def _forget_the_parent() -> None:
    """In a fork: do not report signals to the parent's thread."""
    with suppress(ValueError):  # forked from another thread
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parent)


def import_nothing_from_here() -> None:
    """Keep modules in the working folder, a user's ``json.py``, out of this and child processes.

    ``python -m`` and a blank entry of ``PYTHONPATH`` put that folder first. This can only do
    something about what is imported later.
    """
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # it was removed
        return
    sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) != here]
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [place for place in places if place and os.path.realpath(place) != here]
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    os.environ["PYTHONSAFEPATH"] = "1"  # read by every Python that is started from here
