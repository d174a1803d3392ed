"""Probabilities against the raters' votes: their shares of the labels, not one label a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError
from ...data.votes import Votes
from ...metrics.bootstrap import FEWEST_GROUPS, draws
from ...metrics.intervals import interval, kish_size

if TYPE_CHECKING:
    from ...data.predictions import Predictions


SPLIT = 0.6  # a clip whose leading class has a smaller share of the votes is split


def score_votes(proba: np.ndarray, votes: Votes) -> dict[str, float]:
    """Score probabilities against the raters themselves.

    Parameters
    ----------
    proba : ndarray of shape (clips, classes)
        In the order of `votes.ids` and `votes.classes`.

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
    split = shares.max(axis=1) < SPLIT
    return {
        "cross_entropy": float(-(shares * np.log(np.maximum(proba, tiny))).sum(axis=1).mean()),
        "rater_entropy": float((shares * -np.log(np.maximum(shares, tiny))).sum(axis=1).mean()),
        "agreement": float(agreed.mean()),
        "rater_agreement": float(shares.max(axis=1).mean()),
        "split": float(split.mean()),
        "agreement_split": float(agreed[split].mean()) if split.any() else float("nan"),
        "agreement_clear": float(agreed[~split].mean()) if (~split).any() else float("nan"),
    }


def compare_votes(
    systems: dict[str, Predictions],
    votes: Votes,
    groups: np.ndarray,
    level: float,
) -> dict[str, Any]:
    """Score systems against the raters' votes, with intervals that resample speakers.

    Parameters
    ----------
    systems
        Predictions by name.
    votes
        Of the same clips, in any order.
    groups
        Group code of each clip of `votes`, `(clips,)`.
    level
        Coverage of the intervals.

    Returns
    -------
    result
        `raters`: mean votes a clip, agreement (share of the leading label), entropy in nats, and
        the share of clips that are split (below 0.6). `systems`: by name Brier score, Kullback-
        Leibler divergence from the raters' shares, Jensen-Shannon divergence (nats; all are better
        if lower, 0 is perfect), and `agreement`, the share of raters who chose the label predicted.
    """
    shares, tiny = votes.shares, np.finfo(np.float64).tiny
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1
    sizes = np.bincount(codes)
    counts = np.concatenate(list(draws(np.ones(n_groups, int), 2000, 0, float)))
    effective = kish_size(sizes)

    def scored(each: np.ndarray) -> dict[str, Any]:
        sums = np.bincount(codes, each, minlength=n_groups)
        value = float(each.mean())
        floor = float(each.std() / np.sqrt(len(each)))
        low, high = interval(value, counts @ sums / (counts @ sizes), effective, level, floor)
        known = n_groups >= FEWEST_GROUPS
        return {"value": value, "interval": [max(low, 0.0), high] if known else [None, None]}

    found: dict[str, Any] = {}
    for name, given in systems.items():
        proba = np.maximum(given.reorder(votes.classes).align(votes.ids).proba, tiny)
        middle = (proba + shares) / 2
        scores = score_votes(proba, votes)
        found[name] = {
            "brier": scored(((proba - shares) ** 2).sum(axis=1)),
            "kl": scored(_divergence(shares, proba)),
            "jsd": scored((_divergence(shares, middle) + _divergence(proba, middle)) / 2),
            **{key: scores[key] for key in ("agreement", "agreement_split", "agreement_clear")},
        }
        raters = {key: scores[f"rater_{key}"] for key in ("agreement", "entropy")}
    raters |= {"split": scores["split"], "votes": float(votes.counts.sum(axis=1).mean())}
    return {"raters": raters, "systems": found, "clips": len(votes.ids)}


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the Kullback-Leibler divergence of rows of p from q, in nats, `(clips,)`."""
    tiny = np.finfo(np.float64).tiny
    return (p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny)))).sum(axis=1)
