"""Ridge regression on rows that stay on the disk: scikit-learn's solution, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..training.rows_on_disk import RowsOnDisk


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
