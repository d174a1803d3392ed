"""The report of a comparison of systems that predict numbers.

It is made from `Comparison.data` alone and holds no other number.
"""

from __future__ import annotations

import numpy as np

from ....data.escape import md
from ..sections import Data, Section, Table
from .analysis_sections import transfer_section
from .choice_on_dev import headline, how_chosen
from .column_tables import column_sections, differences_within, table_of
from .difference_sections import number_differences
from .markdown_tables import number, score
from .provenance import how_made, this_report, times_section
from .system_order import best_of, brackets, on_dev, order_of, ordered, shown, warnings_of

MOST_ROWS = 20


def number_report(data: Data) -> list[Section]:
    """Return the whole report."""
    return [
        _head(data),
        *warnings_of(data),
        _systems(data),
        _dimensions(data),
        *_raters(data),
        *_each_group(data),
        *number_differences(data),
        *column_sections(data, _by),
        *([transfer_section(data["transfer"])] if data.get("transfer") else []),
        this_report(data),
        *times_section(data),
        how_made(data),
    ]


def _head(data: Data) -> Section:
    test, rows = data["test"], []
    for name, one in data["task"]["dimensions"].items():
        rated, (low, high) = test["dimensions"][name], one["range"]
        about = [number(rated[key], ".2f") for key in ("mean", "sd")]
        rows.append([md(name), f"{low:g} to {high:g}", str(rated["clips"]), *about])
    ratings = Table(["dimension", "scale", "clips", "mean", "sd"], rows)
    blocks = [headline(data), *how_chosen(data), "Ratings of test:", ratings]
    if test["left_out"]:
        blocks.append(f"Left out, not rated: {sum(test['left_out'].values())} clips.")
    return Section(f"Comparison: {data['task']['name']}", blocks)


def _systems(data: Data) -> Section:
    names = list(data["task"]["labels"])
    several = len(names) > 1
    rows = []
    for name in ordered(data):
        test = data["systems"][name]["test"]
        each = [score(test["dimensions"][one]["ccc"]) for one in names] if several else []
        rows.append([shown(data, name), score(test["ccc"]), *each, on_dev(data, name)])
    first = "mean CCC" if several else f"CCC of {md(names[0])}"
    header = ["system", first, *(f"CCC of {md(one)}" for one in names if several), "dev CCC"]
    text = (
        "CCC, the concordance correlation (Lin, 1989), is 1 if the predictions equal the ratings, "
        "and lower if they are shifted, too narrow, too wide or less correlated. "
        f"{brackets(data)}{order_of(data)}"
    )
    return Section("Systems", [text, Table(header, rows)])


def _dimensions(data: Data) -> Section:
    rows = []
    for dimension in data["task"]["labels"]:
        for name in ordered(data):
            one = data["systems"][name]["test"]["dimensions"][dimension]
            cells = [score(one[key]) for key in ("ccc", "pearson", "error")]
            cells += [number(one["bias"], "+.3f"), number(one["spread"], ".2f")]
            rows.append([md(dimension), md(name), *cells])
    header = ["dimension", "system", "CCC", "Pearson r", "mean absolute error", "bias", "spread"]
    text = (
        "Errors and bias are on the scale of the ratings. Bias is the mean prediction minus the "
        "mean rating; spread is the standard deviation of the predictions over that of the "
        "ratings: below 1, they are too narrow. If r is much higher than CCC, the loss comes from "
        "bias or spread."
    )
    return Section("Each dimension", [text, Table(header, rows, left=2)], "dimensions")


def _raters(data: Data) -> list[Section]:
    """Return how far a rater agrees with the others, and each system with the same others."""
    if not (found := data.get("raters")):
        return []
    names, several = ordered(data), list(found)
    header = ["", *(f"CCC of {md(one)}" for one in several)]
    rows = [["one rater", *(score(found[one]["rater"]) for one in several)]]
    rows += [[md(n), *(score(found[one]["systems"][n]) for one in several)] for n in names]
    counts = [
        f"{md(name)}: {one['raters']} raters, {one['ratings']:.1f} ratings of each of "
        f"{one['clips']} clips"
        for name, one in found.items()
    ]
    text = (
        "Each rating is compared with the mean of the other raters of the clip, and each system "
        "with the same means, so that *one rater* and the systems can be compared with each "
        "other. These means are of fewer raters than the ratings above, so systems agree less "
        f"with them. Clips with a single rating do not count. {'; '.join(counts)}."
    )
    return [Section("Raters", [text, Table(header, rows)])]


def _each_group(data: Data) -> list[Section]:
    values = data["groups"]["values"]
    if len(values) < 2:
        return []
    best = best_of(data)
    values = sorted(values, key=lambda row: (-row["error"][best], row["group"]))
    errors = [row["error"][best] for row in values]
    column = data["groups"]["column"] or "clip"
    text = (
        f"Mean absolute error of {md(best)} as a share of the scale's range: largest "
        f"{errors[0]:.3f} ({md(values[0]['group'])}), median {float(np.median(errors)):.3f}, "
        f"smallest {errors[-1]:.3f}."
    )
    intro = f"{text} The {MOST_ROWS} largest of {len(values)}:" if len(values) > MOST_ROWS else ""
    rows = [
        [md(row["group"]), str(row["clips"]), f"{row['error'][best]:.3f}"]
        for row in values[:MOST_ROWS]
    ]
    shown = Table(["", "clips", "error"], rows, intro=intro)
    return [Section(f"Each {column}", ["" if intro else text, shown], "each")]


def _by(data: Data, column: str) -> Section:
    text = (
        "Pooled over all values, CCC also profits from differences between the values of "
        f"{md(column)}; within one value it does not."
    )
    blocks = [text, *table_of(data, column), *_by_dimension(data, column)]
    blocks += differences_within(data, column)
    return Section(f"CCC by {column}", blocks, "by", column)


def _by_dimension(data: Data, column: str) -> list[str | Table]:
    rows = [[md(value), *map(score, own)] for value, own in by_dimension(data, column).items()]
    header = [md(column), *(f"CCC of {md(one)}" for one in data["task"]["labels"])]
    return [f"Each dimension, of {md(best_of(data))}:", Table(header, rows)] if rows else []


def by_dimension(data: Data, column: str) -> dict[str, list[Data]]:
    """Return the CCC of each dimension by a column, of the first system; empty with one."""
    found = {}
    for value, row in data["by"][column]["values"].items():
        own = row["systems"][best_of(data)].get("dimensions", {})
        if len(own) > 1:
            found[value] = [one["ccc"] for one in own.values()]
    return found
