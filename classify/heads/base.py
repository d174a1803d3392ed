"""The contract of a classifying head: labels in, probabilities out, state as JSON and arrays.

Scikit-learn's estimator contract, plus `get_state` and `from_state`, so that a fitted head is
stored without pickle. A head neither scales its input nor knows of clips.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ...cache.errors import InputError
from .sklearn_shim import (
    ClassifierMixin,
    check_consistent_length,
    check_is_fitted,
    check_row_weights,
    validate_data,
)
from .state import Stored, pack_labels, unpack_labels
from .targets import Targets, read_distributions, read_labels

__all__ = ["Head"]


class Head(ClassifierMixin, Stored):
    """A classifier on 2-D features; see `LogisticHead` and `MLPHead`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Sorted labels; the columns of `predict_proba`.
    n_features_in_ : int
    history_ : list of dict
        One row per training epoch; empty for heads without epochs.
    """

    classes_: np.ndarray

    @abstractmethod
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from features (clips, features) and labels (clips,)."""

    @abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (clips, classes), float64, rows sum to 1."""

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each clip; of equal ones the first in `classes_`.

        Parameters
        ----------
        X : array-like of shape (clips, features)

        Returns
        -------
        ndarray of shape (clips,)
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _pack_targets(self) -> Any:
        return pack_labels(self.classes_)

    def _unpack_targets(self, packed: Any) -> None:
        self.classes_ = unpack_labels(packed)

    def _usable(self, X: np.ndarray, part: str) -> np.ndarray:
        """Return a mask of the rows of "train" or "dev" that can be used."""
        return np.ones(len(X), dtype=bool)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, classes: Sequence[Any] | None, **checks: Any
    ) -> tuple[np.ndarray, Targets, np.ndarray, np.ndarray]:
        """Return checked features, targets, row weights, and the mask of the rows given.

        Rows that weigh 0 and rows that the head cannot use are left out.
        """
        self._check_settings()
        shape = () if y is None else np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            X = validate_data(self, X, **checks)
            targets = read_distributions(y, classes)
            check_consistent_length(X, targets.soft)
            if not targets.soft.any(axis=0).all():
                targets = _present(targets)  # nobody voted for some class
        else:
            if classes is not None:
                raise InputError("classes names the columns of a 2-D y; y is 1-D: leave it out")
            X, y = validate_data(self, X, y, **checks)
            targets = read_labels(y)
        weight = check_row_weights(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        keep = self._usable(X, "train") & (weight > 0)
        if not keep.all():
            if not keep.any():
                raise InputError(f"none of {len(X)} rows can be used (sample_weight 0 or missing)")
            targets = _present(targets.rows(keep))
            X, weight = X[keep], weight[keep]
        return X, targets, weight, keep


def _present(targets: Targets) -> Targets:
    """Forget the classes that no row has."""
    seen = targets.soft.any(axis=0)
    if seen.sum() < 2:
        raise InputError("one class only is left in the rows that count; expected at least two")
    soft = targets.soft[:, seen]
    return Targets(targets.classes[seen], soft, soft.argmax(axis=1))
