"""The classes of all commands: one value for one option, ~ in paths, options in messages."""

from __future__ import annotations

import re
from copy import copy
from typing import Any

import click

from ..errors import PARAMETER, InputError, listed
from ..files.home_folder import at_home


class Command(click.Command):
    """A command that refuses two values of an option that takes one; click keeps the last.

    The same value twice counts once, also of an option that is repeated.

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
            name, given = str(param.name), ctx.params.get(str(param.name))
            if given and isinstance(param.type, click.Path):
                several = isinstance(given, tuple)
                ctx.params[name] = tuple(map(at_home, given)) if several else at_home(given)
            if given and isinstance(param, click.Option) and param.multiple:
                ctx.params[name] = tuple(dict.fromkeys(ctx.params[name]))
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it refuses is said in its options."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            error.args = (self.in_options(str(error)),)
            raise

    def in_options(self, message: str) -> str:
        """Return a message with options of this command for its parameters, see `PARAMETER`.

        Examples
        --------
        >>> cut = Command("cut", params=[click.Option(["--share", "test_size"])])
        >>> cut.in_options("`test_size=2`; expected `test_size` below 1, or `scheme='auto'`")
        "--share 2; expected --share below 1, or `scheme='auto'`"
        """
        options = {
            str(param.name): max(param.opts, key=len)
            for param in self.params
            if isinstance(param, click.Option)
        }

        def option(found: re.Match[str]) -> str:
            name, value = found[1], re.sub(r"^\[?'?|'?\]?$", "", found[2] or "")
            if name not in options:
                return found[0]
            return options[name] + f" {value}" * (value not in ("", "True"))

        return PARAMETER.sub(option, message)

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


class Group(click.Group):
    """A group whose commands are of this kind."""

    command_class = Command
