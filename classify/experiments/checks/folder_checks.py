"""Folders and recordings that a recipe names: where a run may write, and what must be there."""

from __future__ import annotations

import os
from pathlib import Path

from ....cache.errors import InputError, listed
from ....cache.files.cache_marker import cache_above, check_cache_folder
from ....cache.files.output_checks import check_takes_files
from ...models.folders.run_folder import other_use
from ..recipes.lines import SettingError, in_setting
from ..recipes.prepared import Prepared

WRITTEN = (
    *("split.csv", "run.json", "report.md", "report.html"),
    *("comparison.json", "clips.json", "repeats.json"),
)


def check_places(ready: Prepared) -> None:
    """Check where the report goes.

    Raises
    ------
    InputError
        Inside the cache, in a model, over the manifest or the recipe, a disk or home folder itself,
        or where nothing can be written.
    """
    recipe = ready.recipe
    report, cache = recipe.report.resolve(), recipe.cache.resolve()
    inside = recipe.cache if report.is_relative_to(cache) else cache_above(report)
    if inside:
        message = f"report {recipe.report} is inside the cache {inside}; expected another folder"
        raise SettingError(message, "report")
    if what := other_use(report):
        message = f"report {recipe.report} is {what}; expected a folder of its own"
        raise SettingError(message, "report")
    if report in (Path(report.anchor), Path(os.path.expanduser("~")).resolve()):  # noqa: PTH111
        message = f"report {recipe.report} is a disk or a home folder; expected a folder of its own"
        raise SettingError(message, "report")
    for what, path in (("manifest", recipe.manifest), ("recipe", recipe.path)):
        if path.resolve() in [report / name for name in WRITTEN]:
            message = f"report {recipe.report}: the run would overwrite the {what} {path}"
            raise SettingError(message, "report")
    with in_setting("report"):
        check_takes_files("report", recipe.report)
    if ready.cache.packed:  # it is read; what is to be embedded is refused by `check_stored`
        return
    try:
        check_cache_folder(recipe.cache)
    except InputError as error:
        raise SettingError(f"cache {error}", "cache") from None


def check_stored(ready: Prepared) -> None:
    """Check that what is not stored can be embedded, and stored.

    Raises
    ------
    InputError
        A stored space without some clips, no recording at its path, a cache that cannot be
        written; with file and line.
    """
    for name, one in ready.stored.items():
        source = ready.sources[name]
        if not one.pending:
            continue
        if source.is_stored_space:
            space = ready.cache.find(source.spec)
            damage = f"; {why}" if space is not None and (why := space.damage()) else ""
            raise source.entry.error(
                f"the space of {name!r} has no row for {len(one.pending)} clips "
                f"({listed(one.pending)}){damage}; name the encoder in the recipe to compute "
                "them, import their vectors, or leave these clips out of the manifest"
            )
        if source.spec.modality == "audio" and not one.there:  # a folder that is not mounted?
            wanted = set(one.pending)
            rows = [row for row, clip in enumerate(source.clips.ids) if clip in wanted]
            if not any(_is_there(source.clips.file(row)) for row in rows):
                raise SettingError(
                    f"none of {len(rows)} recordings is there, for example "
                    f"{source.clips.file(rows[0])}; mount the folder, or set root to the folder "
                    "that the paths of the manifest are relative to",
                    "root" if ready.recipe.root is not None else "manifest",
                )
        if ready.cache.packed:
            raise SettingError(
                f"cache {ready.recipe.cache} is a packed file, which never changes, and {name!r} "
                f"has {len(one.pending)} clips to embed; expected a folder",
                "cache",
            )
        with in_setting("cache"):
            ready.cache.check_writable()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
