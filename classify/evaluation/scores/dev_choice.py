"""Which system dev chooses: the best one, or the plain mean where the best may only be lucky.

The best of many candidates is best on dev partly by luck, the more so the fewer speakers dev has.
So it has to lead the mean of all members. By how much: with five dev speakers by what luck alone
gives the best of so many, which is how far the largest lead moves when speakers are drawn again;
with twenty by a quarter of that, as a gain that is missed then costs more than a choice between
equals. In simulation the best on dev is worse than the mean with five speakers and better with
twenty; this choice loses nothing with five and keeps the gain with twenty
(`benchmarks/claims_dev.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...metrics.bootstrap import resample

N_DRAWS = 2000
FULL_LUCK = 5  # dev speakers up to which a lead must be as large as one by luck
WHY_MEAN = "the mean of all members, since no lead over it on dev is clearly more than luck"


def choice(
    best: str | None,
    guesses: Mapping[str, np.ndarray],
    truth: np.ndarray,
    groups: np.ndarray,
    n_labels: int,
    *,
    mean: str | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Choose a system by its UAR on dev, and measure how firm that is by resampling dev speakers.

    Parameters
    ----------
    best
        The system that is best on dev; None for the first that has the highest UAR.
    guesses
        Codes that each system gives to the dev clips, `(clips,)` by name.
    truth, groups
        Label code and group code of each dev clip.
    n_labels
        Size of the label set.
    mean
        The mean of all members, which is taken where the best may only be lucky; None for never.
    random_state
        Seed of the draws.

    Returns
    -------
    result
        `chosen`, the system, and `why`, where it is not the best; `best` and `mean` as given;
        `lead` of the best over the mean, and `needed`, what it has to exceed (None without a
        mean); `systems` and `groups`, how many there were; `same`, the share of draws in which the
        best is best (None with one group); `optimism`, how much higher the best system of a draw
        scores there than on all of dev, on average; `optimism_if_equal`, the same if all were
        equally good.

    Examples
    --------
    >>> truth, groups = np.tile([0, 1], 10), np.repeat(range(5), 4)
    >>> found = choice("good", {"good": truth, "bad": 1 - truth}, truth, groups, 2)
    >>> found["chosen"], found["same"], found["optimism"]
    ('good', 1.0, 0.0)
    """
    count = len(np.unique(groups))
    drawn = resample(
        truth,
        guesses,
        groups if count > 1 else np.arange(len(truth)),  # of one speaker, the clips
        n_labels,
        n_resamples=N_DRAWS,
        random_state=random_state,
    )
    scores = {name: drawn.values[name]["uar"] for name in guesses}
    whole = {name: drawn.estimates[name]["uar"] for name in guesses}
    return choose(best, mean, scores, whole, count)


def choose(
    best: str | None,
    mean: str | None,
    scores: Mapping[str, np.ndarray],
    whole: Mapping[str, float],
    groups: int,
) -> dict[str, Any]:
    """Choose a system from scores in draws of dev, by any measure; higher is better.

    Parameters
    ----------
    best, mean
        As `choice` takes them.
    scores, whole
        Scores of each system in each draw of the groups, `(draws,)`, and without drawing.
    groups
        How many groups were drawn from; with one, its clips were.

    Returns
    -------
    result
        As `choice` returns it.
    """
    names = list(whole)
    values = np.array([whole[name] for name in names])
    best = best or names[int(np.nan_to_num(values, nan=-np.inf).argmax())]
    drawn = np.stack([scores[name] for name in names])
    wider = math.sqrt(groups / (groups - 1)) if groups > 1 else 1.0  # draws vary too little
    moved = np.nan_to_num(drawn - values[:, None]) * wider
    best = mean if mean is not None and whole[mean] == whole[best] else best
    chosen, lead, needed = best, None, None
    if mean is not None:
        lead = whole[best] - whole[mean]
        luck = (moved - moved[names.index(mean)]).max(axis=0).mean()
        needed = float(luck) * FULL_LUCK / groups
        chosen = best if lead > needed else mean
    why = "" if chosen == best else WHY_MEAN
    found = {"chosen": chosen, "best": best, "mean": mean, "lead": lead, "needed": needed}
    found |= {"why": why, "systems": len(names), "groups": groups}
    if groups < 2:
        return {**found, "same": None, "optimism": None, "optimism_if_equal": None}
    first = (drawn >= drawn.max(axis=0) - 1e-12).astype(float)
    same = (first / first.sum(axis=0))[names.index(best)].mean()  # ties are shared
    # CCC is lower in draws, for a single system too, so it is not the luck of the best
    moved -= moved.mean(axis=1, keepdims=True)
    optimism = max(moved[drawn.argmax(axis=0), np.arange(drawn.shape[1])].mean(), 0.0)
    return {
        **found,
        "same": float(same),
        "optimism": float(optimism),
        "optimism_if_equal": float(moved.max(axis=0).mean()),
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
        """Count the candidates after the first in the fold with most: each fold chooses."""
        counts = ([len(part.get(key, ())) for part in one["parts"]] for one in members)
        return sum(max(0, max(own, default=0) - 1) for own in counts)

    counts = {
        "systems": len(systems),
        "subsets": sum(max(0, one["learnt"].get("subsets_tried", 0) - 1) for one in systems),
        "settings": tried("tried"),
        "seeds": tried("seeds"),
    }
    return {**counts, "all": sum(counts.values())}


def at_end_of_list(record: Mapping[str, Any], measure: str = "uar") -> Iterator[str]:
    """Yield the numbers that dev chose at an end of those that were tried.

    Parameters
    ----------
    record
        What a member tried and chose.
    measure
        "uar" or "ccc".

    Examples
    --------
    >>> tried = [{"settings": {"C": C}, "dev_uar": uar}
    ...          for C, uar in [(0.01, 0.6), (0.1, 0.5), (1, 0.4)]]
    >>> list(at_end_of_list({"chosen": tried[0], "tried": tried}))
    ['C 0.01 is the smallest value tried, and a smaller one may be better']
    """
    for name, value in record["chosen"]["settings"].items():
        best: dict[float, float] = {}
        for one in record["tried"]:
            other, score = one["settings"].get(name), one.get(f"dev_{measure}")
            if isinstance(other, int | float) and other > 0 and score is not None:
                best[other] = max(score, best.get(other, score))
        order = sorted(best)
        if len(order) < 3:
            continue
        if value == order[0] and best[value] > best[order[1]]:
            yield f"{name} {value} is the smallest value tried, and a smaller one may be better"
        if value == order[-1] and best[value] > best[order[-2]]:
            yield f"{name} {value} is the largest value tried, and a larger one may be better"


def chosen_anew(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what dev chose for each fold without its clips; None where it is the same choice."""
    choice = data["choice"] or {}
    apart = choice.get("apart")
    return apart if apart and list(apart["systems"]) != [choice["chosen"]] else None


def choice_saw_test(data: Mapping[str, Any]) -> list[str]:
    """Return a warning where dev chose differently without the clips of a fold, or none.

    Examples
    --------
    >>> choice = {"chosen": "a", "apart": {"systems": {"a": 4, "b": 1}, "uar": {"value": 0.61}}}
    >>> choice_saw_test({"choice": choice})[0][-45:]
    'fold without its test clips, the UAR is 0.610'
    >>> choice_saw_test({"choice": {"chosen": "a", "apart": {"systems": {"a": 5}}}})
    []
    """
    if (apart := chosen_anew(data)) is None:
        return []
    lead = "ccc" if "ccc" in apart else "uar"
    return [
        "dev holds clips that are tested in other folds, which can favour the chosen system: "
        f"chosen again for each fold without its test clips, the {lead.upper()} is "
        f"{apart[lead]['value']:.3f}"
    ]
