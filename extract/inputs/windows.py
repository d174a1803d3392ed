"""Long clips: cut into even windows, and merge what they gave."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..backend import Pooled
from ..encoders.pooling import merge
from ..errors import Unusable

__all__ = ["POLICIES", "merge_windows", "split_evenly"]

#: What happens to a clip longer than `max_seconds`.
POLICIES = ("fail", "truncate", "chunk")


def split_evenly(samples: np.ndarray, longest: int) -> list[np.ndarray]:
    """Cut into the fewest windows of at most `longest` samples, equal in length but for one.

    Even windows keep the last one from being too short to embed.

    Examples
    --------
    >>> [len(window) for window in split_evenly(np.zeros(10), 4)]
    [4, 3, 3]
    """
    return np.array_split(samples, max(1, math.ceil(len(samples) / longest)))


def merge_windows(windows: Sequence[Pooled | Unusable], pooling: str) -> Pooled | Unusable:
    """Merge the windows of one clip; the first unusable one makes the clip unusable."""
    good = []
    for window in windows:
        if isinstance(window, Unusable):
            return window
        good.append(window)
    if len(good) == 1:
        return good[0]
    values = merge([(window.values, window.frames) for window in good], pooling)
    flags = tuple(dict.fromkeys(flag for window in good for flag in window.flags))
    return Pooled(values, sum(window.frames for window in good), (*flags, "chunked"))
