"""A report as values: sections of texts, lists and tables, which Markdown and the page write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...data.escape import md

Data = Mapping[str, Any]  # of a comparison, as JSON


@dataclass(frozen=True)
class Table:
    """A table; as text it is Markdown.

    Attributes
    ----------
    head, rows : sequence of str
        Cells as Markdown, with names escaped.
    left : int
        How many of the first columns are left-aligned; the others hold numbers.
    intro : str
        Text above, which is left out where a picture stands for the table.

    Examples
    --------
    >>> print(Table(["system", "UAR"], [["mean", "0.7"]]))
    | system | UAR |
    | --- | ---: |
    | mean | 0.7 |
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    intro: str = ""

    def __str__(self) -> str:
        rule = ["---"] * self.left + ["---:"] * (len(self.head) - self.left)
        rows = ["| " + " | ".join(row) + " |" for row in (self.head, rule, *self.rows)]
        return "\n".join([self.intro, "", *rows] if self.intro else rows)


@dataclass(frozen=True)
class Section:
    """A heading and what is below it.

    Attributes
    ----------
    title : str
        Plain text.
    blocks : sequence of str, list or Table
        Paragraphs as Markdown on one line; lists of such lines, in which a list holds what belongs
        to the line before it; tables. Blank ones are left out.
    picture : str
        Which of `pictures.of_section` the page draws; "" for none.
    column : str
        The column whose values the section compares; "" for none.
    """

    title: str
    blocks: Sequence[str | Sequence[Any] | Table]
    picture: str = ""
    column: str = ""


def as_markdown(sections: Iterable[Section], top: str = "#") -> str:
    """Return sections as Markdown, the first one under a heading of another level.

    Examples
    --------
    >>> print(as_markdown([Section("Clips", ["All."]), Section("Runs", [["one", ["of two"]]])]))
    # Clips
    <BLANKLINE>
    All.
    <BLANKLINE>
    ## Runs
    <BLANKLINE>
    - one
      - of two
    <BLANKLINE>
    """
    parts = []
    for section in sections:
        parts.append(f"{'##' if parts else top} {md(section.title)}")
        parts += [
            "\n".join(_lines(one)) if isinstance(one, list) else str(one)
            for one in section.blocks
            if one
        ]
    return "\n\n".join(parts) + "\n"


def _lines(items: Sequence[Any], indent: str = "") -> list[str]:
    lines = []
    for item in items:
        lines += _lines(item, indent + "  ") if isinstance(item, list) else [f"{indent}- {item}"]
    return lines
