"""McNemar's exact test, what published counts can show, and Holm's correction.

McNemar's test takes single clips as independent. Where only counts are known, `mcnemar_range` says
which p-values are possible at all. The test that allows for clips of one voice being alike is
`metrics.max_t`; `holm` corrects for several tests in a plainer way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincc  # scipy.stats calls it, and takes long to import

from ...cache.errors import InputError


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Parameters
    ----------
    only_a, only_b
        Clips that only system A, and only system B, got right.

    Returns
    -------
    p
        Probability of a division of the ``only_a + only_b`` clips at least that uneven, were both
        systems equally good (binomial with 1/2); 1 where there are none.

    Examples
    --------
    >>> mcnemar(4, 0)
    0.125
    >>> mcnemar(1, 0)
    1.0
    """
    if only_a < 0 or only_b < 0:
        raise InputError(f"{only_a} and {only_b} clips; expected counts from 0")
    n = only_a + only_b
    if n == 0:
        return 1.0
    fewer = min(only_a, only_b)  # binomial distribution with 1/2, up to here
    return float(min(1.0, 2 * betaincc(fewer + 1, n - fewer, 0.5)))


def mcnemar_range(right_a: int, right_b: int, n: int) -> tuple[float, float]:
    """Return the smallest and largest exact p-value that two counts of right clips allow.

    How often the systems err together is unknown from counts alone. The smallest p arises where
    every clip that the worse gets right the better gets right too, the largest where they overlap
    least.

    Parameters
    ----------
    right_a, right_b
        Clips each system got right.
    n
        Clips of the test set.

    Examples
    --------
    ITST at EmoSPeech 2024, 300 clips: mean ensemble 225 right, MarIA 224, BETO 221, max 211.

    >>> mcnemar_range(225, 224, 300)[0], mcnemar_range(225, 221, 300)[0]
    (1.0, 0.125)
    >>> low, high = mcnemar_range(225, 211, 300)
    >>> round(low, 5), round(high, 2)
    (0.00012, 0.31)
    """
    if not (0 <= right_a <= n and 0 <= right_b <= n):
        raise InputError(f"{right_a} and {right_b} right of {n}; expected counts from 0 to {n}")
    fewest = abs(right_a - right_b)
    least_overlap = min(right_a, right_b, n - right_a, n - right_b)
    p_values = [mcnemar(fewest + less, less) for less in (0, least_overlap)]
    return min(p_values), max(p_values)


def fewest_apart(level: float = 0.05) -> int:
    """Return how many clips apart two systems must be for McNemar's p to fall below `level`.

    In the most favourable case, in which one is right wherever the other is.

    Examples
    --------
    >>> fewest_apart()
    6
    """
    return next(n for n in range(1, 200) if mcnemar(n, 0) < level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: all claims below a level hold together (Holm, 1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted.tolist()
