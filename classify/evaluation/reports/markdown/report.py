"""A comparison as text: a table for the terminal, and the sections of the report.

Both are made from `Comparison.data` alone and hold no other number.
"""

from __future__ import annotations

from .....cache.commands.terminal import aligned
from .....cache.errors import counted
from ....data.escape import md
from ....metrics.scored_clips import NO_SPEAKERS
from ...scores.verdicts import one_answer
from ..sections import Data, Section, Table
from .analysis_sections import analyses
from .choice_on_dev import headline, how_chosen, why_chosen
from .clips_and_training import layers_section
from .column_tables import column_sections, each_group
from .difference_sections import how_tested, label_differences
from .label_sections import classes, confusion, some
from .markdown_tables import score
from .provenance import how_made, this_report, times_section
from .system_order import (
    COLUMNS,
    best_of,
    brackets,
    chance,
    columns,
    groups_of,
    has_intervals,
    on_dev,
    order_of,
    ordered,
    shown,
    warnings_of,
)


def text_table(data: Data) -> str:
    """Return the main table as plain text, with intervals; * marks what dev chose."""
    measures, several = columns(data), len(data["systems"]) > 1
    rows = [["system", *(title for _, title in measures)]]
    for name in ordered(data):
        mark = " *" if several and name == data["chosen"] else ""
        test = data["systems"][name]["test"]
        rows.append([name + mark, *(score(test[key]) for key, _ in measures)])
    lines = aligned(rows)
    count = data["groups"]["count"]
    level = f"; {100 * data['settings']['level']:g} %"
    which = level if has_intervals(data) else ": too few for"
    single = count == data["test"]["clips"]
    groups = "taken as independent" if single else f"{count} {groups_of(data)}"
    groups = "speakers unknown" if NO_SPEAKERS in data["warnings"] else groups
    foot = [f"{counted(data['test']['clips'], 'test clip')}, {groups}{which} intervals"]
    if data.get("measure") == "ccc" and len(data["task"]["labels"]) > 1:
        foot.append(f"means of {some(data['task']['labels'])}; the report has each")
    if data["chosen"]:
        foot += [f"* chosen on dev; the others by dev {measures[0][1]}"] * several
        if why := why_chosen(data):
            foot.append(f"{data['chosen']}: {why}")
        foot += [_chosen_line(data), *one_answer(data, data["chosen"])]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *foot])


def _chosen_line(data: Data) -> str:
    """Return what the chosen system scores on dev and on test, and what chance would."""
    name, (measure, title) = data["chosen"], columns(data)[0]
    dev, test = data["systems"][name]["dev"][measure], data["systems"][name]["test"][measure]
    at = f"{dev:.3f} on dev, {test['value']:.3f} on test"
    return f"{name}: {title} {at}; chance is {chance(data):.3f}"


def label_report(data: Data) -> list[Section]:
    """Return the whole report."""
    best, by = best_of(data), column_sections(data)
    return [
        Section(f"Comparison: {data['task']['name']}", [headline(data)]),
        _leaderboard(data),
        *label_differences(data),
        *by[:1],
        *warnings_of(data),
        this_report(data),
        _choice(data),
        _measures(data),
        *how_tested(data),
        *each_group(data),
        *by[1:],
        classes(data, best),
        confusion(data, best),
        *analyses(data, best),
        *layers_section(data),
        *times_section(data),
        how_made(data),
    ]


def _choice(data: Data) -> Section:
    """Return how the system was chosen, how often test was looked at, and what test is."""
    test = data["test"]
    labels = [f"{md(label)} {n}" for label, n in test["labels"].items()]
    parts = [*how_chosen(data), f"Test labels: {some(labels)}."]
    if test["left_out"]:
        out = [f"{md(label or '(blank)')} {n}" for label, n in test["left_out"].items()]
        parts.append(f"Left out by the task: {some(out)}.")
    title = "How the choice was made" if data["chosen"] else "The test clips"
    return Section(title, parts)


def _leaderboard(data: Data) -> Section:
    """Return what dev chose and the others, by the measure of the choice and by accuracy."""
    keys = ("uar", "uar_present", "accuracy") if data["test"]["absent"] else ("uar", "accuracy")
    titles = {"uar": "UAR", "uar_present": "UAR of classes present", "accuracy": "accuracy"}
    rows = []
    for name in ordered(data):
        test = data["systems"][name]["test"]
        dev = [on_dev(data, name)] if data["dev"] else []
        rows.append([shown(data, name), *dev, *(score(test[key]) for key in keys)])
    header = ["system", *(["dev UAR"] if data["dev"] else []), *(titles[key] for key in keys)]
    level = f"{100 * data['settings']['level']:g} % intervals"
    over = f"In brackets: {level} over {data['groups']['count']} {md(groups_of(data))}."
    text = (
        "UAR is the mean share of each label that was found, accuracy the share of all clips. "
        f"{over if has_intervals(data) else brackets(data)}{order_of(data)}"
    )
    if data["test"]["absent"]:
        absent = some([md(label) for label in data["test"]["absent"]])
        text += f" Absent from test, counted as 0 in every mean: {absent}."
    return Section("Systems", [text, Table(header, rows)])


def _measures(data: Data) -> Section:
    rows, present = [], ["uar_present"] * bool(data["test"]["absent"])
    for name in ordered(data):
        test = data["systems"][name]["test"]
        row = [shown(data, name), *(score(test[key]) for key, _ in COLUMNS), on_dev(data, name)]
        rows.append(row + [score(test[key]) for key in present])
    header = ["system", *(title for _, title in COLUMNS), "dev UAR"]
    header += ["UAR of classes present" for _ in present]
    text, count, column = brackets(data), data["groups"]["count"], md(groups_of(data))
    if has_intervals(data):
        if crossed := data["groups"].get("crossed"):
            text += (
                " UAR, accuracy and F1 also allow for others of the "
                f"{data['groups']['count_crossed']} values of {md(crossed)} (two crossed factors); "
                f"NLL, Brier and the tests of differences are over {column} alone."
            )
        if data["groups"]["effective"] < 0.6 * count:
            text += (
                f" The {column} count unequally, since some have more clips or rarer labels: "
                f"together they tell as much as {data['groups']['effective']:.1f} that count "
                "equally would."
            )
    text += order_of(data)
    if data["dev"]:
        text += f" Dev UAR is on the {data['dev']['clips']} dev clips that all members have."
    meant = (
        "F1 combines precision and recall of a label: macro F1 is its mean over labels, weighted "
        "F1 that weighted by clips."
    )
    blocks = [f"{meant} {text}", Table(header, rows), *_reliability(data), *_expected(data)]
    return Section("Every measure", blocks, "reliability")


def _reliability(data: Data) -> list[str | Table]:
    keys = [("nll", "NLL"), ("brier", "Brier"), ("ece", "ECE")]
    rows = []
    for name in ordered(data):
        test = data["systems"][name]["test"]
        if "ece" in test:
            noise = f"{test['ece']['noise']:.3f}"
            rows.append([md(name), *(score(test[key]) for key, _ in keys), noise])
    text = (
        "How far the probabilities can be trusted; lower is better. NLL (minus the logarithm of "
        "the true label's probability) and Brier (squared distance from the true label) are the "
        "measures to compare. ECE (mean gap between probability and share right) is too high on "
        "few clips: "
        "*ECE by chance* is what a perfectly calibrated system would show here if its errors were "
        "independent; where speakers differ it would show more."
    )
    header = ["system", *(title for _, title in keys), "ECE by chance"]
    return [text, Table(header, rows)] if rows else []


def _expected(data: Data) -> list[str | Table]:
    """The table of ordered labels, where the task gives their values."""
    found = {name: data["systems"][name]["test"].get("ccc") for name in ordered(data)}
    rows = [[md(name), score(value)] for name, value in found.items() if value]
    name = md(data["task"]["name"])
    text = (
        f"Expected {name} against label: the task orders its labels, so the mean of their values, "
        "weighted by the probabilities, can be compared with the label's value (CCC, concordance "
        "correlation; 1 is perfect). Labels are coarse, so this is not the CCC of rated "
        f"{name}."
    )
    return [text, Table(["system", "CCC"], rows)] if rows else []
