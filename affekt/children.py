"""Child processes that run this Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def start_child(
    arguments: list[str], environment: Mapping[str, str], **options: Any
) -> subprocess.Popen[Any]:
    """Start this Python with other arguments.

    It finds the modules that this process finds, and none in the folder that it is started in.
    Ctrl-C does not reach it.
    """
    here = os.path.realpath(os.curdir)
    paths = [path for path in sys.path if path and os.path.realpath(path) != here]
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
        **options,
    )


def exit_status(child: subprocess.Popen[Any], seconds: float) -> int:
    """Return how a child ended; it is killed if it is still running after some seconds."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
