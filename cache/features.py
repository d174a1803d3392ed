"""Layers of a space: which are meant, and how they are combined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np

from .errors import InputError

Combine = Literal["concat", "mean", "mix"]
COMBINE = get_args(Combine)


def combine_layers(values: np.ndarray, combine: str) -> np.ndarray:
    """Return chosen layers ``(clips, layers, dim)`` as one input ``(clips, width)``.

    Examples
    --------
    >>> layers = np.ones((2, 3, 4), np.float32)
    >>> combine_layers(layers, "mean").shape, combine_layers(layers, "concat").shape
    ((2, 4), (2, 12))
    """
    if combine == "mean":
        return values.mean(axis=1, dtype=np.float32)
    return values.reshape(len(values), values.shape[1] * values.shape[2])


def pick_layers(layers: int | str | Iterable[int] | None, count: int) -> tuple[int, ...]:
    """Return layers counted from 0; negative numbers count from the end, "all" and None are all.

    Examples
    --------
    >>> pick_layers(-1, 13), pick_layers([0, -2], 13), len(pick_layers("all", 13))
    ((12,), (0, 11), 13)
    """
    if layers is None or (isinstance(layers, str) and layers == "all"):
        return tuple(range(count))
    try:
        wanted = [layers] if isinstance(layers, (int, np.integer)) else [*layers]
    except TypeError:
        wanted = None
    if wanted is None or isinstance(layers, str):
        raise InputError(f"layers is {layers!r}, expected a number, a list of numbers or 'all'")
    for layer in wanted:
        if (
            isinstance(layer, bool)
            or not isinstance(layer, (int, np.integer))
            or not -count <= layer < count
        ):
            there = f"layers 0 to {count - 1} (or -{count} to -1)"
            raise InputError(
                f"layer {layer!r} is not there: the space has "
                f"{there if count > 1 else 'one layer, 0 (or -1)'}"
            )
    return tuple(int(layer) % count for layer in wanted)
