"""Compare systems over several corpora: one number of each system per corpus.

Signed-rank tests with Holm's correction, the Bayesian signed-rank test with a region of practical
equivalence, and mean ranks with their critical difference: Demšar (2006), Benavoli et al. (2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from ...cache.errors import InputError
from ..metrics.pair_verdicts import holm

EXACT = 16  # differences, up to which every exchange of signs is counted
N_DRAWS = 20_000
PRIOR = 0.5  # weight of one imagined corpus without a difference


def across(
    scores: Mapping[str, Sequence[float]],
    *,
    rope: float = 0.02,
    alpha: float = 0.05,
    random_state: int = 0,
) -> dict[str, Any]:
    """Test every pair of systems over corpora.

    Parameters
    ----------
    scores
        Score of each system on each corpus, in one order of corpora.
    rope
        Two systems whose scores differ by no more are practically equal.
    alpha
        Level of tests and critical difference.
    random_state
        Seed of the posterior's draws.

    Returns
    -------
    result
        ``systems``: mean score and mean rank (1 is best) of each; ``pairs``: mean difference, wins,
        p of the signed-rank test, raw and corrected, and the posterior probabilities; ``friedman``
        and ``critical_difference`` (both None for two systems); ``needed``, how many corpora a
        difference that all of them show takes.

    Examples
    --------
    >>> scores = {"a": [0.7, 0.6, 0.8, 0.7, 0.5, 0.6], "b": [0.6, 0.5, 0.7, 0.6, 0.4, 0.4]}
    >>> found = across(scores)
    >>> found["pairs"][0]["p"], round(found["pairs"][0]["posterior"]["first"], 2)
    (0.03125, 1.0)
    """
    names = list(scores)
    if len(names) < 2:
        raise InputError(f"{len(names)} system to compare over corpora; expected at least two")
    matrix = np.array([scores[name] for name in names], dtype=float)
    n_runs = matrix.shape[1]
    pairs = list(combinations(range(len(names)), 2))
    least = runs_needed(1, alpha)
    if n_runs < least:
        raise InputError(
            f"{n_runs} corpora; with so few no test can find a difference at {alpha:g}, whatever "
            f"the scores. Expected at least {least}, and {runs_needed(len(pairs), alpha)} for all "
            f"{len(pairs)} pairs of {len(names)} systems; runs on the same clips are compared by "
            "the pred.csv of their members, with --truth MANIFEST"
        )
    raw = [signed_rank(matrix[i] - matrix[j]) for i, j in pairs]
    ranks = scipy_stats.rankdata(-matrix.round(12), axis=0).mean(axis=1)
    many = len(names) > 2
    return {
        "runs": n_runs,
        "rope": rope,
        "alpha": alpha,
        "needed": runs_needed(len(pairs), alpha),
        "systems": {
            name: {"mean": float(row.mean()), "rank": float(rank), "scores": row.tolist()}
            for name, row, rank in zip(names, matrix, ranks, strict=True)
        },
        "pairs": [
            {
                "first": names[i],
                "second": names[j],
                "difference": float((matrix[i] - matrix[j]).mean()),
                "wins": int((matrix[i] > matrix[j]).sum()),
                "losses": int((matrix[i] < matrix[j]).sum()),
                "p": p,
                "p_corrected": corrected,
                "posterior": signed_rank_posterior(
                    matrix[i] - matrix[j], rope, random_state=random_state
                ),
            }
            for (i, j), p, corrected in zip(pairs, raw, holm(raw), strict=True)
        ],
        "friedman": _friedman(matrix) if many else None,
        "critical_difference": critical_difference(len(names), n_runs, alpha) if many else None,
    }


def runs_needed(n_pairs: int, alpha: float = 0.05) -> int:
    """Return from how many corpora on the signed-rank test can find a difference in some pair.

    The smallest p of n corpora is 2 / 2^n, and Holm's correction multiplies it by the pairs.

    Examples
    --------
    >>> runs_needed(1), runs_needed(6)
    (6, 8)
    """
    needed = 1
    while n_pairs * 2 / 2**needed > alpha:
        needed += 1
    return needed


def signed_rank(differences: Sequence[float] | np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; zeros are left out.

    Up to 16 differences every exchange of signs is counted, so ties are exact too; above, the
    normal approximation is used.

    Examples
    --------
    >>> signed_rank([0.1, 0.2, 0.3, 0.1, 0.2, 0.0])
    0.0625
    """
    values = np.asarray(differences, dtype=float).round(12)
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(values) > EXACT:
        found: Any = scipy_stats.wilcoxon(values, method="asymptotic", correction=True)
        return float(found.pvalue)
    ranks = scipy_stats.rankdata(np.abs(values))
    sums = np.zeros(1)
    for rank in ranks:
        sums = np.concatenate([sums - rank, sums + rank])
    observed = abs((np.sign(values) * ranks).sum())
    return float((np.abs(sums) >= observed - 1e-9).mean())


def signed_rank_posterior(
    differences: Sequence[float] | np.ndarray,
    rope: float,
    *,
    n_draws: int = N_DRAWS,
    random_state: int = 0,
) -> dict[str, float]:
    """Return how probable it is that the first system is better, or the two practically equal.

    The Bayesian signed-rank test (Benavoli et al., 2014): the means of all pairs of differences,
    weighted by Dirichlet draws over the corpora and one imagined corpus without a difference.

    Parameters
    ----------
    differences
        Of each corpus, first minus second, `(corpora,)`.
    rope
        Largest difference that counts as equal.
    n_draws, random_state
        Of the posterior.

    Returns
    -------
    posterior
        Probabilities ``first``, ``equal`` and ``second``, together 1.

    Examples
    --------
    >>> signed_rank_posterior([0.1] * 8, 0.02)["first"]
    1.0
    """
    values = np.concatenate([[0.0], np.asarray(differences, dtype=float)])
    sums = (values[:, None] + values[None, :]).round(12)
    better, worse = sums > 2 * rope, sums < -2 * rope
    rng = np.random.default_rng(random_state)
    weights = rng.dirichlet([PRIOR, *[1.0] * (len(values) - 1)], n_draws)
    first, second = (((weights @ one) * weights).sum(axis=1) for one in (better, worse))
    largest = np.argmax([1 - first - second, first, second], axis=0)
    shares = np.bincount(largest, minlength=3) / n_draws
    return {"first": float(shares[1]), "equal": float(shares[0]), "second": float(shares[2])}


def critical_difference(n_systems: int, n_runs: int, alpha: float = 0.05) -> float:
    """Return by how much mean ranks have to differ (Nemenyi).

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)  # Demšar (2006) has q = 2.569
    1.25
    """
    studentized_range: Any = scipy_stats.studentized_range
    quantile = float(studentized_range.ppf(1 - alpha, n_systems, np.inf)) / 2**0.5
    return quantile * (n_systems * (n_systems + 1) / (6 * n_runs)) ** 0.5


def _friedman(matrix: np.ndarray) -> dict[str, float] | None:
    """Return chi squared and p of Friedman's test; None where every rank is tied."""
    if (np.ptp(matrix.round(12), axis=0) == 0).all():
        return None
    found: Any = scipy_stats.friedmanchisquare(*matrix.round(12))
    return {"chi_squared": float(found.statistic), "p": float(found.pvalue)}
