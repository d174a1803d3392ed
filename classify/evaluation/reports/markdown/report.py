"""Write a comparison as text: a table for the terminal and a Markdown report.

Both are made from `Comparison.data` alone and hold no other number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ....metrics.scored_clips import group_noun
from ...scores.choice import candidates
from . import optional_sections as report_more
from .label_sections import classes, confusion, some
from .markdown_tables import score, table
from .run_sections import test_uses

Data = Mapping[str, Any]
COLUMNS = (
    ("uar", "UAR"),
    ("accuracy", "accuracy"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
)
NUMBERS = (("ccc", "CCC"), ("pearson", "Pearson r"), ("error", "error"))
MOST_PAIRS = 45


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


def text_table(data: Data) -> str:
    """Return the main table as plain text, with intervals; * marks what dev chose."""
    shown = columns(data)
    rows = [["system", *(title for _, title in shown)]]
    for name in ordered(data):
        mark = " *" if name == data["chosen"] else ""
        test = data["systems"][name]["test"]
        rows.append([name + mark, *(score(test[key]) for key, _ in shown)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    count = data["groups"]["count"]
    few = count < FEWEST_GROUPS
    told = ": too few for" if few else f"; {100 * data['settings']['level']:g} %"
    foot = [f"{data['test']['clips']} test clips, {count} {groups_of(data)}{told} intervals"]
    if data["chosen"]:
        foot.append(f"* chosen on dev; the others by dev {shown[0][1]}")
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *foot])


def markdown(data: Data) -> str:
    """Return the whole report as Markdown."""
    sections = [
        _head(data),
        warnings_of(data),
        _main(data),
        report_more.each_group(data, ordered(data)),
        _pairs(data),
        *_divisions(data),
        classes(data, data["chosen"] or ordered(data)[0]),
        confusion(data, data["chosen"] or ordered(data)[0]),
        *report_more.sections(data, data["chosen"] or ordered(data)[0]),
        report_more.how_made(data),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def groups_of(data: Data, count: int | None = None) -> str:
    """Return what to call the test groups (or so many of dev)."""
    column, groups = data["groups"]["column"], data["groups"]["count"]
    single = count is None and groups == data["test"]["clips"]
    return group_noun(None if single else column, groups if count is None else count)


def _head(data: Data) -> str:
    test = data["test"]
    lines = [f"# Comparison: {md(data['task']['name'])}", ""]
    if data["chosen"]:
        chosen = data["systems"][data["chosen"]]
        lines.append(
            f"Chosen on dev: **{md(data['chosen'])}**. On test its UAR is "
            f"**{score(chosen['test']['uar'])}**, on {test['clips']} clips of "
            f"{data['groups']['count']} {md(groups_of(data))}; chance is "
            f"{1 / len(data['task']['labels']):.3f}."
        )
        lines.append(f"\n{how_chosen(data)}")
    else:
        lines.append(
            f"{len(data['systems'])} systems on {test['clips']} test clips. There was no dev, so "
            "nothing was chosen: the best of the table below is best on these clips only."
        )
    if uses := data.get("test_uses"):
        lines.append(f"\n{test_uses(uses)}")
    labels = [f"{md(label)} {n}" for label, n in test["labels"].items()]
    lines.append(f"\nTest labels: {some(labels)}.")
    if test["absent"]:
        absent = some([md(label) for label in test["absent"]])
        lines.append(f"Absent from test, counted as 0 in every mean: {absent}.")
    if test["left_out"]:
        out = [f"{md(label or '(blank)')} {n}" for label, n in test["left_out"].items()]
        lines.append(f"Left out by the task: {some(out)}.")
    return "\n".join(lines)


def how_chosen(data: Data) -> str:
    """Say among how many the choice was made, on what, and how firm it is."""
    counts, dev, found = candidates(data), data["dev"], data["choice"]
    tried = {what: n for what, n in counts.items() if n and what not in ("all", "systems")}
    parts = [f"{n} {what if n > 1 else what[:-1]}" for what, n in tried.items()]
    more = f" ({counts['systems']} systems and, before them, {', '.join(parts)})" if parts else ""
    groups = found["groups"]
    lead, title = columns(data)[0]
    value = data["systems"][data["chosen"]]["dev"][lead]
    where = f"{dev['clips']} clips of {groups} {md(groups_of(data, groups))}"
    if counts["all"] == 1:
        return f"It is the only candidate. Its {title} on dev, {where}, is {value:.3f}."
    text = (
        f"It is the best of {counts['all']} candidates{more} by {title} on dev, {where}. Its dev "
        f"{title} of {value:.3f} is biased upward, since the best of many is picked partly for "
        "its luck"
    )
    if found["same"] is None or groups < FEWEST_GROUPS:
        few = f"{groups} {md(groups_of(data, groups))}"
        return f"{text}. With {few} in dev, how firm the choice is cannot be said."
    if found["optimism"] >= 0.001:
        text += f" (by about {found['optimism']:.3f} among the systems alone)"
    return (
        f"{text}. If other speakers like these had been dev, the same system would have been "
        f"chosen in about {100 * found['same']:.0f} % of cases."
    )


def warnings_of(data: Data) -> str:
    """Return the section of warnings; blank where there is none."""
    if not data["warnings"]:
        return ""
    return "## Warnings\n\n" + "\n".join(f"- {md(text)}" for text in data["warnings"])


def _main(data: Data) -> str:
    rows = []
    for name in ordered(data):
        system = data["systems"][name]
        shown = f"**{md(name)}**" if name == data["chosen"] else md(name)
        dev = f"{system['dev']['uar']:.3f}" if system["dev"] else "-"
        rows.append([shown, *(score(system["test"][key]) for key, _ in COLUMNS), dev])
    header = ["system", *(title for _, title in COLUMNS), "dev UAR"]
    if data["test"]["absent"]:
        header.append("UAR of classes present")
        for row, name in zip(rows, ordered(data), strict=True):
            row.append(score(data["systems"][name]["test"]["uar_present"]))
    percent = f"{100 * data['settings']['level']:g}"
    count, column = data["groups"]["count"], md(groups_of(data))
    if count < FEWEST_GROUPS:
        text = f"No intervals: they need at least {FEWEST_GROUPS}, and there are {count} {column}."
    else:
        text = (
            f"In brackets: {percent} % intervals, from {data['settings']['n_resamples']:,} "
            f"resamples of {count} {column}. They say what other {column} of the same kind would "
        )
        if len(data["splits"]) > 1:
            text += (
                "give if the systems were trained anew on as many: each of them is tested in a "
                "fold that was not trained on them, and the intervals are wider for that. Another "
                "corpus or another language may differ by more."
            )
        else:
            text += (
                "give with the same trained systems; training again, another corpus or another "
                "language may differ by more."
            )
        if crossed := data["groups"].get("crossed"):
            text += (
                f" UAR, accuracy and F1 also allow for others of the "
                f"{data['groups']['count_crossed']} values of {md(crossed)} (two crossed factors); "
                f"NLL, Brier and the tests of differences are over {column} alone."
            )
        if data["groups"]["effective"] < 0.6 * count:
            text += (
                f" Few of them have most of the clips: together they tell as much as "
                f"{data['groups']['effective']:.1f} equal ones would."
            )
    order = "by UAR on test"
    if data["chosen"]:
        order = "what dev chose first, then by dev UAR"
    if data["dev"]:
        order += f". Dev UAR is on the {data['dev']['clips']} dev clips that all members have"
    return f"## Systems\n\n{text} Order: {order}.\n\n{table(header, rows)}\n\n" + (
        f"{_reliability(data)}\n\n{_expected(data)}".strip()
    )


def _reliability(data: Data) -> str:
    keys = [("nll", "NLL"), ("brier", "Brier"), ("ece", "ECE")]
    rows = []
    for name in ordered(data):
        test = data["systems"][name]["test"]
        if "ece" in test:
            noise = f"{test['ece']['noise']:.3f}"
            rows.append([md(name), *(score(test[key]) for key, _ in keys), noise])
    if not rows:
        return ""
    return (
        "How far the probabilities can be believed; lower is better. NLL and Brier are what to "
        "compare. ECE is too high on few clips: *ECE by chance* is what a perfectly calibrated "
        "system would show here.\n\n"
        + table(["system", *(title for _, title in keys), "ECE by chance"], rows)
    )


def _expected(data: Data) -> str:
    """The table of ordered labels, where the task says what they are worth."""
    found = {name: data["systems"][name]["test"].get("ccc") for name in ordered(data)}
    rows = [[md(name), score(value)] for name, value in found.items() if value]
    if not rows:
        return ""
    name = md(data["task"]["name"])
    return (
        f"Expected {name} against label: the task orders its labels, so the mean of their values, "
        "weighted by the probabilities, can be compared with the label's value (CCC, concordance "
        "correlation; 1 is perfect). Labels are coarse, so this is not the CCC of rated "
        f"{name}.\n\n" + table(["system", "CCC"], rows)
    )


def _pairs(data: Data) -> str:
    pairs = data["pairs"]
    if not pairs:
        return ""
    first = data["pairs_of"]
    shown = pairs
    if len(pairs) > MOST_PAIRS:
        best = data["chosen"] or ordered(data)[0]
        shown = [pair for pair in pairs if best in (pair["a"], pair["b"])]
    lines = [f"- {md(pair['sentence'])}" for pair in shown]
    title = f"{md(first)} against each other system" if first else "all pairs of systems"
    column = md(groups_of(data))
    count = pairs[0]["groups"]
    text = [f"## Differences: {title}", ""]
    if count < FEWEST_GROUPS:
        text.append(
            f"No tests: {count} {column} are too few. The differences are those on these clips."
        )
    else:
        how = "all" if pairs[0]["permutation_exact"] else "10,000 random"
        text.append(
            f"Each line: difference in UAR with its interval; p, how often chance alone gives such "
            f"a difference if both systems are equally good; p corrected for the {len(pairs)} "
            f"comparisons made here; in how many {column} which system is better. The test "
            f"exchanges the two systems within whole {column} ({how} exchanges); the correction "
            "is the step-down max-T of Westfall and Young. No p is below that of a t test with one "
            f"more of the {column} who contradicts, since a few of another kind may be missing "
            "here. The interval is for one pair alone, so "
            "it can leave out 0 where the corrected p shows nothing. Two systems are called equal "
            "within 0.02 where the whole interval is."
        )
    text += ["", *lines]
    if len(shown) < len(pairs):
        text += ["", f"{len(pairs) - len(shown)} more pairs are in comparison.json."]
    if count >= FEWEST_GROUPS:
        text += ["", _detectable(pairs, column)]
    return "\n".join(text)


def _detectable(pairs: Sequence[Data], column: str) -> str:
    count = pairs[0]["groups"]
    found = sorted(p["uar_detectable"] for p in pairs if p["uar_detectable"] is not None)
    if found:
        span = f"{found[0]:.3f}" if len(found) == 1 else f"{found[0]:.3f} to {found[-1]:.3f}"
        rest = len(pairs) - len(found)
        also = f" For {rest} pairs, none of any size." if rest else ""
        return (
            f"What this test can find with {count} {column}, by simulation: an improvement in "
            f"UAR by {span} (by pair) in 8 of 10 cases. Smaller ones mostly stay hidden, so "
            f'"no difference can be shown" does not mean that there is none.{also}'
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
    return f"{known} To find a difference in UAR of 0.1 in 8 of 10 cases, {more} would be needed."


def _divisions(data: Data) -> list[str]:
    """Return a section for each column that divides the clips, one for those that do so alike."""
    found: dict[str, tuple[str, list[str]]] = {}
    sections = []
    for column in data["by"]:
        values = data["by"][column]["values"]
        rows = {value: json.dumps(row, sort_keys=True) for value, row in values.items()}
        alike = json.dumps(sorted(rows.values()))
        order = sorted(rows, key=lambda value, rows=rows: (rows[value], value))
        if alike in found and len(set(rows.values())) == len(rows):
            other, theirs = found[alike]
            pairs = [
                f"{md(a)} is {md(b)}" if a != b else md(a)
                for a, b in zip(order, theirs, strict=True)
            ]
            sections.append(
                f"## UAR by {md(column)}\n\nThe same as by {md(other)}, since it divides the test "
                f"clips in the same way: {some(sorted(pairs))}."
            )
            continue
        found.setdefault(alike, (column, order))
        sections.append(_by(data, column))
    return sections


def _by(data: Data, column: str) -> str:
    part = data["by"][column]
    names = ordered(data)[:8]
    rows = []
    for value, row in part["values"].items():
        absent = some([md(label) for label in row["absent"]], 5)
        cells = [score(row["systems"][name]["uar"]) for name in names]
        shown = md(value) + (f" (no {absent})" if absent else "")
        rows.append([shown, str(row["clips"]), str(row["groups"]), *cells])
    macro = [
        score({"value": part["macro"][name]["uar"], "interval": part["macro_interval"][name]})
        for name in names
    ]
    pooled = [score(data["systems"][name]["test"]["uar"]) for name in names]
    rows.append([f"mean over {md(column)}", "", "", *macro])
    rows.append(["all clips pooled", str(data["test"]["clips"]), "", *pooled])
    header = [md(column), "clips", md(groups_of(data)), *map(md, names)]
    best = data["chosen"] or names[0]
    rest = COLUMNS[1:]  # UAR is in the first table
    single = []
    for value, row in part["values"].items():
        own = row["systems"][best]
        single.append([md(value), *(score(own[key]) for key, _ in rest)])
    count = len(part["values"])
    text = "UAR of each row is the mean over the classes that it has."
    if count >= FEWEST_GROUPS:
        text += (
            f" The interval of the mean is over the {count} values of {md(column)}: what another "
            f"{md(column)} would give. The pooled one is over {md(groups_of(data))}: what others "
            f"of these values of {md(column)} would give."
        )
    else:
        text += (
            f" {count} values of {md(column)} are too few to say what another one would give: the "
            f"intervals are over {md(groups_of(data))}."
        )
    warned: dict[str, list[str]] = {}
    for value, row in part["values"].items():
        for warning in row["warnings"]:
            warned.setdefault(warning, []).append(md(value))
    notes = [f"- {some(values)}: {md(warning)}" for warning, values in warned.items()]
    return (
        f"## UAR by {md(column)}\n\n{text}\n\n{table(header, rows)}"
        + ("\n\n" + "\n".join(notes) if notes else "")
        + f"\n\nOther measures of {md(best)}:\n\n"
        + table([md(column), *(title for _, title in rest)], single)
        + report_more.gaps(part, md(column), md(groups_of(data)))
    )
