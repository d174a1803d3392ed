"""scikit-learn's input checks, for type checkers: its defaults hide what they accept."""

from __future__ import annotations

from typing import Any

from sklearn.utils import multiclass as _multiclass
from sklearn.utils import validation as _validation

__all__ = [
    "check_array",
    "check_classification_targets",
    "check_consistent_length",
    "check_is_fitted",
    "check_row_weights",
    "validate_data",
]

check_array: Any = _validation.check_array
check_classification_targets: Any = _multiclass.check_classification_targets
check_consistent_length: Any = _validation.check_consistent_length
check_is_fitted: Any = _validation.check_is_fitted
check_row_weights: Any = _validation._check_sample_weight
validate_data: Any = _validation.validate_data
