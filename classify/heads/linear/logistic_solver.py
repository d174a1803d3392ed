"""L2-regularised logistic regression to the optimum, in a few dozen passes over the rows.

The objective and the rule to stop are those of `sklearn.linear_model.LogisticRegression`; besides,
a further step must promise next to nothing. What makes it fast:

- L-BFGS starts from the inverse Hessian that the rows would have if p (1 - p) were the same in all
  of them, stretched to fit the last step. Where the features separate the classes p (1 - p) falls;
  then the guess is made again.
- Fewer rows than features are replaced by as many features as rows, with the same inner products.
- Many rows are centred once and kept as float32; they pass through the processor's cache in blocks.
  Rows that stay on the disk are kept in a scratch file. Sums are float64, and so is the gradient
  that says whether to stop: if it is still too large, the last steps are in float64 throughout.
"""

from __future__ import annotations

import warnings
from collections import deque

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import expit

from ..training.rows_on_disk import RowsOnDisk
from .curvature import FEWER, Curvature, sample_of
from .kept_rows import Blocks, KeptRows, centred_blocks, too_large

FEW = 1 << 20  # numbers, for which float64 costs no time
GAIN = 0.01  # what another step may promise, by `tol`, as a share of the loss
STALE = 0.5  # of the p (1 - p) of the last guess of the Hessian: time for another guess
MEMORY = 10  # steps that L-BFGS remembers
RETRIES = 20  # shorter steps in a row
ROUNDING = {np.float32: 1e-8, np.float64: 1e-14}  # of the loss: a fall by less is not seen
LARGEST = 1e100  # number whose square can be computed with
IDLE = 10  # steps in a row that were not seen to lower the loss


def solve_logistic(
    X: np.ndarray | RowsOnDisk, share: np.ndarray, C: float, tol: float, max_iter: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coefficients and intercepts that minimise the weighted loss and its penalty.

    Parameters
    ----------
    X : ndarray or RowsOnDisk (clips, features)
    share : ndarray (clips, classes)
        Weight with which a clip counts for each class: a label's in one column.
    C, tol, max_iter
        As for `sklearn.linear_model.LogisticRegression`.

    Returns
    -------
    coef : ndarray (1 or classes, features)
    intercept : ndarray (1 or classes,)
    n_iter : ndarray (1,)

    Warns
    -----
    ConvergenceWarning
        `max_iter` steps were not enough.
    """
    if isinstance(X, RowsOnDisk) or X.shape[1] < 2 * len(X) or len(X) > FEWER:
        return _solve(X, share, C, tol, max_iter)
    rows, centre = _as_few_features(X, share)
    coef, intercept, n_iter = _solve(rows, share, C, tol, max_iter)
    dual = solve_triangular(rows, coef.T, trans=1, lower=True).T  # (outputs, clips)
    coef = np.concatenate([dual @ X[:, at] for at in _columns(X)], axis=1)
    coef -= dual.sum(axis=1, keepdims=True) * centre
    return coef, intercept - coef @ centre, n_iter


def _as_few_features(X: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a triangle ``(clips, clips)`` with the inner products of centred rows; and the centre.

    Only inner products decide what is learnt.
    """
    count = share.sum(axis=1) / share.sum()
    centre, gram = np.empty(X.shape[1]), np.zeros((len(X), len(X)))
    for at in _columns(X):
        part = X[:, at].astype(np.float64)
        centre[at] = count @ part
        part -= centre[at]
        gram += part @ part.T
    # equal rows make it singular; the logits change by this times C times a clip's weight at most
    gram[np.diag_indices(len(X))] += 1e-12 * (float(np.trace(gram)) or 1.0)
    return cholesky(gram, lower=True, overwrite_a=True), centre


def _columns(X: np.ndarray) -> list[slice]:
    """Return some columns at a time: float64 of all would be twice as large as `X`."""
    return [slice(start, start + FEWER) for start in range(0, X.shape[1], FEWER)]


def _solve(
    X: np.ndarray | RowsOnDisk, share: np.ndarray, C: float, tol: float, max_iter: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    problem = _Problem(X, share, C, tol)
    dtype = np.float64 if X.shape[0] * X.shape[1] <= FEW else np.float32
    with KeptRows(X, problem.centre, problem.scale, dtype) as kept:
        solved = problem.minimise(kept.blocks, max_iter, ROUNDING[dtype])
    if dtype == np.float32 and solved:
        exact = centred_blocks(X, problem.centre, problem.scale)
        solved = problem.minimise(exact, max_iter, ROUNDING[np.float64])
    if not solved:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"lbfgs stopped after {problem.steps} iterations (max_iter={max_iter}) before the "
            f"gradient was below tol={tol}. Raise max_iter, or scale the features",
            ConvergenceWarning,
            stacklevel=2,
        )
    return *problem.result(), np.array([problem.steps], np.int32)


class _Problem:
    """The loss by weights of centred features, and how far it is minimised.

    The features are divided by one number, which changes neither the problem nor its conditioning.
    """

    def __init__(self, X: np.ndarray | RowsOnDisk, share: np.ndarray, C: float, tol: float) -> None:
        total = share.sum()
        self.share, self.tol = share / total, tol
        self.count = self.share.sum(axis=1)
        rows, some = sample_of(X)
        weight = self.count[rows] / self.count[rows].sum()
        self.centre = weight @ some  # of the sample: close enough to that of all rows
        some -= self.centre
        self.scale = float(np.abs(some).max()) or 1.0
        if self.scale > LARGEST:
            raise too_large()
        some *= np.sqrt(weight)[:, None] / self.scale
        self.penalty = 1.0 / (C * total) / max(self.scale**2, 1e-300)
        self.curvature = Curvature(some.astype(np.float32), len(rows) == len(X), self.penalty)
        classes = share.shape[1]
        self.weights = np.zeros((1 if classes == 2 else classes, X.shape[1] + 1))
        self.known: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=MEMORY)
        self.stretch = 1.0
        self.steps = 0

    def minimise(self, blocks: Blocks, max_iter: int, rounding: float) -> bool:
        """Continue from the current point; return False if `max_iter` steps were not enough.

        It also ends where the numbers have no more digits of the loss.
        """
        loss, gradient, spread = self._loss(blocks, self.weights)
        idle = 0
        while True:
            if self.steps == 0 or spread.mean() < STALE * self.curvature.level:
                self.curvature.guess(spread)
            step, slope = self._step(gradient)
            while slope > 0:  # rounding has made the guess indefinite: features of very other sizes
                self.curvature.coarsen()
                self.known.clear()
                self.stretch = 1.0
                step, slope = self._step(gradient)
            if self._is_small(loss, gradient, slope) or idle == IDLE:
                return True
            if self.steps == max_iter:
                return False
            length = 1.0
            for _ in range(RETRIES):
                after, there, spread = self._loss(blocks, self.weights + length * step)
                fell = after <= loss + 1e-4 * length * slope
                flat = after <= (1 + rounding) * loss and (there * step).sum() <= -0.9 * slope
                if fell or flat:
                    break
                length *= float(np.clip(0.5 * slope / (slope - (after - loss) / length), 0.1, 0.5))
            else:
                return True
            idle = 0 if loss - after > rounding * loss else idle + 1
            change = there - gradient
            bend = float((change * step).sum())
            if bend > 0:
                self.known.append((step, change, 1 / bend))
                self.stretch = bend / float((change * self.curvature.divide(change)).sum())
            self.weights = self.weights + length * step
            loss, gradient = after, there
            self.steps += 1

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients ``(outputs, features)`` and intercepts for features as they were."""
        coef = self.weights[:, :-1] / self.scale
        return coef, self.weights[:, -1] - coef @ self.centre

    def _is_small(self, loss: float, gradient: np.ndarray, slope: float) -> bool:
        """Whether to stop, as scikit-learn does, and if there is nothing to gain.

        With a weak penalty small entries of the gradient alone are not enough.
        """
        plain = self.scale * gradient[:, :-1] + gradient[:, -1:] * self.centre
        largest = max(float(np.abs(plain).max()), float(np.abs(gradient[:, -1]).max()))
        return largest <= self.tol and -0.5 * slope <= GAIN * self.tol * loss

    def _step(self, gradient: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the next step, and how fast the loss falls along it."""
        step = -self._downhill(gradient)
        return step, float((gradient * step).sum())

    def _downhill(self, gradient: np.ndarray) -> np.ndarray:
        """Multiply a gradient by the inverse Hessian of L-BFGS."""
        found, factors = gradient.copy(), []
        for step, change, scale in reversed(self.known):
            factors.append(scale * (step * found).sum())
            found -= factors[-1] * change
        found = self.stretch * self.curvature.divide(found)
        for (step, change, scale), factor in zip(self.known, reversed(factors), strict=True):
            found += (factor - scale * (change * found).sum()) * step
        return found

    def _loss(self, blocks: Blocks, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the loss, its gradient ``(outputs, features + 1)``, and p (1 - p) of each output.

        The latter is a mean over the rows, ``(outputs,)``.
        """
        coef = np.ascontiguousarray(weights[:, :-1])
        loss, gradient, spread = 0.0, np.zeros_like(weights), np.zeros(len(weights))
        for at, values in blocks():
            logits = values @ coef.T.astype(values.dtype) + weights[:, -1]
            lost, p = _pointwise(logits, self.share[at], self.count[at])
            loss += lost
            spread += self.count[at] @ (p * (1 - p))
            slope = p * self.count[at][:, None] - self.share[at][:, -p.shape[1] :]
            gradient[:, :-1] += slope.T.astype(values.dtype) @ values
            gradient[:, -1] += slope.sum(axis=0)
        gradient[:, :-1] += self.penalty * coef
        return loss + 0.5 * self.penalty * float((coef**2).sum()), gradient, spread


def _pointwise(
    logits: np.ndarray, share: np.ndarray, count: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the loss of some rows, and their probabilities ``(rows, outputs)``."""
    if logits.shape[1] == 1:  # of two classes: the logit of the second
        z = logits[:, 0]
        return float(count @ np.logaddexp(0, z) - share[:, 1] @ z), expit(z)[:, None]
    z = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    return float(count @ np.log(total[:, 0]) - (share * z).sum()), p / total
