"""Assemble `report.html`: one file, no network, from the JSON of a report alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources

from ..pictures.of_section import picture, replaces_table
from ..sections import Data, Section, Table
from .first_screen import first_screen, question
from .marks import drawn
from .prose import block_html, escaped

WRITTEN_BY = '<meta name="generator" content="affekt report">'


def page(data: Data, report: Sequence[Section], clips: Data | None = None) -> str:
    """Return a report as one HTML page.

    Parameters
    ----------
    data : mapping
        `Comparison.data`, or the content of repeats.json or runs.json.
    report : sequence of Section
        The report; its first section is the first screen.
    clips : mapping, optional
        What `clip_rows` returns, for the browser of clips.

    Returns
    -------
    str
        A whole document, with its style sheet, script and data inside.
    """
    head, *sections = report
    style, script = (_file(name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; media-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )
    body = [_section(data, one) for one in sections]
    if clips and clips["rows"]:
        place = next((n for n, one in enumerate(sections) if one.column), 0)
        body.insert(place, _browser("dimensions" in clips))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{WRITTEN_BY}\n"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{question(data, head)}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n'
        f"<main>\n<section>{first_screen(data, head)}</section>\n"
        f'<div class="tools" id="tools"></div>\n{"".join(body)}\n</main>\n'
        f"<footer><p>Written by affekt from {_source(data)}, which has every number of this page."
        "</p></footer>\n" + _data(clips) + f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _file(name: str) -> str:
    return resources.files(__name__.rpartition(".")[0]).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _source(data: Data) -> str:
    if "repeats" in data:
        return "repeats.json"
    return "comparison.json" if "test" in data else "runs.json"


def _section(data: Data, section: Section) -> str:
    shown = picture(data, section.picture, section.column or section.title)
    blocks = section.blocks
    if shown and replaces_table(data, section.picture):
        blocks = [one for one in blocks if not isinstance(one, Table)]
    parts = [block_html(one, section.title) for one in blocks if one]
    if shown:
        parts.insert(len(parts) if section.picture == "reliability" else 0, drawn(shown))
    name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
    return (
        f'<details id="{name}"><summary><h2 dir="auto">{escaped(section.title)}</h2>'
        f"</summary>{''.join(parts)}</details>\n"
    )


def _browser(of_numbers: bool) -> str:
    what = "the largest errors first" if of_numbers else "where systems differ or the best is wrong"
    return (
        f'<details id="clips"><summary><h2>Clips: {what}</h2>'
        '</summary><noscript><p>This part needs JavaScript.</p></noscript><div id="browser">'
        "</div></details>\n"
    )


def _data(clips: Data | None) -> str:
    if not clips or not clips["rows"]:
        return ""
    text = json.dumps(clips, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="clips-data">{text}</script>\n'
