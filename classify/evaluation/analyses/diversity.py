"""How members differ: ensembles gain where members err on different clips.

Kuncheva and Whitaker (2003) compare these measures; all are of pairs of members on one set of
clips, except the oracle, which is right wherever any member is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ...data.predictions import Predictions
from ...ensembles.fixed_rules import MeanEnsemble
from ...metrics import measures as metrics


def pair(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Measure how two members' answers differ.

    Parameters
    ----------
    truth, a, b
        Label codes of each clip, `(clips,)`: true, and answered by each member.

    Returns
    -------
    measures
        `error_overlap`, clips that both get wrong of those that any gets wrong (1: same errors);
        `q`, Yule's Q of being right (1: together, 0: independent, -1: in turn); `kappa`, Cohen's
        agreement of the answers beyond chance; `disagreement`, share of clips with two answers.
        NaN where a measure is not defined.

    Examples
    --------
    >>> truth, a, b = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), np.array([0, 1, 1, 1])
    >>> pair(truth, a, b)["error_overlap"], pair(truth, a, b)["q"]
    (0.0, -1.0)
    """
    right_a, right_b = a == truth, b == truth
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    n_labels = int(max(a.max(), b.max())) + 1
    shares = np.bincount(a, minlength=n_labels) @ np.bincount(b, minlength=n_labels)
    chance = float(shares) / len(truth) ** 2
    agree = float((a == b).mean())
    return {
        "error_overlap": _over(neither, neither + only_a + only_b),
        "q": _over(both * neither - only_a * only_b, both * neither + only_a * only_b),
        "kappa": _over(agree - chance, 1 - chance),
        "disagreement": 1 - agree,
    }


def diversity(members: Mapping[str, Predictions], truth: np.ndarray) -> dict[str, Any]:
    """Return the diversity of a set of members, for JSON.

    Parameters
    ----------
    members
        Predictions by name, joined; at least two.
    truth
        Label code of each clip.

    Returns
    -------
    result
        `pairs`; `oracle`, the share of clips that any member gets right; `all_right` and
        `all_wrong`; and `ablation`: UAR of the mean of all members, and by how much it changes when
        one is left out (negative: the member helps).
    """
    names = sorted(members)
    codes = {name: members[name].codes for name in names}
    right = np.stack([codes[name] == truth for name in names])
    whole = _mean_uar(members, truth)
    return {
        "oracle": float(right.any(axis=0).mean()),
        "all_right": float(right.all(axis=0).mean()),
        "all_wrong": float((~right).all(axis=0).mean()),
        "pairs": [
            {"a": a, "b": b, **pair(truth, codes[a], codes[b])} for a, b in combinations(names, 2)
        ],
        "ablation": {
            "uar": whole,
            "without": {
                name: _mean_uar({m: p for m, p in members.items() if m != name}, truth) - whole
                for name in names
            },
        },
    }


def _mean_uar(members: Mapping[str, Predictions], truth: np.ndarray) -> float:
    fused = MeanEnsemble().combine(members)
    matrix = metrics.confusion_of_codes(truth, fused.codes, len(fused.labels))
    return metrics.summary(matrix)["uar"]


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
