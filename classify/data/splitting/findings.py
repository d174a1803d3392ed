"""Warnings with a kind: the worst come first, and one that several folds share appears once.

A `Finding` is a text like any other, with its kind. Whoever makes a warning gives it the kind;
plain texts count as `Kind.OTHER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

__all__ = ["Finding", "Kind", "of_other", "of_splits", "ranked", "split_warnings"]

Count = int | tuple[int, int]
MOST_NAMES = 5  # folds that are named in one warning
OF_TEST = ("language", "dataset")  # columns of which test may have other values than train and dev


class Kind(IntEnum):
    """What a warning is about, from what can change the answer most."""

    LABELS = 0  # labels of other clips, labels exchanged, one label for all clips
    SPEAKERS = 1  # one speaker in two parts
    RECORDINGS = 2  # one recording in two parts
    COPIES = 3  # recordings of test that are nearly one of train
    CLIPS = 4  # clips of test that are not compared
    TEXTS = 5  # texts in two parts
    GROUPS = 6  # too few speakers, or none known
    OTHER = 7


class Finding(str):
    """A warning.

    Parameters
    ----------
    text
        The message; with `numbers`, a pattern for `str.format`.
    kind
        What it is about.
    numbers
        Counts that the pattern names, which may differ from fold to fold: numbers, or pairs of a
        number and of how many it is.

    Examples
    --------
    >>> found = Finding("{} clips are alike", Kind.COPIES, (3, 30))
    >>> found, found.kind.name
    ('3 of 30 clips are alike', 'COPIES')
    >>> Finding("{} clips are alike", Kind.COPIES, (30, 30))
    'all 30 clips are alike'
    """

    kind: Kind
    pattern: str
    numbers: tuple[Count, ...]

    def __new__(cls, text: str, kind: Kind = Kind.OTHER, *numbers: Count) -> Finding:
        """Fill in the numbers."""
        self = super().__new__(cls, _filled(text, [numbers]))
        self.kind, self.pattern, self.numbers = kind, text, numbers
        return self


def ranked(warnings: Iterable[str]) -> list[str]:
    """Return the warnings, each once, with those first that can change the answer most.

    Within a kind they stay as they came.

    Parameters
    ----------
    warnings
        As they were found.

    Examples
    --------
    >>> ranked(["dev has no clip of joy", Finding("2 speakers only", Kind.GROUPS)])
    ['2 speakers only', 'dev has no clip of joy']
    """
    return sorted(dict.fromkeys(warnings), key=lambda text: getattr(text, "kind", Kind.OTHER))


def of_splits(splits: Sequence[Any]) -> list[str]:
    """Return the warnings of one split; or of several, each once with its folds.

    Counts that differ are given from the lowest to the highest.
    """
    if len(splits) == 1:
        return list(splits[0].warnings)
    alike: dict[str, list[tuple[str, Finding]]] = {}
    for split in splits:
        for text in split.warnings:
            found = text if isinstance(text, Finding) else Finding(text)
            alike.setdefault(found.pattern, []).append((split.name, found))
    n_names = len({split.name for split in splits})
    return ranked(_together(found, n_names) for found in alike.values())


def split_warnings(folds: Sequence[Any]) -> list[str]:
    """Return the warnings of the splits; with many folds, the first ten.

    Also where test is of languages or corpora that train and dev do not have.
    """
    found = of_splits(folds)
    apart = [of_other(fold) if len(fold.dev) else [] for fold in folds]
    columns = [one for one in OF_TEST if apart and all(one in columns for columns in apart)]
    if columns:
        text = (
            f"test is of another {' and '.join(columns)} than train and dev: dev scores do not "
            "show what that costs, and what dev chose need not be the best there"
        )
        found = [*found, Finding(text)]
    more = f"{len(found) - 10} more warnings of the {len(folds)} splits are in comparison.json"
    return [*found[:10], more] if len(found) > 11 and len(folds) > 1 else found


def of_other(split: Any) -> list[str]:
    """Return the columns whose values in test are all absent from train and dev."""
    return [
        column
        for column in OF_TEST
        if column in split.test
        and not {*split.test[column]} & {*split.train[column], *split.dev[column]}
    ]


def _together(found: Sequence[tuple[str, Finding]], n_names: int) -> Finding:
    """Return one warning for those of several folds, which may differ in their numbers."""
    names, one = list(dict.fromkeys(name for name, _ in found)), found[0][1]
    where = ", ".join(names[:MOST_NAMES])
    if len(names) == n_names:
        where = f"all {n_names} folds" if n_names > 1 else ""
    elif len(names) > MOST_NAMES:
        where += f" and {len(names) - MOST_NAMES} more"
    text = _filled(one.pattern, [each.numbers for _, each in found])
    return Finding(f"{where}: {text}" if where else text, one.kind)


def _filled(pattern: str, numbers: Sequence[Sequence[Count]]) -> str:
    """Fill in the counts of several warnings of one pattern."""
    counts = [_counted(own) for own in zip(*numbers, strict=True)]
    return pattern.format(*counts) if counts else pattern


def _counted(own: Sequence[Any]) -> str:
    """Return counts from the lowest to the highest, and 30 of 30 as all 30."""
    if isinstance(own[0], tuple):
        part, whole = zip(*own, strict=True)
        return (
            f"all {_counted(whole)}" if part == whole else f"{_counted(part)} of {_counted(whole)}"
        )
    return f"{min(own)} to {max(own)}" if len({*own}) > 1 else f"{own[0]}"
