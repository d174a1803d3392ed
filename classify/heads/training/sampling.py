"""The order in which rows are seen in an epoch: shuffled, or balanced over strata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....cache.errors import InputError, one_of

SAMPLING = ("class", "group", "class-and-group")


def strata(sampling: str | None, hard: np.ndarray, groups: Any) -> np.ndarray | None:
    """Return the stratum of each row as whole numbers, or None for plain shuffling.

    Parameters
    ----------
    sampling : {"class", "group", "class-and-group"} or None
        What every epoch shows in equal parts; `groups` may be languages, corpora or speakers.
    hard : ndarray of shape (rows,)
        Class of each row.
    groups : array-like of shape (rows,), or None

    Returns
    -------
    ndarray of shape (rows,), int, or None
    """
    if sampling is None:
        return None
    one_of(sampling, (*SAMPLING, None), "sampling")
    if sampling == "class":
        return hard
    if groups is None:
        raise InputError(f"sampling={sampling!r} needs fit(..., groups=...), one group per row")
    groups = np.asarray(groups)
    if groups.shape != hard.shape:
        raise InputError(f"groups has shape {groups.shape}; expected {hard.shape}, one per row")
    code = np.unique(groups, return_inverse=True)[1]
    if sampling == "class-and-group":
        code = np.unique(code * (hard.max() + 1) + hard, return_inverse=True)[1]
    return code


def row_shares(stratum: np.ndarray | None, rows: int) -> np.ndarray:
    """Return how often an epoch shows each row on average; they sum to `rows`.

    Examples
    --------
    >>> import numpy as np
    >>> row_shares(np.array([0, 0, 0, 1]), 4).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    if stratum is None:
        return np.ones(rows)
    counts = np.bincount(stratum)
    return rows / ((counts > 0).sum() * counts[stratum])


def balanced_order(stratum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one epoch of rows in which strata come equally often, evenly spread.

    Each stratum goes through its rows in random order, again and again, until its part is full;
    the parts are then interleaved, so that batches are balanced too.

    Parameters
    ----------
    stratum : ndarray of shape (rows,), int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (rows,), int
        Positions of rows; a rare stratum's rows repeat, a frequent one's are left out.

    Examples
    --------
    >>> import numpy as np
    >>> order = balanced_order(np.array([0] * 6 + [1] * 2), np.random.default_rng(0))
    >>> np.bincount(np.array([0] * 6 + [1] * 2)[order]).tolist()
    [4, 4]
    """
    members = [np.flatnonzero(stratum == code) for code in np.unique(stratum)]
    quota = np.full(len(members), len(stratum) // len(members))
    quota[rng.permutation(len(members))[: len(stratum) % len(members)]] += 1
    picked, position = [], []
    for rows, count in zip(members, quota, strict=True):
        turns = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
        picked.append(np.concatenate([*turns, rows[:0]])[:count])
        position.append((np.arange(count) + rng.random()) / max(count, 1))
    return np.concatenate(picked)[np.argsort(np.concatenate(position), kind="stable")]


def batches(
    rows: int, batch_size: int, stratum: np.ndarray | None, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the row positions of one epoch, batch by batch; the last may be smaller."""
    order = rng.permutation(rows) if stratum is None else balanced_order(stratum, rng)
    for start in range(0, rows, batch_size):
        yield order[start : start + batch_size]
