"""Test a difference between two systems as if there were one more speaker who contradicts it.

Exchanging two systems within speakers is exact where the difference of a speaker is as likely to be
positive as negative. A system that is a little better for most speakers and much worse for a few is
not like that: on a sample that happens to have none of the few, or only small ones, it looks
better. With speakers of unequal size the exchange test then raises a false alarm in 10 to 12 of 100
data sets instead of 5.

This test allows for both. The difference of each speaker is divided by the standard deviation that
a speaker of that size has (spread between speakers, by Paule and Mandel, 1982, and chance of its
clips), so that a small speaker counts fully where the spread is learnt, as in a random-effects
meta-analysis. Then one imaginary speaker is added who differs in the other direction, as in the
adjusted empirical likelihood of Chen, Variyath and Abraham (2008), and Student's t is taken.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr

MOST = 1.5  # difference of the imaginary speaker, in differences observed
START = 1e-12  # share of the largest square at which the search for the spread begins
STEPS, EXACT = 50, 1e-9  # at most so many steps; the spread to nine digits


def unseen_speaker(
    differences: np.ndarray, worth: np.ndarray, within: np.ndarray | None = None
) -> np.ndarray:
    """Return the two-sided p of each pair.

    Parameters
    ----------
    differences
        Share of each group in the difference of each pair, `(..., groups, pairs)`.
    worth
        Share of each group in the measure, `(groups,)`, sums to 1.
    within
        Variance of `differences` that comes from the number of clips of a group alone, in the same
        shape or one that broadcasts to it; None where groups have so many that it is 0.

    Returns
    -------
    p
        `(..., pairs)`; 1 where all differences are 0.

    Examples
    --------
    A difference of 0.1 in each of six speakers is shown; where one of them deviates it is not:

    >>> worth = np.full(6, 1 / 6)
    >>> alike = np.full((6, 1), 0.1 / 6)
    >>> unseen_speaker(alike, worth).round(3).tolist()
    [0.014]
    >>> alike[0] = -0.1 / 6
    >>> unseen_speaker(alike, worth).round(3).tolist()
    [0.156]
    """
    there = worth > 0
    differences, worth = differences[..., there, :], worth[there, None]
    n_groups = len(worth)
    within = None if within is None else within[..., there, :]
    scale = scale_of_groups(differences, worth, within)
    size, square = scale.sum(axis=-2), (scale**2).sum(axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = size**2 / square  # this many equally large groups would be as informative
        standard = differences / scale
        total = differences.sum(axis=-2)
        against = -min(MOST, max(0.0, (n_groups - 2) / 7)) * total
        shifted = total + against / alike
        mean = shifted / (size + size / alike)
        squares = ((standard - mean[..., None, :]) ** 2).sum(axis=-2) + (against / size - mean) ** 2
        error = np.sqrt(squares / n_groups * (square + (size / alike) ** 2))
        p = 2 * stdtr(n_groups, -np.abs(shifted) / error)
    turned = shifted * total <= 0  # too few groups to outweigh the imaginary one
    return np.where(turned | np.isnan(p), 1.0, p)


def scale_of_groups(
    differences: np.ndarray, worth: np.ndarray, within: np.ndarray | None
) -> np.ndarray:
    """Return the standard deviation that the difference of a group of its size has.

    Shapes are as in `unseen_speaker`, but `worth` is `(groups, 1)`. Without `within` it is in
    proportion to `worth`, and not known but for a factor.
    """
    if within is None:
        return np.broadcast_to(worth, differences.shape)
    return np.sqrt(_between(differences, worth, within) * worth**2 + within)


def _between(differences: np.ndarray, worth: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return the variance between groups with which standardised squares are 1 on average.

    By Newton's method on the inverse of their sum, which is concave in the variance: the steps
    never pass the solution, and where groups are alike the first one finds it.
    """
    n_groups = differences.shape[-2]
    squares, size = differences**2, worth**2
    highest = (squares / size).max(axis=-2, keepdims=True)
    found = START * highest
    for _ in range(STEPS):
        spread = found * size + within
        standard = np.divide(squares, spread, out=np.zeros(squares.shape), where=spread > 0)
        total = standard.sum(axis=-2, keepdims=True)
        np.divide(standard * size, spread, out=standard, where=spread > 0)
        slope = standard.sum(axis=-2, keepdims=True)
        above = (total > n_groups) & (slope > 0)
        step = np.divide(
            total * (total / n_groups - 1), slope, out=np.zeros_like(total), where=above
        )
        found += step
        if (step <= EXACT * found).all():
            break
    return found
