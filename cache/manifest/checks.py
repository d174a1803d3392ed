"""What a manifest must hold before any work: exact, unique ids, and something to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, listed
from .paths import check_written

if TYPE_CHECKING:
    from .manifest import Manifest


def check_ids(
    clips: Manifest, columns: Mapping[str, Sequence[Any]], *, dedupe: bool
) -> np.ndarray | None:
    """Check that ids are exact, unique text; return what to keep where equal rows are dropped."""
    for i, id_ in enumerate(clips.ids):
        if not id_ or len(id_) > 63 or not id_.isascii() or "\0" in id_:
            _check_id(id_, lambda i=i: clips.place(i), _whence(clips))
    first = clips._position
    if len(first) == len(clips):
        return None
    kept = []
    for i, id_ in enumerate(clips.ids):
        j = first[id_]
        if i == j:
            kept.append(i)
            continue
        unlike = [name for name, values in columns.items() if values[i] != values[j]]
        if unlike:
            raise InputError(
                f"{clips.place(i)}: id {id_!r} was used in line {clips.line(j)} for another clip"
                f" ({listed(unlike)} differ): ids must be unique{_whence(clips)}; make one row of"
                " the answers of several annotators"
            )
        if not dedupe:
            raise InputError(
                f"{clips.place(i)}: id {id_!r} repeats line {clips.line(j)}: remove the row, or"
                " let affekt manifest TABLE --dedupe -o clips.csv remove all such rows"
            )
    return np.array(kept)


def _whence(clips: Manifest) -> str:
    """Return which column the ids are from, for a message, where it is not ``id``."""
    taken = clips.taken.get("id")
    if taken == () and "path" in clips:
        return "; the path is the id, for the table has no column id: add one"
    name = taken[0] if taken else "id"
    if name == "id" and "path" in clips:
        return "; where it is not the clip's own, give it another name, and the paths are the ids"
    return "" if name == "id" else f"; column {name} was taken for the id: add a column id"


def _check_id(id_: str, place: Any, whence: str) -> None:
    if not id_ and whence.startswith("; the path is the id"):
        raise InputError(
            f"{place()}: the path is blank, and the table has no column id; add one, or remove the"
            " row if it is no clip (a second row of the header, or units)"
        )
    if not id_:
        raise InputError(f"{place()}: the id is blank, expected text{whence}")
    if "\0" in id_:
        raise InputError(f"{place()}: the id {id_!r} holds a NUL character")
    try:
        size = len(id_.encode())
    except UnicodeEncodeError:
        raise InputError(f"{place()}: the id {id_!r} is not valid Unicode") from None
    if size > 255:
        raise InputError(
            f"{place()}: the id {id_[:40]!r}... has {size} bytes, at most 255 fit{whence}"
        )


def check_content(clips: Manifest, *, allow_outside: bool) -> None:
    """Check that there is a path or a text, and that no path leaves the root as it is written."""
    paths = clips["path"]
    if not any(paths) and not any(clips["text"]):
        raise InputError(f"{clips.source}: every path and every text is blank")
    for i, written in enumerate(paths):
        check_written(
            written, lambda i=i: clips.place(i), allow_outside=allow_outside, root=clips.root
        )
