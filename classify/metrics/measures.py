"""Measures of predictions: of the confusion matrix, and of probabilities.

All take `(truth, prediction, labels)` with the full label set of the task. A class that is absent
from truth (and from the predictions, for F1) counts 0, as with scikit-learn's ``labels=`` and
``zero_division=0``, so that a number can never look better because a class went missing;
`absent` lists those classes. UAR, the unweighted average recall, leads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...cache.errors import InputError, expected_one_of

Labels = Sequence[str]


def codes(names: Sequence[str], labels: Labels) -> np.ndarray:
    """Return the positions of label names in `labels`, `(clips,)` int64.

    Examples
    --------
    >>> codes(["b", "a"], ["a", "b"]).tolist()
    [1, 0]
    """
    position = {label: code for code, label in enumerate(labels)}
    try:
        return np.fromiter((position[name] for name in names), np.int64, len(names))
    except KeyError as error:
        name = str(error.args[0])
        raise InputError(f"label {name!r}; {expected_one_of(name, labels)}") from None


def confusion(truth: Sequence[str], prediction: Sequence[str], labels: Labels) -> np.ndarray:
    """Count pairs of true and predicted label, `(true labels, predicted labels)` int64.

    Examples
    --------
    >>> confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]).tolist()
    [[1, 1], [0, 1]]
    """
    if len(truth) != len(prediction):
        raise InputError(f"{len(truth)} true labels and {len(prediction)} predictions")
    return confusion_of_codes(codes(truth, labels), codes(prediction, labels), len(labels))


def confusion_of_codes(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> np.ndarray:
    """Count pairs of true and predicted position, `(n_labels, n_labels)` int64."""
    flat = np.bincount(truth * n_labels + prediction, minlength=n_labels * n_labels)
    return flat.reshape(n_labels, n_labels)


def absent(truth: Sequence[str], labels: Labels) -> list[str]:
    """Return the labels that no clip has, in task order.

    Examples
    --------
    >>> absent(["a"], ["a", "b"])
    ['b']
    """
    there = set(truth)
    return [label for label in labels if label not in there]


def over_present(score: Mapping[str, Any], n_labels: int, n_present: int) -> dict[str, Any]:
    """Return a mean over all labels, and its interval, as that over the labels that occur.

    Examples
    --------
    >>> over_present({"value": 0.5, "interval": [0.25, 0.75]}, 4, 3)["value"]
    0.6666666666666666
    """
    scale = n_labels / n_present
    limits = [limit * scale for limit in score["interval"]]
    return {"value": score["value"] * scale, "interval": limits}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall, f1 and support of each class of a confusion matrix."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    true, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, true),
        "f1": ratio(2 * hits, true + predicted),
        "support": true,
    }


def summary(matrix: np.ndarray) -> dict[str, float]:
    """Return every summary measure of one confusion matrix.

    `uar_present` averages only over the classes that occur in truth; it differs from `uar` only
    where classes are absent.

    Examples
    --------
    >>> {name: round(value, 3) for name, value in summary(np.array([[1, 1], [0, 2]])).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'uar': 0.75, 'accuracy': 0.75, 'macro_f1': 0.733, 'weighted_f1': 0.733,
     'macro_precision': 0.833, 'weighted_precision': 0.833, 'uar_present': 0.75}
    """
    table = per_class(matrix)
    support = table["support"]
    total = int(support.sum())
    if not total:
        raise InputError("no clips to score; expected at least one")
    weight = support / total
    present = support > 0
    return {
        "uar": float(table["recall"].mean()),
        "accuracy": float(np.trace(matrix) / total),
        "macro_f1": float(table["f1"].mean()),
        "weighted_f1": float(table["f1"] @ weight),
        "macro_precision": float(table["precision"].mean()),
        "weighted_precision": float(table["precision"] @ weight),
        "uar_present": float(table["recall"][present].mean()),
    }


def uar(truth: Sequence[str], prediction: Sequence[str], labels: Labels) -> float:
    """Unweighted average recall: the mean over classes of hits / clips; 0 to 1, higher is better.

    Chance is 1 / labels whatever the class sizes are. An absent class counts 0.

    Examples
    --------
    >>> uar(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
    0.5
    """
    return summary(confusion(truth, prediction, labels))["uar"]


def nll(truth: np.ndarray, proba: np.ndarray) -> float:
    """Mean negative log-likelihood of the true class in nats; lower is better.

    Probabilities below 1e-15 count as 1e-15.

    Parameters
    ----------
    truth
        Positions of the true labels, `(clips,)`.
    proba
        Probabilities, `(clips, labels)`.

    Examples
    --------
    >>> round(nll(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]])), 4)
    0.6931
    """
    own = proba[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(own, 1e-15, 1)).mean())


def brier(truth: np.ndarray, proba: np.ndarray) -> float:
    """Mean squared distance of the probabilities to the true class; 0 to 2, lower is better.

    Examples
    --------
    >>> brier(np.array([0]), np.array([[0.5, 0.5]]))
    0.5
    """
    target = np.zeros_like(proba)
    target[np.arange(len(truth)), truth] = 1
    return float(((proba - target) ** 2).sum(axis=1).mean())


def ece(truth: np.ndarray, proba: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over equal bins.

    0 to 1, lower is better; the confidence is the largest probability of a clip (Guo et al., 2017).

    Examples
    --------
    >>> round(ece(np.array([0, 1]), np.array([[0.8, 0.2], [0.8, 0.2]])), 3)
    0.3
    """
    confidence, right, count = reliability(truth, proba, bins)
    return float(np.abs(confidence - right).sum() / max(count.sum(), 1))


def ece_noise(proba: np.ndarray, bins: int = 15) -> float:
    """Return the ECE that a perfectly calibrated system would show on as many clips, on average.

    With few clips the accuracy of a bin differs from its confidence by chance alone, and ECE counts
    every difference. The sum of errors in a bin is taken as normal.

    Examples
    --------
    >>> sure = np.tile([0.8, 0.2], (25, 1))
    >>> round(ece_noise(sure), 3)  # the mean of |N(0, 0.8 * 0.2 / 25)|
    0.064
    """
    confidence = proba.max(axis=1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    variance = np.bincount(place, confidence * (1 - confidence), bins)
    return float(np.sqrt(2 / np.pi * variance).sum() / max(len(proba), 1))


def reliability(
    truth: np.ndarray, proba: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum of confidence, the number right and the number of clips of each bin."""
    confidence = proba.max(axis=1)
    right = (proba.argmax(axis=1) == truth).astype(float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return (
        np.bincount(place, confidence, bins),
        np.bincount(place, right, bins),
        np.bincount(place, minlength=bins),
    )


def ccc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Concordance correlation of two series of numbers; -1 to 1, higher is better (Lin, 1989).

    2 cov / (var + var + squared distance of the means); 0 where both are constant.

    Examples
    --------
    >>> round(ccc(np.array([-1.0, 0.0, 1.0]), np.array([-0.5, 0.0, 0.5])), 3)
    0.8
    """
    x, y = np.asarray(truth, float), np.asarray(prediction, float)
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else 0.0
