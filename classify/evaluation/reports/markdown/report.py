"""Write a comparison as text: a table for the terminal and a Markdown report.

Both are made from `Comparison.data` alone and hold no other number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ....metrics.scored_clips import NO_SPEAKERS
from . import optional_sections as report_more
from .label_sections import classes, confusion, some
from .made_sections import this_report, times_section
from .markdown_tables import aligned, score, table
from .run_sections import layers_section, test_uses
from .shared_sections import (
    COLUMNS,
    brackets,
    columns,
    differences,
    divides_like,
    groups_of,
    headline,
    how_chosen,
    ordered,
    rows_by_value,
    table_of,
    warnings_of,
    why_chosen,
)

Data = Mapping[str, Any]
MOST_PAIRS = 45


def text_table(data: Data) -> str:
    """Return the main table as plain text, with intervals; * marks what dev chose."""
    shown = columns(data)
    rows = [["system", *(title for _, title in shown)]]
    for name in ordered(data):
        mark = " *" if name == data["chosen"] else ""
        test = data["systems"][name]["test"]
        rows.append([name + mark, *(score(test[key]) for key, _ in shown)])
    lines = aligned(rows)
    count = data["groups"]["count"]
    few = count < FEWEST_GROUPS
    which = ": too few for" if few else f"; {100 * data['settings']['level']:g} %"
    single = count == data["test"]["clips"]
    groups = "taken as independent" if single else f"{count} {groups_of(data)}"
    groups = "speakers unknown" if NO_SPEAKERS in data["warnings"] else groups
    foot = [f"{data['test']['clips']} test clips, {groups}{which} intervals"]
    if data["chosen"]:
        foot.append(f"* chosen on dev; the others by dev {shown[0][1]}")
        if why := why_chosen(data):
            foot.append(f"{data['chosen']}: {why}")
        foot.append(_chosen_line(data))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *foot])


def _chosen_line(data: Data) -> str:
    """Return what the chosen system scores on dev and on test, and what chance would."""
    name, measure = data["chosen"], data.get("measure", "uar")
    scores = data["systems"][name]
    dev, test = scores["dev"][measure], scores["test"][measure]["value"]
    chance = 0.0 if measure == "ccc" else 1 / len(data["task"]["labels"])
    return f"{name}: {measure.upper()} {dev:.3f} on dev, {test:.3f} on test; chance is {chance:.3f}"


def markdown(data: Data) -> str:
    """Return the whole report as Markdown."""
    best, divisions = data["chosen"] or ordered(data)[0], _divisions(data)
    sections = [
        _head(data),
        _leaderboard(data),
        _pairs(data),
        *divisions[:1],
        warnings_of(data),
        this_report(data),
        _choice(data),
        _measures(data),
        _tests(data),
        report_more.each_group(data, ordered(data)),
        *divisions[1:],
        classes(data, best),
        confusion(data, best),
        *report_more.sections(data, best),
        layers_section(data),
        times_section(data),
        report_more.how_made(data),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(data: Data) -> str:
    return f"# Comparison: {md(data['task']['name'])}\n\n{headline(data)}"


def _choice(data: Data) -> str:
    """Return how the system was chosen, how often test was looked at, and what test is."""
    test = data["test"]
    labels = [f"{md(label)} {n}" for label, n in test["labels"].items()]
    parts = [how_chosen(data)] if data["chosen"] else []
    if uses := data.get("test_uses"):
        parts.append(test_uses(uses))
    parts.append(f"Test labels: {some(labels)}.")
    if test["left_out"]:
        out = [f"{md(label or '(blank)')} {n}" for label, n in test["left_out"].items()]
        parts.append(f"Left out by the task: {some(out)}.")
    title = "How the choice was made" if data["chosen"] else "The test clips"
    return f"## {title}\n\n" + "\n\n".join(parts)


def _leaderboard(data: Data) -> str:
    """Return what dev chose and the others, by the measure of the choice and by accuracy."""
    keys = ("uar", "uar_present", "accuracy") if data["test"]["absent"] else ("uar", "accuracy")
    titles = {"uar": "UAR", "uar_present": "UAR of classes present", "accuracy": "accuracy"}
    rows = []
    for name in ordered(data):
        system = data["systems"][name]
        shown = f"**{md(name)}**" if name == data["chosen"] else md(name)
        dev = [f"{system['dev']['uar']:.3f}" if system["dev"] else "-"] if data["dev"] else []
        rows.append([shown, *dev, *(score(system["test"][key]) for key in keys)])
    header = ["system", *(["dev UAR"] if data["dev"] else []), *(titles[key] for key in keys)]
    count = data["groups"]["count"]
    few = count < FEWEST_GROUPS
    level = f"{100 * data['settings']['level']:g} % intervals over {count} {md(groups_of(data))}"
    text = (
        "UAR is the mean share of each label that was found, accuracy the share of all clips. "
        + (brackets(data) if few else f"In brackets: {level}.")
        + (" Order: what dev chose, then by dev UAR." if data["chosen"] else " Order: by UAR.")
    )
    if data["test"]["absent"]:
        absent = some([md(label) for label in data["test"]["absent"]])
        text += f" Absent from test, counted as 0 in every mean: {absent}."
    return f"## Systems\n\n{text}\n\n{table(header, rows)}"


def _measures(data: Data) -> str:
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
    text, count, column = brackets(data), data["groups"]["count"], md(groups_of(data))
    if count >= FEWEST_GROUPS:
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
    meant = (
        "F1 joins precision and recall of a label: macro F1 is its mean over labels, weighted F1 "
        "that weighted by clips."
    )
    return f"## Every measure\n\n{meant} {text} Order: {order}.\n\n{table(header, rows)}\n\n" + (
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
        "How far the probabilities can be believed; lower is better. NLL (minus the logarithm of "
        "the true label's probability) and Brier (squared distance from the true label) are what "
        "to compare. ECE (mean gap between probability and share right) is too high on few clips: "
        "*ECE by chance* is what a perfectly calibrated system would show here.\n\n"
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
    shown = pairs
    if len(pairs) > MOST_PAIRS:
        best = data["chosen"] or ordered(data)[0]
        shown = [pair for pair in pairs if best in (pair["a"], pair["b"])]
    explained = (
        "Each line: the difference in UAR with its interval; p, how often chance alone gives such "
        "a difference between equal systems; p corrected for the number of comparisons; in how "
        f"many {md(groups_of(data))} which system is better."
    )
    text = differences(data, explained, shown)
    if len(shown) < len(pairs):
        text += ["", f"{len(pairs) - len(shown)} more pairs are in comparison.json."]
    return "\n".join(text)


def _tests(data: Data) -> str:
    """Return how the differences were tested, and what the test can find."""
    pairs, column = data["pairs"], md(groups_of(data))
    if not pairs or pairs[0]["groups"] < FEWEST_GROUPS:
        return ""
    how = "all" if pairs[0]["permutation_exact"] else "10,000 random"
    made = f"{len(pairs)} comparisons" if len(pairs) > 1 else "one comparison"
    return (
        f"## How differences were tested\n\nThe test exchanges the two systems within whole "
        f"{column} ({how} exchanges); the correction for the {made} made here is the step-down "
        f"max-T of Westfall and Young. No p is below that of a t test with one more of the "
        f"{column} who contradicts, since a few of another kind may be missing here. The interval "
        f"is for one pair alone and supposes that the {column} are as good as normally "
        "distributed, so it can leave out 0 where the test shows nothing. Two systems are called "
        f"equal within 0.02 where the whole interval is.\n\n{_detectable(pairs, column)}"
    )


def _detectable(pairs: Sequence[Data], column: str) -> str:
    count = pairs[0]["groups"]
    found = sorted(p["uar_detectable"] for p in pairs if p["uar_detectable"] is not None)
    if found:
        span = f"{found[0]:.3f}" if len(found) == 1 else f"{found[0]:.3f} to {found[-1]:.3f}"
        rest = len(pairs) - len(found)
        also = f" For {rest} pairs, none of any size." if rest else ""
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


def _divisions(data: Data) -> list[str]:
    """Return a section for each column that divides the clips, one for those that do so alike."""
    sections = []
    for column in data["by"]:
        other = divides_like(data, column)
        if other is None:
            sections.append(_by(data, column))
            continue
        mine, theirs = (rows_by_value(data, name) for name in (column, other))
        names = {row: value for value, row in theirs.items()}
        pairs = [(value, names[row]) for value, row in mine.items()]
        shown = sorted(f"{md(a)} is {md(b)}" if a != b else md(a) for a, b in pairs)
        sections.append(
            f"## UAR by {md(column)}\n\nThe same as by {md(other)}, since it divides the test "
            f"clips in the same way: {some(shown)}."
        )
    return sections


def _by(data: Data, column: str) -> str:
    part, best = data["by"][column], data["chosen"] or ordered(data)[0]
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
    main, notes = table_of(data, column)
    return (
        f"## UAR by {md(column)}\n\n{text}\n\n{main}{notes}"
        f"\n\nOther measures of {md(best)}:\n\n"
        + table([md(column), *(title for _, title in rest)], single)
        + report_more.gaps(part, md(column), md(groups_of(data)))
    )
