"""Names in reports are foreign data: make them harmless in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "[": "{[}",  # after \\\\ it would begin an optional argument
    "|": r"\textbar{}",  # as "<" and ">", another character in LaTeX's oldest font
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def md(text: object) -> str:
    r"""Return text that Markdown and HTML show as it is, on one line.

    Examples
    --------
    >>> md("a|b <b>*x*</b>")
    'a\\|b &lt;b&gt;\\*x\\*&lt;/b&gt;'
    """
    line = _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#!])", r"\\\1", line)


def latex(text: object) -> str:
    r"""Return text that LaTeX prints as it is.

    Examples
    --------
    >>> latex("50 % of wav2vec_2--lr")
    '50 \\% of wav2vec\\_2-{}-lr'
    """
    text = "".join(LATEX.get(sign, sign) for sign in _line(text))
    return re.sub("-(?=-)", "-{}", text)  # two would be printed as a dash


def cell(text: object) -> str:
    """Return text that a spreadsheet does not read as a formula.

    Examples
    --------
    >>> cell("=1+1"), cell("-0.5"), cell("mean")
    ("'=1+1", '-0.5', 'mean')
    """
    line = _line(text)
    formula = line[:1] in ("=", "+", "-", "@", "\t") and not NUMBER.fullmatch(line)
    return "'" + line if formula else line


def defused(text: str) -> str:
    """Return a name for a table that is read back: no formula, and `restored` gives it exactly.

    Examples
    --------
    >>> [defused(name) for name in ("=1+1", "'=1", "-5", "a=b")]
    ["'=1+1", "''=1", '-5', 'a=b']
    >>> restored(defused("=1+1"))
    '=1+1'
    """
    start = text.lstrip("'")[:1]
    return f"'{text}" if start and start in "=+-@\t\r" and not NUMBER.fullmatch(text) else text


def restored(text: str) -> str:
    """Return the name that `defused` made harmless."""
    return text[1:] if text[:1] == "'" and defused(text[1:]) == text else text


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows as a CSV file, which every reader divides in the same way.

    Examples
    --------
    >>> print(csv_text([["id", "label"], ["a,b.wav", "joy"]]), end="")
    id,label
    "a,b.wav",joy
    """
    cells = [[str(one) for one in row] for row in rows]
    # before 3.13 Python leaves a carriage return unquoted, which ends a line elsewhere
    breaks = any("\r" in one for row in cells for one in row)
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if breaks else csv.QUOTE_MINIMAL
    csv.writer(file, lineterminator="\n", quoting=quoting).writerows(cells)
    return file.getvalue()


def _line(text: object) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in str(text))
