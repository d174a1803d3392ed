"""Which picture stands in which section of a report, by the section's title."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....metrics.bootstrap import FEWEST_GROUPS
from ....metrics.significance import p_text
from ..markdown.shared_sections import ordered
from .marks import Curve, Dot, Scale, curve, dots, measured, shaded
from .prose import escaped

__all__ = ["picture", "reliability", "replaces_table"]

Data = Mapping[str, Any]
MOST_WITH_TEXT = 30  # labels of a confusion matrix whose cells have numbers
SHOWN = {True: "better", False: "worse"}


def picture(data: Data, title: str) -> str:
    """Return the picture of a section as HTML, or nothing.

    Parameters
    ----------
    data : mapping
        `Comparison.data`.
    title : str
        Heading of the section in the report.

    Examples
    --------
    >>> picture({}, "How it was made")
    ''
    """
    for start, draw in PICTURES.items():
        if title.startswith(start):
            return draw(data, title)
    return ""


def replaces_table(data: Data, title: str) -> bool:
    """Whether the picture of a section shows all that its table has."""
    if title.startswith("Confusion"):
        return len(data["task"]["labels"]) <= MOST_WITH_TEXT
    return title.startswith("Each ") and len(data["groups"]["values"]) >= FEWEST_GROUPS


def _lead(data: Data) -> tuple[str, str]:
    return ("ccc", "CCC") if data.get("measure") == "ccc" else ("uar", "UAR")


def _best(data: Data) -> str:
    return data["chosen"] or ordered(data)[0]


def _chance(data: Data) -> dict[str, float]:
    if data.get("measure") == "ccc":
        return {"chance": 0.0}
    return {"chance": 1 / len(data["task"]["labels"])}


def link(column: str, value: str) -> str:
    """Return a value as a link that shows its clips; the page's script follows it."""
    shown = escaped(value or "(blank)")
    return (
        f'<a href="#clips" data-column="{escaped(column)}" data-value="{escaped(value)}">'
        f"{shown}</a>"
        if column in ("language", "speaker")
        else shown
    )


def _by(data: Data, title: str) -> str:
    key, measure = _lead(data)
    column = title.removeprefix(f"{measure} by ")
    part = data["by"].get(column)
    if part is None:
        return ""
    best = _best(data)
    rows = []
    for value, row in part["values"].items():
        one = row["systems"][best][key]
        cells = [measured(one), str(row["clips"])]
        rows.append(Dot(link(column, value), one["value"], one.get("interval"), cells))
    pooled = data["systems"][best]["test"][key]
    cells = [measured(pooled), str(data["test"]["clips"])]
    rows.append(Dot("all clips", pooled["value"], pooled["interval"], cells, strong=True))
    head = [escaped(column), measure, "clips"]
    return _drawn(rows, _chance(data), head, f"{measure} of {best} by {column}", measure)


def _drawn(
    rows: list[Dot],
    lines: Mapping[str, float],
    head: list[str],
    title: str,
    up: str,
    said: str = "Dashed line: chance.",
) -> str:
    values = [one for row in rows for one in (row.value, *(row.interval or ()))]
    note = f'<p class="note">{escaped(said)}</p>' if lines else ""
    return dots(rows, Scale.around(values, lines), head, title, up) + note


def _groups(data: Data, title: str) -> str:
    best, key = _best(data), "error" if data.get("measure") == "ccc" else "uar"
    values = sorted(data["groups"]["values"], key=lambda row: (row[key][best], row["group"]))
    column = data["groups"]["column"] or "clip"
    measure = "error" if key == "error" else "UAR"
    rows = [
        Dot(
            link(column, row["group"]),
            row[key][best],
            None,
            [f"{row[key][best]:.3f}", str(row["clips"])],
        )
        for row in values[:500]
    ]
    lines = {} if key == "error" else _chance(data)
    return _drawn(rows, lines, [escaped(column), measure, "clips"], f"{title}, {best}", measure)


def _pairs(data: Data, title: str) -> str:
    key, measure = _lead(data)
    pairs = data["pairs"]
    if data["pairs_of"]:
        rows = []
        for pair in pairs:
            span = pair[f"{key}_difference_interval"]
            value = pair[f"{key}_difference"]
            p = pair.get(f"p_{key}_corrected")
            cells = [
                measured({"value": value, "interval": span}),
                "-" if p is None else p_text(p),
            ]
            rows.append(
                Dot(f"less {escaped(pair['b'])}", value, span, cells, bool(pair["different"]))
            )
        head = [escaped(pairs[0]["a"]), f"difference in {measure}", "p corrected"]
        said = f"To the right of the dashed line, {pairs[0]['a']} is the better one."
        return _drawn(rows, {"chance": 0.0}, head, title, f"difference in {measure}", said)
    names = ordered(data)
    known = {}
    for pair in pairs:
        difference = pair[f"{key}_difference"]
        for a, b, value in (
            (pair["a"], pair["b"], difference),
            (pair["b"], pair["a"], -difference),
        ):
            kind = SHOWN[value > 0] if pair["different"] else "open"
            sign = {"better": "▲", "worse": "▼", "open": "·"}[kind]
            known[a, b] = (f"{sign}&nbsp;{value:+.3f}", kind)
    cells = [[known.get((a, b), ("", "same")) for b in names] for a in names]
    shown = [escaped(name) for name in names]
    note = (
        '<p class="note">▲ the row is better than the column, ▼ worse, · no difference can be '
        "shown.</p>"
    )
    return shaded(shown, shown, cells, title, f"{measure}, row less column") + note


def _confusion(data: Data, title: str) -> str:
    labels, matrix = data["task"]["labels"], data["systems"][_best(data)]["test"]["confusion"]
    cells = []
    for row in matrix:
        total = sum(row)
        shares = [n / total if total else 0.0 for n in row]
        cells.append(
            [
                (
                    (f"{n} <small>{100 * share:.0f} %</small>" if n else "0")
                    if len(labels) <= MOST_WITH_TEXT
                    else str(n or ""),
                    share,
                )
                for n, share in zip(row, shares, strict=True)
            ]
        )
    names = [escaped(label) for label in labels]
    note = '<p class="note">Clips, and their share of the true label.</p>'
    return shaded(names, names, cells, title, "true \\ predicted") + note


def _classes(data: Data, title: str) -> str:
    found = data["systems"][_best(data)]["test"]["classes"]
    rows = []
    for label, one in found.items():
        recall = {"value": one["recall"], "interval": one["recall_interval"]}
        rows.append(
            Dot(
                escaped(label),
                one["recall"],
                one["recall_interval"],
                [measured(recall), str(one["support"])],
            )
        )
    return _drawn(rows, _chance(data), ["label", "recall", "clips"], f"{title}: recall", "recall")


def _shortcuts(data: Data, title: str) -> str:
    best = _best(data)
    of_best = data["systems"][best]["test"]["uar"]
    rows = [Dot(escaped(best), of_best["value"], of_best["interval"], [measured(of_best)], True)]
    for name, one in data["audit"]["factors"].items():
        uar = one["uar"]
        rows.append(Dot(escaped(name), uar["value"], uar["interval"], [measured(uar)]))
    lines = {"chance": data["audit"]["chance"]}
    return _drawn(rows, lines, ["system or factor", "UAR"], f"{title} next to {best}", "UAR")


def _risk(data: Data, title: str) -> str:
    points = [(row["coverage"], row["risk"]) for row in data["abstain"]["curve"]]
    most = max(0.1, *(risk for _, risk in points))
    return curve(
        Curve(points, "share of clips answered", "share of errors", (0, 1), (0, _above(most))),
        title,
    )


def _above(value: float) -> float:
    return Scale.around([0.0, value], {}).high


def _learning(data: Data, title: str) -> str:
    points = [(row["clips"], row["uar"]["value"]) for row in data["learning_curve"]]
    bars = [
        None if None in (row["uar"].get("interval") or [None]) else tuple(row["uar"]["interval"])
        for row in data["learning_curve"]
    ]
    chance = _chance(data)["chance"]
    values = [one for bar in bars if bar for one in bar] + [y for _, y in points]
    scale = Scale.around(values, {"chance": chance})
    most = max(x for x, _ in points)
    return curve(
        Curve(
            points,
            "training clips",
            "UAR on test",
            (0, 1.05 * most),
            (scale.low, scale.high),
            bars,
            line=chance,
        ),
        title,
    )


def reliability(data: Data) -> str:
    """Return the reliability curve of the best system, or nothing."""
    found = data.get("reliability")
    if not found:
        return ""
    clips = sum(row["clips"] for row in found)
    low = min(1 / len(data["task"]["labels"]), *(row["accuracy"] for row in found))
    title = f"Reliability of {_best(data)}"
    drawn = curve(
        Curve(
            [(row["confidence"], row["accuracy"]) for row in found],
            "probability of the answer",
            "share right",
            (Scale.around([low], {"": 1.0}).low, 1),
            (Scale.around([low], {"": 1.0}).low, 1),
            sizes=[row["clips"] / clips for row in found],
            diagonal=True,
        ),
        title,
    )
    return (
        f'<p class="note">{escaped(title)}: on the dashed line, answers given with a probability '
        "are right in that share; below it, the system is too sure. Larger dots hold more clips."
        f"</p>{drawn}"
    )


def _transfer(data: Data, title: str) -> str:
    found = data["transfer"]
    key = found.get("measure", "uar")
    cells = []
    for here in found["names"]:
        row = [found["cells"][here][there][key] for there in found["names"]]
        cells.append([(measured(one), (one or {}).get("value") or 0.0) for one in row])
    names = [escaped(name) for name in found["names"]]
    return shaded(names, names, cells, title, "trained on \\ tested on")


def _diversity(data: Data, title: str) -> str:
    pairs = data["diversity"]["pairs"]
    if len(pairs) < 3:
        return ""
    names = list(dict.fromkeys([*(pair["a"] for pair in pairs), *(pair["b"] for pair in pairs)]))
    known = {}
    for pair in pairs:
        value = pair["error_overlap"]
        known[pair["a"], pair["b"]] = known[pair["b"], pair["a"]] = (
            ("-", "same") if value is None else (f"{value:.3f}", value)
        )
    cells = [[known.get((a, b), ("", "same")) for b in names] for a in names]
    shown = [escaped(name) for name in names]
    return shaded(shown, shown, cells, f"{title}: errors shared", "errors shared")


PICTURES: dict[str, Callable[[Data, str], str]] = {
    "Answering only when sure": _risk,
    "CCC by": _by,
    "Classes": _classes,
    "Confusion": _confusion,
    "Differences": _pairs,
    "Diversity": _diversity,
    "Each dimension": lambda data, title: "",
    "Each ": _groups,
    "Learning curve": _learning,
    "Shortcuts": _shortcuts,
    "Transfer": _transfer,
    "UAR by": _by,
}
