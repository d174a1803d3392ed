"""A table with a row for each annotator and clip, read as a table with a row for each clip.

What differs between the rows of a clip becomes a column for each annotator: ``valence_R1``,
``valence_R2`` ..., and ``rater1``, ``rater2`` ... of the label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError, counted, listed, nearest
from ..columns import Named, named
from ..manifest import Manifest
from ..tables import Table, read_table

MOST = 20  # annotators with a column of their own


def read_annotators(
    path: Path,
    rater: str,
    root: Path | None = None,
    *,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Manifest:
    """Read a table whose column `rater` says who answered; a note says which rater is which.

    Up to 20 annotators have a number each, in the order of the table. Of more, as in
    crowdsourcing, the answers of each clip are numbered: R1 is the first of the clip.

    Raises
    ------
    InputError
        The table has no such column, a blank in it, or two rows of one annotator and clip.
    """
    table = read_table(path, encoding).renamed(columns or {})
    if rater not in table.columns:
        raise InputError(
            f"{table.source} has no column {rater!r} of the raters; it has "
            f"{listed(list(table.columns), 12)}.{nearest(rater, table.columns)}"
        )
    found = named(table)
    clips = _rows_of_clips(found)
    who = [name.strip() for name in table.columns[rater]]
    places = _numbers(table, rater, who, clips)
    most = 1 + max((max(numbers) for numbers in places), default=0)
    names = [name for name in table.columns if name != rater]
    differ = [name for name in names if _differs(table.columns[name], clips)]
    rows = []
    for own, numbers in zip(clips, places, strict=True):
        row = {name: table.columns[name][own[0]] for name in names if name not in differ}
        for name in differ:
            given = dict(zip(numbers, (table.columns[name][at] for at in own), strict=True))
            stem = "rater" if (name,) == found.taken.get("label") else f"{name}_R"
            row |= {f"{stem}{n + 1}": given.get(n, "") for n in range(most)}
        rows.append(row)
    folder = path.parent if root is None else root
    made = Manifest.from_rows(rows, folder, table.source, allow_outside=root is None)
    made.notes = (_note(who, differ, len(clips)), *made.notes)
    return made


def _rows_of_clips(found: Named) -> list[list[int]]:
    """Return the rows of each clip: those of one id, or else of one path, or else of one text."""
    counted_rows = found.taken["id"] == () and "path" not in found.columns
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(found.columns["text" if counted_rows else "id"]):
        rows.setdefault(key, []).append(row)
    return list(rows.values())


def _numbers(
    table: Table, rater: str, who: Sequence[str], clips: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Return the number of the annotator of each row, clip by clip."""
    order = {name: number for number, name in enumerate(dict.fromkeys(who))}
    for own in clips:
        for row in own:
            if not who[row]:
                raise InputError(f"{table.place(row)}: {rater} is blank; expected who answered")
        [(name, count)] = Counter(who[row] for row in own).most_common(1)
        if count > 1:
            first, second = [row for row in own if who[row] == name][:2]
            raise InputError(
                f"{table.place(second)}: {name!r} answered for this clip in line "
                f"{table.lines[first]} already; expected one row for each rater and clip. Give "
                "clips of one recording or text a column id"
            )
    if len(order) > MOST:
        return [list(range(len(own))) for own in clips]
    return [[order[who[row]] for row in own] for own in clips]


def _differs(values: Sequence[str], clips: Sequence[Sequence[int]]) -> bool:
    return any(len({values[row] for row in own}) > 1 for own in clips)


def _note(who: Sequence[str], differ: Sequence[str], clips: int) -> str:
    names = list(dict.fromkeys(who))
    numbered = [f"R{number + 1} is {name}" for number, name in enumerate(names)]
    each = listed(numbered, MOST) if len(names) <= MOST else "R1 is the first answer for each clip"
    return (
        f"{counted(len(who), 'row')} by {counted(len(names), 'rater')} make "
        f"{counted(clips, 'clip')}; one column for each rater of {listed(differ) or 'nothing'}: "
        f"{each}"
    )
