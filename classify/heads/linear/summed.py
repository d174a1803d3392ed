"""A head that learns nothing: class probabilities of a classifier, summed by label of the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ....cache.errors import InputError
from ..base import Head
from ..sklearn_shim import check_is_fitted, validate_data
from ..state import check_state_arrays


class SummedHead(Head):
    """Sums of class probabilities; made by `of`, never fitted.

    Examples
    --------
    >>> head = SummedHead.of(["joy", None, "anger", "joy"], ["anger", "joy"])
    >>> head.predict_proba([[0.2, 0.5, 0.1, 0.2], [0, 1, 0, 0]]).round(2).tolist()
    [[0.2, 0.8], [0.5, 0.5]]
    """

    name = "summed"

    @classmethod
    def of(cls, mapped: Sequence[str | None], labels: Sequence[str]) -> Self:
        """Make the head.

        Parameters
        ----------
        mapped : sequence of str or None
            For each class of the classifier the label it counts for; None is left out.
        labels : sequence of str
            Of the task.
        """
        head = cls()
        head.classes_ = np.array(sorted(labels), dtype=object)
        head.n_features_in_ = len(mapped)
        head.history_ = []
        head.sums_ = np.array([[label == one for one in head.classes_] for label in mapped], "f4")
        return head

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Raise: there is nothing to learn."""
        raise InputError("SummedHead learns nothing; make it with SummedHead.of(mapped, labels)")

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (clips, classes).

        A clip whose whole probability is on classes that are left out gets equal ones.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        proba = X @ self.sums_
        total = proba.sum(axis=1, keepdims=True)
        return np.where(total > 0, proba / np.where(total > 0, total, 1), 1 / proba.shape[1])

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"sums": self.sums_}

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        check_state_arrays({"sums": (self.n_features_in_, len(self.classes_))}, arrays, np.float32)
        self.sums_ = np.asarray(arrays["sums"])
