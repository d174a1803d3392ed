"""The same training from several seeds: mean, spread and interval of its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy import stats
from sklearn.base import clone as _clone

from ..cache.errors import InputError

clone: Any = _clone  # scikit-learn and joblib have no types
parallel: Any = Parallel

__all__ = ["SeedScores", "fit_seeds", "over_seeds", "seed_numbers"]


@dataclass(frozen=True)
class SeedScores:
    """Scores of one training from several seeds.

    Attributes
    ----------
    seeds : tuple of int
    scores : tuple of float

    Examples
    --------
    >>> scores = SeedScores((0, 1, 2), (0.60, 0.62, 0.64))
    >>> round(scores.mean, 3), round(scores.sd, 3)
    (0.62, 0.02)
    >>> [round(limit, 3) for limit in scores.interval()]
    [0.57, 0.67]
    """

    seeds: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(self.scores))

    @property
    def sd(self) -> float:
        """Standard deviation over seeds (divided by seeds - 1); 0 for one seed."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's interval of the mean over seeds.

        It says how much the seed matters, and nothing about other clips or speakers: for that,
        compare with bootstrap intervals. NaN limits for one seed.
        """
        if len(self.scores) < 2:
            return float("nan"), float("nan")
        half = stats.t.ppf((1 + level) / 2, len(self.scores) - 1)
        half *= self.sd / np.sqrt(len(self.scores))
        return self.mean - float(half), self.mean + float(half)

    def record(self) -> dict[str, Any]:
        """Return seeds, scores, mean, sd and interval as plain values."""
        low, high = self.interval()
        known = len(self.scores) > 1
        return {
            "seeds": list(self.seeds),
            "scores": list(self.scores),
            "mean": self.mean,
            "sd": self.sd,
            "interval": [low, high] if known else None,
        }


def seed_numbers(n: int, random_state: int = 0) -> tuple[int, ...]:
    """Return `n` seeds that follow from one, the first being itself.

    Examples
    --------
    >>> seed_numbers(3, 7)
    (7, 8, 9)
    """
    if n < 1:
        raise InputError(f"seeds is {n}; expected a whole number from 1 up")
    return tuple(random_state + i for i in range(n))


def over_seeds(
    run: Callable[[int], float], seeds: Sequence[int], *, n_jobs: int | None = None
) -> SeedScores:
    """Run a training for each seed and gather the scores.

    Parameters
    ----------
    run : callable
        Takes a seed and returns a score, the larger the better.
    seeds : sequence of int
    n_jobs : int, optional
        Processes of joblib; results do not depend on it.

    Returns
    -------
    SeedScores

    Examples
    --------
    >>> over_seeds(lambda seed: 0.5 + seed / 100, (0, 2)).scores
    (0.5, 0.52)
    """
    scores = parallel(n_jobs=n_jobs)(delayed(run)(seed) for seed in seeds)
    return SeedScores(tuple(seeds), tuple(float(score) for score in scores))


def fit_seeds(
    head: Any, X: Any, y: Any, seeds: Sequence[int], *, n_jobs: int | None = None, **fit: Any
) -> list[Any]:
    """Return a copy of `head` fitted from each seed, in the order of the seeds.

    Parameters
    ----------
    head : estimator with `random_state`
    X, y : array-like
    seeds : sequence of int
    n_jobs : int, optional
    **fit
        Further arguments of `head.fit`.

    Examples
    --------
    >>> from affekt.classify.heads import LogisticHead
    >>> heads = fit_seeds(LogisticHead(), [[0.0], [1.0]], ["no", "yes"], (0, 1))
    >>> [head.random_state for head in heads]
    [0, 1]
    """
    copies = [clone(head).set_params(random_state=seed) for seed in seeds]
    return list(parallel(n_jobs=n_jobs)(delayed(copy.fit)(X, y, **fit) for copy in copies))
