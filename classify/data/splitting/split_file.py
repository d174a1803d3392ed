"""Read a `split.csv`: which clip is in which part, in one division or in several folds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....cache.errors import DamagedError, InputError, listed, nearest
from ....cache.files.home_folder import at_home
from ....cache.files.reading import check_regular
from ....cache.manifest.columns import normal
from ....cache.manifest.tables.cells import PARTS as WORDS
from ....cache.manifest.tables.table import read_table
from ..escape import restored
from .split import PARTS, Split, write_rows

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

#: what the parts are called elsewhere
PART_NAMES = WORDS | {"trn": "train", "tr": "train", "tst": "test"}

Folds = dict[str, dict[str, str]]


def read_split_file(path: str | Path, known: Collection[str] | None = None) -> Folds:
    r"""Return the part of each clip, by fold.

    Parameters
    ----------
    path
        Table with the columns id and split, and fold where there are several; any kind of file
        that a manifest may be.
    known
        If given, ids that there are: another one is an error.

    Returns
    -------
    folds
        Fold -> id -> train, dev or test; one fold, "", without the column.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "split.csv"
    >>> _ = path.write_text("id,split\na,train\nb,test\n")
    >>> read_split_file(path, ["a", "b"])
    {'': {'a': 'train', 'b': 'test'}}
    """
    path = Path(at_home(path))
    folds: Folds = {}
    tested: dict[str, str] = {}
    known = None if known is None else set(known)
    unknown: dict[str, int] = {}
    for number, clip, part, fold in _rows(path):
        here = folds.setdefault(fold, {})
        if here.setdefault(clip, part) != part:
            where = f" of fold {fold!r}" if fold else ""
            more = "" if fold else ". Folds are named in a third column, fold"
            raise InputError(
                f"{path}, line {number}: clip {clip!r} is in {here[clip]} and in {part}{where}; "
                f"expected each clip in one part{more}"
            )
        if part == "test" and tested.setdefault(clip, fold) != fold:
            raise InputError(
                f"{path}, line {number}: clip {clip!r} is in test of the folds {tested[clip]!r} "
                f"and {fold!r}; expected each clip in test once. Give repeats one file each"
            )
        if known is not None and clip not in known:
            unknown.setdefault(clip, number)
    if not folds:
        raise InputError(f"{path} has no rows; expected one for each clip")
    if known is not None and unknown:
        first, number = next(iter(unknown.items()))
        raise InputError(
            f"{path}, line {number}: {len(unknown)} ids are not in the manifest: "
            f"{listed(list(unknown))}.{nearest(first, list(known))}"
        )
    _check_complete(path, folds)
    return folds


def line_of(path: str | Path, clip: str) -> int:
    """Return the first line of a split file that names a clip."""
    return next(number for number, name, *_ in _rows(Path(path)) if name == clip)


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield line, id, part and fold of each row."""
    table = read_table(path)
    if {"id", "split"} - set(table.columns):
        raise InputError(
            f"{path} has the columns {', '.join(table.columns)}; expected id and split, and fold "
            "where there are several folds"
        )
    ids, parts = normal(table.columns["id"]), table.columns["split"]
    folds = table.columns.get("fold", [""] * len(table))
    for number, clip, name, fold in zip(table.lines.tolist(), ids, parts, folds, strict=True):
        part = PART_NAMES.get(name.strip().casefold())
        if not clip:
            raise InputError(f"{path}, line {number}: no id; expected one in each row")
        if part is None:
            expected = f"expected train, dev or test.{nearest(name, PARTS)}"
            raise InputError(f"{path}, line {number}: split is {name!r}; {expected}")
        yield number, restored(clip), part, restored(fold)


def _check_complete(path: Path, folds: Folds) -> None:
    everyone = {clip: fold for fold, here in folds.items() for clip in here}
    for fold, here in folds.items():
        if missing := sorted(set(everyone) - set(here)):
            raise InputError(
                f"{path}, line {line_of(path, missing[0])}: clip {missing[0]!r} is in fold "
                f"{everyone[missing[0]]!r} and not in fold {fold!r}; expected each clip in one "
                "part of each fold"
            )


def write_split(
    found: Sequence[Split], path: Path, before: Path, progress: Callable[[str], None]
) -> None:
    """Write id and part; with folds a third column names them.

    The parts of clips that the last file had are compared first, and changes are reported.

    Parameters
    ----------
    before : Path
        The file of the last run; it need not be there.
    progress : callable
    """
    header = ("id", "split", "fold") if len(found) > 1 else ("id", "split")
    rows = [(*row, split.name)[: len(header)] for split in found for row in split.rows()]
    moved, common = _moved(before, rows)
    if moved:
        progress(
            f"warning: split: {moved} of {common} clips are in another part than in the last run, "
            f"whose {before} is replaced; the scores of the two runs are not comparable. split: "
            f"{{file: {before}}} keeps the parts from now on"
        )
    write_rows(path, rows, header)


def last_rows(path: Path) -> list[list[str]]:
    """Return the rows of the split.csv that an earlier run left, the header first.

    The list is empty for a file that is missing, damaged or of another kind.
    """
    try:
        check_regular(path)
        with path.open(encoding="utf-8", newline="") as file:
            return [list(map(restored, row)) for row in csv.reader(file)]
    except (DamagedError, OSError, ValueError, csv.Error):
        return []


def _moved(path: Path, rows: Sequence[tuple[str, ...]]) -> tuple[int, int]:
    """Return how many of the clips in both divisions are elsewhere now, and how many there are.

    A fold that is new or gone, as that of a language, moves no clip of the others.
    """
    before = [tuple(row) for row in last_rows(path)[1:]]
    if folds := {row[2:] for row in before} & {row[2:] for row in rows}:
        before, rows = ([row for row in some if row[2:] in folds] for some in (before, rows))
    known = {row[0] for row in before if row}
    common = known & {row[0] for row in rows}
    old, new = ({row for row in some if row and row[0] in common} for some in (before, rows))
    return len({row[0] for row in old ^ new}), len(common)


def dev_of_folds(clips: Manifest, folds: Mapping[str, Mapping[str, str]]) -> Manifest:
    """Return the clips that are dev in some fold: what is learnt for a fold leaves out its test."""
    dev = {clip for parts in folds.values() for clip, part in parts.items() if part == "dev"}
    return clips.select([clip for clip in clips.ids if clip in dev])


def with_parts(clips: Manifest, folds: Mapping[str, Mapping[str, str]]) -> Manifest:
    """Return the clips of a split file, with its parts in the column `split`.

    A clip that is in test of any fold is in test: there it was predicted.
    """
    part = {
        clip: part
        for wanted in ("train", "dev", "test")
        for here in folds.values()
        for clip, part in here.items()
        if part == wanted
    }
    kept = clips.select([clip_id for clip_id in clips.ids if clip_id in part])
    return kept.with_columns(split=[part[clip_id] for clip_id in kept.ids])
