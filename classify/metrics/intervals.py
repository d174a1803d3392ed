"""From a standard error over groups to an interval.

Student's t has one degree of freedom less than there are groups, and more where the number of clips
alone explains much of the variance: that part does not have to be learnt from few groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

#: as many groups' share of the variance, in simulation of three kinds of corpora
#: (`benchmarks/claims_dev.py folds`)
ADDED = 4.0
LEAST_OF_CORPORA = 1.4
CLIPS = 0.15  # of the variance that clips explain: all of it would cover too little


def standard_error(samples: np.ndarray, n_groups: float) -> float:
    """Return the standard error of bootstrap samples, corrected for the number of groups.

    NaN samples are left out; NaN with fewer than two groups.
    """
    samples = samples[~np.isnan(samples)]
    if n_groups <= 1 or not len(samples):
        return float("nan")
    return float(samples.std() * np.sqrt(n_groups / (n_groups - 1)))


def kish_size(sizes: np.ndarray) -> float:
    """Return how many equally large groups would be as informative as groups of these sizes.

    The effective sample size of Kish (1965).

    Examples
    --------
    >>> kish_size(np.array([5, 5, 5])), kish_size(np.array([10, 1]))
    (3.0, 1.198019801980198)
    """
    return float(sizes.sum() ** 2 / (sizes**2).sum())


@lru_cache(maxsize=256)
def t_quantile(level: float, n_groups: float) -> float:
    """Return Student's t for an interval over groups; they need not be a whole number."""
    from scipy.special import stdtrit  # scipy.stats calls it, and takes half a second to import

    return float(stdtrit(max(n_groups - 1, 1), (1 + level) / 2))


def student(
    values: Sequence[float], level: float = 0.95, overlap: float = 0.0
) -> tuple[float, float, float]:
    """Return mean, standard deviation and half the length of Student's interval of the mean.

    Parameters
    ----------
    values
        At least two.
    level
        Coverage aimed at.
    overlap
        Test clips / train clips, where the values are of divisions of the same clips: it is added
        to 1 / n in the variance (Nadeau and Bengio, 2003).

    Examples
    --------
    >>> [round(found, 3) for found in student([0.6, 0.7, 0.8])]
    [0.7, 0.1, 0.248]
    """
    n = len(values)
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    return mean, sd, t_quantile(level, n) * sd * math.sqrt(1 / n + overlap)


def retrained(n_groups: float, *, corpora: bool = False) -> float:
    """Return what the variance over groups is multiplied by where folds are pooled.

    Pooled folds test each speaker by a model that did not learn from them, so the value is one of
    the method: what training on so many speakers gives for others. Speakers who are drawn again do
    not show all of its variance, since each speaker also moves the models that test the others. An
    interval over speakers alone covered 86 to 94 % instead of 95 % in simulation, and least with
    few speakers (Bates, Hastie and Tibshirani, 2024, find the same of clips). The same holds for
    languages or corpora that are left out one by one (`corpora`). These differ more than speakers,
    and what each does to the models of all others does not vanish with their number: with 20 or 40
    very different ones the variance was 1.2 to 1.4 times that over languages.

    Examples
    --------
    >>> retrained(8), retrained(40), retrained(40, corpora=True)
    (1.5, 1.1, 1.4)
    """
    return max(1 + ADDED / n_groups, LEAST_OF_CORPORA if corpora else 1.0)


def interval(
    estimate: float, samples: np.ndarray, n_groups: float, level: float = 0.95, floor: float = 0.0
) -> tuple[float, float]:
    """Return the interval of an estimate from its bootstrap samples.

    Parameters
    ----------
    estimate
        The value on the clips as they are.
    samples
        One value per resample; NaN is left out.
    n_groups
        Number of groups drawn from; fewer groups give wider intervals.
    level
        Coverage aimed at.
    floor
        A standard error that the number of clips alone gives.

    Examples
    --------
    >>> low, high = interval(0.5, np.array([0.4, 0.5, 0.6]), n_groups=1000)
    >>> round(low, 3), round(high, 3)
    (0.34, 0.66)
    """
    error = float(np.nan_to_num(standard_error(samples, n_groups)))
    half = max(t_quantile(level, n_groups) * error, t_quantile(level, math.inf) * floor)
    return estimate - half, estimate + half


def share_interval(
    estimate: float, half: float, clips: int, whole: float = 1.0
) -> tuple[float, float]:
    """Return the interval of a share, from 0 to 1, from half its length.

    Parameters
    ----------
    estimate, half
        The share and its standard error times Student's t, above 0.
    clips
        The step is taken with the estimate kept half a clip off 0 and 1.
    whole
        The largest value that is possible: below 1 where a class is absent and counts 0.

    Returns
    -------
    low, high
        They hold the estimate.

    Examples
    --------
    >>> low, high = share_interval(0.95, 0.06, clips=200)
    >>> round(low, 3), round(high, 3)
    (0.874, 0.992)
    """
    share = np.clip(estimate / whole, 0.5 / clips, 1 - 0.5 / clips)
    angle = np.arcsin(np.sqrt(share))
    step = half / whole / (2 * np.sqrt(share * (1 - share)))
    ends = np.sin([max(angle - step, 0), min(angle + step, np.pi / 2)]) ** 2 * whole
    return float(min(ends[0], estimate)), float(max(ends[1], estimate))


def half_length(
    variance: float, floor: float, n_groups: float, level: float = 0.95, added: float = 0.0
) -> float:
    """Return half the length of an interval from variances.

    Parameters
    ----------
    variance
        Over groups.
    floor
        What the number of clips alone gives.
    n_groups
        Equally large groups that would be as informative.
    level
        Coverage aimed at.
    added
        What is known of elsewhere and counts in any case.

    Examples
    --------
    >>> round(half_length(0.01, 0.0, n_groups=6), 3), round(half_length(0.01, 0.01, 6), 3)
    (0.257, 0.237)
    >>> round(half_length(0.001, 0.01, n_groups=6), 3)
    0.196
    """
    learnt = variance - CLIPS * min(floor, variance)
    freedom = (n_groups - 1) * (variance / learnt) ** 2 if learnt > 0 else n_groups - 1
    return max(
        t_quantile(level, freedom + 1) * math.sqrt(variance + added),
        t_quantile(level, math.inf) * math.sqrt(floor + added),
    )
