"""Linear regression of ratings with a ridge penalty: the baseline of every regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from ....cache.errors import InputError, check_number
from ..sklearn_shim import (
    check_is_fitted,
    check_row_weights,
    validate_data,
)
from ..state import Stored, check_state_arrays, pack_dimensions, unpack_dimensions
from ..targets import NumbersMixin, read_numbers
from ..training.rows_on_disk import RowsOnDisk, on_rows, some_rows

ALPHAS = tuple(10.0**power for power in range(-2, 7))


class RidgeHead(NumbersMixin, Stored):
    """Ridge regression, one or several dimensions, solved by scikit-learn.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the penalty on standardised features; 0 is ordinary least squares. ``"auto"``
        takes the one of 0.01, 0.1, ..., 1,000,000 with the least leave-one-out error on the
        training clips (`sklearn.linear_model.RidgeCV`), for each dimension on its own.
    random_state : int or None, default=None
        Not used: the solution is exact. Every head takes it.

    Attributes
    ----------
    coef_ : ndarray of shape (dimensions, features), float64
    intercept_ : ndarray of shape (dimensions,), float64
    alpha_ : ndarray of shape (dimensions,)
        The penalties used.

    See Also
    --------
    RegressionHead : a network that is trained for CCC itself.

    Notes
    -----
    Least squares predicts too narrow a range, which costs CCC; that is the price of a baseline with
    nothing to tune. A dimension that is not annotated for a clip is NaN in a two-dimensional `y`,
    and the clip is left out for that dimension alone.

    Examples
    --------
    >>> head = RidgeHead(alpha=0.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> head.predict([[3.0]]).round(6).tolist()
    [7.0]
    """

    name: ClassVar[str] = "ridge"
    reads_blocks: ClassVar[bool] = True

    coef_: np.ndarray
    intercept_: np.ndarray

    def __init__(self, alpha: float | str = "auto", *, random_state: int | None = None) -> None:
        self.alpha = alpha
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_dev: Any = None, y_dev: Any = None
    ) -> Self:
        """Fit coefficients.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips,), or (clips, dimensions)
            NaN in the latter where a dimension is not annotated.
        sample_weight : array-like of shape (clips,), optional
        X_dev, y_dev : optional
            Not used: nothing is stopped early. Every head takes them.

        Returns
        -------
        RidgeHead

        Raises
        ------
        InputError
            `alpha` out of range, or a dimension without values.
        """
        self._check_settings()
        X, truth, self.vector_ = read_numbers(self, X, y, dtype=np.float64)
        weight = check_row_weights(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        fitted = [self._solve(X, column, weight) for column in truth.T]
        self.coef_ = np.stack([coef for coef, _, _ in fitted])
        self.intercept_ = np.array([intercept for _, intercept, _ in fitted])
        self.alpha_ = np.array([alpha for _, _, alpha in fitted])
        self.history_ = []
        return self

    def _solve(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, float, float]:
        from sklearn.linear_model import Ridge, RidgeCV

        known = np.isfinite(y) & (weight > 0)
        if not known.any():
            raise InputError("a dimension of y has no values that count; expected some numbers")
        X, y, weight = some_rows(X, known), y[known], weight[known]
        if np.ptp(y) == 0:  # nothing to learn, and nothing to choose alpha by
            return np.zeros(X.shape[1]), float(y[0]), float("inf")
        auto = self.alpha == "auto" and len(y) > 2
        strength: Any = 1.0 if self.alpha == "auto" else self.alpha
        if isinstance(X, RowsOnDisk) and X.width > len(X):
            X = on_rows(lambda rows: rows, X)  # cheaper than the covariance of the features
        if isinstance(X, RowsOnDisk):
            from .by_blocks import solve_ridge

            return solve_ridge(X, y, weight, ALPHAS if auto else (strength,))
        solver: Any = RidgeCV(alphas=ALPHAS) if auto else Ridge(alpha=strength)
        solver.fit(X, y, sample_weight=weight)
        alpha = float(solver.alpha_ if auto else strength)
        return np.ravel(solver.coef_), float(solver.intercept_), alpha

    def predict(self, X: Any) -> np.ndarray:
        """Return values (clips,), or (clips, dimensions) where `y` had several columns."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        values = on_rows(lambda rows: rows @ self.coef_.T + self.intercept_, X)
        return values[:, 0] if self.vector_ else values

    def _check_settings(self) -> None:
        if self.alpha != "auto":
            check_number("alpha", self.alpha, 0)

    def _pack_targets(self) -> Any:
        return pack_dimensions(len(self.coef_), self.vector_)

    def _unpack_targets(self, packed: Any) -> None:
        count, self.vector_ = unpack_dimensions(packed)
        self.coef_ = np.zeros((count, 0))  # the shape; the numbers are in the arrays

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"coef": self.coef_, "intercept": self.intercept_}

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        if learnt:
            raise InputError(f"unknown entries {sorted(learnt)} in the state of {self.name}")
        count = len(self.coef_)
        shapes = {"coef": (count, self.n_features_in_), "intercept": (count,)}
        check_state_arrays(shapes, arrays, np.float64)
        self.coef_, self.intercept_ = np.array(arrays["coef"]), np.array(arrays["intercept"])
