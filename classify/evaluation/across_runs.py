"""Compare systems over several corpora, by the runs on them: one number of each system per corpus.

Signed-rank tests with Holm's correction, the Bayesian signed-rank test with a region of practical
equivalence, and mean ranks with their critical difference: Demšar (2006), Benavoli et al. (2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from ...cache.errors import InputError, counted, in_shell, one_of
from ...cache.files.reading import read_object
from ..data.vocabulary import shipped
from ..metrics.mcnemar_and_holm import holm
from ..models.folders.run_folder import ensemble_folder, readable_name
from .comparison import Comparison
from .reports.markdown.markdown_tables import MEASURES

ALPHA = 0.05  # level of the tests
EXACT = 16  # differences, up to which every exchange of signs is counted
N_DRAWS = 20_000
PRIOR = 0.5  # weight of one imagined corpus without a difference

Run = tuple[str, Path, dict[str, Any]]
"""The name of a run, its folder or file, and what it found."""


def is_run_place(text: str) -> bool:
    """Whether an argument of `compare` is the folder or the comparison of a run."""
    path = Path(text)
    return path.is_dir() or path.name in ("comparison.json", "repeats.json")


def compare_runs(
    places: Sequence[str | Path], *, measure: str = "uar", rope: float = 0.02, random_state: int = 0
) -> dict[str, Any]:
    """Compare the systems that several runs have in common, one run for each corpus.

    Parameters
    ----------
    places
        Folders of runs, or their `comparison.json` or `repeats.json`; ``NAME=FOLDER`` names one.
    measure
        ``uar``, ``accuracy``, ``macro_f1`` or ``weighted_f1``, on test.
    rope, random_state
        As for `across`.

    Returns
    -------
    result
        As `across`; and ``corpora``, the clips and task of each run, ``left_out``, systems that
        some runs do not have.
    """
    one_of(measure, MEASURES, "measure")
    if not 0 <= rope < 1:
        raise InputError(f"`rope` is {rope}; expected a difference from 0 to 1, as 0.02")
    runs = [_read(str(place)) for place in places]
    for one, other in combinations(runs, 2):
        if one[0] == other[0]:
            raise InputError(f"two runs have the name {one[0]!r}; rename them: NAME={other[1]}")
        tested = [data.get("test", {}).get("manifest") for _, _, data in (one, other)]
        if tested[0] is not None and tested[0] == tested[1]:
            raise InputError(
                f"{other[0]!r} and {one[0]!r} test the same clips; expected one run for each "
                f"corpus. Compare their predictions: {_of_predictions(one, other)}"
            )
    corpora: dict[str, dict[str, Any]] = {}
    scores: dict[str, dict[str, float]] = {}
    for name, path, data in runs:
        if data.get("measure", "uar") != "uar":
            raise InputError(
                f"{path} is a run of a regression task (compared by {data['measure'].upper()}); "
                "expected runs of a classification task"
            )
        test = data.get("test", {})
        corpora[name] = {
            "place": str(path),
            "task": data["task"]["name"],
            "clips": test.get("clips"),
            "manifest": test.get("manifest"),
        }
        scores[name] = _scores(data, measure)
    found = [set(own) for own in scores.values()]
    names = [one for one in next(iter(scores.values())) if all(one in own for own in found)]
    if len(names) < 2:
        raise InputError(
            f"the runs have {counted(len(names), 'system')} in common "
            f"({', '.join(names) or 'none'}); expected at least two. Give corresponding members "
            "the same name in every recipe"
        )
    result = across(
        {name: [own[name] for own in scores.values()] for name in names},
        rope=rope,
        random_state=random_state,
    )
    left = sorted(set.union(*found) - set(names))
    return {"format": 1, "measure": measure, "corpora": corpora, "left_out": left, **result}


def _of_predictions(*runs: Run) -> str:
    """Return the command that compares the chosen systems of two runs on their test clips."""
    words = [f"{name}={_predictions(path, data)}" for name, path, data in runs]
    _, path, data = runs[-1]
    task, split = data["task"]["name"], (path if path.is_dir() else path.parent) / "split.csv"
    numbers = data.get("measure") == "ccc"
    more = ["--task", "TASK.yaml" if numbers else task] * (numbers or task in shipped()["tasks"])
    more += ["--split", str(split)] * split.is_file()
    quoted = " ".join(map(in_shell, [*words, *more]))
    return f"affekt compare {quoted} --strategies none --truth MANIFEST"


def _predictions(path: Path, data: Mapping[str, Any]) -> Path:
    """Return the file with the predictions of a run's chosen system, or the folder with all."""
    folder, chosen = path if path.is_dir() else path.parent, str(data.get("chosen"))
    places = [folder / "members" / chosen / "pred.csv"]
    places += [ensemble_folder(folder, chosen) / "pred.csv"]
    found = [place for place in places if place.is_file()]
    return found[0] if found else folder / "members" / "NAME" / "pred.csv"


def _read(place: str) -> Run:
    name, sign, rest = place.partition("=")
    path = Path(place if Path(place).exists() or not sign else rest)
    folder = path if path.is_dir() else path.parent
    if not sign or Path(place).exists():
        resolved = folder.resolve()
        name = readable_name(folder) if resolved.name == "out" else resolved.name
    repeats = folder / "repeats.json" if path.is_dir() else path
    if repeats.name == "repeats.json" and repeats.is_file():
        return name, path, read_object(repeats, "the repeats of a run", lenient=True)
    return name, path, Comparison.read(path).data


def _scores(data: Mapping[str, Any], measure: str) -> dict[str, float]:
    """Return the test score of each system; of repeats the mean."""
    found = {}
    for name, one in data["systems"].items():
        value = one["test"][measure]["value"] if "test" in one else one[measure]["mean"]
        if value is not None:
            found[name] = float(value)
    return found


def across(
    scores: Mapping[str, Sequence[float]],
    *,
    rope: float = 0.02,
    random_state: int = 0,
) -> dict[str, Any]:
    """Test every pair of systems over corpora.

    Parameters
    ----------
    scores
        Score of each system on each corpus, in one order of corpora.
    rope
        Two systems whose scores differ by no more are practically equal.
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
    least = runs_needed(1)
    if n_runs < least:
        raise InputError(
            f"{n_runs} corpora; with so few, no test can find a difference at {ALPHA:g}. Expected "
            f"at least {least}, and {runs_needed(len(pairs))} for all {len(pairs)} pairs of "
            f"{len(names)} systems; runs on the same clips are compared by the pred.csv of their "
            "members, with --truth MANIFEST"
        )
    raw = [signed_rank(matrix[i] - matrix[j]) for i, j in pairs]
    ranks = scipy_stats.rankdata(-matrix.round(12), axis=0).mean(axis=1)
    many = len(names) > 2
    return {
        "runs": n_runs,
        "rope": rope,
        "alpha": ALPHA,
        "needed": runs_needed(len(pairs)),
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
        "critical_difference": critical_difference(len(names), n_runs) if many else None,
    }


def runs_needed(n_pairs: int) -> int:
    """Return from how many corpora on the signed-rank test can find a difference in some pair.

    The smallest p of n corpora is 2 / 2^n, and Holm's correction multiplies it by the pairs.

    Examples
    --------
    >>> runs_needed(1), runs_needed(6)
    (6, 8)
    """
    needed = 1
    while n_pairs * 2 / 2**needed > ALPHA:
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


def critical_difference(n_systems: int, n_runs: int) -> float:
    """Return by how much mean ranks have to differ (Nemenyi).

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)  # Demšar (2006) has q = 2.569
    1.25
    """
    studentized_range: Any = scipy_stats.studentized_range
    quantile = float(studentized_range.ppf(1 - ALPHA, n_systems, np.inf)) / 2**0.5
    return quantile * (n_systems * (n_systems + 1) / (6 * n_runs)) ** 0.5


def _friedman(matrix: np.ndarray) -> dict[str, float] | None:
    """Return chi squared and p of Friedman's test; None where every rank is tied."""
    if (np.ptp(matrix.round(12), axis=0) == 0).all():
        return None
    found: Any = scipy_stats.friedmanchisquare(*matrix.round(12))
    return {"chi_squared": float(found.statistic), "p": float(found.pvalue)}
