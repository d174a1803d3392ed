"""How objects show themselves in a notebook: a title, facts and a small table, all escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from affekt.cache.errors import InputError  # pyright: ignore[reportMissingImports]

MOST_ROWS, LONGEST = 10, 80


def shown(
    title: str,
    facts: Mapping[str, Any] | None = None,
    header: Sequence[str] = (),
    rows: Iterable[Sequence[Any]] = (),
    count: int | None = None,
) -> str:
    """Return HTML for `_repr_html_`.

    Parameters
    ----------
    facts : mapping, optional
        Name -> value, a line each.
    rows : iterable of sequence
        Ten are shown.
    count : int, optional
        How many rows there are, if more than are given.

    Examples
    --------
    >>> print(shown("Task <valence>", {"labels": "a & b"}))
    <div><strong>Task &lt;valence&gt;</strong><br>labels: a &amp; b</div>
    """
    lines = [f"<strong>{_text(title)}</strong>"]
    lines += [f"{_text(name)}: {_text(value)}" for name, value in (facts or {}).items()]
    html = "<br>".join(lines)
    taken = [row for row, _ in zip(rows, range(MOST_ROWS), strict=False)]
    if header:
        cells = "".join(f"<th>{_text(name)}</th>" for name in header)
        body = "".join(
            f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in taken
        )
        html += f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    if count is not None and count > len(taken):
        html += f"<em>{count - len(taken):,} more</em>"
    return f"<div>{html}</div>"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def frame(content: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
    """Return a pandas DataFrame of columns, or of rows."""
    try:
        import pandas
    except ImportError as error:
        raise InputError(
            "a frame needs pandas, which is not installed: pip install 'affekt[table]'"
        ) from error
    return pandas.DataFrame(content)
