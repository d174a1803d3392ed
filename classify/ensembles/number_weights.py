"""What ensembles of numbers learn on dev: weights of the members for each dimension.

Which member is better depends on the dimension: speech mostly tells arousal, text valence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cache.errors import InputError
from ..data.estimates import Estimates

FEWEST = 5  # rated clips that a spread is taken from: of two, any may be a hundred times too small
ROUNDING = 1e-6  # share of the largest number; a smaller spread may be that of float32 rounding


def rated_values(truth: Any, first: Estimates) -> np.ndarray:
    """Return the ratings of dev, `(clips, dimensions)`; NaN where a clip is not rated."""
    wanted = (len(first), len(first.labels))
    expected = (
        f"expected {wanted}, the ratings of each clip for {', '.join(first.labels)} (NaN where it "
        "is not rated)"
    )
    try:
        ratings = np.asarray(truth, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"the truth of dev is not made of numbers; {expected}") from None
    if ratings.shape == wanted[:1] and wanted[1] == 1:
        ratings = ratings[:, None]
    if ratings.shape != wanted:
        raise InputError(f"the truth of dev has the shape {ratings.shape}; {expected}")
    return ratings


def convex_weights(stack: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Return the weights of least squared error, `(members, dimensions)`.

    They are at least 0, and 1 together: the ensemble stays between its members.

    Parameters
    ----------
    stack
        Predictions, `(members, clips, dimensions)`.
    ratings
        `(clips, dimensions)`; NaN does not count. Without any, members weigh the same.

    Examples
    --------
    >>> stack = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    >>> convex_weights(stack, np.array([[1.5], [2.5]])).round(6).tolist()
    [[0.75], [0.25]]
    """
    from scipy.optimize import nnls  # a third of a second, which --check does not need

    weights = np.full((len(stack), ratings.shape[1]), 1 / len(stack))
    for column, truth in enumerate(ratings.T):
        rated = np.isfinite(truth)
        if rated.any():
            errors = (stack[:, rated, column] - truth[rated]).T
            # The row asks for a sum of 1. Where it falls short, all weights do so alike.
            size = np.linalg.norm(errors) or 1.0
            found, _ = nnls(
                np.vstack([errors / size, np.ones(len(stack))]), np.r_[np.zeros(rated.sum()), 1.0]
            )
            weights[:, column] = found / found.sum()
    return weights


def stacked_weights(
    stack: np.ndarray, ratings: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights `(members, dimensions)` and offsets `(dimensions,)` for a high CCC.

    Ridge regression on the members, with weights of at least 0 that are pulled to 1 / members;
    then the result gets the mean and the spread of the ratings, as CCC rewards. An average is
    narrower than its members, and least squares make it narrower again.

    Parameters
    ----------
    stack
        Predictions, `(members, clips, dimensions)`.
    ratings
        `(clips, dimensions)`; NaN does not count. Of fewer than 5, or equal ones, the result is the
        mean of the members. Members that are constant have no weight.
    penalty
        Strength of the pull, as a share of the variance of the ratings.

    Examples
    --------
    >>> stack = np.arange(5.0)[None, :, None]
    >>> weights, offsets = stacked_weights(stack, 2 * stack[0], 0.1)
    >>> weights.round(6).tolist(), (offsets + 0).round(6).tolist()
    ([[2.0]], [0.0])
    """
    from scipy.optimize import nnls

    n_members, n_dimensions = len(stack), ratings.shape[1]
    weights = np.full((n_members, n_dimensions), 1 / n_members)
    offsets = np.zeros(n_dimensions)
    pull = np.sqrt(penalty) * np.eye(n_members)
    for column, truth in enumerate(ratings.T):
        rated = np.isfinite(truth)
        if rated.sum() < FEWEST or not _varies(truth[rated]):
            continue
        given, middle = stack[:, rated, column].T, truth[rated].mean()
        scale = truth[rated].std() * np.sqrt(rated.sum())
        centred, wanted = (given - given.mean(axis=0)) / scale, (truth[rated] - middle) / scale
        moves = _varies(given)
        centred[:, ~moves] = 0
        found, _ = nnls(np.vstack([centred, pull]), np.r_[wanted, pull.sum(axis=0) / n_members])
        made = centred @ found
        if made @ wanted > 0:  # else they say nothing, and would say it louder
            found = np.where(moves, found / np.linalg.norm(made), 0)
        weights[:, column] = found
        offsets[column] = middle - given.mean(axis=0) @ found
    return weights, offsets


def _varies(values: np.ndarray) -> np.ndarray:
    """Return whether the values of each column differ by more than rounding."""
    return values.std(axis=0) > ROUNDING * np.abs(values).max(axis=0)
