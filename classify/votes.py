"""Soft labels: what several raters said of a clip, to train on and to score against.

Two ways to write them in a manifest: one column per class (`votes:anger`, `votes:joy`, ...), or
JSON in the label column (`{"anger": 3, "joy": 1}`). Counts and shares are both fine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..cache.errors import InputError, listed
from ..cache.manifest import Manifest

__all__ = ["Votes", "read_votes", "score_votes"]

PREFIX = "votes:"


@dataclass(frozen=True)
class Votes:
    """How raters labelled each clip.

    Attributes
    ----------
    ids : list of str
    classes : tuple of str
    counts : ndarray of shape (clips, classes), float64
        Votes, or shares of votes; every row has some.
    """

    ids: list[str]
    classes: tuple[str, ...]
    counts: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Distributions (clips, classes); rows sum to 1."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)


def read_votes(clips: Manifest, classes: Sequence[str] | None = None) -> Votes:
    """Read the votes of each clip from `votes:` columns, or from JSON in the label column.

    Parameters
    ----------
    clips : Manifest
    classes : sequence of str, optional
        The classes and their order; by default all that are voted for, sorted.

    Returns
    -------
    Votes

    Raises
    ------
    InputError
        No votes, numbers below 0, a clip without any vote, or a class that is not expected.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> clips = Manifest.from_rows([
    ...     {"id": "a", "text": "oh", "label": '{"joy": 3, "fear": 1}'},
    ...     {"id": "b", "text": "no", "label": '{"fear": 2}'},
    ... ])
    >>> votes = read_votes(clips)
    >>> votes.classes, votes.shares.tolist()
    (('fear', 'joy'), [[0.25, 0.75], [1.0, 0.0]])
    """
    columns = [name for name in clips.columns if name.startswith(PREFIX)]
    if columns:
        rows = [
            {name[len(PREFIX) :]: clips[name][i] for name in columns if clips[name][i] != ""}
            for i in range(len(clips))
        ]
    else:
        rows = [_from_json(text, clips, i) for i, text in enumerate(clips["label"])]
    found = sorted({name for row in rows for name in row})
    names = tuple(found if classes is None else classes)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise InputError(f"votes for {listed(unknown)}; expected {', '.join(names)}")
    counts = np.zeros((len(rows), len(names)))
    for i, row in enumerate(rows):
        for name, value in row.items():
            counts[i, names.index(name)] = _number(value, clips, i)
    empty = np.flatnonzero(counts.sum(axis=1) <= 0)
    if len(empty):
        raise InputError(
            f"{len(empty)} clips have no vote (first: {clips.source}, line "
            f"{clips.line(int(empty[0]))}); leave them out or give them one"
        )
    return Votes(clips.ids, names, counts)


def score_votes(proba: np.ndarray, votes: Votes, *, split_below: float = 0.6) -> dict[str, float]:
    """Score probabilities against the raters themselves.

    Parameters
    ----------
    proba : ndarray of shape (clips, classes)
        In the order of `votes.ids` and `votes.classes`.
    votes : Votes
    split_below : float, default=0.6
        A clip whose leading class has a smaller share of the votes counts as split.

    Returns
    -------
    dict of str to float
        ``cross_entropy`` (nats, lower is better) of the raters' shares under `proba`, and
        ``rater_entropy``, the least it can be; ``agreement``: the share of raters who chose the
        predicted class (0 to 1, higher is better), and ``rater_agreement``, its largest possible
        value; ``split``: the share of clips on which raters themselves split, with
        ``agreement_split`` and ``agreement_clear`` on those clips and on the others (NaN where
        there are none).

    Examples
    --------
    >>> import numpy as np
    >>> votes = Votes(["a", "b"], ("fear", "joy"), np.array([[1.0, 3.0], [2.0, 2.0]]))
    >>> scores = score_votes(np.array([[0.25, 0.75], [0.5, 0.5]]), votes)
    >>> round(scores["agreement"], 3), round(scores["cross_entropy"] - scores["rater_entropy"], 3)
    (0.625, 0.0)
    """
    shares = votes.shares
    if proba.shape != shares.shape:
        raise InputError(f"probabilities have shape {proba.shape}; expected {shares.shape}")
    tiny = np.finfo(np.float64).tiny
    agreed = np.take_along_axis(shares, proba.argmax(axis=1)[:, None], axis=1)[:, 0]
    split = shares.max(axis=1) < split_below
    return {
        "cross_entropy": float(-(shares * np.log(np.maximum(proba, tiny))).sum(axis=1).mean()),
        "rater_entropy": float(-(shares * np.log(np.maximum(shares, tiny))).sum(axis=1).mean()),
        "agreement": float(agreed.mean()),
        "rater_agreement": float(shares.max(axis=1).mean()),
        "split": float(split.mean()),
        "agreement_split": float(agreed[split].mean()) if split.any() else float("nan"),
        "agreement_clear": float(agreed[~split].mean()) if (~split).any() else float("nan"),
    }


def _from_json(text: str, clips: Manifest, position: int) -> dict[str, object]:
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InputError(
            f"{clips.source}, line {clips.line(position)}: label is {text!r}; expected votes as "
            f'JSON ({{"anger": 3, "joy": 1}}), or columns named {PREFIX}anger, {PREFIX}joy, ...'
        )
    return row


def _number(value: object, clips: Manifest, position: int) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise InputError(
            f"{clips.source}, line {clips.line(position)}: {value!r} votes; expected a number "
            "from 0 up"
        )
    return number
