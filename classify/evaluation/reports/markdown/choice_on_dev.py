"""What dev chose and why: the first sentence of a report, and how firm the choice is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ...scores.dev_choice import candidates, chosen_anew
from ..sections import Data
from .markdown_tables import score
from .system_order import chance, columns, groups_of, of_groups


def headline(data: Data) -> str:
    """Return the first sentence of a report: the chosen or only system, its score, and chance."""
    lead, title = columns(data)[0]
    floor = "a system that always says the same number has 0"
    if lead != "ccc":
        floor = f"chance is {chance(data):.3f}"
    test, names = data["test"], list(data["systems"])
    name = data["chosen"] or names[0]
    value = f"**{score(data['systems'][name]['test'][lead])}**"
    where = test["clips"], data["groups"]["count"], md(groups_of(data))
    if data["chosen"] and len(names) > 1:
        how = f", {why}" if (why := why_chosen(data)) else ""
        chosen = f"Chosen on dev: **{md(name)}**{how}. On test its {title} is {value}"
        return f"{chosen}, on {of_groups(*where)}; {floor}."
    clips = of_groups(*where, "test clip")
    if len(names) == 1:
        return f"**{md(name)}** has a {title} of {value} on {clips}; {floor}."
    return (
        f"{len(names)} systems on {clips}; {floor}. There was no dev, so "
        "nothing was chosen: the best of the table below is best on these clips only."
    )


def why_chosen(data: Data) -> str:
    """Return why another system than the best on dev was chosen; blank where that was chosen."""
    return (data.get("choice") or {}).get("why", "")  # older runs always chose the best


def how_chosen(data: Data) -> list[str]:
    """Return texts: how many candidates, the data of the choice, how firm it is, what it gives.

    Then how often this test set was looked at.
    """
    chosen = [_among_which(data), _chosen_apart(data)] if data["chosen"] else []
    return chosen + ([test_uses(data["test_uses"])] if data.get("test_uses") else [])


def _chosen_apart(data: Data) -> str:
    """Return what choosing for each fold without its clips gives; blank for one split."""
    found, (lead, title) = chosen_anew(data), columns(data)[0]
    if found is None:
        return ""
    names = ", ".join(f"{md(name)} {count}" for name, count in found["systems"].items())
    return (
        "Dev holds clips that are tested in other folds. Chosen again for each of the "
        f"{sum(found['systems'].values())} folds without its test clips ({names}), the {title} on "
        f"test is {score(found[lead])}: that is what choosing in this way gives for other speakers."
    )


def _among_which(data: Data) -> str:
    counts, dev, found = candidates(data), data["dev"], data["choice"]
    tried = {what: f"{n} {what if n > 1 else what[:-1]}" for what, n in counts.items() if n}
    parts = [text for what, text in tried.items() if what not in ("all", "systems")]
    parts = [text.replace(" ", " more ", 1) for text in parts]
    more = f" ({tried['systems']}, and {', '.join(parts)} of their members)" if parts else ""
    groups = found["groups"]
    lead, title = columns(data)[0]
    value = data["systems"][data["chosen"]]["dev"][lead]
    where = of_groups(dev["clips"], groups, md(groups_of(data, groups)))
    if counts["all"] == 1:
        return f"It is the only candidate. Its {title} on dev, {where}, is {value:.3f}."
    few = groups < FEWEST_GROUPS or found["same"] is None
    speakers = f"{groups} {md(groups_of(data, groups))}"
    best, mean = found.get("best", data["chosen"]), found.get("mean")
    inside = " and ".join(what for what in ("settings", "seeds") if counts[what])
    biased = (
        f"Its dev {title} of {value:.3f} is biased upward, since the best of many is partly a "
        "matter of luck"
    )
    if counts["systems"] == 1:
        return (
            f"It is the only system, with the best of {counts['all']} {inside} by {title} on dev, "
            f"{where}. {biased}."
        )
    if best != data["chosen"]:
        lifts = (
            f"but the {inside} of its members were chosen on the same clips, which lifts it"
            if inside
            else "so luck hardly lifts it"
        )
        text = (
            f"Of {counts['all']} candidates{more}, {md(best)} has the highest {title} on dev, "
            f"{where}: {found['lead']:.3f} more than {md(mean)}, the mean of all members with "
            f"equal weights. The best of {found['systems']} systems can owe such a lead to luck; "
            f"with {speakers} more than {found['needed']:.3f} is needed, so the mean was taken. "
            f"Its dev {title} of {value:.3f} is not the highest of many, {lifts}"
        )
        again = f"When {speakers} are drawn again from these, {md(best)} comes first in"
        return f"{text}." if few else f"{text}. {again} {100 * found['same']:.0f} % of draws."
    leads = ""
    if mean not in (None, best):
        leads = (
            f". It is {found['lead']:.3f} ahead of {md(mean)}, the mean of all members with equal "
            f"weights; with a lead of {found['needed']:.3f} or less the mean would have been taken"
        )
    text = (
        f"It is the best of {counts['all']} candidates{more} by {title} on dev, {where}{leads}. "
        f"{biased}"
    )
    if few:
        return f"{text}. With {speakers} in dev, it cannot be estimated how stable the choice is."
    least = f"{found['optimism']:.3f}"
    most = f"{found.get('optimism_if_equal', found['optimism']):.3f}"  # older runs have one figure
    if float(most):
        before = f"; choosing the {inside} of members adds to it" if inside else ""
        if_equal = f"{most} if they were all equally good{before}"
        text += f" (among the systems alone by {least}, or {if_equal})"
    return (
        f"{text}. When {speakers} are drawn again from these, the same system comes first in "
        f"{100 * found['same']:.0f} % of draws; other speakers might choose it less often, since "
        "it may have been lucky here."
    )


def test_uses(uses: Mapping[str, Any]) -> str:
    """Return how often this test set was looked at.

    Examples
    --------
    >>> test_uses({"choices": 1})
    'No other choice was scored on this test set from this cache.'
    """
    if uses["choices"] is None:
        return f"It is not known how often this test set was used: {md(uses['unknown'])}."
    if uses["choices"] == 1:
        return "No other choice was scored on this test set from this cache."
    return (
        f"This test set was used {uses['choices']} times from this cache, once for each different "
        "choice of recipe or system. Every further use makes the best result look better than it "
        "is."
    )
