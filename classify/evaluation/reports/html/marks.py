"""The few marks of a page, drawn as SVG and tables: dots with bars, curves, shaded tables.

Colours are classes of the style sheet, so that they follow light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..markdown.markdown_tables import score
from ..pictures.kinds import Cell, Curve, Dot, Dots, Matrix, Picture, Scale, steps
from .prose import escaped, table_html

WIDTH, HEIGHT = 360, 230  # of a curve, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 40


def drawn(picture: Picture) -> str:
    """Return a picture as HTML, with a line on how to read it."""
    if isinstance(picture, Dots):
        return _dots(picture) + _note(picture.caption)
    if isinstance(picture, Matrix):
        return _matrix(picture) + _note(picture.caption)
    return _note(picture.caption) + _curve(picture)


def _note(text: str) -> str:
    return f'<p class="note">{escaped(text)}</p>' if text else ""


def measured(value: Mapping[str, Any] | None) -> str:
    """Return a measure with its interval as HTML.

    Examples
    --------
    >>> measured({"value": 0.7123, "interval": [0.65, 0.768]})
    '0.712 <span class="span">[0.650, 0.768]</span>'
    """
    text, bracket, span = score(value).partition(" [")
    return f'{text} <span class="span">[{span}</span>' if bracket else text


def _dots(picture: Dots) -> str:
    """Return a table whose second column draws each row's value with its interval."""
    scale, (first, *rest) = picture.scale, (escaped(one) for one in picture.head)
    ticks = "".join(
        f'<text class="tick" x="{_at(scale, one)}" y="12" text-anchor="middle">{one:.3g}</text>'
        for one in scale.ticks()
    )
    axis = (
        f'<span class="unseen">{escaped(picture.measure)}, drawn</span>'
        f'<svg class="axis" aria-hidden="true" width="100%" height="16">{ticks}</svg>'
    )
    body = []
    for row in picture.rows:
        name = _name(row)
        cells = [escaped(one) if isinstance(one, str) else measured(one) for one in row.cells]
        mark = _dot(row, scale, picture.lines)
        body.append([f"<strong>{name}</strong>" if row.strong else name, mark, *cells])
    numbers = [False, False, *(True for _ in rest)]
    return table_html([first, axis, *rest], body, numbers, picture.title, "sortable dots")


def _name(row: Dot) -> str:
    """Return the name of a row; as a link where the page's script can show its clips."""
    shown = escaped(row.name or "(blank)")
    if row.clips_of is None or row.clips_of[0] not in ("language", "speaker"):
        return shown
    column, value = map(escaped, row.clips_of)
    return f'<a href="#clips" data-column="{column}" data-value="{value}">{shown}</a>'


def _at(scale: Scale, value: float) -> str:
    """Return a place on the scale, as SVG measures it; the ends keep a margin for the dot."""
    return f"{3 + 94 * (value - scale.low) / (scale.high - scale.low):.2f}%"


def _dot(row: Dot, scale: Scale, lines: Mapping[str, float]) -> str:
    places = [("grid", one) for one in scale.ticks()] + list(lines.items())
    parts = [
        f'<line class="{kind}" x1="{_at(scale, one)}" x2="{_at(scale, one)}" y1="0" y2="100%"/>'
        for kind, one in places
    ]
    kind = "mark strong" if row.strong else "mark"
    if row.interval and None not in row.interval:
        low, high = (_at(scale, one) for one in row.interval if one is not None)
        parts.append(f'<line class="{kind}" x1="{low}" x2="{high}" y1="50%" y2="50%"/>')
    if row.value is not None:
        parts.append(f'<circle class="{kind}" cx="{_at(scale, row.value)}" cy="50%" r="5"/>')
    return f'<svg aria-hidden="true" width="100%" height="100%">{"".join(parts)}</svg>'


def _curve(what: Curve) -> str:
    """Return a curve as SVG; its numbers are in the table next to it."""

    def x(value: float) -> float:
        low, high = what.x
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(value: float) -> float:
        low, high = what.y
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    parts = []
    for one in steps(*what.y):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(one):.1f}" '
            f'y2="{y(one):.1f}"/><text class="tick" x="{LEFT - 7}" y="{y(one) + 4:.1f}" '
            f'text-anchor="end">{one:.3g}</text>'
        )
    for one in steps(*what.x):
        parts.append(
            f'<text class="tick" x="{x(one):.1f}" y="{HEIGHT - BOTTOM + 17}" '
            f'text-anchor="middle">{one:.3g}</text>'
        )
    if what.diagonal:
        low, high = max(what.x[0], what.y[0]), min(what.x[1], what.y[1])
        parts.append(_line("chance", x(low), y(low), x(high), y(high)))
    if what.line is not None:
        parts.append(_line("chance", LEFT, y(what.line), WIDTH - RIGHT, y(what.line)))
    for point, bar in zip(what.points, what.bars or (), strict=False):
        if bar is not None:
            parts.append(_line("mark", x(point[0]), y(bar[0]), x(point[0]), y(bar[1])))
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in what.points)
    parts.append(f'<polyline class="curve" points="{path}"/>')
    sizes = what.sizes or [0.1] * len(what.points)
    parts += [
        f'<circle class="mark strong" cx="{x(a):.1f}" cy="{y(b):.1f}" '
        f'r="{2.5 + 7 * math.sqrt(size) / 2:.1f}"/>'
        for (a, b), size in zip(what.points, sizes, strict=True)
    ]
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    parts.append(
        f'<text class="name" x="{LEFT + (WIDTH - LEFT - RIGHT) / 2}" y="{HEIGHT - 5}" '
        f'text-anchor="middle">{escaped(what.across)}</text>'
        f'<text class="name" x="12" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle})">{escaped(what.up)}</text>'
    )
    return (
        f'<figure><svg class="plot" role="img" aria-label="{escaped(what.title)}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg></figure>'
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _matrix(picture: Matrix) -> str:
    """Return a table whose cells are shaded by a share, or classed by a word."""
    names = [escaped(name) for name in picture.names]
    long = ' class="long"' if len(names) > 8 else ""
    heads = "".join(f'<th scope="col"><span dir="auto"{long}>{name}</span></th>' for name in names)
    body = []
    for name, row in zip(names, picture.cells, strict=True):
        cells = "".join(f'<td class="{_shade(one.shade)}">{_cell(one)}</td>' for one in row)
        body.append(f'<tr><th scope="row" dir="auto">{name}</th>{cells}</tr>')
    corner = escaped(f"{picture.rows_are} \\ {picture.columns_are}")
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{escaped(picture.title)}">'
        f'<table class="matrix"><thead><tr><th scope="col">{corner}</th>{heads}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return f"{text} <small>{escaped(cell.more)}</small>" if cell.more else text


def _shade(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    return f"s{round(10 * min(max(kind or 0.0, 0.0), 1.0))}"
