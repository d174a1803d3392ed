"""What stored heads need of scikit-learn to predict, without importing it.

scikit-learn brings scipy.stats and pandas: a second of the few that `affekt predict` takes for one
file. What is computed is the same; such heads cannot be fitted, cloned or searched.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np

_chosen = False


def only_serve() -> None:
    """Let the heads do without scikit-learn in this process; before one of them is imported."""
    global _chosen
    _chosen = "sklearn" not in sys.modules


def serves_only() -> bool:
    """Whether the heads of this process do without scikit-learn."""
    return _chosen


class PlainEstimator:
    """Parameters by name, as `sklearn.base.BaseEstimator` has them."""

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(set(inspect.signature(cls.__init__).parameters) - {"self"})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters."""
        return {name: getattr(self, name) for name in self._get_param_names()}


class PlainMixin:
    """In place of the class by which scikit-learn marks the kind of an estimator."""


def check_has_state(head: Any) -> None:
    """Raise unless a state was restored."""
    if not hasattr(head, "n_features_in_"):
        raise RuntimeError(f"this process only predicts; {type(head).__name__} has no state")


def check_rows(
    head: Any,
    X: Any,
    y: Any = None,
    *,
    reset: bool = True,
    dtype: Any,
    ensure_all_finite: bool | str = True,
) -> np.ndarray:
    """Return features ``(clips, features)`` in the type asked for, as wide as the head's.

    Called as `sklearn.utils.validation.validate_data` is; with `reset` or `y` it would be to fit.

    Examples
    --------
    >>> head = PlainEstimator()
    >>> head.n_features_in_ = 2
    >>> check_rows(head, [[1, 2]], reset=False, dtype=np.float32).dtype
    dtype('float32')
    >>> check_rows(head, [[1, 2]], reset=False, dtype=(np.float64, np.float32)).dtype
    dtype('float64')
    """
    if reset or y is not None:
        raise RuntimeError("this process only predicts")
    X = np.asarray(X)
    kinds = dtype if isinstance(dtype, tuple) else (dtype,)  # of several, the first converts
    X = X if X.dtype in kinds else X.astype(kinds[0])
    if X.ndim != 2 or not len(X) or X.shape[1] != head.n_features_in_:
        raise ValueError(f"X has shape {X.shape}; expected (clips, {head.n_features_in_})")
    wrong = np.isinf(X) if ensure_all_finite == "allow-nan" else ~np.isfinite(X)
    if ensure_all_finite and wrong.any():
        raise ValueError("X holds NaN or infinity; expected finite numbers")
    return X
