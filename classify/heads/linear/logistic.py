"""Multinomial logistic regression: the head to beat, and often the one to use."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ....cache.errors import check_number
from ..lean_imports import lean
from ..targets import Targets, class_weights
from ..training.rows_on_disk import RowsOnDisk
from .linear_head import LinearHead

PER_CLIP = 10  # C times clips, where no C is given


class LogisticHead(LinearHead):
    """L2-regularised logistic regression with scikit-learn's L-BFGS solver.

    Parameters
    ----------
    C : float or None, default=None
        Inverse strength of the regularisation. Embeddings have more dimensions than their signal,
        so scikit-learn's 1 fits too closely. None: 10 / clips, the same penalty for the mean loss
        of a clip however many clips there are; 0.05 for 200 clips, 0.001 for 10,000.
    class_weight : {"balanced"}, dict of label to weight, or None, default="balanced"
        Balanced weights suit UAR, which counts every class alike.
    tol : float, default=1e-4
        The solver stops when no entry of the gradient is larger; as scikit-learn has it.
    max_iter : int, default=5000
        scikit-learn's 100 stops up to 40 % above the optimum on embeddings; not reaching the
        optimum warns.
    random_state : int or None, default=None
        Not used: the problem has one solution. Every head takes it.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    coef_ : ndarray of shape (1 or classes, features), float64
    intercept_ : ndarray of shape (1 or classes,), float64
    C_ : float
        The C used.
    n_iter_ : ndarray of shape (1,)
        Iterations of the solver.

    See Also
    --------
    MLPHead : the same with hidden layers.

    Examples
    --------
    >>> head = LogisticHead(C=1.0).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> head.predict([[0.2], [2.9]]).tolist()
    ['no', 'yes']
    """

    name: ClassVar[str] = "logistic"

    def __init__(
        self,
        C: float | None = None,
        *,
        class_weight: str | dict[Any, float] | None = "balanced",
        tol: float = 1e-4,
        max_iter: int = 5000,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _learn(self, X: Any, targets: Targets, weight: np.ndarray) -> None:
        weights = weight[:, None] * class_weights(self.class_weight, targets, weight)
        if isinstance(X, RowsOnDisk):
            from .by_blocks import solve_logistic

            share = targets.soft * weights
            self.C_ = float(PER_CLIP / share.sum() if self.C is None else self.C)
            found = solve_logistic(X, share, self.C_, self.tol, self.max_iter)
            self.coef_, self.intercept_, self.n_iter_ = found
            return
        with lean():
            from sklearn.linear_model import LogisticRegression

        # a distribution is one row per class that has a share, weighted by the share
        rows, columns = np.nonzero(targets.soft)
        share = targets.soft[rows, columns] * weights[rows, columns]
        repeats = len(rows) > len(X)
        self.C_ = float(PER_CLIP / share.sum() if self.C is None else self.C)
        solver: Any = LogisticRegression(C=self.C_, tol=self.tol, max_iter=self.max_iter)
        solver.fit(X[rows] if repeats else X, columns, sample_weight=share)
        self.coef_ = solver.coef_
        self.intercept_ = solver.intercept_
        self.n_iter_ = solver.n_iter_

    def _check_settings(self) -> None:
        if self.C is not None:
            check_number("C", self.C, 1e-12)
        check_number("tol", self.tol, 0)
        check_number("max_iter", self.max_iter, 1, whole=True)
