"""What test showed of systems, in a sentence: better, no difference, nothing learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....cache.errors import listed
from ...data.splitting.findings import Finding, Kind
from ...metrics.mcnemar_and_holm import mcnemar_range

EQUAL = 0.02  # in UAR: systems are equal if the interval of the difference is inside
#: and from so many groups on: of fewer, a fifth for whom one system fails may all be missing
LEAST_FOR_EQUAL = 15


def one_answer(data: Mapping[str, Any], *systems: str) -> list[str]:
    """Say which systems (of those that are named) gave all test clips one label, and which.

    Examples
    --------
    >>> data = {"task": {"labels": ["x", "y"]}, "systems": {"lr": {"test": {}}}}
    >>> data["systems"]["lr"]["test"]["confusion"] = [[9, 0], [1, 0]]
    >>> one_answer(data)
    ['lr answered x for every test clip: it does not tell the labels apart']
    """
    found: dict[str, list[str]] = {}
    for name in systems or data["systems"]:
        matrix = np.array(data["systems"][name]["test"].get("confusion", []), ndmin=2)
        answers = np.flatnonzero(matrix.any(axis=0))
        if len(answers) == 1 and matrix.any(axis=1).sum() > 1:
            found.setdefault(data["task"]["labels"][answers[0]], []).append(name)
    return [
        Finding(
            f"{listed(names)} answered {label} for every test clip: "
            f"{'it does' if len(names) == 1 else 'they do'} not tell the labels apart",
            Kind.LABELS,
        )
        for label, names in found.items()
    ]


def verdict_of_pair(row: Mapping[str, Any], measure: str = "uar") -> str:
    """Return in one sentence what the test of a pair showed: difference, interval, p, speakers.

    Parameters
    ----------
    row
        A row of `pair_tests.pairs`, or of `Numbers.pairs` where the measure is "ccc".

    Examples
    --------
    >>> row = {"a": "mean", "b": "lr", "uar_difference": 0.05, "groups": 8,
    ...        "uar_difference_interval": [0.01, 0.09], "p_uar": 0.0078, "p_uar_corrected": 0.02,
    ...        "different": True, "groups_a_better": 8, "groups_b_better": 0,
    ...        "right_a": 60, "right_b": 55, "clips": 100}
    >>> print(verdict_of_pair(row))
    mean is better than lr: UAR +0.050 [0.010, 0.090], p = 0.0078, corrected 0.02; ...
    """
    a, b, gap = row["a"], row["b"], row[f"{measure}_difference"]
    low, high = row[f"{measure}_difference_interval"]
    p, corrected = row[f"p_{measure}"], row[f"p_{measure}_corrected"]
    interval = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
    shown = f"{measure.upper()} {gap:+.3f}{interval}"
    more, less = ("better", "worse") if measure == "uar" else ("smaller error", "larger")
    counts = f"{more} in {row['groups_a_better']} of {row['groups']}"
    if row["groups_b_better"]:
        counts += f", {less} in {row['groups_b_better']}"
    if measure == "uar":
        counts += f"; {row['right_a']} vs {row['right_b']} of {row['clips']} clips right"
    if math.isnan(p):
        return f"{a} against {b}: {shown}; {counts}; too few for a test"
    found = f"{shown}, p = {p_text(p)}, corrected {p_text(corrected)}; {counts}"
    if row["different"]:
        return f"{a} is {'better' if gap > 0 else 'worse'} than {b}: {found}"
    if measure == "uar" and max(-low, high) <= EQUAL and row["groups"] >= LEAST_FOR_EQUAL:
        return f"{a} and {b} are equal within {EQUAL:g}: {found}"
    return f"{a} and {b}: no difference can be shown: {found}"


def verdict_of_counts(a: str, b: str, right_a: int, right_b: int, n: int) -> str:
    """Return what two counts alone can show, whichever clips were right.

    Examples
    --------
    >>> verdict_of_counts("mean", "MarIA", 225, 224, 300)
    'mean and MarIA: no difference can be shown: 225 vs 224 of 300, p = 1.0'
    >>> verdict_of_counts("mean", "BETO", 225, 221, 300)
    'mean and BETO: no difference can be shown: 225 vs 221 of 300, p at least 0.125 (to 0.809)'
    """
    low, high = mcnemar_range(right_a, right_b, n)
    counts = f"{right_a} vs {right_b} of {n}, p"
    decided = (low < 0.05) == (high < 0.05)
    if low == high:
        counts += f" = {p_text(low)}"
    elif not decided:
        counts += f" between {p_text(low)} and {p_text(high)}"
    elif low >= 0.05:
        counts += f" at least {p_text(low)} (to {p_text(high)})"
    else:
        counts += f" at most {p_text(high)}"
    if not decided:
        return f"{a} and {b}: the counts alone do not decide: {counts}"
    if low >= 0.05:
        return f"{a} and {b}: no difference can be shown: {counts}"
    return f"{a} is {'better' if right_a > right_b else 'worse'} than {b}: {counts}"


def verdict_over_corpora(pair: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return what several corpora show of a pair, without a full stop; `data` is of `across`."""
    first, second, difference = pair["first"], pair["second"], pair["difference"]
    better, worse = (first, second) if difference >= 0 else (second, first)
    wins = pair["wins"] if better == first else pair["losses"]
    posterior = pair["posterior"]
    probable = posterior["first" if better == first else "second"]
    text = (
        f"{better} over {worse}: {abs(difference):.3f} on average, better on {wins} of "
        f"{data['runs']}; signed rank p {pair['p']:.4f}, corrected {pair['p_corrected']:.4f}; "
        f"better by more than {data['rope']:g} with probability {probable:.2f}, equal "
        f"{posterior['equal']:.2f}"
    )
    if pair["p_corrected"] < data["alpha"]:
        return text + ". A difference is shown"
    if posterior["equal"] > 1 - data["alpha"]:
        return text + ". Practically equal"
    return text + ". Neither a difference nor equality is shown"


def p_text(p: float) -> str:
    """Return a p-value with three significant digits at most, never as 0."""
    if p >= 0.9995:
        return "1.0"
    if p < 0.0001:
        return f"{p:.0e}" if p > 0 and math.isfinite(p) else "< 1e-300"
    return f"{p:.3g}"
