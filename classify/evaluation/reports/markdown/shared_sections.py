"""What the reports of labels and of numbers share: order, choice, warnings, tables by a column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ....metrics.scored_clips import group_noun
from ...scores.dev_choice import candidates
from .label_sections import some
from .markdown_tables import MEASURES, score, table

Data = Mapping[str, Any]
COLUMNS = tuple(MEASURES.items())
NUMBERS = (("ccc", "CCC"), ("pearson", "Pearson r"), ("error", "error"))
MOST_SYSTEMS = 8  # of a table by a column


def rows_by_value(data: Data, column: str) -> dict[str, str]:
    """Return the values of a column, each with its counts and scores as one text."""
    values = data["by"][column]["values"]
    return {value: json.dumps(row, sort_keys=True) for value, row in values.items()}


def divides_like(data: Data, column: str) -> str | None:
    """Return the first column that divides the test clips as a later one does, if there is one."""
    rows = sorted(rows_by_value(data, column).values())
    if len(set(rows)) < len(rows):
        return None  # which value is which is not known
    alike = (name for name in data["by"] if sorted(rows_by_value(data, name).values()) == rows)
    return first if (first := next(alike)) != column else None


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


def by_rank(data: Data) -> list[tuple[str, Data]]:
    """Return the systems of a comparison over corpora, the best mean rank first."""
    return sorted(data["systems"].items(), key=lambda item: (item[1]["rank"], item[0]))


def groups_of(data: Data, count: int | None = None) -> str:
    """Return what to call the test groups (or so many of dev)."""
    column, groups = data["groups"]["column"], data["groups"]["count"]
    clips = data["test"]["clips"]
    single = groups == clips and count in (None, (data["dev"] or {}).get("clips"))
    return group_noun(None if single else column, groups if count is None else count)


def of_groups(clips: int, groups: int, noun: str, what: str = "clips") -> str:
    """Return how many clips there are, and of how many groups unless each clip is its own.

    Examples
    --------
    >>> of_groups(44, 9, "speakers"), of_groups(44, 44, "single clips")
    ('44 clips of 9 speakers', '44 clips')
    """
    return f"{clips} {what}" + (f" of {groups} {noun}" if groups != clips else "")


def headline(data: Data) -> str:
    """Return the first sentence of a report: the chosen or only system, its score, and chance."""
    lead, title = columns(data)[0]
    floor = "a system that always says the same number has 0"
    if lead != "ccc":
        floor = f"chance is {1 / len(data['task']['labels']):.3f}"
    test, names = data["test"], list(data["systems"])
    name = data["chosen"] or names[0]
    value = f"**{score(data['systems'][name]['test'][lead])}**"
    where = test["clips"], data["groups"]["count"], md(groups_of(data))
    if data["chosen"]:
        how = f", {why}" if (why := why_chosen(data)) else ""
        chosen = f"Chosen on dev: **{md(name)}**{how}. On test its {title} is {value}"
        return f"{chosen}, on {of_groups(*where)}; {floor}."
    clips = of_groups(*where, "test clips")
    if len(names) == 1:
        return f"**{md(name)}** has a {title} of {value} on {clips}; {floor}."
    return (
        f"{len(names)} systems on {clips}; {floor}. There was no dev, so "
        "nothing was chosen: the best of the table below is best on these clips only."
    )


def why_chosen(data: Data) -> str:
    """Return why another system than the best on dev was chosen; blank where that was chosen."""
    return (data.get("choice") or {}).get("why", "")  # older runs always chose the best


def how_chosen(data: Data) -> str:
    """Return a text: among how many was chosen, on what, and how firm the choice is."""
    counts, dev, found = candidates(data), data["dev"], data["choice"]
    tried = {what: f"{n} {what if n > 1 else what[:-1]}" for what, n in counts.items() if n}
    parts = [text for what, text in tried.items() if what not in ("all", "systems")]
    more = f" ({tried['systems']} and, before them, {', '.join(parts)})" if parts else ""
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
            f"with {speakers} more than {found['needed']:.3f} is asked for, so the mean was taken. "
            f"Its dev {title} of {value:.3f} is not the highest of many, {lifts}"
        )
        again = f"When {speakers} are drawn again from these, {md(best)} comes first in"
        return f"{text}." if few else f"{text}. {again} {100 * found['same']:.0f} % of draws."
    leads = ""
    if mean not in (None, best):
        leads = (
            f". It is {found['lead']:.3f} ahead of {md(mean)}, the mean of all members with equal "
            f"weights, which would have been taken up to {found['needed']:.3f}"
        )
    text = (
        f"It is the best of {counts['all']} candidates{more} by {title} on dev, {where}{leads}. "
        f"Its dev {title} of {value:.3f} is biased upward, since the best of many is picked partly "
        "for its luck"
    )
    if few:
        return f"{text}. With {speakers} in dev, how firm the choice is cannot be said."
    least = f"{found['optimism']:.3f}"
    most = f"{found.get('optimism_if_equal', found['optimism']):.3f}"  # older runs have one figure
    if float(most):
        before = f"; choosing the {inside} of members adds to it" if inside else ""
        if_equal = f"{most} were they all equally good{before}"
        text += f" (among the systems alone by {least}, or {if_equal})"
    return (
        f"{text}. When {speakers} are drawn again from these, the same system comes first in "
        f"{100 * found['same']:.0f} % of draws; others would choose it less often, since here it "
        "may have been lucky."
    )


def warnings_of(data: Data) -> str:
    """Return the section of warnings; blank where there is none."""
    if not data["warnings"]:
        return ""
    return "## Warnings\n\n" + "\n".join(f"- {md(text)}" for text in data["warnings"])


def brackets(data: Data) -> str:
    """Return what the intervals are of; or that there are none."""
    count, column = data["groups"]["count"], md(groups_of(data))
    if count < FEWEST_GROUPS:
        return f"No intervals: they need at least {FEWEST_GROUPS}, and there are {count} {column}."
    trained = (
        "with the same trained systems; training again, another corpus or another language may "
        "differ by more."
    )
    if len(data["splits"]) > 1:
        trained = (
            "if the systems were trained anew on as many: each of them is tested in a fold that "
            "was not trained on them, and the intervals are wider for that. Another corpus or "
            "another language may differ by more."
        )
    return (
        f"In brackets: {100 * data['settings']['level']:g} % intervals, from "
        f"{data['settings']['n_resamples']:,} resamples of {count} {column}. They say what other "
        f"{column} of the same kind would give {trained}"
    )


def differences(data: Data, explained: str, pairs: Sequence[Data]) -> list[str]:
    """Return the lines of the section of differences.

    Parameters
    ----------
    data
        With at least one pair.
    explained
        What a line says and how it was tested; without enough groups there is no test.
    pairs
        Those that are shown.
    """
    first, count, column = data["pairs_of"], data["pairs"][0]["groups"], md(groups_of(data))
    title = f"{md(first)} against each other system" if first else "all pairs of systems"
    few = f"No tests: {count} {column} are too few. The differences are those on these clips."
    text = few if count < FEWEST_GROUPS else explained
    lines = [f"- {md(pair['sentence'])}" for pair in pairs]
    return [f"## Differences: {title}", "", text, "", *lines]


def table_of(data: Data, column: str) -> tuple[str, str]:
    """Return the table by a column, in the measure that dev chose by, and warnings below it."""
    part, names = data["by"][column], ordered(data)[:MOST_SYSTEMS]
    lead = columns(data)[0][0]
    rows = []
    warned: dict[str, list[str]] = {}
    for value, row in part["values"].items():
        absent = some([md(label) for label in row.get("absent", ())], 5)
        shown = md(value) + (f" (no {absent})" if absent else "")
        cells = [score(row["systems"][name][lead]) for name in names]
        rows.append([shown, str(row["clips"]), str(row["groups"]), *cells])
        for warning in row["warnings"]:
            warned.setdefault(warning, []).append(md(value))
    macro = [
        score({"value": part["macro"][name][lead], "interval": part["macro_interval"][name]})
        for name in names
    ]
    pooled = [score(data["systems"][name]["test"][lead]) for name in names]
    rows.append([f"mean over {md(column)}", "", "", *macro])
    rows.append(["all clips pooled", str(data["test"]["clips"]), "", *pooled])
    header = [md(column), "clips", md(groups_of(data)), *map(md, names)]
    notes = [f"- {some(values)}: {md(warning)}" for warning, values in warned.items()]
    return table(header, rows), "\n\n" + "\n".join(notes) if notes else ""
