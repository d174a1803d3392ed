"""The folder of a report: made next to the last one, and put in place as a whole.

What a run makes goes into ``.unfinished/``, where a killed run finds its members again. When all of
it is there it is renamed to ``.ready/`` and moved into place, file by file; a run that finds
``.ready/`` finishes that first, and readers refuse it. What was there and is not made any more, or
was changed by its user, goes into ``old/``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ....cache.errors import InputError
from ....cache.files.atomic_writes import sync_folder, write_json
from ....cache.files.file_locks import locked
from ....cache.files.free_name import free_path
from ....cache.files.reading import file_sha256, read_note
from ...models.folders.run_folder import READY, WORK
from ..checks.folder_checks import WRITTEN

STATE = "run.json"
OLD, OWNER = "old", "recipe.json"


class ReportFolder:
    """A report folder that this process alone writes into.

    Attributes
    ----------
    work : Path
        Where the next report is made.
    """

    def __init__(self, folder: Path, recipe: Path) -> None:
        self.folder = folder
        self.recipe = os.path.relpath(recipe, folder)
        self.work = folder / WORK
        self._files: dict[str, Path] = {}  # of the next report: name -> where it is now

    def take(self, files: Iterable[Path]) -> None:
        """Make files part of the next report: new ones, and those in place that stay."""
        for path in files:
            top = self.work if path.is_relative_to(self.work) else self.folder
            self._files[path.relative_to(top).as_posix()] = path

    def made(self) -> list[Path]:
        """Return the files that were made next to the members."""
        files = (path for path in self.work.rglob("*") if path.is_file() and path.name != OWNER)
        return [path for path in files if "members" not in path.relative_to(self.work).parts[:-1]]

    def finish(self, state: Mapping[str, Any]) -> None:
        """Put the next report in place: what was taken, and what was made next to the members."""
        self.take(self.made())
        for path in list(self.work.rglob("*")):
            name = path.relative_to(self.work).as_posix()
            if not path.is_dir() and self._files.get(name) != path:
                path.unlink()
        files = {name: file_sha256(path) for name, path in self._files.items()}
        note = {**state, "recipe": self.recipe, "files": files}
        write_json(self.work / STATE, note, durable=True)
        self.work.rename(self.folder / READY)
        sync_folder(self.folder)
        put_in_place(self.folder)


@contextmanager
def opened_report(folder: Path, recipe: Path, *, force: bool) -> Iterator[ReportFolder]:
    """Open a report folder for one run; no other run writes into it meanwhile.

    Parameters
    ----------
    force : bool
        Take over the folder of another recipe.

    Raises
    ------
    InputError
        Another run writes there; the folder is another recipe's, or holds files of the same names
        that no run wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if links := [name for name in (WORK, READY, OLD) if (folder / name).is_symlink()]:
        raise InputError(
            f"report {folder}: {links[0]} is a link to another place; remove it: a run makes this "
            "folder itself"
        )
    with locked(folder):
        put_in_place(folder)
        report = ReportFolder(folder, recipe)
        check_owner(report, force=force)
        report.work.mkdir(exist_ok=True)
        for path in report.made():
            path.unlink()
        write_json(report.work / OWNER, {"recipe": report.recipe})
        yield report
        if report.work.is_dir() and not (report.work / STATE).exists():
            files = [path for path in report.work.rglob("*") if path.is_file()]
            if files == [report.work / OWNER]:  # the report in place is current
                shutil.rmtree(report.work)


def put_in_place(folder: Path) -> None:
    """Move a report that is ready into place; this also finishes what a killed run left."""
    ready = folder / READY
    new = read_state(ready)
    if new is None:
        if ready.is_dir():  # the last file was moved, and the empty folders stayed
            shutil.rmtree(ready)
        return
    made, before = new["files"], (read_state(folder) or {"files": {}})["files"]
    for path in sorted(ready.rglob("*")):
        name = path.relative_to(ready).as_posix()
        if path.is_dir() or name == STATE:
            continue
        target = folder / name
        if os.path.lexists(target):
            there = file_sha256(target) if target.is_file() else ""
            if there not in (before.get(name), made[name]):
                _retire(folder, name)  # its user changed it, or no run wrote it
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    for name in before.keys() - made.keys():
        if os.path.lexists(folder / name):
            _retire(folder, name)
    (ready / STATE).replace(folder / STATE)
    shutil.rmtree(ready)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Return what the run that made a report noted, or None if none was finished."""
    state = read_note(folder / STATE)
    files = state.get("files")
    if not isinstance(files, dict) or not isinstance(state.get("key"), str):
        return None
    names = [PurePosixPath(name) for name in files]
    return None if any(one.is_absolute() or ".." in one.parts for one in names) else state


def _retire(folder: Path, name: str) -> None:
    """Move a file into ``old/``, replacing nothing; folders left empty are removed."""
    path, target = folder / name, free_path(folder / OLD / name)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    for above in path.parents:
        if above == folder or any(above.iterdir()):
            break
        above.rmdir()


def check_owner(report: ReportFolder, *, force: bool) -> None:
    """Refuse the folder of another recipe, and files that no run wrote, unless `force`."""
    folder, state = report.folder, read_state(report.folder)
    if force:
        return
    owner = read_note(report.work / OWNER).get("recipe") or (state or {}).get("recipe")
    if isinstance(owner, str) and owner != report.recipe and (folder / owner).is_file():
        raise InputError(
            f"report {folder} belongs to the recipe {os.path.normpath(folder / owner)}; name "
            "another report in this recipe, or take it over with --force"
        )
    patterns = ("members/*/*.json", "repeat-*/members/*/*.json")
    begun = owner or state or any(any(folder.glob(pattern)) for pattern in patterns)
    foreign = [name for name in WRITTEN if os.path.lexists(folder / name)]
    if foreign and not begun:
        raise InputError(
            f"report {folder} holds {foreign[0]}, which no run wrote; name another report, or "
            "take the folder over with --force, which moves such files into old/"
        )
