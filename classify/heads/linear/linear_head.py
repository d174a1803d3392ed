"""Heads whose logits are linear in the features: prediction and state, however they were fitted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, softmax

from ....cache.errors import InputError
from ..base import Head
from ..sklearn_shim import check_is_fitted, validate_data
from ..state import check_state_arrays
from ..targets import Targets
from ..training.rows_on_disk import on_rows

ROWS = 256  # that are predicted at a time


class LinearHead(Head):
    """Softmax of ``X @ coef_.T + intercept_``; two classes share one row, as in scikit-learn.

    Attributes
    ----------
    coef_ : ndarray of shape (1 or classes, features), float64
    intercept_ : ndarray of shape (1 or classes,), float64
    """

    reads_blocks: ClassVar[bool] = True
    _dtype: ClassVar[Any] = np.float64  # of the features that it learns from

    coef_: np.ndarray
    intercept_: np.ndarray

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_dev: Any = None,
        y_dev: Any = None,
        *,
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Fit coefficients and intercept.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips,), or (clips, classes)
            Labels; or distributions over the labels (or vote counts), then `classes` names the
            columns.
        sample_weight : array-like of shape (clips,), optional
            A weight of 2 counts as two clips.
        X_dev, y_dev : optional
            Not used: nothing is stopped early. Every head takes them.
        classes : sequence of label, optional
            Column names of a two-dimensional `y`.

        Returns
        -------
        LinearHead
            Itself.

        Raises
        ------
        InputError
            A setting out of range, one class only, or a matrix `y` without `classes`.
        ValueError
            NaN or infinity in `X`, or lengths that differ.
        """
        X, targets, weight, _ = self._read(X, y, sample_weight, classes, dtype=self._dtype)
        self._learn(X, targets, weight)
        self.classes_ = targets.classes
        self.history_ = []
        return self

    @abstractmethod
    def _learn(self, X: Any, targets: Targets, weight: np.ndarray) -> None:
        """Set `coef_` and `intercept_` from checked clips, targets and row weights."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Return logits (clips, classes), or (clips,) for two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        logits = on_rows(self._logits, X)
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def _logits(self, X: np.ndarray) -> np.ndarray:
        parts = (X[start : start + ROWS] for start in range(0, len(X), ROWS))  # as float64 each
        return np.concatenate([part @ self.coef_.T + self.intercept_ for part in parts])

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
