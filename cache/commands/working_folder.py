"""Python files in the working folder are its user's: no command imports them."""

from __future__ import annotations

import os
import sys


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
