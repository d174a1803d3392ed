"""How the system that dev chose was chosen: among how many, and whether chance decided.

The best of many candidates is best on dev partly by luck, so its dev score is too high. How much
luck there was shows when dev speakers are drawn again: how often does another system come first?
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...metrics.bootstrap import resample

__all__ = ["candidates", "choice", "firmness"]

N_DRAWS = 2000


def choice(
    chosen: str,
    guesses: Mapping[str, np.ndarray],
    truth: np.ndarray,
    groups: np.ndarray,
    n_labels: int,
    *,
    random_state: int = 0,
) -> dict[str, Any]:
    """Return how firm a choice on dev is, by drawing the dev speakers again.

    Parameters
    ----------
    chosen
        The system that was chosen.
    guesses
        Codes that each system gives to the dev clips, `(clips,)` by name.
    truth, groups
        Label code and group code of each dev clip.
    n_labels
        Size of the label set.
    random_state
        Seed of the draws.

    Returns
    -------
    result
        `systems` and `groups`, how many there were; `same`, the share of draws in which the chosen
        system is best (None with one group); `optimism`, how much higher the best system of a draw
        scores there than on all of dev, on average.

    Examples
    --------
    >>> truth, groups = np.tile([0, 1], 10), np.repeat(range(5), 4)
    >>> found = choice("good", {"good": truth, "bad": 1 - truth}, truth, groups, 2)
    >>> found["same"], found["optimism"]
    (1.0, 0.0)
    """
    drawn = resample(
        truth, guesses, groups, n_labels, n_resamples=N_DRAWS, random_state=random_state
    )
    names = list(guesses)
    scores = np.stack([drawn.values[name]["uar"] for name in names])
    whole = np.array([drawn.estimates[name]["uar"] for name in names])
    return firmness(names.index(chosen), scores, whole, len(np.unique(groups)))


def firmness(chosen: int, scores: np.ndarray, whole: np.ndarray, groups: int) -> dict[str, Any]:
    """Return how firm a choice is, from scores `(systems, draws)` and those of all of dev.

    Parameters
    ----------
    chosen
        Row of the system that was chosen.
    scores, whole
        Scores in each draw of the groups, `(systems, draws)`, and without drawing, `(systems,)`.
    groups
        How many groups were drawn from.

    Returns
    -------
    result
        As `choice` returns it.
    """
    found: dict[str, Any] = {"systems": len(whole), "groups": groups}
    if groups < 2:
        return {**found, "same": None, "optimism": None, "optimism_if_equal": None}
    best = scores.max(axis=0)
    first = (scores >= best - 1e-12).astype(float)
    same = (first / first.sum(axis=0))[chosen].mean()  # ties are shared
    luck = (scores - whole[:, None]) * math.sqrt(groups / (groups - 1))  # draws vary too little
    optimism = luck[scores.argmax(axis=0), np.arange(scores.shape[1])].mean()
    return {
        **found,
        "same": float(same),
        "optimism": float(optimism),
        "optimism_if_equal": float(luck.max(axis=0).mean()),
    }


def candidates(data: Mapping[str, Any]) -> dict[str, int]:
    """Count everything among which dev chose, from `Comparison.data`.

    Returns
    -------
    counts
        `systems` that were compared; `subsets` of members and `settings` and `seeds` of members
        that were tried before (with folds: in each fold); `all` of them together.
    """
    systems = [one for one in data["systems"].values() if one["dev"]]
    members = data.get("run", {}).get("members", {}).values()

    def tried(key: str) -> int:
        """Count those after the first, of the fold that has most: each fold chooses anew."""
        counts = ([len(part.get(key, ())) for part in one["parts"]] for one in members)
        return sum(max(0, max(own, default=0) - 1) for own in counts)

    counts = {
        "systems": len(systems),
        "subsets": sum(max(0, one["learnt"].get("subsets_tried", 0) - 1) for one in systems),
        "settings": tried("tried"),
        "seeds": tried("seeds"),
    }
    return {**counts, "all": sum(counts.values())}
