"""The folder that a run left: whether a place is one, what it compared, what to call a model."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ...cache.errors import InputError

__all__ = ["is_run", "read_comparison", "readable_name"]

#: names of folders that say nothing of the model in them
_PLAIN = re.compile(r"(best|checkpoint|final|model|out(put)?)([-_]?\d+)?|\d+|")


def readable_name(place: str | os.PathLike[str]) -> str:
    """Return what to call the model in a folder: its name, or that of a folder above it.

    Examples
    --------
    >>> readable_name("models/valence"), readable_name("out/members/speech-lr/model")
    ('valence', 'speech-lr')
    >>> readable_name("lab/valence")
    'valence'
    """
    path = Path(place).resolve()
    for one in (path, *path.parents):
        if not _PLAIN.fullmatch(one.name.lower()):
            return one.name
    return str(place)


def is_run(place: str | os.PathLike[str]) -> bool:
    """Whether a place is the folder of a run, also of an unfinished or repeated one."""
    folder = Path(place)
    return bool(str(place)) and (
        any((folder / name).is_file() for name in ("comparison.json", "repeats.json"))
        or (folder / "members").is_dir()
    )


def read_comparison(path: Path) -> dict[str, Any]:
    """Read what a run compared; only as far as predicting needs it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cut or not JSON: {error}; run the recipe again") from None
    try:
        for entry in data["systems"].values():
            names = [*entry["members"], entry["strategy"] or "", data["chosen"] or ""]
            if not all(isinstance(name, str) for name in names):
                raise TypeError("a name that is no text")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not of a run of affekt: expected systems with members and strategy, and "
            f"chosen ({type(error).__name__}: {error})"
        ) from None
    return data
