"""Signals that end a process the way Ctrl-C does: through every `finally`, with a code of its own.

Python can lose a signal. It drops an exception that a handler raises while a destructor or a weak
reference's callback runs; C code, the compiler's too, clears errors that it did not expect; and a
signal that arrives just before the main thread blocks in a read waits until that read ends. A
thread therefore sends a signal again as long as its exception is not on its way.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

#: seconds from a signal to the check that the main thread handles it
PAUSE = 0.1


class _Ended(SystemExit):
    """What a signal raises; unlike `SystemExit`, it can have a weak reference."""


@contextmanager
def ending() -> Iterator[None]:
    """End on SIGTERM and SIGHUP with exit code 128 + signal; a hangup is ignored under nohup."""
    raised: dict[int, Callable[[], object]] = {}  # signal -> what it raised, None if that is gone
    repeated: set[int] = set()  # sent again
    sending = threading.Lock()

    def on_its_way(number: int) -> bool:
        return number in raised and raised[number]() is not None

    def new_error(number: int) -> BaseException:
        if number == signal.SIGINT:  # the catcher may want to continue; C code lets it pass
            raised[number] = lambda: KeyboardInterrupt
            return KeyboardInterrupt()
        error = _Ended(128 + number)
        raised[number] = weakref.ref(error)
        return error

    def end(number: int, frame: object) -> None:
        if number in repeated and on_its_way(number):
            repeated.discard(number)  # the first one was handled after all
            return
        raise new_error(number)  # the traceback would keep a variable of this frame alive

    def send_again() -> None:
        came: set[int] = set()
        while True:
            data = b""
            if select.select([arrivals], [], [], PAUSE if came else None)[0]:
                data = os.read(arrivals, 100)
                if not data:
                    break
            with sending:
                # a handler that other code installed is responsible for its own signals
                came = {number for number in came.union(data) if signal.getsignal(number) is end}
                for number in came.difference(data):
                    if not on_its_way(number):
                        repeated.add(number)
                        signal.pthread_kill(main, number)
        os.close(arrivals)

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        number = _number_of(unraisable.exc_value)
        if number is None:
            hook(unraisable)
        else:
            raised.pop(number, None)

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


@contextmanager
def not_hidden() -> Iterator[None]:
    """Raise what a signal raised also where an error of a clean-up took its place.

    `shutil.rmtree`, for one, closes a handle twice if a signal arrives just after it was closed.
    """
    try:
        yield
    except OSError as error:
        before = error.__context__
        while before is not None:
            if _number_of(before) is not None:
                raise before from None
            before = before.__context__
        raise


def leave(code: int) -> NoReturn:
    """Leave the process; after a signal without waiting for threads in a long computation.

    Python itself would end with a signal in place of the code where a `KeyboardInterrupt` went
    through an `exec`, as when a dataclass is made.
    """
    if code > 128:
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
