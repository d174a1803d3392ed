"""What the commands that read a manifest share: the option --root, and what they say of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .manifest import Manifest

ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that relative paths start from; no path may leave it.",
)


def read_clips(
    path: str | os.PathLike, root: str | os.PathLike | None = None, **options: Any
) -> Manifest:
    """Read a manifest for a command, and say on stderr what its reader should know."""
    from .manifest import Manifest

    clips = Manifest.read(path, root, **options)
    echo_notes(clips)
    return clips


def recordings(clips: Manifest) -> Iterator[Path]:
    """Return the files that the clips of a manifest name; they need not be there."""
    return (clips.root / path for path in clips["path"] if path)


def echo_notes(clips: Manifest) -> None:
    """Print on stderr what the reader of a table should know."""
    for note in clips.notes:
        click.echo(f"{clips.source}: {note}", err=True)
