"""The kinds of pictures: rows of dots with bars, curves, shaded tables. All texts are plain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scale:
    """What a row of dots is measured on.

    Attributes
    ----------
    low, high : float
        Ends of the scale.
    """

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float | None]) -> Scale:
        """Return a scale with round ends that holds every value."""
        there = [one for one in values if one is not None]
        low, high = min(there, default=0.0), max(there, default=1.0)
        if high - low < 0.02:
            low, high = low - 0.05, high + 0.05
        step = _round_step((high - low) / 4)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step)

    def ticks(self) -> list[float]:
        """Return three to six round numbers."""
        return steps(self.low, self.high)


@dataclass(frozen=True)
class Dot:
    """One row: a name, a value with its interval, and cells after them.

    Attributes
    ----------
    interval : pair of float, or None
    cells : sequence of str or mapping
        What follows the mark: texts, or measures with ``value`` and ``interval``.
    strong : bool
        Whether it stands out.
    clips_of : pair of str, optional
        Column and value of the clips that the row is about.
    """

    name: str
    value: float | None
    interval: Sequence[float | None] | None = None
    cells: Sequence[str | Mapping[str, Any]] = ()
    strong: bool = False
    clips_of: tuple[str, str] | None = None


@dataclass(frozen=True)
class Dots:
    """Rows of dots with bars on one scale.

    Attributes
    ----------
    measure : str
        What the dots show.
    head : sequence of str
        Over the names and over the cells.
    lines : mapping of str to float
        ``chance`` or ``floor`` -> position of that line.
    caption : str
        What the lines mean.
    """

    title: str
    measure: str
    head: Sequence[str]
    rows: Sequence[Dot]
    lines: Mapping[str, float] = field(default_factory=dict)
    caption: str = ""

    @property
    def scale(self) -> Scale:
        """A scale for every value, interval and line."""
        values = [one for row in self.rows for one in (row.value, *(row.interval or ()))]
        return Scale.around([*values, *self.lines.values()])


@dataclass(frozen=True)
class Curve:
    """A line through points, and the labels of its axes.

    Attributes
    ----------
    across, up : str
        Titles of the axes.
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
    caption : str
        How to read it.
    """

    title: str
    points: Sequence[tuple[float, float]]
    across: str
    up: str
    x: tuple[float, float]
    y: tuple[float, float]
    bars: Sequence[tuple[float, float] | None] | None = None
    sizes: Sequence[float] | None = None
    diagonal: bool = False
    line: float | None = None
    caption: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a matrix.

    Attributes
    ----------
    text, more : str
        Its text, and smaller text after that.
    shade : float or str
        From 0 to 1, or a class of the style sheet: better, worse, open, same.
    """

    text: str
    shade: float | str = 0.0
    more: str = ""


@dataclass(frozen=True)
class Matrix:
    """A table with the same names over rows and columns, its cells shaded.

    Attributes
    ----------
    caption : str
        How to read it.
    """

    title: str
    rows_are: str
    columns_are: str
    names: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    caption: str = ""


Picture = Dots | Curve | Matrix


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
