"""The Markdown of a report as HTML, so that both have the same text.

Every text of a page goes through `escaped` or `inline`: no other function of this folder puts text
into HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from ..sections import Table

_TOKEN = re.compile(r"\\(?P<sign>.)|`(?P<code>[^`]*)`|(?P<strong>\*\*)|(?P<em>\*)")
_REPORT = re.compile(r"(?P<folder>(?!\.\.)[\w.-]+)/report\.md")
_AUTO = ' dir="auto"'


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


def _text(markdown: str) -> str:
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        markdown = markdown.replace(entity, sign)
    return escaped(markdown)


def _code(text: str) -> str:
    if match := _REPORT.fullmatch(text):
        folder = escaped(match["folder"])
        return f'<a href="{folder}/report.html">{folder}</a>'
    return f"<code>{escaped(text)}</code>"


def block_html(block: str | Sequence[Any] | Table, title: str) -> str:
    """Return a block of a section as HTML; `title` is what a screen reader calls a table."""
    if isinstance(block, Table):
        rows = [[inline(cell) for cell in row] for row in (block.head, *block.rows)]
        numbers = [at >= block.left for at in range(len(block.head))]
        intro = block_html(block.intro, title) if block.intro else ""
        return intro + table_html(rows[0], rows[1:], numbers, title)
    if isinstance(block, str):
        return f'<p dir="auto">{inline(block)}</p>'
    return f"<ul>{_items(block)}</ul>"


def _items(items: Sequence[Any], kind: str = "") -> str:
    return "".join(
        _items(item, ' class="inner"')
        if isinstance(item, list)
        else f"<li{kind}>{inline(item)}</li>"
        for item in items
    )


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
        f'<div class="scroll" role="group" tabindex="0" aria-label="{escaped(title)}">'
        f'<table class="{classes}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
