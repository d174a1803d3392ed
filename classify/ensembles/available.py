"""Members with different clips: the clips they share, and ensembles of those present.

A text member cannot predict a clip without text. Members and ensembles are therefore
compared on the clips that every member has; next to it is a second comparison on all clips, of
the members that have all of them and of ensembles over whichever members each clip has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..data.predictions import Predictions


def common_ids(members: Mapping[str, Predictions], order: Sequence[str]) -> list[str]:
    """Return the ids that every member has, in the order of `order`.

    Examples
    --------
    >>> a = Predictions(["1", "2"], ["x", "y"], [[1, 0], [0, 1]])
    >>> b = Predictions(["2", "3"], ["x", "y"], [[1, 0], [0, 1]])
    >>> common_ids({"a": a, "b": b}, ["1", "2", "3"]), union_ids({"a": a, "b": b}, ["3", "2", "1"])
    (['2'], ['3', '2', '1'])
    """
    shared = set.intersection(*(set(member.ids) for member in members.values()))
    return [name for name in order if name in shared]


def union_ids(members: Mapping[str, Predictions], order: Sequence[str]) -> list[str]:
    """Return the ids that some member has, in the order of `order`."""
    there = set().union(*(member.ids for member in members.values()))
    return [name for name in order if name in there]


def combine_available(
    members: Mapping[str, Predictions],
    ids: Sequence[str],
    combine: Callable[[Mapping[str, Predictions]], Predictions],
) -> Predictions:
    """Combine, clip by clip, the members that have it.

    Parameters
    ----------
    members : mapping of str to Predictions
        Their ids may differ; every one of `ids` is in at least one.
    combine : callable
        Combines members with equal ids, as an ensemble's ``combine`` does; it is called once for
        each set of members that clips have in common.

    Returns
    -------
    Predictions
        In the order of `ids`.

    Examples
    --------
    >>> from affekt.classify import MeanEnsemble
    >>> a = Predictions(["1", "2"], ["x", "y"], [[1, 0], [0, 1]])
    >>> b = Predictions(["2"], ["x", "y"], [[1, 0]])
    >>> combine_available({"a": a, "b": b}, ["2", "1"], MeanEnsemble().combine).proba.tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    rows = {name: {clip: row for row, clip in enumerate(m.ids)} for name, m in members.items()}
    groups: dict[tuple[str, ...], list[str]] = {}
    for clip in ids:
        groups.setdefault(tuple(name for name in members if clip in rows[name]), []).append(clip)
    labels = next(iter(members.values())).labels
    position = {clip: row for row, clip in enumerate(ids)}
    proba = np.zeros((len(ids), len(labels)))
    for names, clips in groups.items():
        combined = combine({name: members[name].select(clips) for name in names})
        proba[[position[clip] for clip in clips]] = combined.reorder(labels).proba
    return type(next(iter(members.values())))(ids, labels, proba)
