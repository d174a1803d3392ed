"""Many ridge regressions at once: all penalties of one set of clips from one reduction.

The normal equations of a ridge regression, (S + alpha I) w = b, have the same S for every alpha. An
orthogonal Q makes S tridiagonal, and S + alpha I as well; then each alpha takes a few operations
per feature. That is as exact as an eigendecomposition, and takes a quarter of its time. Products of
rows are shared by all sets of clips that they are in; of fewer rows than features, S is their Gram
matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.linalg import LinAlgError, get_lapack_funcs

from .layer_rows import Rows

REDUCE, REDUCE_SIZE, MULTIPLY, SOLVE = get_lapack_funcs(
    ("sytrd", "sytrd_lwork", "ormqr", "ptsv"), dtype=np.float64
)


def solve(
    rows: Rows,
    masks: np.ndarray,
    alphas: Sequence[float],
    shrink: np.ndarray,
    *,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Fit every set of clips, penalty and dimension, with an intercept.

    Parameters
    ----------
    rows : Rows
        Its targets are ratings `(clips, dimensions)`; NaN is left out of that dimension alone.
    masks : ndarray of bool (masks, cells)
        The cells of rows to train on; each has a rating of every dimension.
    shrink : ndarray (masks, features)
        What each column is multiplied by before the fit; weights are of the columns as they are.
    check : callable, optional
        Called before each set; may raise.

    Returns
    -------
    W : ndarray (masks, alphas, dimensions, features + 1)
        The intercept stands last.
    """
    rated = np.isfinite(rows.targets)
    found = np.empty((len(masks), len(alphas), rated.shape[1], rows.dim + 1))
    for known, dims in _alike(rated.T):
        inside = masks[:, rows.cells] & known
        fit = _tall if known.sum() > rows.dim else _wide
        for at, (slopes, mean, level) in enumerate(fit(rows, dims, inside, alphas, shrink)):
            check()
            slopes = (slopes * shrink[at][:, None]).swapaxes(1, 2)
            found[at, :, dims, :-1] = slopes.swapaxes(0, 1)
            found[at, :, dims, -1] = (level - slopes @ mean).T
    return found


def predict(rows: Rows, W: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return `(masks, alphas, rows, dimensions)` float32 in the order of `rows`; NaN in train."""
    count, alphas, dims, width = W.shape
    found = np.full((count, alphas, len(rows), dims), np.nan, np.float32)
    for at, cells, X, _ in rows.blocks():
        for one in np.flatnonzero(~masks[:, cells].all(axis=1)):
            predicted = (X @ W[one].reshape(-1, width).T).reshape(-1, alphas, dims).swapaxes(0, 1)
            found[one, :, at] = np.where(masks[one, cells][:, None], np.nan, predicted)
    return found


def solve_shifted(S: np.ndarray, B: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Return ``(S + alpha I)^-1 B`` for each alpha, `(alphas, n, columns)`.

    Parameters
    ----------
    S : ndarray (n, n)
        Symmetric and positive semidefinite; may be overwritten.
    B : ndarray (n, columns)
    alphas : sequence of float
        At least 0. What float64 cannot tell from 0 acts as the least that it can, so a singular S
        has a solution, too.

    Examples
    --------
    >>> S = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> solve_shifted(S, np.array([[4.0], [5.0]]), [0.0, 1.0]).round(3)[..., 0].tolist()
    [[1.0, 2.0], [0.875, 1.375]]
    """
    n, columns = B.shape
    if n == 1:
        least = np.finfo(float).tiny
        return np.array([B / max(float(S[0, 0]) + alpha, least) for alpha in alphas])
    work = int(REDUCE_SIZE(n, lower=1)[0])
    kept, diagonal, beside, tau, _ = REDUCE(S.T, lower=1, lwork=work, overwrite_a=1)
    least = n * np.finfo(float).eps * (np.abs(diagonal).max() + 2 * np.abs(beside).max())
    least = max(least, np.finfo(float).tiny)
    reflectors = np.asfortranarray(kept[1:, :-1])
    turned = _turn(reflectors, tau, "T", B)
    found = np.empty((n, len(alphas), columns))
    for at, alpha in enumerate(alphas):
        found[:, at] = _tridiagonal(diagonal, beside, turned, max(alpha, least))
    found = _turn(reflectors, tau, "N", found.reshape(n, -1))
    return found.reshape(n, len(alphas), columns).swapaxes(0, 1)


def _turn(reflectors: np.ndarray, tau: np.ndarray, trans: str, B: np.ndarray) -> np.ndarray:
    """Multiply with the Q of a reduction, or its transpose; its first row and column are I's."""
    found = np.array(B, order="F")
    found[1:] = MULTIPLY("L", trans, reflectors, tau, found[1:], 64 * B.shape[1])[0]
    return found


def _tridiagonal(
    diagonal: np.ndarray, beside: np.ndarray, B: np.ndarray, alpha: float
) -> np.ndarray:
    """Solve with ``T + alpha I``; more is added where rounding has made that indefinite."""
    while np.isfinite(alpha):
        *_, found, info = SOLVE(diagonal + alpha, beside, B)
        if not info:
            return found
        alpha *= 10
    raise LinAlgError("features or ratings are not finite")


def _alike(rows: np.ndarray) -> list[tuple[np.ndarray, list[int]]]:
    """Return each different row once, with the places where it stands."""
    found: dict[bytes, list[int]] = {}
    for at, row in enumerate(rows):
        found.setdefault(row.tobytes(), []).append(at)
    return [(rows[same[0]], same) for same in found.values()]


def _tall(
    rows: Rows, dims: Sequence[int], inside: np.ndarray, alphas: Sequence[float], shrink: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield slopes `(alphas, features, dims)`, means `(features,)` and `(dims,)` of each set.

    Parameters
    ----------
    inside : ndarray of bool (masks, rows)
    """
    middle = np.nanmean(rows.targets[:, dims], axis=0)
    grams = np.zeros((len(inside), rows.dim + 1, rows.dim + 1))
    crossed = np.zeros((len(inside), rows.dim + 1, len(dims)))
    for at, _, X, targets in rows.blocks():
        X, targets = X.astype(float), targets[:, dims] - middle
        for part, sets in _alike(inside[:, at]):
            own = X if part.all() else X[part]
            gram, cross = own.T @ own, own.T @ targets[part]
            for one in sets:
                grams[one] += gram
                crossed[one] += cross
    for gram, cross, ratio in zip(grams, crossed, shrink, strict=True):
        mean, level = gram[-1, :-1] / gram[-1, -1], cross[-1] / gram[-1, -1]
        S = gram[:-1, :-1] - np.outer(gram[-1, :-1], mean)
        S *= ratio
        S *= ratio[:, None]
        B = (cross[:-1] - np.outer(mean, cross[-1])) * ratio[:, None]
        yield solve_shifted(S, B, alphas), mean, level + middle


def _wide(
    rows: Rows, dims: Sequence[int], inside: np.ndarray, alphas: Sequence[float], shrink: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield what `_tall` does, by way of the inner products of rows."""
    every = np.concatenate([X[:, :-1] for _, _, X, _ in rows.blocks()])
    for own, ratio in zip(inside, shrink, strict=True):
        X, targets = every[own].astype(float), rows.targets[own][:, dims]
        mean, level = X.mean(axis=0), targets.mean(axis=0)
        X = (X - mean) * ratio
        yield X.T @ solve_shifted(X @ X.T, targets - level, alphas), mean, level
