"""The picture of each section of a report."""

from __future__ import annotations

from collections.abc import Callable

from ....metrics.bootstrap import FEWEST_GROUPS
from ...scores.verdicts import p_text
from ..markdown.clips_and_training import layer_curves
from ..markdown.markdown_tables import score
from ..markdown.system_order import best_of, chance, columns, ordered
from ..sections import Data
from .kinds import Cell, Curve, Dot, Dots, Matrix, Picture, Scale

MOST_WITH_TEXT = 30  # labels of a confusion matrix whose cells have numbers
MOST_GROUPS = 500
SHOWN = {True: "better", False: "worse"}
CHANCE = "Dashed line: chance."


def picture(data: Data, name: str, title: str) -> Picture | None:
    """Return a picture, if there is one of this name and the data has what it shows.

    Parameters
    ----------
    data : mapping
        `Comparison.data`.
    name : str
        As `Section.picture`.
    title : str
        What it is called; of "by", the column.

    Examples
    --------
    >>> picture({}, "", "How it was made")
    """
    return PICTURES[name](data, title) if name in PICTURES else None


def replaces_table(data: Data, name: str) -> bool:
    """Whether the picture of a section shows everything in its table."""
    if name == "confusion":
        return len(data["task"]["labels"]) <= MOST_WITH_TEXT
    return name == "each" and len(data["groups"]["values"]) >= FEWEST_GROUPS


def _by(data: Data, column: str) -> Dots:
    key, measure = columns(data)[0]
    part, best, rows = data["by"][column], best_of(data), []
    for value, row in part["values"].items():
        one = row["systems"][best][key]
        cells = [one, str(row["clips"])]
        rows.append(Dot(value, one["value"], one.get("interval"), cells, clips_of=(column, value)))
    pooled = data["systems"][best]["test"][key]
    cells = [pooled, str(data["test"]["clips"])]
    rows.append(Dot("all clips", pooled["value"], pooled["interval"], cells, strong=True))
    head, lines, caption = [column, measure, "clips"], {"chance": chance(data)}, CHANCE
    if any(row.get("absent") for row in part["values"].values()):
        caption = "Dashed line: chance with all labels; where one does not occur, it is higher."
    return Dots(f"{measure} of {best} by {column}", measure, head, rows, lines, caption)


def _dimensions(data: Data, title: str) -> Dots | None:
    """Return every system on each dimension; of one dimension the leaderboard shows them."""
    names, rows = data["task"]["labels"], []
    if len(names) < 2:
        return None
    for dimension in names:
        for name in ordered(data):
            one = data["systems"][name]["test"]["dimensions"][dimension]["ccc"]
            strong = name == data["chosen"]
            rows.append(Dot(f"{dimension}: {name}", one["value"], one["interval"], [one], strong))
    return Dots(title, "CCC", ["dimension: system", "CCC"], rows)


def _groups(data: Data, title: str) -> Dots:
    best, column = best_of(data), data["groups"]["column"] or "clip"
    key, measure = ("error", "error") if data.get("measure") == "ccc" else ("uar", "UAR")
    values = sorted(data["groups"]["values"], key=lambda row: (row[key][best], row["group"]))
    rows = [
        Dot(
            row["group"],
            row[key][best],
            cells=[f"{row[key][best]:.3f}", str(row["clips"])],
            clips_of=(column, row["group"]),
        )
        for row in values[:MOST_GROUPS]
    ]
    head, title = [column, measure, "clips"], f"{title}, {best}"
    if key == "error":
        return Dots(title, measure, head, rows)
    return Dots(title, measure, head, rows, {"chance": chance(data)}, CHANCE)


def _pairs(data: Data, title: str) -> Dots | Matrix:
    key, measure = columns(data)[0]
    if not data["pairs_of"]:
        return _all_pairs(data, title)
    pairs, rows = data["pairs"], []
    for pair in pairs:
        span = pair[f"{key}_difference_interval"]
        value = pair[f"{key}_difference"]
        p = pair.get(f"p_{key}_corrected")
        cells = [{"value": value, "interval": span}, "-" if p is None else p_text(p)]
        rows.append(Dot(f"less {pair['b']}", value, span, cells, bool(pair["different"])))
    measure = f"difference in {measure}"
    caption = f"To the right of the dashed line, {pairs[0]['a']} is the better one."
    head = [pairs[0]["a"], measure, "p corrected"]
    return Dots(title, measure, head, rows, {"chance": 0.0}, caption)


def _all_pairs(data: Data, title: str) -> Matrix:
    key, measure = columns(data)[0]
    names = ordered(data)
    known = {}
    for pair in data["pairs"]:
        difference = pair[f"{key}_difference"]
        for a, b, value in (
            (pair["a"], pair["b"], difference),
            (pair["b"], pair["a"], -difference),
        ):
            kind = SHOWN[value > 0] if pair["different"] else "open"
            sign = {"better": "▲", "worse": "▼", "open": "·"}[kind]
            known[a, b] = Cell(f"{sign}\N{NO-BREAK SPACE}{value:+.3f}", kind)
    return Matrix(
        title,
        f"{measure}, row",
        "less column",
        names,
        [[known.get((a, b), Cell("", "same")) for b in names] for a in names],
        "▲ the row is better than the column, ▼ worse, · no difference can be shown.",
    )


def _confusion(data: Data, title: str) -> Matrix:
    labels, matrix = data["task"]["labels"], data["systems"][best_of(data)]["test"]["confusion"]

    def cell(n: int, of: int) -> Cell:
        share = n / of if of else 0.0
        if len(labels) > MOST_WITH_TEXT:
            return Cell(str(n or ""), share)
        return Cell(str(n), share, f"{100 * share:.0f} %" if n else "")

    cells = [[cell(n, sum(row)) for n in row] for row in matrix]
    caption = "Clips, and their share of the true label."
    return Matrix(title, "true", "predicted", labels, cells, caption)


def _classes(data: Data, title: str) -> Dots:
    found = data["systems"][best_of(data)]["test"]["classes"]
    rows = []
    for label, one in found.items():
        recall = {"value": one["recall"], "interval": one["recall_interval"]}
        cells = [recall, str(one["support"])]
        rows.append(Dot(label, one["recall"], one["recall_interval"], cells))
    head = ["label", "recall", "clips"]
    return Dots(f"{title}: recall", "recall", head, rows, {"chance": chance(data)}, CHANCE)


def _shortcuts(data: Data, title: str) -> Dots:
    best = best_of(data)
    of_best = data["systems"][best]["test"]["uar"]
    rows = [Dot(best, of_best["value"], of_best["interval"], [of_best], True)]
    for name, one in data["audit"]["factors"].items():
        rows.append(Dot(name, one["uar"]["value"], one["uar"]["interval"], [one["uar"]]))
    lines = {"chance": data["audit"]["chance"]}
    head = ["system or factor", "UAR"]
    return Dots(f"{title} next to {best}", "UAR", head, rows, lines, CHANCE)


def _risk(data: Data, title: str) -> Curve:
    points = [(row["coverage"], row["risk"]) for row in data["abstain"]["curve"]]
    most = Scale.around([0.0, max(0.1, *(risk for _, risk in points))]).high
    return Curve(title, points, "share of clips answered", "share of errors", (0, 1), (0, most))


def _learning(data: Data, title: str) -> Curve:
    rows = [row for row in data["learning_curve"] if "uar" in row]
    points = [(row["clips"], row["uar"]["value"]) for row in rows]
    bars = [
        None if None in (row["uar"].get("interval") or [None]) else tuple(row["uar"]["interval"])
        for row in rows
    ]
    values = [one for bar in bars if bar for one in bar] + [y for _, y in points]
    scale = Scale.around([*values, chance(data)])
    return Curve(
        title,
        points,
        "training clips",
        "UAR on test",
        (0, 1.05 * max(x for x, _ in points)),
        (scale.low, scale.high),
        bars,
        line=chance(data),
    )


def _layers(data: Data, title: str) -> Curve | None:
    curves = layer_curves(data)
    if not curves:
        return None
    name, points = next(iter(curves.items()))
    scale = Scale.around([*(score for _, score in points), chance(data)])
    return Curve(
        f"Layers of {name}",
        points,
        "layer",
        columns(data)[0][1],
        (points[0][0] - 0.5, points[-1][0] + 0.5),
        (scale.low, scale.high),
        line=chance(data),
        caption=f"{name}; dashed line: chance.",
    )


def _reliability(data: Data, _: str) -> Curve | None:
    found = data.get("reliability")
    if not found:
        return None
    clips = sum(row["clips"] for row in found)
    low = min(1 / len(data["task"]["labels"]), *(row["accuracy"] for row in found))
    low = Scale.around([low, 1.0]).low
    title = f"Reliability of {best_of(data)}"
    return Curve(
        title,
        [(row["confidence"], row["accuracy"]) for row in found],
        "probability of the answer",
        "share right",
        (low, 1),
        (low, 1),
        sizes=[row["clips"] / clips for row in found],
        diagonal=True,
        caption=f"{title}: on the dashed line, answers given with a probability are right in that "
        "share; below it, the system is too sure. Larger dots hold more clips.",
    )


def _transfer(data: Data, title: str) -> Matrix:
    found = data["transfer"]
    key, names = found.get("measure", "uar"), found["names"]

    def cell(one: Data) -> Cell:
        text, _, more = score(one).partition(" ")
        return Cell(text, (one or {}).get("value") or 0.0, more)

    cells = [[cell(found["cells"][here][there][key]) for there in names] for here in names]
    return Matrix(title, "trained on", "tested on", names, cells)


def _diversity(data: Data, title: str) -> Matrix | None:
    pairs = data["diversity"]["pairs"]
    if len(pairs) < 3:
        return None
    names = list(dict.fromkeys([*(pair["a"] for pair in pairs), *(pair["b"] for pair in pairs)]))
    known = {}
    for pair in pairs:
        value = pair["error_overlap"]
        cell = Cell("-", "same") if value is None else Cell(f"{value:.3f}", value)
        known[pair["a"], pair["b"]] = known[pair["b"], pair["a"]] = cell
    cells = [[known.get((a, b), Cell("", "same")) for b in names] for a in names]
    return Matrix(f"{title}: errors shared", "errors shared by", "and", names, cells)


PICTURES: dict[str, Callable[[Data, str], Picture | None]] = {
    "abstain": _risk,
    "by": _by,
    "classes": _classes,
    "confusion": _confusion,
    "differences": _pairs,
    "dimensions": _dimensions,
    "diversity": _diversity,
    "each": _groups,
    "layers": _layers,
    "learning": _learning,
    "reliability": _reliability,
    "shortcuts": _shortcuts,
    "transfer": _transfer,
}
