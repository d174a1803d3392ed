"""What the heads take from scikit-learn: its estimator classes and its input checks.

The checks are untyped here: their defaults hide from type checkers what they accept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import without_sklearn as serving
from .lean_imports import lean
from .training.rows_on_disk import RowsOnDisk, left_on_disk

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "RegressorMixin",
    "check_array",
    "check_classification_targets",
    "check_consistent_length",
    "check_is_fitted",
    "check_random_state",
    "check_row_weights",
    "validate_data",
]

check_array: Any = None
check_classification_targets: Any = None
check_consistent_length: Any = None
check_random_state: Any = None

if TYPE_CHECKING or not serving.serves_only():
    with lean():
        import sklearn.preprocessing  # noqa: F401  for scaling
        from sklearn import utils as _utils
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
        from sklearn.utils import multiclass as _multiclass, validation as _validation

    check_array = _validation.check_array
    check_classification_targets = _multiclass.check_classification_targets
    check_consistent_length = _validation.check_consistent_length
    check_is_fitted: Any = _validation.check_is_fitted
    check_random_state = _utils.check_random_state
    validate_arrays: Any = _validation.validate_data
else:
    BaseEstimator = serving.PlainEstimator
    ClassifierMixin = RegressorMixin = serving.PlainMixin
    check_is_fitted, validate_arrays = serving.check_has_state, serving.check_rows


def validate_data(head: Any, X: Any, *y: Any, reset: bool = True, **checks: Any) -> Any:
    """Check features as scikit-learn's `validate_data`; those on the disk by their width alone.

    Those are checked when they are read.
    """
    X = left_on_disk(X) if getattr(head, "reads_blocks", False) else X
    if not isinstance(X, RowsOnDisk):
        return validate_arrays(head, X, *y, reset=reset, **checks)
    if reset:
        head.n_features_in_ = X.width
    if X.width != head.n_features_in_:
        raise ValueError(f"X has shape {X.shape}; expected (clips, {head.n_features_in_})")
    if not y:
        return X
    labels = _validation._check_y(*y, y_numeric=checks.get("y_numeric", False))
    check_consistent_length(X, labels)
    return X, labels


def check_row_weights(weights: Any, X: Any, **checks: Any) -> np.ndarray:
    """Return one weight for each row of `X`, 1 where none are given."""
    rows = np.empty((len(X), 1)) if isinstance(X, RowsOnDisk) else X
    return _validation._check_sample_weight(weights, rows, **checks)
