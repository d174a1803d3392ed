"""Checks of hyper-parameters: what was given, what was expected."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from ...cache.errors import InputError


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
