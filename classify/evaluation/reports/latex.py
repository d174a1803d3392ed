r"""LaTeX tables of a comparison (booktabs), ready for ``\input``; they hold no other number."""

from __future__ import annotations

from collections.abc import Sequence

from ...data.escape import latex
from .markdown.column_tables import divides_like, row_name, systems_in_rows
from .markdown.difference_sections import comparisons
from .markdown.dimension_report import by_dimension
from .markdown.markdown_tables import MEASURES, has_mean_intervals, mean_uar, score
from .markdown.system_order import best_of, columns, exchanged, groups_of, of_groups, ordered
from .sections import Data

MOST_SYSTEMS = 6  # columns of a table
NEEDS = r"% needs \usepackage{booktabs}"


def systems_table(data: Data) -> str:
    """Return the main table: UAR (or CCC) with interval first, then the other measures.

    The system that dev chose is set in bold.
    """
    level, clips = f"{100 * data['settings']['level']:g}", data["test"]["clips"]
    rows, shown = [], columns(data)
    for name in ordered(data):
        test = data["systems"][name]["test"]
        cells = [rf"\textbf{{{latex(name)}}}" if name == data["chosen"] else latex(name)]
        cells += [_score(test[key], with_interval=key == shown[0][0]) for key, _ in shown]
        rows.append(cells)
    where = of_groups(clips, data["groups"]["count"], latex(groups_of(data)), "test clip")
    caption = rf"Systems on {where}; {level}\,\% intervals by clustered bootstrap."
    if data.get("measure") == "ccc" and len(scales := data["task"]["labels"]) > 1:
        caption += f" Means over {latex(', '.join(scales))}."
    return _table(["system", *(title for _, title in shown)], rows, caption, "tab:systems")


def by_table(data: Data, column: str) -> str:
    """Return UAR (or CCC) by a column: a column for each system, or a row if there are over six.

    The first system, which dev chose, has intervals. Where the column has over six values, too,
    only six systems are in the table.
    """
    across = systems_in_rows(data, column, MOST_SYSTEMS)
    part, names = data["by"][column], ordered(data)[: None if across else MOST_SYSTEMS]
    lead, title = columns(data)[0]
    rows = [
        [
            row_name(value or "(blank)", row, latex),
            str(row["clips"]),
            *(_score(row["systems"][name][lead], with_interval=name == names[0]) for name in names),
        ]
        for value, row in part["values"].items()
    ]
    mean = [f"{part['macro'][name][lead]:.3f}" for name in names]
    whole = [data["systems"][name]["test"][lead] for name in names]
    pooled = [_score(one, with_interval=one is whole[0]) for one in whole]
    rows += [["mean", "", *mean], ["pooled", str(data["test"]["clips"]), *pooled]]
    header = [latex(column), "clips", *map(latex, names)]
    if across:
        header, *rows = [list(cells) for cells in zip(header, *rows, strict=True)]
    caption = f"{title} by {latex(column)}"
    if len(names) < len(data["systems"]):
        caption += f", of the first {len(names)} of {len(data['systems'])} systems"
    if any(row.get("absent") for row in part["values"].values()):
        caption += "; each is the mean over the classes that occur in it"
    return _table(header, rows, f"{caption}.", f"tab:{_key(column)}")


def dimensions_table(data: Data) -> str:
    """Return the CCC of each dimension, with intervals, a system in each row."""
    scales = data["task"]["labels"]
    rows = []
    for name in ordered(data):
        own = data["systems"][name]["test"]["dimensions"]
        rows.append([latex(name), *(_score(own[one]["ccc"], with_interval=True) for one in scales)])
    return _table(["system", *map(latex, scales)], rows, "CCC of each scale.", "tab:scales")


def raters_table(data: Data) -> str:
    """Return the CCC of one rater, and of each system, with the mean of the other raters."""
    found = data["raters"]
    rows = [["one rater", *(_score(one["rater"], with_interval=True) for one in found.values())]]
    for name in ordered(data):
        own = (one["systems"][name] for one in found.values())
        rows.append([latex(name), *(_score(one, with_interval=True) for one in own)])
    caption = "CCC with the mean of the other raters of a clip, of one rater and of each system."
    return _table(["", *map(latex, found)], rows, caption, "tab:raters")


def by_dimensions_table(data: Data, column: str) -> str:
    """Return the CCC of each dimension by a column, with intervals, of the first system."""
    found = by_dimension(data, column)
    rows = [
        [latex(value), *(_score(one, with_interval=True) for one in own)]
        for value, own in found.items()
    ]
    header = [latex(column), *map(latex, data["task"]["labels"])]
    caption = f"CCC of {latex(best_of(data))} on each scale, by {latex(column)}."
    return _table(header, rows, caption, f"tab:scales-{_key(column)}")


def pairs_table(data: Data) -> str:
    """Return the pairs of the chosen system (else of the best) with the others."""
    first, (lead, title) = best_of(data), columns(data)[0]
    what, count = (
        ("right", "right_{}") if lead == "uar" else ("smaller error in", "groups_{}_better")
    )
    rows = []
    for pair in data["pairs"]:
        if first not in (pair["a"], pair["b"]):
            continue
        mine = pair["a"] == first
        other, sign = (pair["b"], 1) if mine else (pair["a"], -1)
        counts = [pair[count.format(one)] for one in ("ab" if mine else "ba")]
        rows.append(
            [
                latex(other),
                f"{counts[0]} vs {counts[1]}",
                f"${sign * pair[f'{lead}_difference']:+.3f}$",  # a minus, not a hyphen
                _p(pair[f"p_{lead}"]),
                _p(pair[f"p_{lead}_corrected"]),
            ]
        )
    header = [f"{latex(first)} vs", what, rf"$\Delta${title}", "$p$", "$p$ corrected"]
    caption = (
        f"{latex(first)} against the others; $p$ of exchanging systems "
        f"{latex(exchanged(data))}, but at least that of a t test with one more, contradicting "
        f"group; corrected by step-down max-T for {comparisons(data['pairs'])}."
    )
    return _table(header, rows, caption, "tab:pairs")


def tables(data: Data) -> str:
    """Return all tables, one after the other."""
    found = [systems_table(data), *([pairs_table(data)] if data["pairs"] else [])]
    if columns(data)[0][0] == "ccc" and len(data["task"]["labels"]) > 1:
        found.append(dimensions_table(data))
    found += [raters_table(data)] if data.get("raters") else []
    for column in data["by"]:
        if divides_like(data, column):
            continue
        found.append(by_table(data, column))
        found += [by_dimensions_table(data, column)] if by_dimension(data, column) else []
    return NEEDS + "\n" + "\n".join(found)


def repeats_tables(data: Data) -> str:
    """Return the means over the repeats of a run, from the content of `repeats.json`."""
    rows = []
    for name, row in data["systems"].items():
        values = [row["uar"]["sd"], *(row[key]["mean"] for key in list(MEASURES)[1:])]
        rows.append([latex(name), score(mean_uar(row)), *(f"{value:.3f}" for value in values)])
    header = ["system", "UAR", "sd of UAR", *list(MEASURES.values())[1:]]
    percent = rf"{100 * data['level']:g}\,\%"
    intervals = f", with {percent} intervals" if has_mean_intervals(data) else ""
    caption = f"Means over {len(data['repeats'])} divisions of the clips{intervals}."
    return NEEDS + "\n" + _table(header, rows, caption, "tab:repeats")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _key(column: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in column)


def _score(value: Data, *, with_interval: bool = False) -> str:
    text, blank, span = score(value).partition(" ")
    return "--" if text == "-" else text + (blank + span if with_interval else "")


def _p(value: float | None) -> str:
    if value is None:
        return "--"
    return "$<$0.001" if value < 0.001 else f"{value:.3f}"
