"""Outer folds that score, inner folds that choose, and the cells of clips that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError
from ..data.splitting import leaks
from ..data.splitting.findings import of_splits
from ..data.splitting.folds import deal_clips, deal_groups
from ..data.splitting.schemes import splits

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

INNER = 5  # folds to choose on
BY_CLIP = (
    "no speakers are known: the inner folds are divided by clip, so choices may be overconfident"
)


@dataclass(frozen=True)
class Fold:
    """One outer fold.

    Attributes
    ----------
    inner : ndarray of int (clips,)
        Inner fold of each clip to train and choose on; -1 for every other clip.
    test : ndarray of bool (clips,)
        The clips that score the choice; none where only a choice is wanted.
    """

    name: str
    inner: np.ndarray
    test: np.ndarray


def outer_folds(
    clips: Manifest, scheme: Any, *, random_state: int = 0, **options: Any
) -> tuple[list[Fold], list[str]]:
    """Divide labelled clips into outer folds, each with inner folds by speaker.

    Parameters
    ----------
    scheme, random_state, options
        As for `affekt.classify.splits`. Every fold of a scheme with folds is one; dev is trained
        on.

    Returns
    -------
    folds : list of Fold
    warnings : list of str
        Messages of the leak checks.
    """
    found = splits(clips, scheme, dev_size=0.0, random_state=random_state, **options)
    place = {clip: row for row, clip in enumerate(clips.ids)}
    tests, trains = np.zeros((2, len(found), len(clips)), bool)
    for number, split in enumerate(found):
        tests[number, [place[clip] for clip in split.test.ids]] = True
        trains[number, [place[clip] for clip in (*split.train.ids, *split.dev.ids)]] = True
    by_fold = found[0].scheme == "group-kfold" and len(found) > 2 and (tests.sum(0) == 1).all()
    folds, warnings = [], of_splits(found)
    for number, split in enumerate(found):
        if by_fold:  # the other folds: a model serves two pairs of an inner and an outer fold
            inner = np.where(tests[number], -1, tests.argmax(axis=0))
        else:
            inner = np.full(len(clips), -1)
            inner[trains[number]], notes = inner_folds(clips.select(trains[number]), random_state)
            warnings += notes
        folds.append(Fold(split.name or split.scheme, inner, tests[number]))
    return folds, list(dict.fromkeys(warnings))


def inner_folds(clips: Manifest, random_state: int = 0) -> tuple[np.ndarray, list[str]]:
    """Deal clips into up to five folds, by speaker where there are several.

    Returns
    -------
    folds : ndarray of int (clips,)
    warnings : list of str
    """
    if len(clips) < 2:
        raise InputError(
            f"{clips.source}: {len(clips)} clips are too few to choose a layer on; expected more"
        )
    labels = np.unique(np.asarray(clips["label"]).astype(str), return_inverse=True)[1]
    names = leaks.speakers(clips)
    key = f"{random_state}/inner"
    if len(set(names)) > 1:
        groups = [name or f"\1{clip}" for name, clip in zip(names, clips.ids, strict=True)]
        count = min(INNER, len(set(groups)))
        return deal_groups(labels, groups, [1 / count] * count, key), []
    count = min(INNER, len(clips))
    return deal_clips(labels, clips.ids, [1 / count] * count, key), [BY_CLIP]


@dataclass(frozen=True)
class Masks:
    """What has to be trained for some folds.

    Attributes
    ----------
    cells : ndarray of int (clips,)
        Clips of one cell are always together; -1 for clips of no fold.
    masks : ndarray of bool (masks, cells)
        The cells that a model trains on, each set once.
    inner : list of dict
        For each fold: inner fold -> the mask that holds it out.
    outer : list of int or None
        For each fold the mask of all that it trains on; None if it has no test clips.
    """

    cells: np.ndarray
    masks: np.ndarray
    inner: list[dict[int, int]]
    outer: list[int | None]


def masks_of(folds: Sequence[Fold]) -> Masks:
    """Return the sets of clips that models are trained on."""
    used = np.any([(fold.inner >= 0) | fold.test for fold in folds], axis=0)
    codes = np.stack([np.where(fold.test, -2, fold.inner) for fold in folds], axis=1)
    kinds, cells = np.unique(codes[used], axis=0, return_inverse=True)
    every = np.full(len(used), -1)
    every[used] = cells.ravel()
    place: dict[bytes, int] = {}
    masks: list[np.ndarray] = []

    def at(mask: np.ndarray) -> int:
        if mask.tobytes() not in place:
            place[mask.tobytes()] = len(masks)
            masks.append(mask)
        return place[mask.tobytes()]

    inner, outer = [], []
    for number, fold in enumerate(folds):
        own = kinds[:, number]
        numbers = np.unique(own[own >= 0]).tolist()
        inner.append({one: at((own >= 0) & (own != one)) for one in numbers})
        outer.append(at(own >= 0) if fold.test.any() else None)
    return Masks(every, np.array(masks), inner, outer)
