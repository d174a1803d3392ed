"""Checks around reading rows: the type of the result, damage, overflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DamagedError, InputError, listed
from .cache_folder import Store

RANGE = 1 << 20  # values looked at at a time: no second copy of a large result


def float_type(dtype: str) -> np.dtype:
    """Return a type for values: one of integers would cut them off."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found is None or found.kind != "f":
        raise InputError(f"dtype is {dtype!r}, expected 'float16', 'float32' or 'float64'")
    return found


def refuse_damaged(name: str, store: Store, bad: dict[str, np.ndarray]) -> None:
    """Raise if vectors were found damaged, by file."""
    if bad:
        top = store.path
        remedy = f"Run: affekt cache repair {top}, then extract again"
        if store.packed:  # nobody repairs one: it never changes
            remedy = f"Pack it again: affekt cache pack <the folder it was made of> {top}"
        raise DamagedError(
            f"{name}: {sum(map(len, bad.values()))} rows are damaged, in"
            f" {listed([Path(path).name for path in bad])}. {remedy}"
        )


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
