"""Heads whose logits are linear in the features: prediction and state, however they were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from ....cache.errors import InputError
from ..base import Head
from ..sklearn_shim import check_is_fitted, validate_data
from ..state import check_state_arrays

__all__ = ["LinearHead"]


class LinearHead(Head):
    """Softmax of ``X @ coef_.T + intercept_``; two classes share one row, as in scikit-learn.

    Attributes
    ----------
    coef_ : ndarray of shape (1 or classes, features), float64
    intercept_ : ndarray of shape (1 or classes,), float64
    """

    coef_: np.ndarray
    intercept_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits (clips, classes), or (clips,) for two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        logits = X @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (clips, classes), float64, in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (clips, features)

        Returns
        -------
        ndarray of shape (clips, classes)
        """
        logits = self.decision_function(X)
        if logits.ndim == 1:
            second = expit(logits)
            return np.stack([1 - second, second], axis=1)
        return softmax(logits, axis=1)

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"coef": self.coef_, "intercept": self.intercept_}

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        if learnt:
            raise InputError(f"unknown entries {sorted(learnt)} in the state of {self.name}")
        rows = 1 if len(self.classes_) == 2 else len(self.classes_)
        shapes = {"coef": (rows, self.n_features_in_), "intercept": (rows,)}
        check_state_arrays(shapes, arrays, np.float64)
        self.coef_ = np.array(arrays["coef"])
        self.intercept_ = np.array(arrays["intercept"])
