"""How differently a system does for the values of a column: gender, language, age group.

Each value is compared with all other clips together, so that a column of many values does not need
all pairs. Speakers are drawn again as a whole, those of the value and the others at once, so a
speaker who has clips of several values is allowed for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from ...metrics.bootstrap import FEWEST_GROUPS, draws
from ...metrics.intervals import standard_error, t_quantile
from ...metrics.significance import holm

__all__ = ["gaps"]


def gaps(
    truth: np.ndarray,
    guess: np.ndarray,
    groups: np.ndarray,
    values: np.ndarray,
    n_labels: int,
    *,
    n_resamples: int = 10_000,
    level: float = 0.95,
    random_state: int = 0,
) -> list[dict[str, Any]]:
    """Compare the UAR of a system on each value of a column with that on all other clips.

    Parameters
    ----------
    truth, guess, groups
        Codes of the true label, of the system's label and of the group, `(clips,)` each.
    values
        Value of the column, `(clips,)`.
    n_labels, n_resamples, level, random_state
        Size of the label set; draws, coverage of the intervals and seed.

    Returns
    -------
    rows
        For each value `value`, `uar` and `uar_rest` (over the classes that both sides have),
        `difference`, `interval`, `p` of Student's t and `p_corrected` by Holm over the values; NaN
        where one side has fewer than five groups. Of two values the first stands for both.

    Examples
    --------
    >>> truth, groups = np.tile([0, 1], 40), np.repeat(range(20), 4)
    >>> values = np.where(groups < 10, "f", "m")
    >>> guess = np.where((values == "m") & (np.arange(80) % 3 == 0), 1 - truth, truth)
    >>> [row] = gaps(truth, guess, groups, values, 2, n_resamples=500)
    >>> row["value"], row["difference"] > 0.2, row["p_corrected"] < 0.05
    ('f', True, True)
    """
    found = sorted(set(values.tolist()))
    if len(found) < 2:
        return []
    _, groups = np.unique(groups, return_inverse=True)
    n_groups = int(groups.max()) + 1
    sides = []  # counts (groups, true and right, labels) of each value
    for value in found:
        cells = groups * n_labels + truth
        size = n_groups * n_labels
        inside = values == value
        counts = [
            np.bincount(cells[at], minlength=size) for at in (inside, inside & (guess == truth))
        ]
        sides.append(np.stack(counts).reshape(2, n_groups, n_labels).transpose(1, 0, 2))
    whole = np.sum(sides, axis=0)
    drawn = np.concatenate(list(draws(np.ones(n_groups, dtype=int), n_resamples, random_state)))
    rows = []
    for value, own in zip(found, sides, strict=True):
        if len(rows) == 1 and len(found) == 2:
            break  # the other way round
        rest = whole - own
        both = (own[:, 0].sum(axis=0) > 0) & (rest[:, 0].sum(axis=0) > 0)
        row: dict[str, Any] = {"value": value, "uar": np.nan, "uar_rest": np.nan}
        row |= {"difference": np.nan, "interval": [np.nan, np.nan], "p": np.nan}
        if both.any():
            (uar, samples), (uar_rest, samples_rest) = (
                _uar(side[:, :, both].astype(float), drawn) for side in (own, rest)
            )
            gap = uar - uar_rest
            row |= {"uar": uar, "uar_rest": uar_rest, "difference": gap}
            effective = [_effective(side[:, 0, both]) for side in (own, rest)]
            carried = min(int((side[:, 0, both] > 0).any(axis=1).sum()) for side in (own, rest))
            if carried >= FEWEST_GROUPS:
                first, second = (
                    standard_error(one, n) ** 2
                    for one, n in zip((samples, samples_rest), effective, strict=True)
                )
                shared = 2 * float(np.cov(samples, samples_rest, bias=True)[0, 1])
                error = np.sqrt(max(first + second - shared, 1e-12))
                weights = (first**2 / (effective[0] - 1), second**2 / (effective[1] - 1))
                freedom = (first + second) ** 2 / max(sum(weights), 1e-300)  # Welch
                freedom = max(freedom, min(effective) - 1)
                half = t_quantile(level, freedom + 1) * error
                row["interval"] = [max(gap - half, -1.0), min(gap + half, 1.0)]
                row["p"] = float(2 * stats.t.sf(abs(gap) / error, freedom))
        rows.append(row)
    known = [row for row in rows if not np.isnan(row["p"])]
    for row, corrected in zip(known, holm([row["p"] for row in known]), strict=True):
        row["p_corrected"] = corrected
    return [{"p_corrected": np.nan} | row for row in rows]


def _uar(side: np.ndarray, drawn: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the UAR of a side `(groups, 2, labels)`, and in each draw of groups."""
    true, right = side[:, 0].sum(axis=0), side[:, 1].sum(axis=0)
    recall = right / true
    there, hits = drawn @ side[:, 0], drawn @ side[:, 1]
    drawn_recall = np.where(there > 0, hits / np.maximum(there, 1), recall)
    return float(recall.mean()), drawn_recall.mean(axis=1)


def _effective(true: np.ndarray) -> float:
    """Return how many equally large groups would tell as much as these do."""
    share = (true / true.sum(axis=0)).sum(axis=1)
    return float(share.sum() ** 2 / (share**2).sum())
