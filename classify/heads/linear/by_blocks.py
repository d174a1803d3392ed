"""Linear models on rows that stay on the disk: what scikit-learn finds, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from ..training.rows_on_disk import RowsOnDisk


def solve_logistic(
    X: RowsOnDisk, share: np.ndarray, C: float, tol: float, max_iter: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `sklearn.linear_model.LogisticRegression` finds, by the same solver.

    Each step of L-BFGS reads all rows once; nothing but the weights is kept between blocks.

    Parameters
    ----------
    X : RowsOnDisk (clips, features)
    share : ndarray (clips, classes)
        Weight with which a clip counts for each class: a label's in one column.
    C, tol, max_iter
        As for `LogisticRegression`.

    Returns
    -------
    coef : ndarray (1 or classes, features)
    intercept : ndarray (1 or classes,)
    n_iter : ndarray (1,)
    """
    total = share.sum()
    penalty = 1.0 / (C * total)
    outputs = 1 if share.shape[1] == 2 else share.shape[1]

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        weights = weights.reshape(outputs, X.width + 1)
        coef, intercept = weights[:, :-1], weights[:, -1]
        loss, gradient = 0.0, np.zeros_like(weights)
        for rows, values in X.blocks():
            values = values.astype(np.float64, copy=False)
            block_loss, slope = _pointwise(values @ coef.T + intercept, share[rows])
            loss += block_loss
            gradient[:, :-1] += slope.T @ values
            gradient[:, -1] += slope.sum(axis=0)
        gradient /= total
        gradient[:, :-1] += penalty * coef
        return loss / total + 0.5 * penalty * float((coef**2).sum()), gradient.ravel()

    found = minimize(
        loss_and_gradient,
        np.zeros(outputs * (X.width + 1)),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": max_iter,
            "maxls": 50,
            "gtol": tol,
            "ftol": 64 * np.finfo(float).eps,
        },
    )
    if found.status != 0:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"lbfgs stopped after {found.nit} iterations (max_iter={max_iter}) before the gradient "
            f"was below tol={tol}: {found.message}. Raise max_iter, or scale the features",
            ConvergenceWarning,
            stacklevel=2,
        )
    weights = found.x.reshape(outputs, X.width + 1)
    return weights[:, :-1].copy(), weights[:, -1].copy(), np.array([found.nit], np.int32)


def _pointwise(logits: np.ndarray, share: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the loss of a block, and its derivative by the logits ``(clips, outputs)``."""
    count = share.sum(axis=1)
    if logits.shape[1] == 1:  # of two classes: the logit of the second
        z = logits[:, 0]
        loss = count @ np.logaddexp(0, z) - share[:, 1] @ z
        return float(loss), (count * expit(z) - share[:, 1])[:, None]
    loss = count @ logsumexp(logits, axis=1) - (share * logits).sum()
    return float(loss), count[:, None] * softmax(logits, axis=1) - share


def solve_ridge(
    X: RowsOnDisk, y: np.ndarray, weight: np.ndarray, alphas: Sequence[float]
) -> tuple[np.ndarray, float, float]:
    """Return what `sklearn.linear_model.RidgeCV` finds, or `Ridge` of a single alpha.

    The rows are read three times: for their mean, for their covariance, and, if there is an alpha
    to choose, for the leave-one-out errors.

    Parameters
    ----------
    X : RowsOnDisk (clips, features)
    y, weight : ndarray (clips,)
    alphas : sequence of float

    Returns
    -------
    coef : ndarray (features,)
    intercept : float
    alpha : float
    """
    total = weight.sum()
    y_mean = weight @ y / total
    mean = sum(weight[at] @ x for at, x in X.blocks()) / total
    X, y = X.changed(lambda x: x - mean), y - y_mean
    product, moments = np.zeros((X.width, X.width)), np.zeros(X.width)
    for at, x in X.blocks():
        weighted = x * weight[at][:, None]
        product += weighted.T @ x
        moments += y[at] @ weighted
    values, vectors = np.linalg.eigh(product)
    values[values < X.width * np.finfo(float).eps * values.max()] = 0  # of rounding
    spread = values + np.array(alphas)[:, None]  # (alphas, features)
    shrunk = np.divide(1, spread, where=spread > 0, out=np.zeros_like(spread))
    coefs = (shrunk * (vectors.T @ moments)) @ vectors.T
    best = 0
    if len(alphas) > 1:
        errors = np.zeros(len(alphas))
        for at, x in X.blocks():
            leverage = weight[at] * ((x @ vectors) ** 2 @ shrunk.T + 1 / total).T
            left_out = (y[at] - coefs @ x.T) / (1 - leverage)  # (alphas, clips)
            errors += left_out**2 @ weight[at]
        best = int(errors.argmin())
    return coefs[best], float(y_mean - coefs[best] @ mean), float(alphas[best])
