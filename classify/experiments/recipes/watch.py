"""Wait until a file that decides a run is saved: the recipe, its manifest, task, votes or split."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ....cache.errors import InputError
from .recipe import Recipe

PAUSE = 0.1  # seconds between two looks


class Watched:
    """The files of a recipe, as they were when a run began.

    Parameters
    ----------
    sleep : callable, optional
        Waits for some seconds.

    Examples
    --------
    >>> import os, tempfile
    >>> path = Path(tempfile.mkdtemp(), "recipe.yaml")
    >>> _ = path.write_text("task: valence")
    >>> watched = Watched(path, sleep=lambda seconds: None)
    >>> watched.begin()
    >>> _ = path.write_text("task: emotion6")
    >>> [one.name for one in watched.wait()]
    ['recipe.yaml']
    """

    def __init__(self, recipe: str | Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.recipe, self.sleep = Path(recipe), sleep
        self.marks: dict[Path, tuple[int, ...]] = {self.recipe: ()}

    def begin(self) -> None:
        """Note how the files are, before a run reads them."""
        mark = _mark(self.recipe)  # first, so that a save from here on is noticed
        self.marks = {self.recipe: mark, **{one: _mark(one) for one in self._named()}}

    def is_changed(self) -> bool:
        """Whether a file is not as it was when the run began."""
        return any(_mark(one) != mark for one, mark in self.marks.items())

    def wait(self) -> list[Path]:
        """Return the files that are not as they were, once they stay as they are for a while."""
        last: dict[Path, tuple[int, ...]] = {}
        while True:
            now = {one: _mark(one) for one in self.marks}
            changed = [one for one, mark in now.items() if mark != self.marks[one]]
            if changed and now == last and all(now[one] for one in changed):
                return changed
            last = now
            self.sleep(PAUSE)

    def _named(self) -> list[Path]:
        """Return the files that the recipe names; those of before where it cannot be read."""
        try:
            recipe = Recipe.read(self.recipe)
        except InputError:
            return [one for one in self.marks if one != self.recipe]
        named = [recipe.manifest, recipe.votes, recipe.split.get("file")]
        if recipe.task.endswith((".yaml", ".yml")):
            named.append(recipe.task)
        return [Path(one) for one in named if isinstance(one, str | Path)]


def _mark(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is saved; nothing while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
