"""What a manifest must hold before any work: exact, unique ids, and something to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, listed
from .columns import WIDE, Named
from .paths import Folder, check_written
from .speakers import note_on, spellings
from .tables import Table
from .tables.cells import ABSENT, DOUBTFUL
from .times import Unread


def check_ids(table: Table, found: Named, *, dedupe: bool) -> np.ndarray | None:
    """Check that ids are exact, unique text; return what to keep where equal rows are dropped."""
    columns, ids = found.columns, list(found.columns["id"])
    for i, id_ in enumerate(ids):
        if not id_ or len(id_) > 63 or not id_.isascii() or "\0" in id_:
            _check_id(id_, lambda i=i: table.place(i), found)
    first = {id_: i for i, id_ in reversed(list(enumerate(ids)))}
    if len(first) == len(ids):
        return None
    kept = []
    for i, id_ in enumerate(ids):
        j = first[id_]
        if i == j:
            kept.append(i)
            continue
        unlike = [name for name, values in columns.items() if values[i] != values[j]]
        if unlike:
            raise InputError(
                f"{table.place(i)}: id {id_!r} was used in line {table.lines[j]} for another clip"
                f" ({listed(unlike)} differ{'s' * (len(unlike) == 1)}): ids must be unique; "
                f"{_way_out(found)}"
            )
        if not dedupe:
            raise InputError(
                f"{table.place(i)}: id {id_!r} repeats line {table.lines[j]}: remove the row, or"
                " let affekt manifest TABLE --dedupe -o clips.csv remove all such rows"
            )
    return np.array(kept)


def _way_out(found: Named) -> str:
    """Return what to do about rows of one id: segments whose times were not read, or annotators."""
    if unread := [note for note in found.notes if isinstance(note, Unread)]:
        return "; ".join(unread)
    return (
        f"{_source_of_ids(found) or 'correct them'}; if several annotators rated a clip, {WIDE}. "
        "Or put their labels into a table of their own, with the columns id and label, and name it "
        "in the recipe: votes: TABLE"
    )


def _source_of_ids(found: Named) -> str:
    """Return which column the ids are from, for a message, where it is not ``id``."""
    taken = found.taken.get("id")
    if _ids_are_paths(found):
        return "the path is the id because the table has no column id: add one"
    name = taken[0] if taken else "id"
    if name == "id" and "path" in found.columns:
        return "if it does not identify the clip, rename the column: the paths are then the ids"
    return "" if name == "id" else f"column {name} was taken as the id: add a column id"


def _ids_are_paths(found: Named) -> bool:
    return found.taken.get("id") == () and "path" in found.columns


def _check_id(id_: str, place: Any, found: Named) -> None:
    source = f"; {said}" if (said := _source_of_ids(found)) else ""
    if not id_ and _ids_are_paths(found):
        raise InputError(
            f"{place()}: the path is blank, and the table has no column id; add one, or remove the"
            " row if it is not a clip (a second row of the header, or units)"
        )
    if not id_:
        raise InputError(f"{place()}: the id is blank, expected text{source}")
    if "\0" in id_:
        raise InputError(f"{place()}: the id {id_!r} holds a NUL character")
    try:
        size = len(id_.encode())
    except UnicodeEncodeError:
        raise InputError(f"{place()}: the id {id_!r} is not valid Unicode") from None
    if size > 255:
        raise InputError(
            f"{place()}: the id {id_[:40]!r}... has {size} bytes, at most 255 fit{source}"
        )


def check_content(table: Table, columns: Mapping[str, Sequence[Any]], folder: Folder) -> None:
    """Check that there is a path or a text, and that no path leaves the root as it is written."""
    paths = columns.get("path", ())
    if not any(paths) and not any(columns.get("text", ())):
        raise InputError(f"{table.source}: every path and every text is blank")
    for i, written in enumerate(paths):
        check_written(
            written,
            lambda i=i: table.place(i),
            allow_outside=folder.allow_outside,
            root=folder.root,
        )


def doubtful_cells(columns: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Return notes on speakers spelt in two ways, and on ``nan`` as speaker, language or text.

    Examples
    --------
    >>> doubtful_cells({"speaker": ["s1", "nan", "nan"]})
    ("the speaker is 'nan' in 2 of 3 rows: where it is not known, leave the cell blank",)
    """
    spelt = note_on(spellings(columns.get("speaker", ()), columns.get("dataset", ())))
    return (spelt,) * bool(spelt) + tuple(
        f"the {name} is {word!r} in {list(columns[name]).count(word)} of {len(columns[name])} rows:"
        " where it is not known, leave the cell blank"
        for name in ("speaker", "language", "text")
        for word in sorted((ABSENT | DOUBTFUL).intersection(columns.get(name, ())))
    )
