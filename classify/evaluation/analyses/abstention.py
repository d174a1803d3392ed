"""Answer only when sure: the risk-coverage curve, and a threshold chosen on dev."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....cache.errors import InputError


def risk_coverage(truth: np.ndarray, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the error rate among the surest clips, for each share of clips answered.

    Clips of equal confidence are answered together, at their mean error, so that the order of rows
    does not matter.

    Parameters
    ----------
    truth
        Label code of each clip, `(clips,)`.
    proba
        Probabilities, `(clips, labels)`; the largest is the confidence.

    Returns
    -------
    coverage, risk
        `(clips,)` each: share of clips answered, 1/n to 1, and their error rate.

    Examples
    --------
    >>> proba = np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> coverage, risk = risk_coverage(np.array([0, 1]), proba)
    >>> coverage.tolist(), risk.tolist()
    ([0.5, 1.0], [0.0, 0.5])
    """
    confidence = proba.max(axis=1)
    wrong = (proba.argmax(axis=1) != truth).astype(float)
    _, place, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    level = np.bincount(place, wrong) / counts  # mean error at each confidence
    errors = np.cumsum(np.repeat(level, counts))
    answered = np.arange(1, len(truth) + 1)
    return answered / len(truth), errors / answered


def area(truth: np.ndarray, proba: np.ndarray) -> float:
    """Return the area under the risk-coverage curve (Geifman and El-Yaniv, 2017).

    It is the mean error over all coverages; lower is better.

    Examples
    --------
    >>> area(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    0.25
    """
    return float(risk_coverage(truth, proba)[1].mean())


def threshold(truth: np.ndarray, proba: np.ndarray, accuracy: float) -> float:
    """Return the lowest confidence from which dev reaches an accuracy; inf where none does.

    Examples
    --------
    >>> proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    >>> threshold(np.array([0, 0, 1]), proba, accuracy=0.9)
    0.8
    """
    if not 0 < accuracy <= 1:
        raise InputError(f"accuracy {accuracy}; expected a share above 0, up to 1")
    confidence = proba.max(axis=1)
    right = proba.argmax(axis=1) == truth
    levels, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    good = np.cumsum(np.bincount(place, right)[::-1])[::-1] / np.cumsum(counts[::-1])[::-1]
    reached = np.flatnonzero(good >= accuracy)
    return float(levels[reached[0]]) if len(reached) else float("inf")


def abstain(
    truth: np.ndarray,
    proba: np.ndarray,
    dev_truth: np.ndarray | None = None,
    dev_proba: np.ndarray | None = None,
    accuracies: tuple[float, ...] = (0.8, 0.9, 0.95),
    apart: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> dict[str, Any]:
    """Return the curve at a few coverages and, with dev, what its thresholds do on test.

    `apart` gives, for each fold, rows of test and the rows of dev that its threshold is from.
    """
    coverage, risk = risk_coverage(truth, proba)
    at = [max(1, round(share * len(truth))) - 1 for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    result: dict[str, Any] = {
        "area": area(truth, proba),
        "curve": [
            {"coverage": float(coverage[i]), "clips": i + 1, "risk": float(risk[i])} for i in at
        ],
    }
    if dev_truth is not None and dev_proba is not None:
        result["thresholds"] = []
        for wanted in accuracies:
            edge = threshold(dev_truth, dev_proba, wanted)
            edges = np.full(len(truth), edge)
            for asked, learnt in apart:
                edges[asked] = threshold(dev_truth[learnt], dev_proba[learnt], wanted)
            answered = proba.max(axis=1) >= edges
            right = proba.argmax(axis=1)[answered] == truth[answered]
            result["thresholds"].append(
                {
                    "accuracy_on_dev": wanted,
                    "threshold": edge,
                    "coverage": float(answered.mean()),
                    "accuracy": float(right.mean()) if answered.any() else float("nan"),
                }
            )
    return result
