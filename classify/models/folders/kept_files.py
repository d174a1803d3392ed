"""Replace or remove a folder that affekt wrote, and keep files that the user added."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ....cache.files.free_name import free_path

#: what affekt writes into the folder of a model
MODEL = re.compile(r"config\.json|model\.safetensors|encoders\.json")


def replace_folder(new: Path, place: Path, written: re.Pattern[str] = MODEL) -> None:
    """Move a folder into place; files of the old one that affekt did not write move over.

    The old folder is kept aside until the new one is there, and is read if that fails.

    Parameters
    ----------
    new : Path
        On the same file system.
    written : pattern
        Matches the paths, relative to the folder and with slashes, of files that affekt writes.

    Examples
    --------
    >>> import tempfile
    >>> top = Path(tempfile.mkdtemp())
    >>> for name in ("old", "new"):
    ...     (top / name).mkdir()
    ...     _ = (top / name / "config.json").write_text(name)
    >>> _ = (top / "old" / "README.md").write_text("mine")
    >>> replace_folder(top / "new", top / "old")
    >>> {path.name: path.read_text() for path in sorted((top / "old").iterdir())}
    {'README.md': 'mine', 'config.json': 'new'}
    """
    aside = aside_of(place)
    if os.path.lexists(aside):  # of a process that was killed here
        if place.exists():
            _carry_over(aside, place, written)
        else:
            aside.rename(place)
    if place.exists():
        place.rename(aside)
    try:
        new.rename(place)
    except OSError:
        if aside.exists():
            aside.rename(place)
        raise
    if aside.exists():
        _carry_over(aside, place, written)


def aside_of(place: Path) -> Path:
    """Return where the old folder is while it is replaced."""
    return place.with_name(f".{place.name}.old")


def _carry_over(old: Path, new: Path, written: re.Pattern[str], inside: str = "") -> None:
    """Move what is not ours from one folder to the other, then remove the rest of the first."""
    for path in list(old.iterdir()):
        name = f"{inside}{path.name}"
        if path.is_dir() and not path.is_symlink():
            inside_it = (one.relative_to(old).as_posix() for one in path.rglob("*"))
            if any(written.fullmatch(f"{inside}{one}") for one in inside_it):
                _carry_over(path, new / path.name, written, f"{name}/")
                continue
            if not any(path.iterdir()) and (new / path.name).is_dir():
                path.rmdir()
                continue
        elif written.fullmatch(name):
            path.unlink()
            continue
        new.mkdir(parents=True, exist_ok=True)
        shutil.move(path, free_path(new / path.name))
    old.rmdir()
