"""Differences between systems within each value of a column: is one better in each language?

The systems are exchanged within whole groups, as for the differences on all test clips, among the
clips of one value. The corrected p allows for the pairs (step-down max-T) and, by Bonferroni, for
the values that are tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...metrics.max_t import MaxT


def differences(
    pairs: Sequence[Sequence[str]],
    test: MaxT,
    gaps: Iterable[tuple[float, Sequence[float]]],
) -> list[dict[str, Any]]:
    """Return what was found of each pair on the clips of one value.

    Parameters
    ----------
    pairs
        Names of the two systems.
    test
        Of these pairs.
    gaps
        The measure of the first system less that of the second, and its interval.
    """
    found = zip(pairs, gaps, test.p.tolist(), test.corrected.tolist(), strict=True)
    return [
        {"a": a, "b": b, "value": gap, "interval": list(span), "p": p, "p_corrected": corrected}
        for (a, b), (gap, span), p, corrected in found
        if np.isfinite(gap)
    ]


def correct_for_values(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Multiply each corrected p by the number of values that are tested, up to 1."""
    tested = [row["differences"] for row in rows.values() if row["differences"]]
    for pair in (pair for own in tested for pair in own):
        pair["p_corrected"] = min(1.0, pair["p_corrected"] * len(tested))
