"""Which measures a report shows, in which order of systems, and what it calls the groups."""

from __future__ import annotations

from .....cache.errors import counted
from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ....metrics.scored_clips import group_noun
from ..sections import Data, Section
from .markdown_tables import MEASURES, number

COLUMNS = tuple(MEASURES.items())
NUMBERS = (("ccc", "CCC"), ("pearson", "Pearson r"), ("error", "error / range"))


def columns(data: Data) -> tuple[tuple[str, str], ...]:
    """Return the measures of the main table and their titles; dev chose by the first."""
    return NUMBERS if data.get("measure") == "ccc" else COLUMNS


def ordered(data: Data) -> list[str]:
    """Return the systems: what dev chose, then by dev UAR (or CCC); without dev by that on test.

    Sorted by test, the first row would be the luckiest one.
    """
    systems, lead = data["systems"], columns(data)[0][0]

    def place(name: str) -> tuple[bool, float, float, str]:
        dev = (systems[name]["dev"] or {}).get(lead)
        test = systems[name]["test"][lead]["value"]
        dev, test = (-1.0 if one is None else one for one in (dev, test))
        return name != data["chosen"], -dev, -test, name

    return sorted(systems, key=place)


def best_of(data: Data) -> str:
    """Return the system that sections about one system are of: the chosen one, else the first."""
    return data["chosen"] or ordered(data)[0]


def shown(data: Data, name: str) -> str:
    """Return the name of a system for Markdown, in bold where dev chose it."""
    return f"**{md(name)}**" if name == data["chosen"] else md(name)


def on_dev(data: Data, name: str) -> str:
    """Return what a system scores on dev, in the measure of the choice."""
    return number((data["systems"][name]["dev"] or {}).get(columns(data)[0][0]))


def chance(data: Data) -> float:
    """Return what guessing would score."""
    return 0.0 if data.get("measure") == "ccc" else 1 / len(data["task"]["labels"])


def has_intervals(data: Data) -> bool:
    """Whether there are enough groups."""
    return data["groups"]["count"] >= FEWEST_GROUPS


def order_of(data: Data) -> str:
    """Return a sentence on the order of `ordered`, with a space before it; blank for one system."""
    if len(data["systems"]) == 1:
        return ""
    title = columns(data)[0][1]
    order = (
        f"what dev chose first, then by dev {title}" if data["chosen"] else f"by {title} on test"
    )
    return f" Order: {order}."


def by_rank(data: Data) -> list[tuple[str, Data]]:
    """Return the systems of a comparison over corpora, the best mean rank first."""
    return sorted(data["systems"].items(), key=lambda item: (item[1]["rank"], item[0]))


def groups_of(data: Data, count: int | None = None) -> str:
    """Return what to call the test groups (or this many of dev)."""
    column, groups = data["groups"]["column"], data["groups"]["count"]
    clips = data["test"]["clips"]
    single = groups == clips and count in (None, (data["dev"] or {}).get("clips"))
    some = data["groups"].get("single", 0)
    return group_noun(None if single else column, groups if count is None else count, some)


def exchanged(data: Data) -> str:
    """Return within what a test exchanges two systems."""
    groups = groups_of(data)
    return f"on {groups}" if groups == group_noun(None, 2) else f"within whole {groups}"


def of_groups(clips: int, groups: int, noun: str, what: str = "clip") -> str:
    """Return how many clips there are, and of how many groups unless each clip is its own.

    Examples
    --------
    >>> of_groups(44, 9, "speakers"), of_groups(44, 44, "single clips")
    ('44 clips of 9 speakers', '44 clips')
    """
    return counted(clips, what) + (f" of {groups} {noun}" if groups != clips else "")


def brackets(data: Data) -> str:
    """Return what the intervals are of; or that there are none."""
    count, column = data["groups"]["count"], md(groups_of(data))
    if count < FEWEST_GROUPS:
        there = f"there {'is' if count == 1 else 'are'} {count} {column}"
        return f"No intervals: they need at least {FEWEST_GROUPS}, and {there}."
    trained = (
        "with the same trained systems. Training again, another corpus or another language may "
        "change the scores by more."
    )
    if len(data["splits"]) > 1:
        trained = (
            "if the systems were trained again on as many: each is tested in a fold whose "
            "training did not include it, and the intervals are wider for that reason. Another "
            "corpus or another language may change the scores by more."
        )
    return (
        f"In brackets: {100 * data['settings']['level']:g} % intervals, from "
        f"{data['settings']['n_resamples']:,} resamples of {count} {column}. They say what other "
        f"{column} of the same kind would give {trained}"
    )


def warnings_of(data: Data) -> list[Section]:
    """Return the section of warnings; empty without any."""
    found = [md(text) for text in data["warnings"]]
    return [Section("Warnings", [found])] if found else []
