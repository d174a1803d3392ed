"""How a system's score differs between the values of a column: gender, language, age group.

Each value is compared with all other clips together, so that a column of many values does not need
all pairs. Speakers are drawn again as a whole, those of the value and the others at once, so a
speaker who has clips of several values is allowed for. The correction for several values deals the
values to the speakers again: how large does the largest gap get where the value has no effect?
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtr

from ...metrics.bootstrap import FEWEST_GROUPS, draws
from ...metrics.intervals import kish_size, standard_error, t_quantile
from ...metrics.max_t import as_extreme, step_down
from ...metrics.mcnemar_and_holm import holm

MOST_DEALS = 2000
BLOCK = 2_000_000  # numbers held at a time


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
        `difference`, `interval`, `p` of Student's t and `p_corrected`: step-down max-T over
        values dealt to the groups again, never below `p`; by Holm where groups have clips of
        several values. NaN where a class comes from fewer than five groups on one side. Of two
        values only the first is listed.

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
        rows.append({"value": value} | _gap(own, whole - own, drawn, level))
    at = [code for code, row in enumerate(rows) if not np.isnan(row["p"])]
    p = [rows[code]["p"] for code in at]
    corrected = holm(p)
    owners = np.stack([side[:, 0].sum(axis=1) > 0 for side in sides])  # (values, groups)
    if len(at) > 1 and (owners.sum(axis=0) == 1).all():
        n_deals = min(n_resamples, MOST_DEALS)
        corrected = np.maximum(p, _dealt_again(whole, owners, at, n_deals, random_state))
    for code, value in zip(at, corrected, strict=True):
        rows[code]["p_corrected"] = float(value)
    return [{"p_corrected": np.nan} | row for row in rows]


def _gap(own: np.ndarray, rest: np.ndarray, drawn: np.ndarray, level: float) -> dict[str, Any]:
    """Return the row of one value, without its name and corrected p.

    `own` and `rest` are counts `(groups, 2, labels)`.
    """
    row: dict[str, Any] = {"uar": np.nan, "uar_rest": np.nan, "difference": np.nan}
    row |= {"interval": [np.nan, np.nan], "p": np.nan}
    both = (own[:, 0].sum(axis=0) > 0) & (rest[:, 0].sum(axis=0) > 0)
    if not both.any():
        return row
    sides = own[:, :, both], rest[:, :, both]
    (uar, samples), (uar_rest, samples_rest) = (_uar(side.astype(float), drawn) for side in sides)
    gap = uar - uar_rest
    row |= {"uar": uar, "uar_rest": uar_rest, "difference": gap}
    if min(int((side[:, 0] > 0).sum(axis=0).min()) for side in sides) < FEWEST_GROUPS:
        return row
    trues = [side[:, 0] for side in sides]
    effective = [kish_size((true / true.sum(axis=0)).sum(axis=1)) for true in trues]
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
    interval = [max(gap - half, -1.0), min(gap + half, 1.0)]
    return row | {"interval": interval, "p": float(2 * stdtr(freedom, -abs(gap) / error))}


def _dealt_again(
    counts: np.ndarray, owners: np.ndarray, tested: list[int], n_deals: int, random_state: int
) -> np.ndarray:
    """Return the step-down max-T p of the tested values, `(tested,)`.

    `counts` is `(groups, 2, labels)`; `owners` `(values, groups)`, one value for each group.
    """
    rng = np.random.default_rng(random_state)
    n_groups = len(counts)
    observed = _studentised(counts, owners[None, tested])[0]
    larger = np.zeros(len(tested))
    block = max(1, BLOCK // (n_groups * len(tested)))
    for start in range(0, n_deals, block):
        deals = rng.permuted(np.tile(np.arange(n_groups), (min(block, n_deals - start), 1)), axis=1)
        drawn = _studentised(counts, owners[tested][:, deals].transpose(1, 0, 2))
        larger += as_extreme(drawn.T, observed)[1]
    return step_down((1 + larger) / (1 + n_deals), observed)


def _studentised(counts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return |gap| / standard error, `(deals, values)`; `inside` is `(deals, values, groups)`."""
    true, right = counts[:, 0].astype(float), counts[:, 1].astype(float)
    sides = [one.astype(float) for one in (inside, ~inside)]
    there = [side @ true for side in sides]  # (deals, values, labels)
    both = (there[0] > 0) & (there[1] > 0)
    weight = both / np.maximum(both.sum(axis=2, keepdims=True), 1)
    gap, variance = 0.0, 0.0
    for sign, side, clips in zip((1, -1), sides, there, strict=True):
        share = weight / np.maximum(clips, 1)
        recall = side @ right / np.maximum(clips, 1)
        gap = gap + sign * (weight * recall).sum(axis=2)
        moved = share @ right.T - (share * recall) @ true.T  # (deals, values, groups)
        n = side.sum(axis=2)
        variance = variance + (side * moved**2).sum(axis=2) * n / np.maximum(n - 1, 1)
    return np.abs(gap) / np.sqrt(np.maximum(variance, 1e-12))


def _uar(side: np.ndarray, drawn: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the UAR of a side `(groups, 2, labels)`, and in each draw of groups."""
    true, right = side[:, 0].sum(axis=0), side[:, 1].sum(axis=0)
    recall = right / true
    there, hits = drawn @ side[:, 0], drawn @ side[:, 1]
    drawn_recall = np.where(there > 0, hits / np.maximum(there, 1), recall)
    return float(recall.mean()), drawn_recall.mean(axis=1)
