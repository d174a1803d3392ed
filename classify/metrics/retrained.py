"""Pooled folds: what training anew adds to the variance of a measure.

Pooled folds test each speaker by a model that did not learn from them. The value is then one of the
method: what training on so many speakers gives for others. Speakers who are drawn again do not show
all of its variance, since each speaker also moves the models that test the others. An interval over
speakers alone covered 86 to 94 % instead of 95 % in simulation, and least with few speakers, where
a model depends most on who they are (Bates, Hastie and Tibshirani, 2024, find the same of clips).
What is missing goes down with the number of speakers, as the variance of training does (Nadeau and
Bengio, 2003, add a like term, which does not, and is too much for many speakers).

The same holds for languages or corpora that are left out one by one. `benchmarks/claims_dev.py
folds` measures both.
"""

from __future__ import annotations

__all__ = ["retrained"]

ADDED = 4.0  # as many groups' share of the variance, in simulation of three kinds of corpora


def retrained(n_groups: float) -> float:
    """Return what the variance over groups is multiplied by where folds are pooled.

    Examples
    --------
    >>> retrained(8), retrained(40)
    (1.5, 1.1)
    """
    return 1 + ADDED / n_groups
