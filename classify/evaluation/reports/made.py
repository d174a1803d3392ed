"""By what, when and where a report was made."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from affekt.processors import processors

LONGEST = 500  # characters of a command


def made() -> dict[str, Any]:
    """Return affekt's version, the time in UTC, the command (None from Python) and the machine.

    Examples
    --------
    >>> sorted(made())
    ['affekt', 'command', 'date', 'machine']
    """
    try:
        affekt = version("affekt")
    except PackageNotFoundError:  # run from its sources
        affekt = "unknown"
    context = click.get_current_context(silent=True)
    own = context is not None and context.find_root().obj  # a command, in a process of its own
    command = shlex.join(["affekt", *sys.argv[1:]]) if own else None
    if command and len(command) > LONGEST:
        command = f"{command[:LONGEST]}…"
    parts = [platform.system(), platform.machine(), f"{processors()} processors"]
    return {
        "affekt": affekt,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "machine": ", ".join([*parts, f"Python {platform.python_version()}"]),
    }
