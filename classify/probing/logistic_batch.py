"""Many multinomial logistic regressions on the same rows, solved as one batch.

The problems differ in C and in the rows that they train on. They minimise what scikit-learn's
`LogisticRegression` does, ``sum of weighted losses + |W|^2 / (2 C)`` with a free intercept, by
L-BFGS in float32. What makes it fast:

- C grows step by step, and the weights for the next C are extrapolated from those for the last
  ones, so that a few steps are enough.
- Rows pass through the processor's cache in blocks, once per step for the problems of all folds;
  only the problems that train on a block work on it, and a problem that is finished is dropped.
- The inverse Hessian starts from the leading eigenvectors of the features and the mean of p (1 - p)
  at the current weights.
- Logits of all classes sum to 0 at every step, so the last class needs no product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layer_rows import Rows

RANK = 128  # eigenvectors of the preconditioner
MEMORY = 8  # steps that L-BFGS remembers
CAUTION = 2.0  # of the mean of p (1 - p): less makes longer steps, some of which are repeated
LONGEST = 1000  # steps
TOL = 1.5e-7  # of the objective: the last step gained, and the next one promises, less
RETRIES = 6  # shorter steps in a row, after which float32 can do no better
RIDGES = 1e-30, 1e30  # so that their products are numbers of float32
ROUNDING = 2e-7  # of the objective, as it is summed
FLAT = 1e-5  # of the largest eigenvalue: float32 cannot tell smaller ones apart
KNOWN = 3  # smaller values of C whose weights are extrapolated


@dataclass(frozen=True)
class Problems:
    """A batch of logistic regressions.

    Attributes
    ----------
    masks : ndarray of bool (problems, cells)
        The cells of rows that each problem trains on.
    C : ndarray (problems,)
    weights : ndarray of float32 (problems, classes)
        Weight of a row of each class.
    shrink : ndarray of float32 (problems, features + 1) or None
        What each column is multiplied by: the deviation of all rows over that of the problem's own.
    units : ndarray of float32 (features,) or None
        What each column was divided by, where the penalty is that of columns as they were. Columns
        of very different sizes would have no minimum that float32 can find.
    """

    masks: np.ndarray
    C: np.ndarray
    weights: np.ndarray
    shrink: np.ndarray | None = None
    units: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.C)

    def take(self, which: np.ndarray) -> Problems:
        """Return some of the problems."""
        shrink = None if self.shrink is None else self.shrink[which]
        return Problems(self.masks[which], self.C[which], self.weights[which], shrink, self.units)

    def ridge(self) -> np.ndarray:
        """Return the factors of ``W^2 / 2``, `(problems, 1, features or 1)` float32."""
        # scikit-learn fits two classes with one vector w; ours are w / 2 and -w / 2
        twice = 2 if self.weights.shape[1] == 2 else 1
        ridge = (twice / self.C).astype(np.float32)[:, None, None]
        return ridge if self.units is None else (ridge / self.units**2).clip(*RIDGES)


def solve(
    rows: Rows, problems: Problems, *, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Minimise every problem.

    Parameters
    ----------
    problems : Problems
        At least two classes, each with a row in every problem's cells.
    check : callable, optional
        Called before each step; may raise.

    Returns
    -------
    W : ndarray of float32 (problems, classes, features + 1)
        The intercept stands last. Classes sum to 0.
    """
    count, classes = problems.weights.shape
    metric = _Metric(rows)
    found = _Points.zeros(count, classes, rows.dim + 1)
    path = _paths(problems)
    for place in range(path.shape[1]):
        own = path[path[:, place] >= 0]
        at, some = own[:, place], problems.take(own[:, place])
        ridge = some.ridge()
        if place:
            before = own[:, place - 1]
            points = found.take(before)
            points.add_ridge(ridge - problems.take(before).ridge())
        else:
            points = _Points.at(found.W[at], rows, some)
        if place > 1:
            known = own[:, max(place - KNOWN, 0) : place]
            step = _extrapolated(found.W, problems.C, at, known) - points.W
        else:
            step = -metric.apply(points.G, points.curvature, ridge)
        _minimise(rows, some, points, step, metric, check, place > 1)
        found.put(at, points)
    return found.W


@dataclass
class _Points:
    """Weights, and there the objective, its gradient, and the sum of w p (1 - p) per class."""

    W: np.ndarray
    value: np.ndarray
    G: np.ndarray
    curvature: np.ndarray

    @classmethod
    def at(cls, W: np.ndarray, rows: Rows, problems: Problems) -> _Points:
        """Return the points of these weights."""
        return cls(W, *_objective(rows, W, problems))

    @classmethod
    def zeros(cls, *shape: int) -> _Points:
        """Return places for the points of as many problems."""
        W, G = np.zeros((2, *shape), np.float32)
        return cls(W, np.zeros(len(W)), G, np.zeros(len(W)))

    def take(self, which: np.ndarray) -> _Points:
        """Return the points of some problems."""
        return _Points(self.W[which], self.value[which], self.G[which], self.curvature[which])

    def where(self, which: np.ndarray, yes: _Points) -> _Points:
        """Return other points for the chosen problems."""
        return _Points(
            _where(which, yes.W, self.W),
            np.where(which, yes.value, self.value),
            _where(which, yes.G, self.G),
            np.where(which, yes.curvature, self.curvature),
        )

    def put(self, which: np.ndarray, points: _Points) -> None:
        """Replace the points of some problems."""
        self.W[which], self.value[which] = points.W, points.value
        self.G[which], self.curvature[which] = points.G, points.curvature

    def add_ridge(self, more: np.ndarray) -> None:
        """Raise the factors of ``W^2 / 2``."""
        slopes = self.W[..., :-1]
        self.value += 0.5 * _dot(more * slopes, slopes)
        self.G[..., :-1] += more * slopes


def _paths(problems: Problems) -> np.ndarray:
    """Return `(sets of rows, values of C)`: the problems of each set by their C, then -1."""
    which = np.unique(problems.masks, axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(which)
    found = np.full((len(counts), counts.max()), -1)
    found[np.arange(counts.max()) < counts[:, None]] = np.lexsort((problems.C, which))
    return found


def _extrapolated(W: np.ndarray, C: np.ndarray, at: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return weights for the problems `at`: polynomials in log C through those of `known`."""
    x, nodes = np.log(C[at])[:, None], np.log(C[known])
    found = np.zeros((len(at), *W.shape[1:]), np.float32)
    for one in range(known.shape[1]):
        others = np.delete(nodes, one, axis=1)
        share = ((x - others) / (nodes[:, one : one + 1] - others)).prod(axis=1)
        found += share.astype(np.float32)[:, None, None] * W[known[:, one]]
    return found


def _minimise(
    rows: Rows,
    problems: Problems,
    points: _Points,
    step: np.ndarray,
    metric: _Metric,
    check: Callable[[], None],
    guessed: bool,
) -> None:
    """Move points to their minimum by L-BFGS.

    Parameters
    ----------
    step : ndarray
        The first one.
    guessed : bool
        Whether the first step is a guess, that is not made shorter if it fails.
    """
    going, now = np.arange(len(problems)), points
    slope, length = _dot(now.G, step), np.ones(len(problems), np.float32)
    failed = np.zeros(len(problems), int)
    history: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number in range(LONGEST):
        check()
        moved = length[:, None, None] * step
        new = _Points.at(now.W + moved, rows, problems)
        better = new.value <= now.value + 1e-4 * length * slope + ROUNDING * np.abs(now.value)
        change = new.G - now.G
        product = _dot(moved, change)
        use = better & (product > 1e-8 * np.abs(slope))
        history.append((moved, change, np.where(use, 1 / np.where(use, product, 1), 0)))
        del history[:-MEMORY]
        gained = np.where(better, now.value - new.value, 0)
        now = now.where(better, new)
        failed = np.where(better, 0, failed + 1)
        afresh = better | (guessed and not number)
        length = np.where(afresh, 1, 0.4 * length).astype(np.float32)
        direction = _direction(now.G, history, metric, now.curvature, problems.ridge())
        slope = np.where(afresh, _dot(now.G, direction), slope)
        step = _where(afresh, direction, step)
        enough = TOL * np.abs(now.value)
        done = (better & (-0.5 * slope <= enough) & (gained <= 4 * enough)) | (failed > RETRIES)
        if done.any():
            points.put(going[done], now.take(done))
            keep = np.flatnonzero(~done)
            going, now, problems = going[keep], now.take(keep), problems.take(keep)
            if not len(going):
                return
            step, slope, length, failed = step[keep], slope[keep], length[keep], failed[keep]
            history = [(s[keep], y[keep], rho[keep]) for s, y, rho in history]
    points.put(going, now)


def predict(rows: Rows, W: np.ndarray, problems: Problems) -> np.ndarray:
    """Return the most probable class `(problems, rows)` int16 in the order of `rows`; -1 in train.

    Parameters
    ----------
    W : ndarray (problems, classes, features + 1)
    """
    found = np.full((len(W), len(rows)), -1, np.int16)
    for at, cells, X, _ in rows.blocks():
        on = np.flatnonzero(~problems.masks[:, cells].all(axis=1))
        if len(on):
            logits = _logits(_shrunk(W[on], problems.take(on)), X)
            best = logits.argmax(axis=1).astype(np.int16)
            found[on, at] = np.where(problems.masks[on][:, cells], -1, best)
    return found


class _Metric:
    """The inverse Hessian that L-BFGS starts from: leading eigenvectors, and a level for the rest.

    With all p (1 - p) at their mean, the Hessian is the Gram matrix of the rows times that mean.
    """

    def __init__(self, rows: Rows) -> None:
        self.values, self.vectors, self.rest = _spectrum(rows)
        self.count = len(rows)

    def apply(self, G: np.ndarray, curvature: np.ndarray, ridge: np.ndarray) -> np.ndarray:
        """Multiply gradients ``(problems, classes, features + 1)``."""
        mean = np.maximum(CAUTION * curvature / self.count, 1e-6).astype(np.float32)
        turn: Any = 1
        if ridge.shape[2] > 1:  # exact where the penalties of columns are alike, or large
            level = (mean * self.count)[:, None, None]
            alike = np.exp(np.log(ridge).mean(axis=2, keepdims=True))
            turn, ridge = np.sqrt((level + alike) / (level + ridge)), alike
        ridge = ridge[:, 0, 0]
        rest = 1 / (self.rest * mean + ridge)
        lead = 1 / (self.values * mean[:, None] + ridge[:, None]) - rest[:, None]
        problems, classes, width = G.shape
        sides = G[..., :-1] * turn
        turned = sides.reshape(-1, width - 1) @ self.vectors
        turned = turned.reshape(problems, classes, -1) * lead[:, None]
        back = turned.reshape(problems * classes, -1) @ self.vectors.T
        found = np.empty_like(G)
        found[..., :-1] = (back.reshape(sides.shape) + rest[:, None, None] * sides) * turn
        found[..., -1] = G[..., -1] / (mean * self.count)[:, None]
        return found


def _spectrum(rows: Rows) -> tuple[np.ndarray, np.ndarray, float]:
    """Return leading eigenvalues `(rank,)` and -vectors `(features, rank)`, and the others' mean.

    Of the Gram matrix, by subspace iteration: only speed depends on their precision.
    """
    dim, rank = rows.dim, min(RANK, rows.dim, len(rows))
    basis = np.random.default_rng(0).standard_normal((dim, rank)).astype(np.float32)
    gram = np.zeros((dim, dim), np.float32) if dim <= 2048 else None  # else 16 MB and more
    if gram is not None:
        for _, _, X, _ in rows.blocks():
            gram += X[:, :-1].T @ X[:, :-1]

    def times(basis: np.ndarray) -> np.ndarray:
        if gram is not None:
            return gram @ basis
        found = np.zeros_like(basis)
        for _, _, X, _ in rows.blocks():
            found += X[:, :-1].T @ (X[:, :-1] @ basis)
        return found

    for _ in range(3):
        basis = np.linalg.qr(times(basis))[0]
    values, turn = np.linalg.eigh(basis.T @ times(basis))
    total = sum(float(np.einsum("bf,bf->", X[:, :-1], X[:, :-1])) for _, _, X, _ in rows.blocks())
    rest = max((total - float(values.sum())) / max(dim - rank, 1), FLAT * float(values.max()))
    return np.maximum(values, 0).astype(np.float32), basis @ turn, rest


def _objective(
    rows: Rows, W: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return objective `(problems,)`, gradient as `W`, and the sum of w p (1 - p) per class."""
    V = _shrunk(W, problems)
    loss, curvature = np.zeros(len(W)), np.zeros(len(W))
    G = np.zeros_like(W)
    for _, cells, X, y in rows.blocks():
        trains = problems.masks[:, cells]
        on = np.flatnonzero(trains.any(axis=1))
        if not len(on):
            continue
        weight = problems.weights[on][:, y] * trains[on]
        P = _logits(V[on], X)
        P -= P.max(axis=1, keepdims=True)
        at = np.arange(len(y))
        true = P[:, y, at]
        np.exp(P, out=P)
        own = P[:, y, at]
        P[:, y, at] = 0
        rest = P.sum(axis=1)  # kept apart from `own`: 1 - p would lose what p near 1 differs by
        total = own + rest
        lost = np.where(true == 0, np.log1p(rest), np.log(total) - true)
        loss[on] += (lost * weight).sum(axis=1, dtype=np.float64)
        P /= total[:, None]
        wrong = rest / total
        spread = wrong * (2 - wrong) - np.einsum("pcb,pcb->pb", P, P)
        curvature[on] += (spread * weight).sum(axis=1)
        P[:, y, at] = -wrong
        residual = P[:, :-1] * weight[:, None]
        G[on, :-1] += (residual.reshape(-1, len(y)) @ X).reshape(len(on), -1, X.shape[1])
    G[:, -1] = -G[:, :-1].sum(axis=1)
    if problems.shrink is not None:
        G *= problems.shrink[:, None]
    penalty = np.pad(problems.ridge() * W[..., :-1], ((0, 0), (0, 0), (0, 1)))
    G += penalty
    return loss + 0.5 * _dot(penalty, W), G, curvature / W.shape[1]


def _logits(V: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return ``(problems, classes, rows)``; the last class is minus the sum of the others."""
    problems, classes, width = V.shape
    found = np.empty((problems, classes, len(X)), np.float32)
    product = X @ np.ascontiguousarray(V[:, :-1]).reshape(-1, width).T
    found[:, :-1] = product.T.reshape(problems, classes - 1, -1)
    np.negative(found[:, :-1].sum(axis=1), out=found[:, -1])
    return found


def _direction(
    G: np.ndarray,
    history: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    metric: _Metric,
    curvature: np.ndarray,
    ridge: np.ndarray,
) -> np.ndarray:
    """Return the direction of L-BFGS (two loops); a remembered step with rho 0 has no effect."""
    q = G.copy()
    factors = []
    for step, change, rho in reversed(history):
        factors.append((rho * _dot(step, q)).astype(np.float32))
        q -= factors[-1][:, None, None] * change
    q = metric.apply(q, curvature, ridge)
    for (step, change, rho), factor in zip(history, reversed(factors), strict=True):
        q += (factor - rho * _dot(change, q)).astype(np.float32)[:, None, None] * step
    return np.negative(q, out=q)


def _shrunk(W: np.ndarray, problems: Problems) -> np.ndarray:
    return W if problems.shrink is None else W * problems.shrink[:, None]


def _where(which: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Choose by problem; what is chosen for all is not copied."""
    return yes if which.all() else np.where(which[:, None, None], yes, no)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("pcf,pcf->p", a, b).astype(np.float64)
