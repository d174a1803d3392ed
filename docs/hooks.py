"""Hooks of mkdocs: the names that the sources install as, and the commands as they print help."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cache", "extract", "classify")
COMMANDS = "<!-- commands -->"
_KEPT = tempfile.TemporaryDirectory(prefix="affekt-docs-")  # as long as mkdocs runs


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    """Show mkdocstrings the folders as `affekt.cache`, `affekt.extract` and `affekt.classify`."""
    place = Path(_KEPT.name, "affekt")
    if not place.exists():
        place.mkdir()
        for source in [*(ROOT / "affekt").glob("*.py"), *map(ROOT.joinpath, PACKAGES)]:
            (place / source.name).symlink_to(source)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_KEPT.name]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help of every command in the place of `COMMANDS`."""
    if COMMANDS not in markdown:
        return markdown
    from affekt.classify.cli import affekt

    return markdown.replace(COMMANDS, "\n".join(_helps(affekt, "affekt", None)))


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command, parent=parent, info_name=name.split()[-1], max_content_width=88
    )
    level = "##" if len(name.split()) < 3 else "###"
    yield f"{level} `{name}`\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            if found := command.get_command(context, word):
                yield from _helps(found, f"{name} {word}", context)
