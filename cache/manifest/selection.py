"""Which clips are meant by ids, positions or a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, listed, nearest
from .columns import normal

if TYPE_CHECKING:
    from .manifest import Manifest


def positions(clips: Manifest, which: Any) -> np.ndarray:
    """Return the positions of the clips that are meant, in the order given.

    Parameters
    ----------
    clips : Manifest
    which : sequence of str, sequence of int, or mask
        Ids, positions (negative ones count from the end), or a mask as long as the manifest.

    Raises
    ------
    InputError
        An unknown id, a position that is not there, a mask of another length.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> clips = Manifest.from_rows([{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
    >>> positions(clips, ["b", "a"]).tolist(), positions(clips, [-1]).tolist()
    ([1, 0], [1])
    """
    if isinstance(which, str):
        raise InputError(f"select takes a list of ids, not the text {which!r}")
    values = which if isinstance(which, np.ndarray) else list(which)
    if len(values) and isinstance(values[0], str):
        ids = normal(list(values))
        unknown = [id_ for id_ in ids if id_ not in clips._position]
        if unknown:
            raise InputError(
                f"{clips.source} has no clip {listed([repr(u) for u in unknown])}."
                + nearest(unknown[0], clips.ids[:10_000])
            )
        return np.array([clips._position[id_] for id_ in ids], dtype=np.intp)
    values = np.asarray(values)
    if values.dtype == bool:
        if len(values) != len(clips):
            raise InputError(f"a mask of {len(values)} for {len(clips)} clips")
        return np.flatnonzero(values)
    if values.size and values.dtype.kind not in "iu":
        raise InputError(f"select takes ids, positions or a mask, not {values.dtype}")
    if values.size and not (-len(clips) <= values.min() and values.max() < len(clips)):
        raise InputError(f"position {values.max()} is not among {len(clips)} clips")
    return np.arange(len(clips))[values.astype(np.intp)]
