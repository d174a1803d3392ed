"""Which clips are meant by ids, positions, a mask or values, and which value is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, listed, nearest
from .columns import NORMAL, TIMES, normal
from .tables.cells import text_of

NOT_A_COLUMN = (
    "clips[...] takes the name of a column, a slice or a mask; clips.select takes ids or "
    "positions, and clips.clip(0) returns one clip"
)


def content_column(modality: str) -> str:
    """Return the column that an encoder reads."""
    return "text" if modality == "text" else "path"


def without_content(clips: Any, modality: str) -> tuple[str, list[str]]:
    """Return the column that an encoder reads, path or text, and the ids of clips without it.

    Parameters
    ----------
    clips : Manifest
    modality : str
    """
    kind = content_column(modality)
    return kind, [id_ for id_, value in zip(clips.ids, clips[kind], strict=True) if not value]


def positions(
    which: Any, ids: Sequence[str], position: Mapping[str, int], source: str
) -> np.ndarray:
    """Return the positions of the selected clips, in the order given.

    Parameters
    ----------
    which : sequence of str, sequence of int, or mask
        Ids, positions (negative ones count from the end), or a mask as long as the manifest.
    ids : sequence of str
        Of all clips, in order.
    position : mapping of str to int
        Id -> position.
    source : str
        The manifest, for messages.

    Examples
    --------
    >>> clips = ["a", "b"], {"a": 0, "b": 1}, "clips.csv"
    >>> positions(["b", "a"], *clips).tolist(), positions([-1], *clips).tolist()
    ([1, 0], [1])
    """
    if isinstance(which, str) or not hasattr(which, "__iter__"):
        raise InputError(f"select takes a list of ids or positions, or a mask, not {which!r}")
    if (mask := _mask(which, ids)) is not None:
        return mask
    values = which if isinstance(which, np.ndarray) else list(which)
    if len(values) and isinstance(values[0], str):
        wanted = normal(list(values))
        unknown = [id_ for id_ in wanted if id_ not in position]
        if unknown:
            raise InputError(
                f"{source} has no clip {listed([repr(u) for u in unknown])}."
                + nearest(unknown[0], ids[:10_000])
            )
        return np.array([position[id_] for id_ in wanted], dtype=np.intp)
    values = np.asarray(values)
    if values.size and values.dtype.kind not in "iu":
        raise InputError(f"select takes ids, positions or a mask, not {values.dtype}")
    if (beyond := values[(values < -len(ids)) | (values >= len(ids))]).size:
        raise InputError(f"position {beyond.flat[0]} is not among {len(ids)} clips")
    return np.arange(len(ids))[values.astype(np.intp)]


def sliced(which: Any, ids: Sequence[str]) -> np.ndarray:
    """Return the positions of a slice or mask of clips.

    Examples
    --------
    >>> sliced(slice(1, None), "abc").tolist(), sliced([True, False, True], "abc").tolist()
    ([1, 2], [0, 2])
    """
    if isinstance(which, slice):
        return np.arange(len(ids))[which]
    if (mask := _mask(which, ids)) is None:
        raise InputError(NOT_A_COLUMN)
    return mask


def _mask(which: Any, ids: Sequence[str]) -> np.ndarray | None:
    """Return the positions where a mask is true; None if these values are not a mask.

    A Series that has the ids of the clips is read by them.
    """
    mask = np.asarray(which)
    if mask.ndim != 1 or not (mask.dtype == bool or any(map(_is_bool, mask))):
        return None
    if len(mask) != len(ids):
        raise InputError(f"a mask of {len(mask)} for {len(ids)} clips")
    values = _in_order(which, ids)
    if blank := sum(not _is_bool(value) for value in values):  # in a nullable column
        raise InputError(f"{blank} values of the mask are not true or false; fill them in")
    return np.flatnonzero(values)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _in_order(values: Any, ids: Sequence[str]) -> Any:
    """Return values in the order of the clips: those of a Series that has their ids, by id."""
    index = getattr(values, "index", None)
    if callable(index) or index is None:  # a method of lists and tuples
        return list(values)
    if (getattr(index, "start", None), getattr(index, "step", None)) == (0, 1):
        return list(values)  # pandas numbers what has no names
    names = [text_of(name) for name in index]
    if names == list(ids) or set(names) != set(ids):
        return list(values)
    by_id = dict(zip(names, values, strict=True))
    return [by_id[id_] for id_ in ids]


def allowed_values(name: str, wanted: Any) -> set[Any]:
    """Return the values of a column that one value, or several, stand for.

    Examples
    --------
    >>> allowed_values("speaker", 7), sorted(allowed_values("speaker", ["b", "a"]))
    ({'7'}, ['a', 'b'])
    """
    many = isinstance(wanted, Iterable) and not isinstance(wanted, str)
    values = list(wanted) if many else [wanted]
    if name in TIMES:
        return set(values)
    texts = [text_of(value) for value in values]
    return set(normal(texts) if name in NORMAL else texts)


def one_for_each(name: str, values: Any, ids: Sequence[str]) -> list[str]:
    """Return a column's value for each clip as text.

    Parameters
    ----------
    values : sequence of shape (clips,), Series, mapping, or str
        In the order of the clips; or by id, as a mapping or a Series whose index is the ids.

    Examples
    --------
    >>> one_for_each("take", {"b": 2, "a": None}, ["a", "b"]), one_for_each("take", "x", ["a"])
    (['', '2'], ['x'])
    """
    if isinstance(values, str):
        return [values] * len(ids)
    if isinstance(values, Mapping):
        if missing := [id_ for id_ in ids if id_ not in values]:
            raise InputError(f"column {name} has no value for {listed(missing)}")
        found = [values[id_] for id_ in ids]
    else:
        found = _in_order(values, ids)
    if len(found) != len(ids):
        raise InputError(f"column {name} has {len(found)} values, expected {len(ids)}")
    return [str.__str__(text_of(value)) for value in found]
