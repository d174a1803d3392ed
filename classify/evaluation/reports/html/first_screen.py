"""The first screen of a page: the question, the answer, the leaderboard, the warnings."""

from __future__ import annotations

from collections.abc import Sequence

from ..markdown.system_order import groups_of, ordered
from ..pictures.leaderboard import floor, leaderboard
from ..sections import Data, Section
from .marks import drawn
from .prose import block_html, escaped

MOST_WARNINGS = 3
MOST_LABELS = 12


def first_screen(data: Data, head: Section) -> str:
    """Return the top of the page, as HTML.

    Parameters
    ----------
    data : mapping
        `Comparison.data`, or the content of repeats.json or runs.json.
    head : Section
        The report before its first ``##``: its first paragraph is the answer.
    """
    answer, *rest = (block_html(one, head.title) for one in head.blocks if one)
    parts = [
        f"<h1>{question(data, head)}</h1>",
        _facts(data),
        f'<div class="answer">{answer}{_against(data)}</div>',
        _leaderboard(data),
        _warnings(data.get("warnings", ())),
    ]
    if rest:
        more = "".join(rest)
        parts.append(
            f"<details><summary><h2>How this result was obtained</h2></summary>{more}</details>"
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
    clips, groups = data["test"]["clips"], data["groups"]["count"]
    facts = [f"{clips:,} test clips"]
    facts += [f"{groups:,} {groups_of(data)}"] if groups != clips else []
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


def _leaderboard(data: Data) -> str:
    """Return every system with its interval on one scale, and a legend of the lines."""
    found = leaderboard(data)
    if not found.rows:
        return ""
    legend = []
    if data.get("chosen") and "test" in data:
        legend.append(
            '<li><svg aria-hidden="true" width="12" height="12"><circle '
            'class="mark strong" cx="6" cy="6" r="5"/></svg> chosen on dev</li>'
        )
    if "chance" in found.lines:
        legend.append(_key("chance", f"chance {found.lines['chance']:.3f}"))
    if "corpora" in data:
        legend.append("<li>bar: from the lowest to the highest corpus</li>")
    if least := floor(data):
        legend.append(_key("floor", f"floor: {least[0]} alone, {least[1]:.3f}"))
    return drawn(found) + (f'<ul class="legend">{"".join(legend)}</ul>' if legend else "")


def _key(kind: str, text: str) -> str:
    return (
        f'<li><svg aria-hidden="true" width="12" height="16"><line class="{kind}" x1="6" x2="6" '
        f'y1="0" y2="16"/></svg> {escaped(text)}</li>'
    )


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
