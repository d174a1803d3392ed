"""What a classifying head learns from: labels, or distributions over labels.

Labels become the rows of an identity matrix, so that one loss serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cache.errors import InputError, check_number, nearest
from .sklearn_shim import (
    RegressorMixin,
    check_array,
    check_classification_targets,
    check_consistent_length,
    validate_data,
)


@dataclass(frozen=True)
class Targets:
    """Training targets of a classifier.

    Attributes
    ----------
    classes : ndarray of shape (classes,)
        Sorted labels.
    soft : ndarray of shape (clips, classes), float64
        Rows sum to 1; one-hot where labels were given.
    hard : ndarray of shape (clips,), int
        Position of the (first) largest entry of each row.
    """

    classes: np.ndarray
    soft: np.ndarray
    hard: np.ndarray

    def rows(self, keep: np.ndarray) -> Targets:
        """Return the targets of the rows `keep` (mask or positions); `classes` stay."""
        return Targets(self.classes, self.soft[keep], self.hard[keep])


def read_labels(y: np.ndarray) -> Targets:
    """Return targets for a vector of labels; one class only is an error."""
    check_classification_targets(y)
    return of_labels(y)


def of_labels(y: np.ndarray) -> Targets:
    """Return targets for labels that need no check; nothing of scikit-learn is called."""
    classes, hard = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"y holds one class only, {classes.tolist()}; expected at least two to tell apart"
        )
    return Targets(classes, np.eye(len(classes))[hard], hard)


def read_numbers(head: Any, X: Any, y: Any, *, dtype: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return checked features, numbers (clips, dimensions), and whether `y` was a vector.

    A dimension that is not annotated for a clip is NaN in a `y` of several dimensions.
    """
    shape = () if y is None else np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        X = validate_data(head, X, dtype=dtype)
        truth = check_array(y, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
        check_consistent_length(X, truth)
        return X, truth, False
    X, y = validate_data(head, X, y, dtype=dtype, y_numeric=True)
    return X, y.astype(np.float64)[:, None], True


class NumbersMixin(RegressorMixin):
    """A regressor whose `y` may have gaps."""

    predict: Any

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², the mean over dimensions, each over the clips that are rated for it.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips,), or (clips, dimensions) with NaN where a rating is missing
        sample_weight : array-like of shape (clips,), optional

        Returns
        -------
        float
        """
        from sklearn.metrics import r2_score

        truth = np.asarray(y, dtype=np.float64).reshape(len(X), -1)
        found = np.asarray(self.predict(X)).reshape(len(X), -1)
        check_consistent_length(truth.T, found.T)
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        rated = ~np.isnan(truth)
        if not rated.any(axis=0).all():
            raise InputError("a dimension of y has no ratings; expected some numbers")
        pairs = zip(truth.T, found.T, rated.T, strict=True)
        return float(np.mean([r2_score(a[k], b[k], sample_weight=weight[k]) for a, b, k in pairs]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def read_distributions(y: Any, classes: Sequence[Any] | None) -> Targets:
    """Return targets for a matrix of label distributions (clips, classes) or of vote counts.

    Rows are divided by their sums; `classes` names the columns, which are then sorted. The columns
    of a DataFrame that have these names themselves may be in any order.
    """
    own = getattr(y, "columns", None)
    if own is not None and classes is not None and set(own) == set(classes):
        classes = list(own)
    soft = check_array(y, dtype=np.float64, input_name="y")
    if classes is None:
        raise InputError(
            f"y has shape {soft.shape}, and y should be a 1d array of labels; for label "
            "distributions say fit(..., classes=[name of each column])"
        )
    names = np.asarray(classes)
    if names.ndim != 1 or len(names) != soft.shape[1] or len(set(names.tolist())) != len(names):
        raise InputError(
            f"classes names {names.tolist()} for the {soft.shape[1]} columns of y; "
            "expected one different name for each column"
        )
    if len(names) < 2:
        raise InputError("y holds one class only; expected at least two to tell apart")
    total = soft.sum(axis=1, keepdims=True)
    bad = (soft < 0).any(axis=1) | (total[:, 0] <= 0)
    if bad.any():
        raise InputError(
            f"{bad.sum()} rows of y are not distributions (first: row {bad.argmax()}): expected "
            "numbers of at least 0 and a positive sum"
        )
    order = np.argsort(names)
    soft = (soft / total)[:, order]
    return Targets(names[order], soft, soft.argmax(axis=1))


def known_labels(y: Any, classes: np.ndarray, columns: Sequence[Any] | None = None) -> np.ndarray:
    """Return the position of each dev label in `classes`, -1 for one that training never saw.

    A matrix of distributions (its columns named by `columns`) counts by its largest entry.
    """
    shape = np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        found = read_distributions(y, columns)
        y = found.classes[found.hard]
    y = np.asarray(y).ravel()
    where = {label: position for position, label in enumerate(classes.tolist())}
    return np.array([where.get(label, -1) for label in y.tolist()], dtype=np.int64)


def class_weights(
    class_weight: str | dict[Any, float] | None, targets: Targets, row_weight: np.ndarray
) -> np.ndarray:
    """Return one loss weight per class.

    Parameters
    ----------
    class_weight : "balanced", dict of label to weight, or None
        "balanced": rows / (classes x rows of the class), rows counted with `row_weight`; a class
        without a row weighs 0.
    targets : Targets
    row_weight : ndarray of shape (clips,)

    Returns
    -------
    ndarray of shape (classes,), float64

    Examples
    --------
    >>> import numpy as np
    >>> targets = read_labels(np.array(["joy", "joy", "joy", "fear"]))
    >>> class_weights("balanced", targets, np.ones(4)).round(3).tolist()  # fear, joy
    [2.0, 0.667]
    """
    labels = targets.classes.tolist()
    if class_weight is None:
        return np.ones(len(labels))
    if isinstance(class_weight, dict):
        for label in class_weight:
            if label not in labels:
                raise InputError(
                    f"class_weight names {label!r}, of which train has no clip; the classes are "
                    f"{', '.join(map(repr, labels))}.{nearest(str(label), map(str, labels))}"
                )
            check_number(f"class_weight of {label}", class_weight[label], 0)
        weights = np.array([float(class_weight.get(label, 1.0)) for label in labels])
        if not weights.any():
            raise InputError("class_weight is 0 for every label")
        return weights
    if class_weight != "balanced":
        raise InputError(
            f"class_weight is {class_weight!r}; expected 'balanced', weights by label or None."
            f"{nearest(str(class_weight), ['balanced'])}"
        )
    counts = row_weight @ targets.soft
    weights = np.zeros(len(labels))
    np.divide(counts.sum(), len(labels) * counts, out=weights, where=counts > 0)
    return weights
