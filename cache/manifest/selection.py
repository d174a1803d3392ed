"""Which clips are meant by ids, positions or a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, listed, nearest
from .columns import normal


def positions(
    which: Any, ids: Sequence[str], position: Mapping[str, int], source: str
) -> np.ndarray:
    """Return the positions of the clips that are meant, in the order given.

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
    if isinstance(which, str):
        raise InputError(f"select takes a list of ids, not the text {which!r}")
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
    if values.dtype == bool:
        if len(values) != len(ids):
            raise InputError(f"a mask of {len(values)} for {len(ids)} clips")
        return np.flatnonzero(values)
    if values.size and values.dtype.kind not in "iu":
        raise InputError(f"select takes ids, positions or a mask, not {values.dtype}")
    if values.size and not (-len(ids) <= values.min() and values.max() < len(ids)):
        raise InputError(f"position {values.max()} is not among {len(ids)} clips")
    return np.arange(len(ids))[values.astype(np.intp)]
