"""Layers of a space as numbers: which ones, of which type, and how they are combined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np

from .errors import InputError

Combine = Literal["concat", "mean", "mix"]
COMBINE = get_args(Combine)
RANGE = 1 << 20  # values looked at at a time: no second copy of a large result


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
        raise InputError(f"`layers` is {layers!r}, expected a number, a list of numbers or 'all'")
    for layer in wanted:
        if (
            isinstance(layer, bool)
            or not isinstance(layer, (int, np.integer))
            or not -count <= layer < count
        ):
            there = f"layers 0 to {count - 1} (or -{count} to -1)"
            raise InputError(
                f"there is no layer {layer!r}: the space has "
                f"{there if count > 1 else 'one layer, 0 (or -1)'}"
            )
    return tuple(int(layer) % count for layer in wanted)


def float_type(dtype: str) -> np.dtype:
    """Return a type for values: one of integers would cut them off."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found is None or found.kind != "f":
        raise InputError(f"`dtype` is {dtype!r}, expected 'float16', 'float32' or 'float64'")
    return found


def refuse_overflow(name: str, stored: np.dtype, values: np.ndarray, missing: np.ndarray) -> None:
    """Raise if a value became infinite in a smaller type than the stored one."""
    if values.itemsize >= stored.itemsize:
        return
    axes = tuple(range(1, values.ndim))
    over = np.zeros(len(values), bool)
    step = 1 + RANGE // max(1, values[:1].size)
    for start in range(0, len(values), step):
        over[start : start + step] = np.isinf(values[start : start + step]).any(axis=axes)
    over[missing] = False  # never filled
    if over.any():
        raise InputError(
            f"{name}: {over.sum()} rows have values beyond the range of {values.dtype}"
            f" (+-{np.finfo(values.dtype).max:g}); read them as {stored.name}"
        )
