"""Checks of hyper-parameters: what was given, what was expected."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from typing import Any

import numpy as np

from ...cache.errors import InputError, nearest

__all__ = ["check_choice", "check_number"]


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, whole: bool = False
) -> None:
    """Raise `InputError` unless `value` is a finite number from `low` to `high`."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    known = isinstance(value, kinds) and not isinstance(value, bool)
    if not known or not low <= value <= min(high, sys.float_info.max):
        kind = "a whole number" if whole else "a finite number"
        limit = f"from {low:g} up" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise InputError(f"{name} is {value!r}; expected {kind} {limit}")


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise `InputError` unless `value` is one of `choices`."""
    if not isinstance(value, (str, bool, type(None))) or value not in choices:
        words = [choice for choice in choices if isinstance(choice, str)]
        raise InputError(
            f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}."
            f"{nearest(str(value), words)}"
        )
