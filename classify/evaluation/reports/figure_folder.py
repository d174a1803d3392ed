"""The folder `figures/` of a report: only changes are drawn, and only our files removed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ....cache.errors import InputError, listed, shaped
from ....cache.files.atomic_writes import write_json, write_whole
from ....cache.files.reading import file_sha256, read_note, read_object

FIGURES = "figures"
NOTE = "drawn.json"  # what each file shows, and its digest
RESULTS = ("comparison.json", "repeats.json", "runs.json")
EPOCH = 1  # raised when the same data are drawn in another way


def draw_changed(folder: Path, stop: Callable[[], bool] = lambda: False) -> list[str]:
    """Draw the figures of a report that are not there yet, or show other numbers.

    Parameters
    ----------
    folder : Path
        Of the report.
    stop : callable, optional
        Asked before each figure; what is left is drawn at the next call.

    Returns
    -------
    remarks : list of str
        What could not be drawn, and why.

    Examples
    --------
    >>> import tempfile
    >>> draw_changed(Path(tempfile.mkdtemp()))  # no report
    []
    """
    source = next((folder / name for name in RESULTS if (folder / name).is_file()), None)
    if source is None:
        return []
    place = folder / FIGURES
    if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
        return [f"no figures: {place} is not a folder of this report; move it"]
    made_of = f"{EPOCH} {file_sha256(source)}"
    note = _Note(place)
    if note.made_of == made_of and note.is_whole():
        return []
    try:
        with shaped(source, "a report written by affekt; run or compare again"):
            return _draw(read_object(source, "a report"), note, made_of, stop)
    except InputError as error:
        return [f"no figures: {error}"]
    except OSError as error:
        return [f"no figures: {place} cannot be written: {error.strerror}"]


def _draw(
    data: Mapping[str, Any], note: _Note, made_of: str, stop: Callable[[], bool]
) -> list[str]:
    from .figures import FORMATS, drawn_files, pictures

    wanted = pictures(data)
    for name in note.shown.keys() - wanted.keys():
        note.remove(name)
    foreign = []
    for name, shown in wanted.items():
        key = hashlib.sha256(f"{EPOCH} {shown!r}".encode()).hexdigest()
        if note.has(name, key):
            continue
        if stop():
            note.finish("")
            return []
        files = [f"{name}.{kind}" for kind in FORMATS]
        others = [one for one in files if note.is_foreign(one)]
        foreign += others
        if not others:
            note.put(name, key, dict(zip(files, (c for _, c in drawn_files(shown)), strict=True)))
    note.finish("" if foreign else made_of)
    if not foreign:
        return []
    return [f"not replaced, because affekt did not write them: {listed(foreign)} in {note.place}"]


class _Note:
    """What was drawn into a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        found = read_note(place / NOTE)
        figures = found.get("figures")
        self.made_of = found.get("made_of")
        self.shown: dict[str, dict[str, Any]] = {}
        for name, one in figures.items() if isinstance(figures, dict) else ():
            files = one.get("files") if isinstance(one, dict) else None
            if isinstance(files, dict) and all(isinstance(d, list) for d in files.values()):
                self.shown[name] = one

    def is_whole(self) -> bool:
        """Whether every file that was drawn is there."""
        files = (file for one in self.shown.values() for file in one["files"])
        return all((self.place / file).is_file() for file in files)

    def has(self, name: str, key: str) -> bool:
        one = self.shown.get(name, {})
        return one.get("shows") == key and not any(
            self.is_foreign(file) or not (self.place / file).is_file() for file in one["files"]
        )

    def is_foreign(self, file: str) -> bool:
        """Whether a file is there that is not as it was drawn."""
        path = self.place / file
        if not os.path.lexists(path):
            return False
        if path.is_symlink() or not path.is_file():
            return True
        known = [digest for one in self.shown.values() for digest in one["files"].get(file, ())]
        return file_sha256(path) not in known

    def put(self, name: str, key: str, files: Mapping[str, bytes]) -> None:
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        before = self.shown.get(name, {"files": {}})["files"]
        both = {file: [*before.get(file, ()), one] for file, one in digests.items()}
        self.shown[name] = {"shows": "", "files": both}  # for a run that ends between two files
        self.finish("")
        for file, content in files.items():
            write_whole(self.place / file, content)
        self.shown[name] = {"shows": key, "files": {file: [one] for file, one in digests.items()}}

    def remove(self, name: str) -> None:
        """Remove the files of a figure that is no longer drawn, unless they were edited."""
        for file in self.shown[name]["files"]:
            if Path(file).name == file and not self.is_foreign(file):
                (self.place / file).unlink(missing_ok=True)
        del self.shown[name]

    def finish(self, made_of: str) -> None:
        self.made_of = made_of
        write_json(self.place / NOTE, {"made_of": made_of, "figures": self.shown})
