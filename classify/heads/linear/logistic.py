"""Multinomial logistic regression: the head to beat, and often the one to use."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ....cache.errors import check_number
from ..targets import Targets, class_weights
from .linear_head import LinearHead

PER_CLIP = 10  # C times clips, where no C is given
WIDTH = 256  # features from which the penalty grows with their number
C_RANGE = (1e-12, 1e12)  # of scaled features; beyond it, sums overflow


class LogisticHead(LinearHead):
    """L2-regularised logistic regression, solved to the optimum that scikit-learn's has.

    Parameters
    ----------
    C : float or None, default=None
        Inverse strength of the regularisation. Embeddings have more dimensions than their signal,
        so scikit-learn's 1 fits too closely. None: 10 / clips, the same penalty for the mean loss
        of a clip however many clips there are, and with more than 256 features 256 / features of
        that. For 1,024 features: 0.0125 for 200 clips, 0.00025 for 10,000.
    class_weight : {"balanced"}, dict of label to weight, or None, default="balanced"
        Balanced weights suit UAR, which counts every class alike.
    tol : float, default=1e-4
        The solver stops when no entry of the gradient is larger, as scikit-learn has it, and
        another step promises less than a hundredth of this share of the loss. With twice as many
        features as clips the gradient is that of features turned to as few as clips.
    max_iter : int, default=5000
        Not reaching the optimum warns.
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
    _dtype: ClassVar[Any] = (np.float64, np.float32)

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
        from .logistic_solver import solve_logistic

        weights = weight[:, None] * class_weights(self.class_weight, targets, weight)
        share = targets.soft * weights  # a distribution counts for each class that has a share
        by_default = PER_CLIP / share.sum() * min(1, WIDTH / X.shape[1])
        self.C_ = float(by_default if self.C is None else self.C)
        found = solve_logistic(X, share, self.C_, self.tol, self.max_iter)
        self.coef_, self.intercept_, self.n_iter_ = found

    def _check_settings(self) -> None:
        if self.C is not None:
            check_number("C", self.C, C_RANGE[0])  # features in a small unit take a large one
        check_number("tol", self.tol, 0)
        check_number("max_iter", self.max_iter, 1, whole=True)
