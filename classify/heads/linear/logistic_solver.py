"""L2-regularised logistic regression to the optimum, in a few dozen passes over the rows.

The objective and the rule to stop are those of `sklearn.linear_model.LogisticRegression`; besides,
a further step must promise next to nothing. What makes it fast:

- L-BFGS starts from the inverse Hessian along the leading directions of a sample of the rows. Where
  the features separate the classes the curvature falls with the loss; then it starts again from
  where it is, with the curvature of there.
- Many rows are centred once and kept as float32; they pass through the processor's cache in blocks.
  Rows that stay on the disk are kept in a scratch file. Sums are float64, and so is the gradient
  that says whether to stop: if it is still too large, the last steps are in float64 throughout.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import expit

from ..training.rows_on_disk import RowsOnDisk

SAMPLE, RANK = 1024, 256  # rows whose leading directions are taken, and how many of these
BLOCK = 1 << 19  # numbers that pass through the processor's cache at a time
GAIN = 0.1  # what another step may promise, by `tol`, as a share of the loss
STALE = 0.5  # of the loss for which the curvature was guessed: time for another guess
FEW = 1 << 20  # numbers, for which float64 costs no time

Blocks = Callable[[], Iterator[tuple[Any, np.ndarray]]]


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
    problem = _Problem(X, share, C, tol)
    few = X.shape[0] * X.shape[1] <= FEW
    with _Kept(problem, np.float64 if few else np.float32) as kept:
        message = problem.minimise(kept.blocks, max_iter)
    if not few and not problem.is_solved(problem.blocks) and problem.steps < max_iter:
        message = problem.minimise(problem.blocks, max_iter)
    if message:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"lbfgs stopped after {problem.steps} iterations (max_iter={max_iter}) before the "
            f"gradient was below tol={tol}: {message}. Raise max_iter, or scale the features",
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
        self.X, self.share, self.tol = X, share / total, tol
        self.count = self.share.sum(axis=1)
        rows = np.random.default_rng(0).choice(len(X), min(len(X), SAMPLE), replace=False)
        rows.sort()
        some = np.array(X.read(rows) if isinstance(X, RowsOnDisk) else X[rows], np.float64)
        weight = self.count[rows] / self.count[rows].sum()
        self.centre = weight @ some  # of the sample: near enough to that of all rows
        some -= self.centre
        self.scale = float(np.abs(some).max()) or 1.0
        some *= np.sqrt(weight)[:, None] / self.scale
        self.penalty = 1.0 / (C * total) / max(self.scale**2, 1e-300)
        classes = share.shape[1]
        self.weights = np.zeros((1 if classes == 2 else classes, X.shape[1] + 1))
        self.first_curvature, self.first_loss = 0.5 / classes, float(np.log(classes))
        self.metric = _Metric(some, min(X.shape), self.penalty)
        self.steps = 0

    def blocks(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield positions of rows and their features, float64."""
        X = self.X
        if isinstance(X, RowsOnDisk):
            for at, values in X.blocks():
                yield at, (values - self.centre) / self.scale
            return
        for at in _slices(X):
            yield at, (X[at] - self.centre) / self.scale

    def minimise(self, blocks: Blocks, max_iter: int) -> str:
        """Go on from where it is; return why it stopped too early, or nothing."""
        loss = self.first_loss if self.steps == 0 else self._loss(blocks, self.weights)[0]
        while True:
            # p (1 - p) falls faster than the loss: clips that are right hardly count any more
            self.metric.adapt(self.first_curvature * min(loss / self.first_loss, 1) ** 2)
            solved, after, message = self._descend(blocks, max_iter, STALE * loss)
            if solved or after > STALE * loss or self.steps >= max_iter:
                return message
            loss = after

    def _descend(self, blocks: Blocks, max_iter: int, enough: float) -> tuple[bool, float, str]:
        """Go on until it is solved or the loss is `enough`; return whether, the loss, and why."""
        solved, start = False, self.weights

        def measured(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal solved
            loss, gradient = self._loss(blocks, start + self.metric(flat.reshape(start.shape)))
            scaled = self.metric(gradient)
            solved = self._is_small(loss, gradient, scaled)
            return loss, scaled.ravel()

        def stop(intermediate_result: Any) -> None:
            if solved or intermediate_result.fun <= enough:
                raise StopIteration

        found = minimize(
            measured,
            np.zeros(start.size),
            method="L-BFGS-B",
            jac=True,
            callback=stop,
            options={
                "maxiter": max_iter - self.steps,
                "maxfun": 100 * max_iter,
                "maxls": 50,
                "gtol": 0,
                "ftol": 8 * np.finfo(float).eps,
            },
        )
        self.weights = start + self.metric(found.x.reshape(start.shape))
        self.steps += found.nit
        return solved, float(found.fun), "" if found.success or solved else found.message

    def is_solved(self, blocks: Blocks) -> bool:
        """Whether the gradient on these blocks is small enough."""
        loss, gradient = self._loss(blocks, self.weights)
        return self._is_small(loss, gradient, self.metric(gradient))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients ``(outputs, features)`` and intercepts for features as they were."""
        coef = self.weights[:, :-1] / self.scale
        return coef, self.weights[:, -1] - coef @ self.centre

    def _is_small(self, loss: float, gradient: np.ndarray, scaled: np.ndarray) -> bool:
        """Whether to stop, as scikit-learn does, and if there is nothing to gain.

        With a weak penalty small entries of the gradient alone say little.
        """
        plain = self.scale * gradient[:, :-1] + gradient[:, -1:] * self.centre
        largest = max(float(np.abs(plain).max()), float(np.abs(gradient[:, -1]).max()))
        gain = 0.5 * float((scaled**2).sum())
        return largest <= self.tol and gain <= GAIN * self.tol * loss

    def _loss(self, blocks: Blocks, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss, and its gradient ``(outputs, features + 1)``."""
        coef = np.ascontiguousarray(weights[:, :-1])
        loss, gradient = 0.0, np.zeros_like(weights)
        for at, values in blocks():
            logits = values @ coef.T.astype(values.dtype) + weights[:, -1]
            lost, slope = _pointwise(logits, self.share[at], self.count[at])
            loss += lost
            gradient[:, :-1] += slope.T.astype(values.dtype) @ values
            gradient[:, -1] += slope.sum(axis=0)
        gradient[:, :-1] += self.penalty * coef
        return loss + 0.5 * self.penalty * float((coef**2).sum()), gradient


class _Metric:
    """Multiplies by the square root of a guess of the inverse Hessian.

    The guess is that of rows `some` ``(rows, features)``, of which p (1 - p) is the same: their
    leading directions, and one level for the rest of `directions` that the rows have.
    """

    def __init__(self, some: np.ndarray, directions: int, penalty: float) -> None:
        wide = some.shape[1] > len(some)
        gram = some @ some.T if wide else some.T @ some
        last = len(gram) - 1
        values, vectors = eigh(gram, subset_by_index=(max(0, last + 1 - RANK), last))
        seen = values > 1e-9 * values[-1]
        values, vectors = values[seen], vectors[:, seen]
        self.vectors = some.T @ (vectors / np.sqrt(values)) if wide else vectors
        self.values, self.penalty = values, penalty
        self.other = max(float(np.trace(gram) - values.sum()), 0.0)
        self.other /= max(directions - len(values), 1)

    def adapt(self, curvature: float) -> None:
        """Take this p (1 - p)."""
        self.rest = (curvature * self.other + self.penalty) ** -0.5
        self.lead = (curvature * self.values + self.penalty) ** -0.5 - self.rest
        self.intercept = curvature**-0.5

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Multiply weights or a gradient ``(outputs, features + 1)``."""
        found = self.rest * weights
        found[:, :-1] += weights[:, :-1] @ self.vectors * self.lead @ self.vectors.T
        found[:, -1] = self.intercept * weights[:, -1]
        return found


class _Kept:
    """The rows of a problem as `dtype`, in memory, or in a scratch file if they were on the disk.

    Without room for the file they are read anew in each step.
    """

    def __init__(self, problem: _Problem, dtype: type) -> None:
        self.problem, self.dtype = problem, dtype
        self.values: Any = None
        self.file: Any = None

    def __enter__(self) -> Self:
        X = self.problem.X
        if not isinstance(X, RowsOnDisk):
            self.values = np.empty(X.shape, self.dtype)
            for at, values in self.problem.blocks():
                self.values[at] = values
            return self
        try:
            self.file = tempfile.TemporaryFile(prefix="affekt-")
            for _, values in self.problem.blocks():
                self.file.write(values.astype(self.dtype))
        except OSError:
            self.__exit__()
            self.file = None
        return self

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            self.file.close()

    def blocks(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield positions of rows and their features."""
        X = self.problem.X
        if not isinstance(X, RowsOnDisk):
            yield from ((at, self.values[at]) for at in _slices(X))
        elif self.file is None:
            yield from ((at, x.astype(self.dtype)) for at, x in self.problem.blocks())
        else:
            self.file.seek(0)
            buffer = np.empty((_many(X), X.width), self.dtype)
            for at in _slices(X):
                rows = X.order[at]
                self.file.readinto(buffer[: len(rows)].view(np.uint8))
                yield rows, buffer[: len(rows)]


def _many(X: np.ndarray | RowsOnDisk) -> int:
    return max(1, BLOCK // X.shape[1])


def _slices(X: np.ndarray | RowsOnDisk) -> Iterator[slice]:
    return (slice(start, start + _many(X)) for start in range(0, len(X), _many(X)))


def _pointwise(
    logits: np.ndarray, share: np.ndarray, count: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the loss of some rows, and its derivative by the logits ``(rows, outputs)``."""
    if logits.shape[1] == 1:  # of two classes: the logit of the second
        z = logits[:, 0]
        loss = count @ np.logaddexp(0, z) - share[:, 1] @ z
        return float(loss), (count * expit(z) - share[:, 1])[:, None]
    z = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1)
    loss = count @ np.log(total) - (share * z).sum()
    return float(loss), p * (count / total)[:, None] - share
