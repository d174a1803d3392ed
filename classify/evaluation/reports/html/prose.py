"""The Markdown of a report as HTML, so that both have the same text.

Every text of a page goes through `escaped` or `inline`: no other function of this folder puts text
into HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

TABLE = '<div class="scroll"'  # how a table begins
_TOKEN = re.compile(r"\\(?P<sign>.)|`(?P<code>[^`]*)`|(?P<strong>\*\*)|(?P<em>\*)")
_REPORT = re.compile(r"(?P<folder>(?!\.\.)[\w.-]+)/report\.md")
_CELLS = re.compile(r"(?<!\\)\|")
_AUTO = ' dir="auto"'


@dataclass
class Section:
    """A heading of a report and what is below it.

    Attributes
    ----------
    title : str
        Plain text.
    blocks : list of str
        HTML of each paragraph, list and table.
    """

    title: str
    blocks: list[str] = field(default_factory=list)


def escaped(text: object) -> str:
    """Return a text as HTML, safe in elements and in quoted attributes.

    Examples
    --------
    >>> escaped('<img src="x">')
    '&lt;img src=&quot;x&quot;&gt;'
    """
    return html.escape("".join(sign if sign.isprintable() else " " for sign in str(text)))


def inline(markdown: str) -> str:
    r"""Return one line of a report's Markdown as HTML; whatever it holds, only our tags are tags.

    Examples
    --------
    >>> inline(r"**a\_b** is &lt;b&gt;, see `all-clips/report.md`")
    '<strong>a_b</strong> is &lt;b&gt;, see <a href="all-clips/report.html">all-clips</a>'
    """
    parts, at, opened = [], 0, []
    for match in _TOKEN.finditer(markdown):
        parts.append(_text(markdown[at : match.start()]))
        at = match.end()
        if match["sign"] is not None:
            parts.append(escaped(match["sign"]))
        elif match["code"] is not None:
            parts.append(_code(match["code"]))
        else:
            tag = "strong" if match["strong"] else "em"
            if opened and opened[-1] == tag:
                parts.append(f"</{opened.pop()}>")
            elif tag not in opened:
                opened.append(tag)
                parts.append(f"<{tag}>")
    parts.append(_text(markdown[at:]))
    return "".join([*parts, *(f"</{tag}>" for tag in reversed(opened))])


def plain(markdown: str) -> str:
    """Return one line of a report's Markdown as plain text."""
    return html.unescape(re.sub(r"<[^>]*>", "", inline(markdown)))


def _text(markdown: str) -> str:
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        markdown = markdown.replace(entity, sign)
    return escaped(markdown)


def _code(text: str) -> str:
    if match := _REPORT.fullmatch(text):
        folder = escaped(match["folder"])
        return f'<a href="{folder}/report.html">{folder}</a>'
    return f"<code>{escaped(text)}</code>"


def read_sections(markdown: str) -> list[Section]:
    """Return the sections of a report; the first one holds what is before any ``##``."""
    found = [Section("")]
    lines = markdown.splitlines()
    row = 0
    while row < len(lines):
        line = lines[row]
        if line.startswith("#"):
            level, _, title = line.partition(" ")
            if level == "#" and len(found) == 1:
                found[0].title = plain(title)
            else:
                found.append(Section(plain(title)))
            row += 1
            continue
        end = row
        kind = _kind(line)
        while end < len(lines) and _kind(lines[end]) == kind:
            end += 1
        if kind:
            found[-1].blocks.append(_block(kind, lines[row:end], found[-1].title))
        row = end
    return found


def _kind(line: str) -> str:
    """Return what a line is part of; blank for an empty one."""
    if not line.strip():
        return ""
    if line.startswith("#"):
        return "heading"
    if line.startswith("| "):
        return "table"
    return "list" if line.lstrip().startswith("- ") else "text"


def _block(kind: str, lines: Sequence[str], title: str) -> str:
    if kind == "table":
        head, rule, *rows = ([c.strip() for c in _CELLS.split(line)[1:-1]] for line in lines)
        numbers = [cell.endswith(":") for cell in rule]
        return table_html(
            [inline(cell) for cell in head],
            [[inline(cell) for cell in row] for row in rows],
            numbers,
            title,
        )
    if kind == "list":
        items = []
        for line in lines:
            text = inline(line.lstrip()[2:])
            items.append(f'<li class="inner">{text}' if line.startswith(" ") else f"<li>{text}")
        return "<ul>" + "".join(f"{item}</li>" for item in items) + "</ul>"
    return f'<p dir="auto">{inline(" ".join(lines))}</p>'


def table_html(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[bool],
    title: str,
    classes: str = "sortable",
) -> str:
    """Return a table in a box of its own that scrolls sideways.

    Parameters
    ----------
    head, rows : sequence of str
        Cells as HTML.
    numbers : sequence of bool
        By column: whether it holds numbers.
    title : str
        What a screen reader calls the table; plain text.
    classes : str
        Of the table; what is sortable gets buttons from the page's script.
    """
    kinds = [' class="n"' if is_number else "" for is_number in numbers]
    heads = "".join(
        f'<th scope="col" dir="auto"{kind}>{cell}</th>' if cell else "<td></td>"
        for cell, kind in zip(head, kinds, strict=True)
    )
    body = []
    for row in rows:
        first, *rest = row
        cells = [f'<th scope="row" dir="auto">{first}</th>']
        cells += [
            f"<td{kind or _AUTO}>{cell}</td>" for cell, kind in zip(rest, kinds[1:], strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'{TABLE} role="group" tabindex="0" aria-label="{escaped(title)}">'
        f'<table class="{classes}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
