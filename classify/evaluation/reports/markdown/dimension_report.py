"""Write a comparison of systems that predict numbers as Markdown.

It is made from `Comparison.data` alone and holds no other number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....data.escape import md
from .analysis_sections import transfer_section
from .choice_on_dev import headline, how_chosen, test_uses
from .column_tables import table_of
from .difference_sections import number_differences
from .markdown_tables import score, table
from .provenance import how_made, this_report, times_section
from .system_order import brackets, order_of, ordered, warnings_of

Data = Mapping[str, Any]
MOST_ROWS = 20


def numbers_markdown(data: Data) -> str:
    """Return the whole report as Markdown."""
    sections = [
        _head(data),
        warnings_of(data),
        _systems(data),
        _dimensions(data),
        _each_group(data),
        number_differences(data),
        *(_by(data, column) for column in data["by"]),
        transfer_section(data["transfer"]) if data.get("transfer") else "",
        this_report(data),
        times_section(data),
        how_made(data),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(data: Data) -> str:
    test = data["test"]
    lines = [f"# Comparison: {md(data['task']['name'])}", "", headline(data)]
    if data["chosen"]:
        lines += ["", how_chosen(data)]
    if uses := data.get("test_uses"):
        lines += ["", test_uses(uses)]
    rows = []
    for name, one in data["task"]["dimensions"].items():
        rated, (low, high) = test["dimensions"][name], one["range"]
        about = [f"{rated[key]:.2f}" if rated[key] is not None else "-" for key in ("mean", "sd")]
        rows.append([md(name), f"{low:g} to {high:g}", str(rated["clips"]), *about])
    lines += ["", "Ratings of test:", ""]
    lines.append(table(["dimension", "scale", "clips", "mean", "sd"], rows))
    if test["left_out"]:
        lines += ["", f"Left out, not rated: {sum(test['left_out'].values())} clips."]
    return "\n".join(lines)


def _systems(data: Data) -> str:
    names = list(data["task"]["labels"])
    several = len(names) > 1
    rows = []
    for name in ordered(data):
        test, dev = (data["systems"][name][part] for part in ("test", "dev"))
        shown = f"**{md(name)}**" if name == data["chosen"] else md(name)
        each = [score(test["dimensions"][one]["ccc"]) for one in names] if several else []
        on_dev = "-" if dev is None or dev["ccc"] is None else f"{dev['ccc']:.3f}"
        rows.append([shown, score(test["ccc"]), *each, on_dev])
    first = "mean CCC" if several else f"CCC of {md(names[0])}"
    header = ["system", first, *(f"CCC of {md(one)}" for one in names if several), "dev CCC"]
    return (
        "## Systems\n\nCCC, the concordance correlation (Lin, 1989), is 1 if the predictions "
        "equal the ratings, and lower if they are shifted, too narrow, too wide or less "
        f"correlated. {brackets(data)}{order_of(data)}\n\n{table(header, rows)}"
    )


def _dimensions(data: Data) -> str:
    rows = []
    for dimension in data["task"]["labels"]:
        for name in ordered(data):
            one = data["systems"][name]["test"]["dimensions"][dimension]
            bias = "-" if one["bias"] is None else f"{one['bias']:+.3f}"
            spread = "-" if one["spread"] is None else f"{one['spread']:.2f}"
            cells = [score(one[key]) for key in ("ccc", "pearson", "error")]
            rows.append([md(dimension), md(name), *cells, bias, spread])
    header = ["dimension", "system", "CCC", "Pearson r", "mean absolute error", "bias", "spread"]
    return (
        "## Each dimension\n\nErrors and bias are on the scale of the ratings. Bias is the mean "
        "prediction minus the mean rating; spread is the standard deviation of the predictions "
        "over that of the ratings: below 1, they are too narrow. If r is much higher than CCC, "
        f"the loss comes from bias or spread.\n\n{table(header, rows, 2)}"
    )


def _each_group(data: Data) -> str:
    values = data["groups"]["values"]
    if len(values) < 2:
        return ""
    best = ordered(data)[0]
    values = sorted(values, key=lambda row: (-row["error"][best], row["group"]))
    errors = [row["error"][best] for row in values]
    column = md(data["groups"]["column"] or "clip")
    text = (
        f"Mean absolute error of {md(best)} as a share of the scale's range: largest "
        f"{errors[0]:.3f} ({md(values[0]['group'])}), median {float(np.median(errors)):.3f}, "
        f"smallest {errors[-1]:.3f}."
    )
    if len(values) > MOST_ROWS:
        text += f" The {MOST_ROWS} largest of {len(values)}:"
    rows = [
        [md(row["group"]), str(row["clips"]), f"{row['error'][best]:.3f}"]
        for row in values[:MOST_ROWS]
    ]
    return f"## Each {column}\n\n{text}\n\n" + table(["", "clips", "error"], rows)


def _by(data: Data, column: str) -> str:
    main, notes = table_of(data, column)
    return (
        f"## CCC by {md(column)}\n\nPooled over all values, CCC also profits from differences "
        f"between the values of {md(column)}; within one value it does not.\n\n{main}{notes}"
        + _by_dimension(data, column)
    )


def _by_dimension(data: Data, column: str) -> str:
    rows = [[md(value), *map(score, own)] for value, own in by_dimension(data, column).items()]
    if not rows:
        return ""
    header = [md(column), *(f"CCC of {md(one)}" for one in data["task"]["labels"])]
    return f"\n\nEach dimension, of {md(ordered(data)[0])}:\n\n{table(header, rows)}"


def by_dimension(data: Data, column: str) -> dict[str, list[Data]]:
    """Return the CCC of each dimension by a column, of the first system; none of one dimension."""
    found = {}
    for value, row in data["by"][column]["values"].items():
        own = row["systems"][ordered(data)[0]].get("dimensions", {})
        if len(own) > 1:
            found[value] = [one["ccc"] for one in own.values()]
    return found
