"""Clips that train holds a copy of: found by their embeddings, which are nearly the same.

A copy that is only quieter, cut or in another codec is much nearer to its original than any other
clip is (`near_duplicates`). A low bit rate, a narrow band or added silence moves some features far
and leaves others where they are (`altered_copies`): so a clip is compared with others by the
quarter of the features in which the two differ least.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ....cache.errors import counted, listed
from .findings import Finding, Kind

if TYPE_CHECKING:
    from ....cache.manifest import Manifest

MOST_CLIPS = 2000  # of train, whose own neighbours are looked at
FEWEST_CLIPS = 20  # of train, for their neighbours to show how near different clips are
FARTHEST_COPY = 0.2  # 1 - cosine
SURELY_A_COPY = 0.999  # cosine

SHARE = 0.25  # of the features, those that differ least
NEAR = 16  # neighbours that are looked at
FAR = 10  # the distance of the nearest is compared with that of this one
FEWEST_FEATURES = 64
STRICT = 0.55
BLOCK = 128  # rows at a time, which bounds memory
PAIRS = 4_000_000  # pairs of clips that are compared at a time


def check_near_duplicates(
    parts: Mapping[str, Manifest], embeddings: Mapping[str, np.ndarray]
) -> list[str]:
    """Warn of clips of dev with nearly the same embedding in train, and of test in train or dev.

    Every dimension is standardised by train first: else one large dimension makes all clips alike.
    Where `altered_copies` can tell, a clip that is merely much nearer than the second is not a
    copy: some features of a copy stay as they were. Where clips of train are as near to each other,
    the warning says how many: copies in train too, or a corpus whose clips are alike.

    Parameters
    ----------
    parts
        Manifest of each part.
    embeddings
        Embeddings `(clips, dim)` of each part, rows as in the manifest.
    """
    messages: list[str] = []
    if len(parts["train"]) < 2:
        return messages
    train = np.asarray(embeddings["train"], dtype=np.float64)
    spread = train.std(axis=0)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    for name, known in (("dev", ["train"]), ("test", ["train", "dev"])):
        if not len(parts.get(name, ())):
            continue
        known = [part for part in known if len(parts.get(part, ()))]
        owners = [(part, clip) for part in known for clip in parts[part].ids]
        there, *others = (
            (np.asarray(embeddings[part], dtype=np.float64) - train.mean(axis=0)) * scale
            for part in (name, *known)
        )
        here = np.concatenate(others)
        pairs = {
            row: (at, f"cosine {cosine:.6f}")
            for at, row, cosine in near_duplicates(here, there, by_second=not can_tell(here))
        }
        for original, row in altered_copies(here, there):
            pairs.setdefault(row, (original, "in a quarter of the features"))
        for part in known:
            shown = [
                f"{parts[name].ids[row]} = {owners[at][1]} ({how})"
                for row, (at, how) in pairs.items()
                if owners[at][0] == part
            ]
            if shown:
                text = (
                    f"{counted(len(shown), 'clip')} of {name} nearly identical to a clip of "
                    f"{part}, perhaps a copy of it: "
                )
                alike = _alike_in_train(others[0])
                messages.append(Finding(text + listed(shown) + alike, Kind.COPIES))
    return messages


def _alike_in_train(train: np.ndarray) -> str:
    within = len(altered_copies(train))
    if not within:
        return ""
    looked_at = min(len(train), MOST_CLIPS)
    return (
        f". Within train {within} of {looked_at} clips are just as close to another one: either "
        "train also contains copies, or the clips of this corpus are all alike"
    )


def near_duplicates(
    train: np.ndarray,
    other: np.ndarray,
    *,
    by_second: bool = True,
    block: int = 1024,
) -> list[tuple[int, int, float]]:
    """Find rows of two sets of embeddings that are almost the same.

    A copy (another codec, level, or a little cut off) is much nearer to its original than to the
    next clip, where two different clips are about as near as the next one. How near is too near is
    taken from the neighbours that the clips of train have among themselves; a cosine of 0.999 is
    too near in any case, and all there is where train has fewer than 20 clips.

    Parameters
    ----------
    train, other
        Embeddings `(clips, dim)` of one layer.
    by_second
        Whether a clip that is much nearer than the second nearest is a copy. Two voices that are
        alike by chance and say almost the same are so too.
    block
        Rows that are compared at a time, at most; fewer where train is large, to bound memory.

    Returns
    -------
    pairs
        `(row of train, row of other, cosine)`, the most similar one for each row of `other`.

    Examples
    --------
    >>> near_duplicates(np.eye(2), np.array([[0.0, 2.0], [1.0, 1.0]]))
    [(1, 0, 1.0)]
    """
    left, right = (_unit(np.asarray(one, dtype=np.float64)) for one in (train, other))
    if not len(left):
        return []
    block = min(block, max(1, PAIRS // len(left)))
    ratio, distance = _own_neighbours(left, block) if len(left) >= FEWEST_CLIPS else (0.0, 0.0)
    pairs = []
    for start in range(0, len(right), block):
        cosine = right[start : start + block] @ left.T
        best = cosine.argmax(axis=1)
        nearest = 1 - cosine[np.arange(len(best)), best]
        cosine[np.arange(len(best)), best] = -1
        second = 1 - cosine.max(axis=1)
        copy = by_second & (nearest <= ratio * second) & (nearest <= FARTHEST_COPY)
        copy |= (nearest <= distance) | (1 - nearest >= SURELY_A_COPY)
        pairs += [
            (int(best[row]), start + int(row), float(1 - nearest[row]))
            for row in np.flatnonzero(copy)
        ]
    return pairs


def _own_neighbours(rows: np.ndarray, block: int) -> tuple[float, float]:
    """Return how near a copy is: as a share of the second distance, and as a distance.

    Measured on four corpora with MP3 (64 kbit/s), OGG, quieter and trimmed copies: their ratio is
    at most 0.26, that of different clips at least 0.42 and for nine in ten above 0.7.
    """
    some = np.linspace(0, len(rows) - 1, min(len(rows), MOST_CLIPS)).astype(int)
    ratios, tenth = [], []
    for start in range(0, len(some), block):
        at = some[start : start + block]
        distance = rows[at] @ rows.T
        np.subtract(1, distance, out=distance)
        distance[np.arange(len(at)), at] = np.inf
        distance.partition(10, axis=1)
        near = np.sort(distance[:, :10], axis=1)
        ratios.append(near[:, 0] / np.maximum(near[:, 1], 1e-12))
        tenth.append(near[:, 9])
    return (
        0.5 * float(np.quantile(np.concatenate(ratios), 0.1)),
        0.1 * float(np.median(np.concatenate(tenth))),
    )


def can_tell(train: np.ndarray) -> bool:
    """Return whether train `(clips, dim)` is large enough to tell a copy from a different clip."""
    return len(train) > NEAR and int((np.ptp(train, axis=0) > 0).sum()) >= FEWEST_FEATURES


def altered_copies(train: np.ndarray, other: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Return the rows of `other` that one row of `train` resembles more than different clips do.

    The ratio of the distance to the nearest clip and to the tenth is compared with the ratios that
    the clips of train have among themselves. On `spectral` embeddings of four corpora this finds 55
    of 62 copies as MP3 of 24 kbit/s, 61 of 62 through 8 kHz, 60 of 62 with noise at 30 dB (12 of 62
    at 20 dB), all with silence around, and none of 2628 different clips.

    Parameters
    ----------
    train, other
        Standardised embeddings `(clips, dim)`. Without `other` the rows of train are compared with
        the rest of train, at most 2000 of them.

    Returns
    -------
    pairs
        `(row of train, row of other)`. Empty where train has 16 clips or fewer, or fewer than 64
        dimensions that vary: then no copy can be recognised.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> train = rng.normal(size=(50, 100))
    >>> copy = train[7].copy()
    >>> copy[:60] += 3  # what a filter changed
    >>> altered_copies(train, np.stack([rng.normal(size=100), copy]))
    [(7, 1)]
    """
    if not can_tell(train) or (other is not None and not len(other)):
        return []
    varied = np.ptp(train, axis=0) > 0
    left = np.asarray(train, dtype=np.float32)[:, varied]
    rows = some = np.linspace(0, len(left) - 1, min(len(left), MOST_CLIPS)).astype(int)
    ratio, nearest = _ratios(left, left[some], own=some)
    limit = STRICT * np.quantile(ratio, 0.1)
    if other is not None:
        rows = np.arange(len(other))
        ratio, nearest = _ratios(left, np.asarray(other, dtype=np.float32)[:, varied])
    return [(int(nearest[at]), int(rows[at])) for at in np.flatnonzero(ratio < limit)]


def _ratios(
    train: np.ndarray, rows: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratio of each row, and its nearest row of train; `own` is where it is itself."""
    kept = max(1, int(SHARE * train.shape[1]))
    directions = _directions(train).T
    ratios, nearest = [], []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        cosine = _directions(block) @ directions
        if own is not None:
            cosine[np.arange(len(block)), own[start : start + BLOCK]] = -2
        near = np.argpartition(-cosine, NEAR - 1, axis=1)[:, :NEAR]
        apart = np.abs(train[near] - block[:, None])
        least = np.partition(apart, kept - 1, axis=2)[:, :, :kept]
        distance = np.sqrt((least**2).mean(axis=2))
        order = np.argsort(distance, axis=1)
        sorted_ = np.take_along_axis(distance, order, axis=1)
        far = sorted_[:, FAR - 1]
        ratios.append(np.divide(sorted_[:, 0], far, out=np.ones_like(far), where=far > 0))
        nearest.append(np.take_along_axis(near, order[:, :1], axis=1)[:, 0])
    return np.concatenate(ratios), np.concatenate(nearest)


def _directions(rows: np.ndarray) -> np.ndarray:
    """Return unit vectors in which a few features that moved far count little."""
    return _unit(np.clip(rows, -1, 1))


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)
