"""Deal clips into parts of given shares, similar in labels, without dividing a group.

Where a clip or a speaker goes depends on its name and a key, not on its place in the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ....cache.errors import InputError

DRAWS, DRAWN = 1024, 4_000_000  # draws of one stratum, and numbers drawn for it, at most
LEAST = 1e-6  # of the loss: smaller differences from the shares do not count
COARSE = 2.0  # sizes of groups count as equal within a factor of e**2
PRESENCE = 0.5  # what a label weighs against the size


def deal_clips(
    labels: np.ndarray, names: Sequence[str] | np.ndarray, shares: Sequence[float], key: str
) -> np.ndarray:
    """Deal single clips so that each part has its share of each label.

    Parameters
    ----------
    labels
        Label code of each clip, `(clips,)`.
    names
        Id of each clip, `(clips,)`; with `key` it decides where a clip goes.
    shares
        Share of each part; together 1. A share of 0 is an empty part.
    key
        Another key gives another division.

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
    >>> names = [f"clip-{number}" for number in range(10)]
    >>> parts = deal_clips(np.array([0] * 8 + [1] * 2), names, [0.5, 0.5], "0")
    >>> [np.bincount(parts[labels]).tolist() for labels in (slice(0, 8), slice(8, 10))]
    [[4, 4], [1, 1]]
    """
    shares_ = _checked(shares)
    order = np.argsort([_hashed(key, name) for name in names], kind="stable")
    parts = np.empty(len(labels), dtype=np.int64)
    debt = np.zeros(len(shares_))  # what rounding takes from a part, it gets with the next label
    for label in np.unique(labels):
        rows = order[labels[order] == label]
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
    groups: Sequence[str] | np.ndarray,
    shares: Sequence[float],
    key: str,
    *,
    strata: Sequence[str] | np.ndarray | None = None,
    next_is_dev: bool = False,
) -> np.ndarray:
    """Deal whole groups so that each part comes near its share of each label.

    A group's part is drawn from a hash of its name, never of its place among the others; of many
    draws the first of the best ones is taken, by which groups have a label and by sizes on a coarse
    scale. One part gets all groups of a label only where no draw gives them to several. So a clip
    more or less seldom moves others, and a new corpus (stratum) moves none of the old ones.

    Parameters
    ----------
    labels
        Label code of each clip, `(clips,)`; or several codes, `(clips, variables)`, each of which
        every part should have its share of.
    groups
        Name of each clip's group, `(clips,)`.
    shares
        Share of each part; together 1.
    key
        Another key gives another division.
    strata
        What is divided on its own, for instance the corpus of each clip, `(clips,)`.
    next_is_dev
        The parts are folds, and the part after the one that is tested is its dev: no label that
        several groups have should be in these two alone, for train would then have none of it.

    Returns
    -------
    parts
        Part of each clip, `(clips,)`.

    Examples
    --------
    >>> groups = np.repeat(list("abcdefghij"), 6)
    >>> parts = deal_groups(np.tile([0, 1, 2], 20), groups, [0.7, 0.1, 0.2], "0")
    >>> np.bincount(parts).tolist()
    [42, 6, 12]
    """
    shares_ = _checked(shares)
    names, first, code = np.unique(
        np.asarray(groups).astype(str), return_index=True, return_inverse=True
    )
    variables = np.asarray(labels).reshape(len(code), -1).T
    used = np.flatnonzero(shares_ > 0)
    if len(names) < len(used):
        raise InputError(
            f"{len(names)} groups for {len(used)} parts; expected at least one group in each. "
            "Set `dev_size=0`, or take `scheme='stratified'`"
        )
    counts = np.hstack([_counts(code, v) for v in [*variables, np.zeros_like(code)]])
    stratum = np.zeros(len(names), str) if strata is None else np.asarray(strata).astype(str)[first]
    chosen = np.empty(len(names), dtype=np.int64)
    for name in np.unique(stratum):
        own = stratum == name
        own_key = f"{key}\0{name}"
        chosen[own] = _draw(counts[own], names[own], shares_[used], own_key, next_is_dev)
    weight = 1 / counts.sum(axis=0) ** 2
    target = shares_[used, None] * counts.sum(axis=0)
    have = np.stack([counts[chosen == part].sum(axis=0) for part in range(len(used))])
    _fill_empty(chosen, have, counts, target, weight)
    return used[chosen][code]


def _draw(
    counts: np.ndarray, names: np.ndarray, shares: np.ndarray, key: str, next_is_dev: bool
) -> np.ndarray:
    """Return the part of each group `(groups,)`: the first of the best draws."""
    # one clip more or less usually changes nothing: of a label, only the groups that have it count,
    # and the group's size (the last column) on a coarse scale
    coarse = np.exp(COARSE * np.round(np.log(np.maximum(counts[:, -1], 1)) / COARSE))
    sizes = np.column_stack([counts[:, :-1] > 0, coarse]).astype(float)
    weight = np.r_[np.full(counts.shape[1] - 1, PRESENCE), 1.0][sizes.any(axis=0)]
    sizes = sizes[:, sizes.any(axis=0)]
    total = sizes.sum(axis=0)
    draws = int(np.clip(DRAWN // len(names), 8, DRAWS))
    uniform = np.stack(
        [np.random.default_rng(_hashed(key, name)).random(draws) for name in names], axis=1
    )
    parts = np.searchsorted(np.cumsum(shares)[:-1], uniform.ravel(), side="right")
    parts = parts.reshape(uniform.shape)
    loss, alone = np.zeros((2, draws))  # alone: groups whose label no other part has
    empty, several = np.zeros(draws, dtype=int), total[:-1] > 1
    for part, share in enumerate(shares):
        here = parts == part
        held = here @ sizes
        loss += ((held - share * total) ** 2) @ (weight / total**2)
        empty += ~here.any(axis=1)
        away = here | (parts == (part + 1) % len(shares)) if next_is_dev else here
        gone = (away @ sizes[:, :-1] == total[:-1]) & several
        alone += (held[:, :-1] * gone).sum(axis=1)
    level = np.round(np.log2(np.maximum(loss, LEAST)))
    return parts[np.lexsort((np.arange(draws), level, alone, empty))[0]]


def _hashed(key: str, name: str) -> int:
    digest = hashlib.blake2b(f"{key}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


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
            f"{int(counts.sum())} {what} divided in shares {shares.round(4).tolist()} leave a "
            f"part empty ({counts.tolist()}); expected more {what}, or a share of 0"
        )
