"""A guess of the Hessian of a logistic regression, from which L-BFGS starts."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..training.rows_on_disk import RowsOnDisk

SIDE = 2048  # features, up to which the guess is made of their covariance
SAMPLE, FEWER = 4096, 1024  # rows that it is made of; with more features, or on the disk


def sample_of(X: np.ndarray | RowsOnDisk) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of the rows that the guess is made of, and their features, float64."""
    on_disk = isinstance(X, RowsOnDisk)
    most = min(len(X), FEWER if on_disk or X.shape[1] > SIDE else SAMPLE)
    rows = np.sort(np.random.default_rng(0).choice(len(X), most, replace=False))
    return rows, np.array(X.read(rows) if on_disk else X[rows], np.float64)


class Curvature:
    """The Hessian that rows have if p (1 - p) is the same in all of them.

    Through the smaller of their covariance ``(features, features)`` and the Gram matrix
    ``(rows, rows)``. The covariance of a sample is drawn to a multiple of the identity, as one of
    more rows would be nearer to it.

    Parameters
    ----------
    some : ndarray of float32 (rows, features)
        Centred rows, times the square root of their share of the weight.
    whole : bool
        Whether these are all rows.
    penalty : float
    """

    def __init__(self, some: np.ndarray, whole: bool, penalty: float) -> None:
        rows, width = some.shape
        self.some, self.penalty, self.wide = some, penalty, width > rows
        self.product = some @ some.T if self.wide else some.T @ some
        self.mean = float(np.trace(self.product)) / width or 1.0  # 0 where no feature varies
        self.shrink = 0.0 if whole else width / (width + rows)
        self.rounding = 1e-6  # of float32 sums, as a share of the mean direction, or of the largest

    def guess(self, spread: np.ndarray) -> None:
        """Set the p (1 - p) of the outputs ``(outputs,)``."""
        self.intercept = np.maximum(spread, 1e-12)
        self.level = float(self.intercept.mean())
        self.factor = self.level * (1 - self.shrink)
        rounding = self.rounding
        while True:
            self.ridge = self.penalty + self.level * self.mean * (self.shrink + rounding)
            matrix = self.product * np.float32(self.factor)
            matrix[np.diag_indices(len(matrix))] += np.float32(self.ridge)
            try:
                self.solved = cho_factor(matrix, overwrite_a=True, check_finite=False)
                return
            except np.linalg.LinAlgError:
                rounding *= 30

    def coarsen(self) -> None:
        """Make a guess that leads uphill again, with more room for rounding."""
        self.rounding *= 30
        self.guess(self.intercept)

    def divide(self, gradient: np.ndarray) -> np.ndarray:
        """Multiply a gradient ``(outputs, features + 1)`` by the inverse of the guess."""
        found = np.empty_like(gradient)
        plain = gradient[:, :-1].astype(np.float32)
        if self.wide:
            inner = cho_solve(self.solved, self.some @ plain.T, check_finite=False)
            plain -= np.float32(self.factor) * inner.T @ self.some
            found[:, :-1] = plain / np.float32(self.ridge)
        else:
            found[:, :-1] = cho_solve(self.solved, plain.T, check_finite=False).T
        found[:, -1] = gradient[:, -1] / self.intercept
        return found
