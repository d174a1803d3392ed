"""What the heads take from scikit-learn: its estimator classes and its input checks.

The checks are untyped here: their defaults hide from type checkers what they accept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import without_sklearn as serving

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
check_row_weights: Any = None

if TYPE_CHECKING or not serving.serves_only():
    from sklearn import utils as _utils
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import multiclass as _multiclass, validation as _validation

    check_array = _validation.check_array
    check_classification_targets = _multiclass.check_classification_targets
    check_consistent_length = _validation.check_consistent_length
    check_is_fitted: Any = _validation.check_is_fitted
    check_random_state = _utils.check_random_state
    check_row_weights = _validation._check_sample_weight
    validate_data: Any = _validation.validate_data
else:
    BaseEstimator = serving.PlainEstimator
    ClassifierMixin = RegressorMixin = serving.PlainMixin
    check_is_fitted, validate_data = serving.check_has_state, serving.check_rows
