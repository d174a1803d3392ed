"""Import scikit-learn without modules that linear models never call, in our own commands.

scikit-learn imports scipy.stats for three functions and pandas for none: half of the second that
its import takes. In the process of a command, scipy.stats is imported when one of the functions is
called. A program that imports affekt is left alone: another of its threads may need either.

Ctrl-C waits for the import: pandas stays broken in a process in which it was half imported.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_own = False


def in_own_process() -> None:
    """Mark this process as one of a command."""
    global _own
    _own = True


@contextmanager
def lean() -> Iterator[None]:
    """Import scikit-learn, inside, without scipy.stats and pandas; no effect once they are there.

    Examples
    --------
    >>> with lean():
    ...     import sklearn.preprocessing
    """
    names = ("scipy.stats", "pandas") if _own else ()
    stands_in = {name: _stand_in(name) for name in names if name not in sys.modules}
    sys.modules.update(stands_in)  # pyright: ignore[reportCallIssue, reportArgumentType]
    try:
        with _uninterrupted():
            yield
    finally:
        for name, module in stands_in.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block; in other threads it waits anyway."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is None:  # one that is not Python's
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _stand_in(name: str) -> ModuleType | None:
    return _Later(name) if name == "scipy.stats" else None  # None: it cannot be imported


class _Later(ModuleType):
    """A module that is imported when something that was taken from it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Attribute(self.__name__, name)


class _Attribute:
    """What was taken from such a module."""

    def __init__(self, module: str, name: str) -> None:
        self._where = module, name

    def _found(self) -> Any:
        module, name = self._where
        return getattr(import_module(module), name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._found()(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)
