"""Compare systems by published counts alone: how many clips each got right."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from scipy.special import betaincinv

from ....cache.commands.terminal import aligned
from ....cache.errors import InputError, check_number
from ...metrics.mcnemar_and_holm import fewest_apart, mcnemar_range
from .verdicts import verdict_of_counts

LEVEL = 0.95  # coverage of the intervals; the tests are at 1 - LEVEL


def exact_interval(right: int, n: int) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson, 1934); clips independent.

    Examples
    --------
    >>> [round(edge, 3) for edge in exact_interval(225, 300)]
    [0.697, 0.798]
    """
    tail = (1 - LEVEL) / 2
    low = betaincinv(right, n - right + 1, tail) if right else 0.0
    high = betaincinv(right + 1, n - right, 1 - tail) if right < n else 1.0
    return float(low), float(high)


def compare_counts(counts: Mapping[str, int], n: int) -> dict[str, Any]:
    """Return what published counts can show, for JSON.

    Parameters
    ----------
    counts
        Clips that each system got right, by name.
    n
        Clips of the test set, the same for all.

    Returns
    -------
    result
        `systems` with accuracy and exact interval; `pairs` with the smallest and largest p that the
        counts allow and a plain sentence; `needed`, the clips two systems must at least be apart.

    Examples
    --------
    >>> found = compare_counts({"mean": 225, "MarIA": 224}, 300)
    >>> found["pairs"][0]["sentence"]
    'mean and MarIA: no difference can be shown: 225 vs 224 of 300, p = 1.0'
    """
    check_number("n", n, 1, whole=True)
    for name, right in counts.items():
        if not 0 <= right <= n:
            raise InputError(
                f"{name}: {right} clips right, of {n} in all; expected a count from 0 to {n}"
            )
    if len(counts) < 2:
        raise InputError(f"{len(counts)} systems; expected counts of at least two")
    return {
        "clips": n,
        "level": LEVEL,
        "needed": fewest_apart(1 - LEVEL),
        "systems": {
            name: {
                "right": right,
                "accuracy": {"value": right / n, "interval": list(exact_interval(right, n))},
            }
            for name, right in counts.items()
        },
        "pairs": [
            {
                "a": a,
                "b": b,
                "p_range": list(mcnemar_range(counts[a], counts[b], n)),
                "sentence": verdict_of_counts(a, b, counts[a], counts[b], n),
            }
            for a, b in combinations(counts, 2)
        ],
    }


def counts_text(found: Mapping[str, Any]) -> str:
    """Return the result of `compare_counts` as plain text.

    Examples
    --------
    >>> print(counts_text(compare_counts({"mean": 225, "BETO": 221}, 300)))
    mean  225 of 300  0.750 [0.697, 0.798]
    BETO  221 of 300  0.737 [0.683, 0.786]
    <BLANKLINE>
    mean and BETO: no difference can be shown: 225 vs 221 of 300, p at least 0.125 (to 0.809)
    <BLANKLINE>
    Counts alone say little: two systems have to differ by at least 6 of 300 clips.
    """
    rows = []
    for name, row in found["systems"].items():
        low, high = row["accuracy"]["interval"]
        share = f"{row['accuracy']['value']:.3f} [{low:.3f}, {high:.3f}]"
        rows.append([name, f"{row['right']} of {found['clips']}", share])
    return "\n".join(
        [
            *aligned(rows),
            "",
            *(pair["sentence"] for pair in found["pairs"]),
            "",
            f"Counts alone say little: two systems have to differ by at least {found['needed']} "
            f"of {found['clips']} clips.",
        ]
    )
