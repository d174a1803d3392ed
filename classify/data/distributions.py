"""Numbers that are not quite probabilities: what they may be, and what rounding did to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EXACT = 1e-9


def remedy(values: np.ndarray, total: np.ndarray) -> str:
    """Return what numbers that are not probabilities may be, and what to do."""
    if not np.isfinite(values).all():
        return ""
    if (values < 0).any() or values.max() > 100.5:
        return " If they are logits or log-probabilities, take their softmax first"
    if (np.abs(total - 100) <= 1).all():
        return " They look like per cent: divide them by 100"
    if values.max() <= 1:
        return " If they are one yes or no for each label (sigmoid), divide each row by its sum"
    return ""


def undo_rounding(rows: Sequence[Sequence[str]], columns: Sequence[int], proba: np.ndarray) -> None:
    """Divide rows by their sums, in place, where rounding explains their distance from 1."""
    fractions = [row[c].strip().partition(".")[2] for row in rows for c in columns]
    digits = max(map(len, fractions))
    total = proba.sum(axis=1, keepdims=True)
    near = np.abs(total - 1) <= len(columns) * 0.5 * 10.0**-digits + EXACT
    if 2 <= digits <= 4 and near.all() and "".join(fractions).isdigit():
        proba /= total


def shortest(value: float) -> str:
    """Return the shortest text that reads back equal."""
    return str(int(value)) if value in (0.0, 1.0) else repr(value)
