"""What every figure needs: matplotlib, an extra, and names that it does not read as mathematics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...cache.errors import InputError

__all__ = ["check_figure", "new_figure", "plain"]


def check_figure(path: Path) -> None:
    """Check, before any work, that a figure of this name can be drawn.

    Raises
    ------
    InputError
        matplotlib is not installed, or draws no such format.
    """
    known = sorted(new_figure().canvas.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise InputError(
            f"--figure {path}: expected a name that ends in .png, or another of: "
            f"{', '.join(f'.{one}' for one in known)}"
        )


def new_figure(**options: Any) -> Any:
    """Return an empty matplotlib figure.

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "a figure needs matplotlib, which is not installed: pip install 'affekt[plot]'"
        ) from error
    return Figure(**options)


def plain(text: str) -> str:
    r"""Return text that matplotlib does not read as mathematics.

    Examples
    --------
    >>> plain("$5")
    '\\$5'
    """
    return "".join(sign if sign.isprintable() else " " for sign in text).replace("$", r"\$")
