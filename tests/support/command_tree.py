"""Every command of the program, with its words."""

from __future__ import annotations

from collections.abc import Iterator

import click
from affekt.classify.cli import affekt


def every_command(
    group: click.Command = affekt, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the words of every command of the tree, and the command."""
    if not isinstance(group, click.Group):
        yield words, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from every_command(found, (*words, name))
