"""Differences between systems: a line for each pair, how it was tested, what the test can find.

The sentence of a pair ("no difference can be shown ...") is made where the pair is tested, in
`evaluation.scores.verdicts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .....cache.errors import counted
from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ...scores.verdicts import EQUAL, LEAST_FOR_EQUAL
from ..sections import Data, Section
from .system_order import best_of, exchanged, groups_of

MOST_PAIRS = 45
UNSEEN = (
    "p is never below that of a t test with one more, contradicting group, because a few unlike "
    "groups may be missing here; such a p is corrected by more than max-T gives, at most by the "
    "number of comparisons."
)


def label_differences(data: Data) -> list[Section]:
    """Return the pairs of systems that predict labels; of many, those of the chosen one."""
    pairs = shown = data["pairs"]
    if len(pairs) > MOST_PAIRS:
        shown = [pair for pair in pairs if best_of(data) in (pair["a"], pair["b"])]
    explained = (
        "Each line: the difference in UAR with its interval; p, how often chance alone gives such "
        "a difference between equal systems; p corrected for the number of comparisons; in how "
        f"many {md(groups_of(data))} which system is better."
    )
    left = len(pairs) - len(shown)
    return _differences(
        data, explained, shown, f"{left} more pairs are in comparison.json." if left else ""
    )


def number_differences(data: Data) -> list[Section]:
    """Return the pairs of systems that predict numbers, and how they were tested."""
    pairs = data["pairs"]
    if not pairs:
        return []
    column, count = md(groups_of(data)), pairs[0]["groups"]
    how = _exchanges(pairs)
    explained = (
        "Each line: difference in CCC (mean over dimensions) with its interval; p, how often "
        "chance alone gives such a difference if both systems are equally good; p corrected "
        f"for the {comparisons(pairs)} made here; in how many {column} which system has "
        f"the smaller absolute error. The test exchanges the two systems {md(exchanged(data))} "
        f"({how} exchanges) and computes CCC again; the correction is the step-down max-T of "
        f"Westfall and Young. {UNSEEN} The interval is for one pair alone. "
        '"No difference can be shown" does not mean that there is none.'
    )
    if count == FEWEST_GROUPS:
        explained += f" With {count} {column} p cannot be below {2 / 2**count:.3g}."
    return _differences(data, explained, pairs)


def _exchanges(pairs: Sequence[Data]) -> str:
    """Return which exchanges were tried."""
    return "all" if pairs[0]["permutation_exact"] else "10,000 random"


def comparisons(pairs: Sequence[Data]) -> str:
    """Return how many comparisons were made."""
    return f"{len(pairs)} comparisons" if len(pairs) > 1 else "one comparison"


def _differences(
    data: Data, explained: str, pairs: Sequence[Data], more: str = ""
) -> list[Section]:
    """Return the section of differences; an empty list without pairs.

    Parameters
    ----------
    explained
        What a line shows and how it was tested; without enough groups there is no test.
    pairs
        Those that are shown.
    more
        What follows them.
    """
    if not data["pairs"]:
        return []
    first, count, column = data["pairs_of"], data["pairs"][0]["groups"], md(groups_of(data))
    title = f"{first} against each other system" if first else "all pairs of systems"
    few = f"No tests: {count} {column} are too few. The differences are those on these clips."
    text = few if count < FEWEST_GROUPS else explained
    lines = [md(pair["sentence"]) for pair in pairs]
    return [Section(f"Differences: {title}", [text, lines, more], "differences")]


def how_tested(data: Data) -> list[Section]:
    """Return how the differences were tested, and what the test can find."""
    pairs, column = data["pairs"], md(groups_of(data))
    if not pairs or pairs[0]["groups"] < FEWEST_GROUPS:
        return []
    how = _exchanges(pairs)
    text = (
        f"The test exchanges the two systems {md(exchanged(data))} ({how} exchanges); the "
        f"correction for the {comparisons(pairs)} made here is the step-down max-T of Westfall and "
        f"Young. {UNSEEN} The interval is for one pair alone and assumes that the {column} are "
        "roughly normally distributed, so it can exclude 0 where the test shows no difference. "
        f"Two systems are called equal within {EQUAL:g} if the whole interval is, and if there are "
        f"at least {LEAST_FOR_EQUAL} {column}."
    )
    return [Section("How differences were tested", [text, _detectable(pairs, column)])]


def _detectable(pairs: Sequence[Data], column: str) -> str:
    count = pairs[0]["groups"]
    found = sorted(p["uar_detectable"] for p in pairs if p["uar_detectable"] is not None)
    if found:
        span = f"{found[0]:.3f}" if len(found) == 1 else f"{found[0]:.3f} to {found[-1]:.3f}"
        rest = len(pairs) - len(found)
        also = f" For {counted(rest, 'pair')}, none of any size." if rest else ""
        return (
            f"What this test can find with {count} {column}, by simulation: one system whose UAR "
            f"is higher than that of all others by {span} (by pair) in 8 of 10 cases. Smaller "
            'differences mostly stay hidden, so "no difference can be shown" does not mean that '
            f"there is none.{also}"
        )
    needed = pairs[0].get("groups_needed")
    more = f"about {needed}" if needed else "more than 500"
    if count < 6:
        known = (
            f"With {count} {column} this test can find no difference: p cannot be below "
            f"{2 / 2**count:.3g}."
        )
    else:
        known = (
            f"Which difference this test finds in 8 of 10 cases cannot be promised: these {count} "
            f"{column} are too few, too unequal in clips or too different from each other."
        )
    return (
        f"{known} To find a difference in UAR of 0.1 in 8 of 10 cases, {more} would be needed, as "
        f"far as {count} can tell."
    )
