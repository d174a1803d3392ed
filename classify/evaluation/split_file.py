"""Read a `split.csv`: which clip is in which part, in one division or in several folds."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from ...cache.errors import InputError

__all__ = ["read_split_file"]

PARTS = ("train", "dev", "test")


def read_split_file(path: str | Path, known: Collection[str]) -> dict[str, dict[str, str]]:
    r"""Return the part of each clip, by fold.

    Parameters
    ----------
    path
        Table with the columns id and split, and fold where there are several.
    known
        Ids that there are.

    Returns
    -------
    folds
        Fold -> id -> train, dev or test; one fold, "", without the column.

    Raises
    ------
    InputError
        No such table, a part of another name, an id that is not known, or one that stands in two
        parts of a fold.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "split.csv"
    >>> _ = path.write_text("id,split\na,train\nb,test\n")
    >>> read_split_file(path, ["a", "b"])
    {'': {'a': 'train', 'b': 'test'}}
    """
    path = Path(path)
    folds: dict[str, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = {"id", "split"} - set(table.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path} has the columns {', '.join(table.fieldnames or ())}; expected id and "
                    "split, as a run writes them"
                )
            for number, row in enumerate(table, 2):
                clip, part, fold = row["id"], row["split"], row.get("fold") or ""
                if part not in PARTS:
                    raise InputError(
                        f"{path}, line {number}: split is {part!r}; expected train, dev or test"
                    )
                here = folds.setdefault(fold, {})
                if here.setdefault(clip, part) != part:
                    where = f" of fold {fold!r}" if fold else ""
                    raise InputError(
                        f"{path}, line {number}: clip {clip!r} is in {here[clip]} and in "
                        f"{part}{where}; expected each clip in one part"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a split file: {error}") from error
    if not folds:
        raise InputError(f"{path} has no rows; expected one for each clip")
    unknown = sorted({clip for here in folds.values() for clip in here} - set(known))
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} ids are not in the manifest: {', '.join(unknown[:5])}"
        )
    return folds
