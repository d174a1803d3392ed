"""Poolings over frames, and merging of windows: pure functions on numpy arrays or torch tensors.

`pool` turns the valid frames of one clip into one vector; never call it with padding inside.
`merge` puts the pooled windows of one long clip together, each weighted by its frames: exactly
what pooling all frames at once gives for ``mean``, ``mean+std`` and ``max``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cache.errors import one_of
from .backend import Pooled
from .errors import Unusable

#: Every pooling, and how many times the hidden size it is wide.
POOLINGS = {"mean": 1, "mean+std": 2, "max": 1, "cls": 1, "last": 1}


def pooled_dim(pooling: str, hidden: int) -> int:
    """Return the width of a pooled vector.

    Examples
    --------
    >>> pooled_dim("mean+std", 768)
    1536
    """
    return POOLINGS[pooling] * hidden


def pool(states: Any, pooling: str = "mean") -> Any:
    """Pool over frames.

    Parameters
    ----------
    states : numpy.ndarray or torch.Tensor
        ``(..., frames, hidden)``, valid frames only; computed in float32 or better.
    pooling : str
        ``mean``; ``mean+std`` (population standard deviation next to the mean); ``max``; ``cls``
        (the first frame); ``last`` (the last one).

    Returns
    -------
    numpy.ndarray or torch.Tensor
        ``(..., dim)`` of the kind that came in, float32; dim is `pooled_dim`.

    Examples
    --------
    >>> pool(np.array([[1.0, 2.0], [3.0, 2.0]]), "mean+std").tolist()
    [2.0, 2.0, 1.0, 0.0]
    """
    one_of(pooling, POOLINGS, "pooling")
    if states.shape[-2] == 0:
        raise ValueError("no frames to pool")
    if isinstance(states, np.ndarray):
        return _pool_numpy(states, pooling)
    return _pool_torch(states, pooling)


def merge(windows: Sequence[tuple[np.ndarray, int]], pooling: str = "mean") -> np.ndarray:
    """Merge the pooled windows of one clip.

    Parameters
    ----------
    windows : sequence of (numpy.ndarray, int)
        ``(layers, dim)`` values and the number of frames of each window.
    pooling : str
        The pooling that made them. A name that is not in `POOLINGS`, ``cls`` and ``last``, give
        the mean weighted by frames.

    Returns
    -------
    numpy.ndarray
        ``(layers, dim)`` float32.

    Examples
    --------
    >>> merge([(np.array([[0.0]]), 1), (np.array([[4.0]]), 3)]).item()
    3.0
    """
    if not windows:
        raise ValueError("no windows to merge")
    values = np.stack([np.asarray(window, dtype=np.float64) for window, _ in windows])
    if pooling == "max":
        return values.max(axis=0).astype(np.float32)
    weights = np.array([frames for _, frames in windows], dtype=np.float64)
    weights /= weights.sum()
    mean = np.tensordot(weights, values, axes=1)  # (layers, dim)
    if pooling == "mean+std":
        half = values.shape[-1] // 2
        centre = mean[..., :half]
        # law of total variance: spread inside the windows plus spread of their means
        within = values[..., half:] ** 2 + (values[..., :half] - centre) ** 2
        mean[..., half:] = np.sqrt(np.tensordot(weights, within, axes=1))
    return mean.astype(np.float32)


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


def _pool_numpy(states: np.ndarray, pooling: str) -> np.ndarray:
    wide = states.astype(np.float64)
    if pooling in ("cls", "last"):
        return states[..., 0 if pooling == "cls" else -1, :].astype(np.float32)
    if pooling == "max":
        return states.max(axis=-2).astype(np.float32)
    pooled = wide.mean(axis=-2)
    if pooling == "mean+std":
        pooled = np.concatenate([pooled, wide.std(axis=-2)], axis=-1)
    return pooled.astype(np.float32)


def _pool_torch(states: Any, pooling: str) -> Any:
    states = states.float()
    if pooling in ("cls", "last"):
        return states[..., 0 if pooling == "cls" else -1, :]
    if pooling == "max":
        return states.amax(dim=-2)
    mean = states.mean(dim=-2)
    if pooling == "mean":
        return mean
    import torch

    spread = (states - mean.unsqueeze(-2)).square().mean(dim=-2).sqrt()
    return torch.cat([mean, spread], dim=-1)
