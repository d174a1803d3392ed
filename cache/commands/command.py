"""The classes of all commands: one value for one option, and ~ in a path is the home folder."""

from __future__ import annotations

import os
from copy import copy
from typing import Any

import click

from ..errors import InputError, listed


class Command(click.Command):
    """A command that refuses two values of an option that takes one; click keeps the last.

    The same value twice does no harm, nor does a flag.

    Examples
    --------
    >>> train = Command("train", params=[click.Option(["--seed", "-s"])])
    >>> train.make_context("train", ["--seed", "1", "-s2"])
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: --seed was given 2 values: '1', '2'; expected one. Leave out ...
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments as click does, then look whether a value was lost."""
        given = list(args)  # the parser empties the list
        rest = super().parse_args(ctx, args)  # --help ends here
        if not ctx.resilient_parsing:
            self._refuse_second_values(ctx, given)
        for param in self.params:
            if isinstance(param.type, click.Path) and param.name in ctx.params:
                ctx.params[param.name] = _at_home(ctx.params[param.name])
        return rest

    def _refuse_second_values(self, ctx: click.Context, args: list[str]) -> None:
        singles = {
            option.name: copy(option)
            for option in self.params
            if isinstance(option, click.Option)
            and not (option.multiple or option.is_flag or option.count)
        }
        for option in singles.values():
            option.multiple = True  # the parser keeps every value
        params = [singles.get(param.name, param) for param in self.params]
        values, _, _ = click.Command(self.name, params=params).make_parser(ctx).parse_args(args)
        for name, option in singles.items():
            found = list(dict.fromkeys(values.get(name or "") or []))
            if len(found) > 1:
                raise InputError(
                    f"{max(option.opts, key=len)} was given {len(found)} values: "
                    f"{listed(list(map(repr, found)))}; expected one. Leave out the others, or run "
                    "the command once for each"
                )


def _at_home(value: Any) -> Any:
    """Expand ``~``, which a shell leaves alone in ``--cache=~/my.cache``."""
    if isinstance(value, tuple):
        return tuple(map(_at_home, value))
    if not str(value).startswith("~") or os.path.lexists(value):
        return value
    return type(value)(os.path.expanduser(value))  # noqa: PTH111 - text stays text


class Group(click.Group):
    """A group whose commands are of this kind."""

    command_class = Command
