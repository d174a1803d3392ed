"""The first screen of a page: the question, the answer, the leaderboard, the warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....metrics.scored_clips import group_noun
from ..markdown.markdown_tables import MEASURES
from ..markdown.shared_sections import by_rank, columns, ordered
from .marks import Dot, Scale, dots, measured
from .prose import Section, escaped

__all__ = ["first_screen", "leaderboard", "question"]

Data = Mapping[str, Any]
MOST_WARNINGS = 3
MOST_LABELS = 12


def first_screen(data: Data, head: Section) -> str:
    """Return what a reader sees first, as HTML.

    Parameters
    ----------
    data : mapping
        `Comparison.data`, or what stands in repeats.json or runs.json.
    head : Section
        The report before its first ``##``: its first paragraph is the answer.
    """
    answer, *rest = head.blocks or [""]
    parts = [
        f"<h1>{question(data, head)}</h1>",
        _facts(data),
        f'<div class="answer">{answer}{_against(data)}</div>',
        leaderboard(data),
        _warnings(data.get("warnings", ())),
    ]
    if rest:
        more = "".join(rest)
        parts.append(
            f"<details><summary><h2>How this answer was found</h2></summary>{more}</details>"
        )
    return "".join(parts)


def question(data: Data, head: Section) -> str:
    """Return what was asked, as HTML; of other reports their title."""
    if "test" not in data or "systems" not in data:
        return escaped(head.title)
    task, count = escaped(data["task"]["name"]), len(data["systems"])
    if count == 1:
        return f"How well does {escaped(next(iter(data['systems'])))} predict {task}?"
    return f"Which of {count} systems predicts {task} best?"


def _facts(data: Data) -> str:
    if "test" not in data:
        return ""
    clips, groups = data["test"]["clips"], data["groups"]
    single = groups["count"] == clips
    noun = group_noun(None if single else groups["column"], groups["count"])
    facts = [f"{clips:,} test clips"] + ([] if single else [f"{groups['count']:,} {noun}"])
    labels = data["task"]["labels"]
    if data.get("measure") != "ccc":
        shown = ", ".join(labels) if len(labels) <= MOST_LABELS else ""
        facts.append(f"{len(labels)} labels" + (f": {shown}" if shown else ""))
    schemes = dict.fromkeys(split["scheme"] for split in data["splits"])
    if schemes:
        facts.append(f"split: {', '.join(schemes)}")
    return f'<ul class="facts">{"".join(f"<li dir=auto>{escaped(one)}</li>" for one in facts)}</ul>'


def _against(data: Data) -> str:
    """Return whether the first system's lead over the next one can be shown."""
    if not data.get("pairs") or "test" not in data:
        return ""
    first, *others = ordered(data)
    for other in others:
        for pair in data["pairs"]:
            if {pair["a"], pair["b"]} == {first, other}:
                return f'<p dir="auto">{escaped(pair["sentence"])}.</p>'
    return ""


def leaderboard(data: Data) -> str:
    """Return every system with its interval on one scale, with chance and the best shortcut."""
    rows, lead = _rows(data)
    if not rows:
        return ""
    lines: dict[str, float] = {}
    legend = []
    if "test" in data and data.get("measure") != "ccc":
        lines["chance"] = 1 / len(data["task"]["labels"])
        legend.append(_key("chance", f"chance {lines['chance']:.3f}"))
    factors = (data.get("audit") or {}).get("factors", {})
    if "corpora" in data:
        legend.append("<li>bar: from the lowest to the highest corpus</li>")
    if factors:
        name = max(factors, key=lambda one: (factors[one]["uar"]["value"] or 0.0, one))
        lines["floor"] = factors[name]["uar"]["value"]
        legend.append(_key("floor", f"floor: {name} alone, {lines['floor']:.3f}"))
    values = [one for row in rows for one in (row.value, *(row.interval or ()))]
    ours = [row for row in rows if row.strong]
    if ours and data.get("chosen") and "test" in data:
        legend.insert(
            0,
            '<li><svg aria-hidden="true" width="12" height="12"><circle '
            'class="mark strong" cx="6" cy="6" r="5"/></svg> chosen on dev</li>',
        )
    head = ["system", lead, *_more(data)]
    table = dots(rows, Scale.around(values, lines), head, f"Leaderboard, {lead}", lead)
    return table + (f'<ul class="legend">{"".join(legend)}</ul>' if legend else "")


def _key(kind: str, text: str) -> str:
    return (
        f'<li><svg aria-hidden="true" width="12" height="16"><line class="{kind}" x1="6" x2="6" '
        f'y1="0" y2="16"/></svg> {escaped(text)}</li>'
    )


def _more(data: Data) -> list[str]:
    if "corpora" in data:
        return ["mean rank"]
    if "test" not in data:
        return []
    return [f"dev {columns(data)[0][1]}"] if data["dev"] else []


def _rows(data: Data) -> tuple[list[Dot], str]:
    """Return a row for each system, and the name of the measure."""
    systems, rows = data["systems"], []
    if "test" in data:
        lead, title = columns(data)[0]
        for name in ordered(data):
            test, dev = systems[name]["test"][lead], systems[name]["dev"]
            cells = [measured(test)]
            if data["dev"]:
                value = (dev or {}).get(lead)
                cells.append("-" if value is None else f"{value:.3f}")
            chosen = name == data["chosen"]
            rows.append(Dot(escaped(name), test["value"], test["interval"], cells, chosen))
        return rows, title
    if "repeats" in data:
        for name in sorted(systems, key=lambda one: (-systems[one]["uar"]["mean"], one)):
            uar = systems[name]["uar"]
            span = [max(uar["interval"][0], 0), min(uar["interval"][1], 1)]
            shown = {"value": uar["mean"], "interval": span}
            rows.append(Dot(escaped(name), uar["mean"], span, [measured(shown)]))
        return rows, "mean UAR"
    measure = MEASURES[data["measure"]]
    for name, one in by_rank(data):
        cells = [f"{one['mean']:.3f}", f"{one['rank']:.2f}"]
        span = [min(one["scores"]), max(one["scores"])]
        rows.append(Dot(escaped(name), one["mean"], span, cells))
    return rows, f"mean {measure}"


def _warnings(found: Sequence[str]) -> str:
    if not found:
        return ""
    shown = "".join(f"<li>{escaped(text)}</li>" for text in found[:MOST_WARNINGS])
    rest = len(found) - MOST_WARNINGS
    more = f'<p class="note"><a href="#warnings">{rest} more</a></p>' if rest > 0 else ""
    what = "Before you believe it"
    return (
        f'<div class="warnings" role="note" aria-label="{what}"><h2>{what}</h2>'
        f"<ul dir=auto>{shown}</ul>{more}</div>"
    )
