"""Tables by a column: UAR by language or data set, the gaps between its values, each speaker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .....cache.errors import counted
from ....data.escape import md
from ....metrics.bootstrap import FEWEST_GROUPS
from ...scores.verdicts import p_text
from ..sections import Data, Section, Table
from .label_sections import some
from .markdown_tables import score
from .system_order import COLUMNS, best_of, columns, groups_of, ordered

MOST_SYSTEMS = 8  # of a table by a column
MOST_GROUPS = 15
MOST_DIFFERENCES = 30


def column_sections(
    data: Data, section_of: Callable[[Data, str], Section] | None = None
) -> list[Section]:
    """Return a section for each column that divides the clips, one for those that do so alike."""
    section_of, measure = section_of or _by, columns(data)[0][1]
    sections = []
    for column in data["by"]:
        other = divides_like(data, column)
        if other is None:
            sections.append(section_of(data, column))
            continue
        mine, theirs = (_rows_by_value(data, name) for name in (column, other))
        names = {row: value for value, row in theirs.items()}
        pairs = [(value, names[row]) for value, row in mine.items()]
        shown = sorted(f"{md(a)} is {md(b)}" if a != b else md(a) for a, b in pairs)
        text = (
            f"The same as by {md(other)}, since it divides the test clips in the same way: "
            f"{some(shown)}."
        )
        sections.append(Section(f"{measure} by {column}", [text], column=column))
    return sections


def _by(data: Data, column: str) -> Section:
    part, best, groups = data["by"][column], best_of(data), md(groups_of(data))
    rest = COLUMNS[1:]  # UAR is in the first table
    single = []
    for value, row in part["values"].items():
        own = row["systems"][best]
        single.append([md(value), *(score(own[key]) for key, _ in rest)])
    count = len(part["values"])
    text = "The UAR of a value is the mean over the classes that occur in it."
    present = {
        value: len(data["task"]["labels"]) - len(row.get("absent", ()))
        for value, row in part["values"].items()
    }
    if len(set(present.values())) > 1 and len(present) <= MOST_GROUPS:
        shown = ", ".join(f"{md(value)} {1 / of:.3f}" for value, of in present.items())
        text += f" Chance is one divided by their number: {shown}."
    if count >= FEWEST_GROUPS:
        text += (
            f" The mean has an interval over the {count} values of {md(column)} (where the mean "
            f"over many more such values would be; that of a single one often lies outside), the "
            f"pooled score one over {groups} (what other {groups} would give)."
        )
    else:
        text += (
            f" {count} values of {md(column)} are too few to say what others would give: the "
            f"intervals are over {groups}."
        )
    others = [
        f"Other measures of {md(best)}:",
        Table([md(column), *(title for _, title in rest)], single),
    ]
    blocks = [text, *table_of(data, column), *others, *differences_within(data, column)]
    blocks += _gaps(part, md(column), groups)
    return Section(f"UAR by {column}", blocks, "by", column)


def _rows_by_value(data: Data, column: str) -> dict[str, str]:
    """Return the values of a column, each with its counts and scores as one text."""
    values = data["by"][column]["values"]
    return {value: json.dumps(row, sort_keys=True) for value, row in values.items()}


def divides_like(data: Data, column: str) -> str | None:
    """Return the first column that divides the test clips as a later one does, if there is one."""
    rows = sorted(_rows_by_value(data, column).values())
    if len(set(rows)) < len(rows):
        return None  # which value is which is not known
    alike = (name for name in data["by"] if sorted(_rows_by_value(data, name).values()) == rows)
    return first if (first := next(alike)) != column else None


def row_name(value: str, row: Mapping[str, Any], escape: Callable[[str], str] = md) -> str:
    """Return a value of a column, with the labels that it lacks: its UAR is over the others."""
    absent = some([escape(label) for label in row.get("absent", ())], 5)
    return escape(value) + (f" (no {absent})" if absent else "")


def table_of(data: Data, column: str) -> tuple[Table, list[str]]:
    """Return the table by a column, in the measure that dev chose by, and warnings below it.

    A row is a value of the column; a system, where there are too many for columns and few values.
    """
    part, names = data["by"][column], ordered(data)
    across = systems_in_rows(data, column, MOST_SYSTEMS)
    names = names if across else names[:MOST_SYSTEMS]
    lead = columns(data)[0][0]
    rows = []
    warned: dict[str, list[str]] = {}
    for value, row in part["values"].items():
        cells = [score(row["systems"][name][lead]) for name in names]
        rows.append([row_name(value, row), str(row["clips"]), str(row["groups"]), *cells])
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
    if across:
        header, *rows = [list(cells) for cells in zip(header, *rows, strict=True)]
    notes = [f"{some(values)}: {md(warning)}" for warning, values in warned.items()]
    if rest := len(data["systems"]) - len(names):
        notes.append(f"{counted(rest, 'more system')} in comparison.json")
    return Table(header, rows), notes


def differences_within(data: Data, column: str) -> list[str | Table]:
    """Return the differences between systems within each value of a column, where any is tested."""
    values, first = data["by"][column]["values"], data["pairs_of"]
    found = [(value, one) for value, row in values.items() for one in row.get("differences", ())]
    if not found:
        return []
    which = f"{md(first)} less each other system" if first else "the first system less the other"
    text = f"Differences in {columns(data)[0][1]} within each {md(column)}: {which}."
    if len(found) > 1:
        text += f" p corrected allows for the {len(found)} tests."
    if few := [md(value) for value, row in values.items() if not row.get("differences")]:
        text += f" Not tested, with fewer than {FEWEST_GROUPS} {md(groups_of(data))}: {some(few)}."
    if len(found) > MOST_DIFFERENCES:
        by_p = sorted(found, key=lambda row: (row[1]["p_corrected"], row[1]["p"]))
        found = by_p[:MOST_DIFFERENCES]
        text += f" The {MOST_DIFFERENCES} with the smallest p:"
    rows = []
    for value, one in found:
        low, high = one["interval"]
        rows.append(
            [
                md(value),
                *([] if first else [md(one["a"])]),
                md(one["b"]),
                f"{one['value']:+.3f} [{low:+.3f}, {high:+.3f}]",
                p_text(one["p"]),
                p_text(one["p_corrected"]),
            ]
        )
    header = [md(column), *([] if first else ["first"]), "other", "difference", "p", "p corrected"]
    return [text, Table(header, rows, left=len(header) - 3)]


def systems_in_rows(data: Data, column: str, most: int) -> bool:
    """Whether a table by a column has a row for each system: more than `most`, and few values."""
    return len(data["systems"]) > most >= len(data["by"][column]["values"])


def each_group(data: Data) -> list[Section]:
    """Return the groups one by one: all systems where they are few, else the worst of the first."""
    values = data["groups"]["values"]
    if len(values) < 2:
        return []
    few = len(values) < FEWEST_GROUPS
    names = ordered(data)[: 8 if few else 1]
    best = names[0]
    text, intro = "UAR over the classes that each has, in place of intervals.", ""
    if not few:
        values = sorted(values, key=lambda row: (row["uar"][best], row["group"]))
        uar = [row["uar"][best] for row in values]
        text = (
            f"UAR of {md(best)} over the classes that each has: lowest {uar[0]:.3f} "
            f"({md(values[0]['group'])}), median {float(np.median(uar)):.3f}, highest "
            f"{uar[-1]:.3f}. With few clips each, much of the difference is chance."
        )
        if len(values) > MOST_GROUPS:
            intro = f"The lowest {MOST_GROUPS} of {len(values)}:"
    rows = [
        [md(row["group"]), str(row["clips"]), *(f"{row['uar'][name]:.3f}" for name in names)]
        for row in values[:MOST_GROUPS]
    ]
    column = data["groups"]["column"] or "clip"
    shown = Table([md(column), "clips", *map(md, names)], rows, intro=intro)
    return [Section(f"Each {column}", [text, shown], "each")]


def _gaps(part: Data, column: str, groups: str) -> list[str | Table]:
    """Return the gap between each value of a column and all others, with interval and test.

    Parameters
    ----------
    part
        What `Comparison.data` holds by that column.
    column, groups
        Its name, and what to call the groups, for Markdown.
    """
    found = part.get("gaps") or ()
    rows = []
    for row in found:
        if row["difference"] is None:
            continue
        gap = f"{row['difference']:+.3f}"
        low, high = row["interval"]
        tested = row["p"] is not None
        rows.append(
            [
                md(row["value"] or "(blank)"),
                f"{row['uar']:.3f}",
                f"{row['uar_rest']:.3f}",
                f"{gap} [{low:.3f}, {high:.3f}]" if tested else gap,
                p_text(row["p"]) if tested else "-",
                p_text(row["p_corrected"]) if tested else "-",
            ]
        )
    if not rows:
        return []
    tests = sum(row["p"] is not None for row in found)
    text = (
        f"Gaps of {md(part['gaps_of'])}: UAR on one value of {column} less that on all other "
        "clips, over the classes that both have"
        + f"; p corrected allows for the {tests} tests, and is never below p" * (tests > 1)
        + ". "
        + f"Intervals say what other {groups} of the same kinds would give. " * (tests > 0)
        + f"An interval and a test need {FEWEST_GROUPS} {groups} of every class on each side."
    )
    return [text, Table([column, "UAR", "others", "gap", "p", "p corrected"], rows)]
