"""Linear discriminant analysis with a shrunken covariance: nothing to tune, solved in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ....cache.errors import check_number, one_of
from ..targets import Targets
from ..training.rows_on_disk import RowsOnDisk, blocks_of, on_rows
from .linear_head import LinearHead

PRIORS = ("equal", "train")
RULES = ("width", "auto")
LEAST_BY_WIDTH = 0.4  # on inner folds of five sets of sentence embeddings, 0.4 to 0.6 did best
LEAST = 1e-7  # of the mean variance; keeps the covariance invertible where no shrinkage is needed


class LDAHead(LinearHead):
    """Linear discriminant analysis with a shrunken covariance and equal priors.

    Parameters
    ----------
    shrinkage : float, "width" or "auto", default="width"
        Share of the mean variance times the identity in the pooled within-class covariance, from
        0 to 1. ``"width"`` is ``features / (features + clips)``, a prior that counts as one clip
        for each feature, but at least 0.4: classes differ in their covariance, which more clips
        do not change. ``"auto"`` is the estimate of Ledoit and Wolf (2004), "A
        well-conditioned estimator for large-dimensional covariance matrices". It takes the clips
        as independent; clips of one speaker are not, so it shrinks too little.
    priors : {"equal", "train"}, default="equal"
        Equal priors suit UAR, which counts every class alike; ``"train"`` takes the shares of the
        training clips.
    random_state : int or None, default=None
        Not used: the solution is exact. Every head takes it.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    coef_ : ndarray of shape (1 or classes, features), float64
    intercept_ : ndarray of shape (1 or classes,), float64
    shrinkage_ : float
        The shrinkage used.

    See Also
    --------
    LogisticHead : makes no assumption on how the features are distributed, and has a C to choose.

    Notes
    -----
    Its probabilities are often too sure on embeddings; calibrate a member that goes into an
    ensemble.

    Examples
    --------
    >>> head = LDAHead().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> head.predict([[0.2], [2.9]]).tolist()
    ['no', 'yes']
    """

    name: ClassVar[str] = "lda"

    def __init__(
        self,
        shrinkage: float | str = "width",
        *,
        priors: str = "equal",
        random_state: int | None = None,
    ) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.random_state = random_state

    def _learn(self, X: np.ndarray | RowsOnDisk, targets: Targets, weight: np.ndarray) -> None:
        share = targets.soft * weight[:, None]  # (clips, classes)
        total = share.sum(axis=0)
        wide = bool(X.shape[1] > np.count_nonzero(share))
        if wide:  # then `_solve` needs all clips at once
            X = on_rows(lambda rows: rows, X)
        centre = sum((x * weight[at][:, None]).sum(axis=0) for at, x in blocks_of(X)) / weight.sum()
        X = X.changed(lambda x: x - centre) if isinstance(X, RowsOnDisk) else X - centre
        means = sum(share[at].T @ x for at, x in blocks_of(X)) / total[:, None]

        def deviations() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            # a clip with a distribution deviates from the mean of each class that has a share of it
            for at, x in blocks_of(X):
                rows, columns = np.nonzero(share[at])
                yield x[rows] - means[columns], share[at][rows, columns]

        solved, self.shrinkage_ = _solve(deviations(), total.sum(), means, self.shrinkage, wide)
        prior = np.ones(len(total)) if self.priors == "equal" else total
        offset = np.log(prior / prior.sum()) - 0.5 * np.einsum("kd,kd->k", means, solved)
        offset -= solved @ centre
        if len(total) == 2:
            solved, offset = solved[1:] - solved[:1], offset[1:] - offset[:1]
        self.coef_, self.intercept_ = solved, offset

    def _check_settings(self) -> None:
        if not isinstance(self.shrinkage, str):
            check_number("shrinkage", self.shrinkage, 0, 1)
        else:
            one_of(self.shrinkage, RULES, "shrinkage")
        one_of(self.priors, PRIORS, "priors")


def _solve(
    deviations: Iterable[tuple[np.ndarray, np.ndarray]],
    count: float,
    means: np.ndarray,
    shrinkage: float | str,
    wide: bool,
) -> tuple[np.ndarray, float]:
    """Return ``means @ inverse(covariance)`` ``(classes, features)``, and the shrinkage.

    Through the smaller of the covariance ``(features, features)`` and the Gram matrix
    ``(clips, clips)``; both give the same solution.

    Parameters
    ----------
    deviations : iterable of (ndarray (clips, features), ndarray (clips,))
        Blocks of deviations from the means, and their weights.
    count : float
        Sum of all weights.
    means : ndarray (classes, features)
    shrinkage : float or str
    wide : bool
        Whether to take the Gram matrix; then there is one block.
    """
    width = means.shape[1]
    product, fourth, scaled = np.zeros(()), 0.0, means
    for block, weight in deviations:
        scaled = block * np.sqrt(weight / count)[:, None]
        product = product + (scaled @ scaled.T if wide else scaled.T @ scaled)
        if shrinkage == "auto":
            fourth += (weight * (block**2).sum(axis=1) ** 2).sum()
    variance = np.trace(product) / width
    if variance == 0:  # every clip is the mean of its class
        return means, 1.0
    square = (product**2).sum()
    if shrinkage == "width":
        share = max(LEAST_BY_WIDTH, float(width / (width + count)))
    elif isinstance(shrinkage, str):
        noise = (fourth / count - square) / count
        distance = square - width * variance**2
        share = float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0
    else:
        share = float(shrinkage)
    ridge = max(share, LEAST) * variance
    if share == 1:
        return means / variance, 1.0
    if not wide:
        product *= 1 - share
        product[np.diag_indices(width)] += ridge
        return cho_solve(cho_factor(product), means.T).T, share
    product[np.diag_indices(len(product))] += ridge / (1 - share)
    inner = cho_solve(cho_factor(product), scaled @ means.T)  # (clips, classes)
    return (means - inner.T @ scaled) / ridge, share
