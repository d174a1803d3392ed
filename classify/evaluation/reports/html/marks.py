"""The few marks of a page, drawn as SVG and tables: dots with bars, curves, shaded tables.

Colours are classes of the style sheet, so that they follow light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..markdown.markdown_tables import score
from .prose import escaped, table_html

__all__ = ["Curve", "Dot", "Scale", "curve", "dots", "measured", "shaded", "steps"]

WIDTH, HEIGHT = 360, 230  # of a curve, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 40


@dataclass(frozen=True)
class Scale:
    """What a row of dots is measured on.

    Attributes
    ----------
    low, high : float
        Ends of the scale.
    lines : mapping of str to float
        Class of a reference line -> where it stands.
    """

    low: float
    high: float
    lines: Mapping[str, float]

    @classmethod
    def around(cls, values: Sequence[float | None], lines: Mapping[str, float]) -> Scale:
        """Return a scale with round ends that holds every value and line."""
        there = [one for one in (*values, *lines.values()) if one is not None]
        low, high = min(there, default=0.0), max(there, default=1.0)
        if high - low < 0.02:
            low, high = low - 0.05, high + 0.05
        step = _round_step((high - low) / 4)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, lines)

    def at(self, value: float) -> str:
        """Return a place on the scale, as SVG measures it; the ends keep a margin for the dot."""
        return f"{3 + 94 * (value - self.low) / (self.high - self.low):.2f}%"

    def ticks(self) -> list[float]:
        """Return three to six round numbers."""
        return steps(self.low, self.high)


@dataclass(frozen=True)
class Dot:
    """One row: a name, a value with its interval, and cells behind them.

    Attributes
    ----------
    name : str
        HTML.
    value : float or None
    interval : pair of float, or None
    cells : sequence of str
        HTML of the cells behind the mark.
    strong : bool
        Whether it stands out.
    """

    name: str
    value: float | None
    interval: Sequence[float | None] | None = None
    cells: Sequence[str] = ()
    strong: bool = False


@dataclass(frozen=True)
class Curve:
    """A line through points, and what stands on its axes.

    Attributes
    ----------
    points : sequence of pairs of float
    across, up : str
        Titles of the axes, plain text.
    x, y : pair of float
        Ends of the axes.
    bars : sequence of pairs of float, or None
        Interval of each point.
    sizes : sequence of float, or None
        Share of the clips in each point.
    diagonal : bool
        Whether to draw the line of equal x and y.
    line : float, optional
        A level of y to mark.
    """

    points: Sequence[tuple[float, float]]
    across: str
    up: str
    x: tuple[float, float]
    y: tuple[float, float]
    bars: Sequence[tuple[float, float] | None] | None = None
    sizes: Sequence[float] | None = None
    diagonal: bool = False
    line: float | None = None


def measured(value: Mapping[str, Any] | None) -> str:
    """Return a measure with its interval as HTML.

    Examples
    --------
    >>> measured({"value": 0.7123, "interval": [0.65, 0.768]})
    '0.712 <span class="span">[0.650, 0.768]</span>'
    """
    text, bracket, span = score(value).partition(" [")
    return f'{text} <span class="span">[{span}</span>' if bracket else text


def _round_step(least: float) -> float:
    power = 10 ** math.floor(math.log10(least))
    return next(power * one for one in (1, 2, 2.5, 5, 10) if power * one >= least * 0.999)


def steps(low: float, high: float) -> list[float]:
    """Return three to six round numbers between two.

    Examples
    --------
    >>> [round(one, 3) for one in steps(0.3, 0.9)]
    [0.4, 0.6, 0.8]
    """
    step = _round_step((high - low) / 4)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [step * one for one in range(first, last + 1)]


def dots(rows: Sequence[Dot], scale: Scale, head: Sequence[str], title: str, measure: str) -> str:
    """Return a table whose second column draws each row's value with its interval.

    Parameters
    ----------
    rows : sequence of Dot
    scale : Scale
        One for all rows.
    head : sequence of str
        HTML over the names and over the cells.
    title : str
        What a screen reader calls the table.
    measure : str
        What is drawn, plain text.
    """
    ticks = "".join(
        f'<text class="tick" x="{scale.at(one)}" y="12" text-anchor="middle">{one:.3g}</text>'
        for one in scale.ticks()
    )
    axis = (
        f'<span class="unseen">{escaped(measure)}, drawn</span>'
        f'<svg class="axis" aria-hidden="true" width="100%" height="16">{ticks}</svg>'
    )
    first, *rest = head
    body = [
        [f"<strong>{row.name}</strong>" if row.strong else row.name, _dot(row, scale), *row.cells]
        for row in rows
    ]
    numbers = [False, False, *(True for _ in rest)]
    return table_html([first, axis, *rest], body, numbers, title, "sortable dots")


def _dot(row: Dot, scale: Scale) -> str:
    parts = [
        f'<line class="grid" x1="{scale.at(one)}" x2="{scale.at(one)}" y1="0" y2="100%"/>'
        for one in scale.ticks()
    ]
    parts += [
        f'<line class="{kind}" x1="{scale.at(one)}" x2="{scale.at(one)}" y1="0" y2="100%"/>'
        for kind, one in scale.lines.items()
    ]
    kind = "mark strong" if row.strong else "mark"
    if row.interval and None not in row.interval:
        low, high = (scale.at(one) for one in row.interval if one is not None)
        parts.append(f'<line class="{kind}" x1="{low}" x2="{high}" y1="50%" y2="50%"/>')
    if row.value is not None:
        parts.append(f'<circle class="{kind}" cx="{scale.at(row.value)}" cy="50%" r="5"/>')
    return f'<svg aria-hidden="true" width="100%" height="100%">{"".join(parts)}</svg>'


def curve(what: Curve, title: str) -> str:
    """Return a curve as SVG; its numbers stand in the table next to it."""

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
        f'<figure><svg class="plot" role="img" aria-label="{escaped(title)}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg></figure>'
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def shaded(
    names: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[tuple[str, Any]]],
    title: str,
    corner: str,
) -> str:
    """Return a table whose cells are shaded by a share, or classed by a word.

    Parameters
    ----------
    names, columns : sequence of str
        HTML over rows and columns.
    cells : sequence of sequence of (str, float or str)
        HTML of each cell, and a share from 0 to 1 or a class of the style sheet.
    title : str
        What a screen reader calls the table.
    corner : str
        What rows and columns are, plain text.
    """
    long = ' class="long"' if len(columns) > 8 else ""
    heads = "".join(
        f'<th scope="col"><span dir="auto"{long}>{name}</span></th>' for name in columns
    )
    body = []
    for name, row in zip(names, cells, strict=True):
        drawn = "".join(f'<td class="{_shade(kind)}">{text}</td>' for text, kind in row)
        body.append(f'<tr><th scope="row" dir="auto">{name}</th>{drawn}</tr>')
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{escaped(title)}">'
        f'<table class="matrix"><thead><tr><th scope="col">{escaped(corner)}</th>{heads}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _shade(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    return f"s{round(10 * min(max(kind or 0.0, 0.0), 1.0))}"
