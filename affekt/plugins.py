"""Encoders and heads of other packages: registered here, or by entry points of what is installed.

Nothing is ever imported from the working folder: a name stands for code only if a program
registered it, or if a package that is installed declares it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from affekt.cache.errors import InputError  # pyright: ignore[reportMissingImports]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Plugins:
    """What is known of one kind, by name.

    Parameters
    ----------
    what : str
        For messages: ``"encoder"``, ``"head"``.
    group : str
        The group of entry points, ``"affekt.encoders"``.
    own : callable
        Returns the names of affekt's own, which cannot be taken.
    check : callable
        Called with name and object before it is used; raises `InputError`.
    """

    def __init__(
        self,
        what: str,
        group: str,
        own: Callable[[], tuple[str, ...]],
        check: Callable[[str, Any], None],
    ) -> None:
        self.what, self.group, self.own, self.check = what, group, own, check
        self._found: dict[str, Any] = {}

    def register(self, name: str, thing: Any) -> None:
        """Register a checked `thing` in this process; see `register_encoder`, `register_head`."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"{self.what} name {name!r}; expected letters, digits, '_', '-' and '.', such as "
                f"'my-{self.what}'"
            )
        if name in self.own():
            raise InputError(f"{self.what} {name!r} is one of affekt's own; choose another name")
        if name in self._found and _place(self._found[name]) != _place(thing):
            raise InputError(
                f"{self.what} {name!r} is already registered, as {_place(self._found[name])}; "
                "choose another name"
            )
        self.check(name, thing)
        self._found[name] = thing  # a cell of a notebook may be run again

    def names(self) -> list[str]:
        """Return the names that `get` knows, sorted."""
        return sorted({*self._found, *_declared(self.group)} - {*self.own()})

    def __contains__(self, name: object) -> bool:
        return name not in self.own() and (name in self._found or name in _declared(self.group))

    def is_declared(self, name: str) -> bool:
        """Whether an installed package declares it, so that every process finds it."""
        return name in _declared(self.group)

    def get(self, name: str) -> Any:
        """Return what a name stands for; loaded from its package once."""
        if name in self._found:
            return self._found[name]
        declared = _declared(self.group)[name]
        places = sorted({f"{one.dist.name if one.dist else '?'} ({one.value})" for one in declared})
        if len(places) > 1:
            raise InputError(
                f"{self.what} {name!r} is declared by {' and '.join(places)}; uninstall one of them"
            )
        try:
            thing = declared[0].load()
        except Exception as error:
            raise InputError(
                f"{self.what} {name!r} of the package {places[0]} cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        try:
            self.check(name, thing)
        except InputError as error:
            raise InputError(f"package {places[0]}: {error}") from error
        self._found[name] = thing
        return thing


@cache
def _declared(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for one in entry_points(group=group):
        found.setdefault(one.name, []).append(one)
    return found


def _place(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', repr(thing))}"
