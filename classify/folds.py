"""Deal clips into parts of given shares, alike in their labels, without dividing a group.

Pure functions on integer codes; `splits` turns them into manifests. One seed gives one result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..cache.errors import InputError


def deal_clips(labels: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Deal single clips so that each part has its share of each label.

    Parameters
    ----------
    labels
        Label code of each clip, `(clips,)`.
    shares
        Share of each part; together 1. A share of 0 is an empty part.
    rng
        Source of the shuffle.

    Returns
    -------
    parts
        Part of each clip, `(clips,)`.

    Raises
    ------
    InputError
        If a part with a share above 0 would get no clip.

    Examples
    --------
    >>> parts = deal_clips(np.array([0] * 8 + [1] * 2), [0.5, 0.5], np.random.default_rng(0))
    >>> [np.bincount(parts[labels]).tolist() for labels in (slice(0, 8), slice(8, 10))]
    [[4, 4], [1, 1]]
    """
    shares_ = _checked(shares)
    parts = np.empty(len(labels), dtype=np.int64)
    debt = np.zeros(len(shares_))  # what rounding kept from a part is paid with the next label
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        wanted = shares_ * len(rows) + debt
        counts = np.floor(np.maximum(wanted, 0)).astype(int)
        while counts.sum() > len(rows):
            counts[np.argmax(counts - wanted)] -= 1
        while counts.sum() < len(rows):
            counts[np.argmax(np.where(shares_ > 0, wanted - counts, -np.inf))] += 1
        debt = wanted - counts
        parts[rows] = np.repeat(np.arange(len(shares_)), counts)
    _refuse_empty(np.bincount(parts, minlength=len(shares_)), shares_, "clips")
    return parts


def deal_groups(
    labels: np.ndarray,
    groups: np.ndarray,
    shares: Sequence[float],
    rng: np.random.Generator,
    *,
    restarts: int = 20,
) -> np.ndarray:
    """Deal whole groups so that each part comes near its share of each label.

    Large groups are dealt first, each to the part that lacks its labels most; of several random
    orders the one with the smallest squared distance to the shares is kept.

    Parameters
    ----------
    labels
        Label code of each clip, `(clips,)`; or several codes, `(clips, variables)`, each of which
        every part should have its share of.
    groups
        Group code of each clip, `(clips,)`.
    shares
        Share of each part; together 1.
    rng
        Source of the orders.
    restarts
        How many orders are tried; fewer where there are very many groups.

    Returns
    -------
    parts
        Part of each clip, `(clips,)`.

    Raises
    ------
    InputError
        If there are fewer groups than parts with a share above 0.

    Examples
    --------
    >>> groups = np.repeat(np.arange(10), 6)
    >>> rng = np.random.default_rng(0)
    >>> parts = deal_groups(np.tile([0, 1, 2], 20), groups, [0.7, 0.1, 0.2], rng)
    >>> np.bincount(parts).tolist()
    [42, 6, 12]
    """
    shares_ = _checked(shares)
    variables = np.asarray(labels).reshape(len(groups), -1).T
    names, groups = np.unique(groups, return_inverse=True)
    used = np.flatnonzero(shares_ > 0)
    if len(names) < len(used):
        raise InputError(
            f"{len(names)} groups for {len(used)} parts; expected at least one group in each. "
            "Set dev_size=0, or use scheme='stratified'"
        )
    counts = np.hstack([_counts(groups, v) for v in [*variables, np.zeros_like(groups)]])
    weight = 1 / counts.sum(axis=0) ** 2
    target = shares_[used, None] * counts.sum(axis=0)
    best, lowest = np.zeros(len(names), dtype=np.int64), np.inf
    for _ in range(max(1, min(restarts, 40_000 // len(names)))):
        order = np.lexsort((rng.random(len(names)), -counts[:, -1]))
        have = np.zeros_like(target)
        chosen = np.empty(len(names), dtype=np.int64)
        for group in order:
            gap = ((2 * (have - target) + counts[group]) * counts[group]) @ weight
            chosen[group] = part = int(np.argmin(gap))
            have[part] += counts[group]
        _fill_empty(chosen, have, counts, target, weight)
        loss = float((((have - target) ** 2) @ weight).sum())
        if loss < lowest - 1e-12:
            best, lowest = chosen, loss
    return used[best][groups]


def _counts(groups: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the clips of each group and value, `(groups, values)`; one value gives the sizes."""
    _, codes = np.unique(codes, return_inverse=True)
    table = np.zeros((groups.max() + 1, codes.max() + 1))
    np.add.at(table, (groups, codes), 1)
    return table


def _fill_empty(
    chosen: np.ndarray,
    have: np.ndarray,
    counts: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Give an empty part the group that costs least, in place."""
    for part in range(len(have)):
        if (chosen == part).any():
            continue
        sizes = np.bincount(chosen, minlength=len(have))
        movable = np.flatnonzero(sizes[chosen] > 1)
        moved = counts[movable]
        left = have[chosen[movable]] - moved - target[chosen[movable]]
        cost = ((left**2) @ weight) + (((moved - target[part]) ** 2) @ weight)
        cost -= ((have[chosen[movable]] - target[chosen[movable]]) ** 2) @ weight
        group = movable[int(np.argmin(cost))]
        have[chosen[group]] -= counts[group]
        have[part] += counts[group]
        chosen[group] = part


def _checked(shares: Sequence[float]) -> np.ndarray:
    values = np.asarray(shares, dtype=float)
    if (values < 0).any() or not np.isclose(values.sum(), 1) or values[0] <= 0:
        raise InputError(
            f"shares of train, dev and test {values.round(4).tolist()}; expected numbers from 0 to "
            "1 that leave something for train"
        )
    return values


def _refuse_empty(counts: np.ndarray, shares: np.ndarray, what: str) -> None:
    if ((counts == 0) & (shares > 0)).any():
        raise InputError(
            f"{int(counts.sum())} {what} dealt in shares {shares.round(4).tolist()} leave a part "
            f"empty ({counts.tolist()}); expected more {what}, or a share of 0"
        )
