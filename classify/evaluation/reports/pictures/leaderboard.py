"""Every system with its interval on one scale, with chance and the best shortcut."""

from __future__ import annotations

from ..markdown.markdown_tables import MEASURES, mean_uar
from ..markdown.system_order import by_rank, chance, columns, on_dev, ordered
from ..sections import Data
from .kinds import Dot, Dots


def leaderboard(data: Data) -> Dots:
    """Return the systems of a comparison, of repeats or of several runs.

    Parameters
    ----------
    data : mapping
        `Comparison.data`, or the content of repeats.json or runs.json.
    """
    rows, measure, more = _rows(data)
    lines = {}
    if "test" in data and data.get("measure") != "ccc":
        lines["chance"] = chance(data)
    if found := floor(data):
        lines["floor"] = found[1]
    return Dots(f"Leaderboard, {measure}", measure, ["system", measure, *more], rows, lines)


def floor(data: Data) -> tuple[str, float] | None:
    """Return the single shortcut that scores best, and its UAR."""
    factors = (data.get("audit") or {}).get("factors", {})
    if not factors:
        return None
    name = max(factors, key=lambda one: (factors[one]["uar"]["value"] or 0.0, one))
    return name, factors[name]["uar"]["value"]


def _rows(data: Data) -> tuple[list[Dot], str, list[str]]:
    """Return a row for each system, the name of the measure, and that of a further column."""
    systems, rows = data["systems"], []
    if "test" in data:
        lead, title = columns(data)[0]
        if lead == "ccc" and len(data["task"]["labels"]) > 1:
            title = f"mean {title}"
        for name in ordered(data):
            test = systems[name]["test"][lead]
            cells = [test, *([on_dev(data, name)] if data["dev"] else [])]
            chosen = name == data["chosen"]
            rows.append(Dot(name, test["value"], test["interval"], cells, chosen))
        return rows, title, [f"dev {title}"] if data["dev"] else []
    if "repeats" in data:
        for name, row in systems.items():
            shown = mean_uar(row)
            rows.append(Dot(name, shown["value"], shown["interval"], [shown]))
        return rows, "mean UAR", []
    for name, one in by_rank(data):
        cells = [f"{one['mean']:.3f}", f"{one['rank']:.2f}"]
        span = [min(one["scores"]), max(one["scores"])]
        rows.append(Dot(name, one["mean"], span, cells))
    return rows, f"mean {MEASURES[data['measure']]}", ["mean rank"]
