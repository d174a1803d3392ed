"""Write a comparison as text: a table for the terminal and a Markdown report.

Both are made from `Comparison.data` alone and hold no other number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import report_more
from .escape import md
from .markdown import score, table

Data = Mapping[str, Any]
COLUMNS = (
    ("uar", "UAR"),
    ("accuracy", "accuracy"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
)
MOST_PAIRS = 45


def ordered(data: Data) -> list[str]:
    """Return the systems, highest UAR first; equal ones by name."""
    systems = data["systems"]
    return sorted(systems, key=lambda name: (-systems[name]["test"]["uar"]["value"], name))


def text_table(data: Data) -> str:
    """Return the main table as plain text, with intervals; * marks what dev chose."""
    rows = [["system", *(title for _, title in COLUMNS)]]
    for name in ordered(data):
        mark = " *" if name == data["chosen"] else ""
        test = data["systems"][name]["test"]
        rows.append([name + mark, *(score(test[key]) for key, _ in COLUMNS)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    foot = [
        f"{data['test']['clips']} test clips, {data['groups']['count']} {_groups(data)}; "
        f"{100 * data['settings']['level']:g} % intervals"
    ]
    if data["chosen"]:
        foot.append("* chosen on dev")
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *foot])


def markdown(data: Data) -> str:
    """Return the whole report as Markdown."""
    sections = [
        _head(data),
        _warnings(data),
        _main(data),
        _pairs(data),
        *(_by(data, column) for column in data["by"]),
        _classes(data),
        _confusion(data),
        *report_more.sections(data, data["chosen"] or ordered(data)[0]),
        _setting(data),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _groups(data: Data) -> str:
    column = data["groups"]["column"]
    single = column is None or data["groups"]["count"] == data["test"]["clips"]
    return "single clips" if single else f"groups by {column}"


def _head(data: Data) -> str:
    test = data["test"]
    lines = [f"# Comparison: {md(data['task']['name'])}", ""]
    if data["chosen"]:
        chosen = data["systems"][data["chosen"]]
        lines.append(
            f"Chosen on dev: **{md(data['chosen'])}** (dev UAR {chosen['dev']['uar']:.3f}). On "
            f"test its UAR is **{score(chosen['test']['uar'])}**, on {test['clips']} clips; chance "
            f"is {1 / len(data['task']['labels']):.3f}."
        )
    else:
        lines.append(
            f"{len(data['systems'])} systems on {test['clips']} test clips. There was no dev, so "
            "nothing was chosen: the best of the table below is best on these clips only."
        )
    labels = ", ".join(f"{md(label)} {n}" for label, n in test["labels"].items())
    lines.append(f"\nTest labels: {labels}.")
    if test["absent"]:
        lines.append(
            f"Absent from test, counted as 0 in every mean: {', '.join(map(md, test['absent']))}."
        )
    if test["left_out"]:
        out = ", ".join(f"{md(label or '(blank)')} {n}" for label, n in test["left_out"].items())
        lines.append(f"Left out by the task: {out}.")
    return "\n".join(lines)


def _warnings(data: Data) -> str:
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
    text = (
        f"## Systems\n\n{percent} % intervals from {data['settings']['n_resamples']} resamples of "
        f"{data['groups']['count']} {md(_groups(data))}."
    )
    return f"{text}\n\n{table(header, rows)}\n\n{_reliability(data)}".rstrip()


def _reliability(data: Data) -> str:
    keys = [("nll", "NLL"), ("brier", "Brier"), ("ece", "ECE"), ("ccc", "CCC")]
    there = [
        (key, title)
        for key, title in keys
        if any(key in system["test"] for system in data["systems"].values())
    ]
    if not there:
        return ""
    rows = [
        [md(name), *(score(data["systems"][name]["test"].get(key)) for key, _ in there)]
        for name in ordered(data)
    ]
    return (
        "How far the probabilities can be believed (NLL, Brier, ECE: lower is better):\n\n"
        + table(["system", *(title for _, title in there)], rows)
    )


def _pairs(data: Data) -> str:
    pairs = data["pairs"]
    if not pairs:
        return ""
    first = data["chosen"] or ordered(data)[0]
    shown = pairs
    if len(pairs) > MOST_PAIRS:
        shown = [pair for pair in pairs if first in (pair["a"], pair["b"])]
    lines = [f"- {md(pair['sentence'])}" for pair in shown]
    mine = [pair["uar_detectable"] for pair in pairs if first in (pair["a"], pair["b"])]
    mine = sorted(value for value in mine if value is not None)
    text = [
        "## Differences",
        "",
        "Clips right: the larger p of McNemar's exact test on clips and of exchanging whole "
        f"{md(_groups(data))}. UAR: exchanging whole {md(_groups(data))}. Each after Holm's "
        f"correction over {len(pairs)} pairs.",
        "",
        *lines,
    ]
    if len(shown) < len(pairs):
        text += ["", f"{len(pairs) - len(shown)} more pairs are in comparison.json."]
    if mine:
        text += [
            "",
            f"Between {md(first)} and the others this test set finds a difference in UAR of "
            f"{mine[0]:.3f} to {mine[-1]:.3f} in 8 of 10 cases; smaller ones stay hidden.",
        ]
    return "\n".join(text)


def _by(data: Data, column: str) -> str:
    part = data["by"][column]
    names = ordered(data)[:8]
    rows = []
    for value, row in part["values"].items():
        shown = md(value) + (f" (no {', '.join(map(md, row['absent']))})" if row["absent"] else "")
        cells = [score(row["systems"][name]["uar"]) for name in names]
        rows.append([shown, str(row["clips"]), str(row["groups"]), *cells])
    macro = [f"{part['macro'][name]['uar']:.3f}" for name in names]
    pooled = [f"{data['systems'][name]['test']['uar']['value']:.3f}" for name in names]
    rows.append([f"mean over {md(column)}", "", "", *macro])
    rows.append(["all clips pooled", str(data["test"]["clips"]), "", *pooled])
    header = [md(column), "clips", "groups", *map(md, names)]
    best = data["chosen"] or names[0]
    single = []
    for value, row in part["values"].items():
        own = row["systems"][best]
        single.append([md(value), str(row["clips"]), *(score(own[key]) for key, _ in COLUMNS)])
    return f"## UAR by {md(column)}\n\n{table(header, rows)}\n\n{md(best)} in full:\n\n" + table(
        [md(column), "clips", *(title for _, title in COLUMNS)], single
    )


def _classes(data: Data) -> str:
    name = data["chosen"] or ordered(data)[0]
    rows = []
    for label, row in data["systems"][name]["test"]["classes"].items():
        recall = score({"value": row["recall"], "interval": row["recall_interval"]})
        rows.append(
            [md(label), f"{row['precision']:.3f}", recall, f"{row['f1']:.3f}", str(row["support"])]
        )
    return f"## Classes of {md(name)}\n\n" + table(
        ["label", "precision", "recall", "F1", "clips"], rows
    )


def _confusion(data: Data) -> str:
    name = data["chosen"] or ordered(data)[0]
    labels = data["task"]["labels"]
    matrix = data["systems"][name]["test"]["confusion"]
    rows = [[md(label), *(str(n) for n in row)] for label, row in zip(labels, matrix, strict=True)]
    return f"## Confusion of {md(name)}\n\nRows are true, columns predicted.\n\n" + table(
        ["", *map(md, labels)], rows
    )


def _setting(data: Data) -> str:
    setting = data["settings"]
    lines = [
        "## How it was made",
        "",
        f"- task {md(data['task']['name'])}, version {data['task']['version']}, "
        f"hash `{data['task']['hash'][:16]}`, labels " + ", ".join(map(md, data["task"]["labels"])),
        f"- test clips `{data['test']['manifest'][:16]}`",
        f"- ties go to {setting['ties']}; seed {setting['random_state']}",
    ]
    for split in data["splits"][:20]:
        name = f" {md(split['name'])}" if split["name"] else ""
        lines.append(f"- split {md(split['scheme'])}{name}, hash `{split['hash'][:16]}`")
    if setting["calibrate"]:
        lines.append(
            f"- members calibrated on dev before they were combined: {setting['calibrate']}"
        )
    return "\n".join(lines)
