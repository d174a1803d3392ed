"""What every figure needs: matplotlib, fonts, and names that it does not read as mathematics."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...cache.errors import InputError
from ...cache.files.atomic_writes import written


def check_figure(path: Path) -> None:
    """Check, before any work, that a figure of this name can be drawn."""
    known = sorted(new_figure().canvas.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise InputError(
            f"--figure {path}: expected a name that ends in .png, or another of: "
            f"{', '.join(f'.{one}' for one in known)}"
        )


def new_figure(**options: Any) -> Any:
    """Return an empty matplotlib figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            f"a figure needs matplotlib, which cannot be imported ({error}): "
            "pip install --force-reinstall matplotlib"
        ) from error
    return Figure(**options)


def save_figure(figure: Any, path: Path, made_by: str) -> None:
    """Write a figure in the format of its name, with what made it in the metadata."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": made_by}, "svg": {"Creator": made_by}}.get(kind)
    with written(path) as draft:
        figure.savefig(draft, dpi=150, format=kind, metadata=metadata)


def is_figure(head: bytes, made_by: str) -> bool:
    """Whether a file begins as `save_figure` writes PNG and SVG."""
    return head.startswith((b"\x89PNG", b"<?xml")) and made_by.encode() in head


def plain(text: str) -> str:
    r"""Return text that matplotlib does not read as mathematics.

    Examples
    --------
    >>> plain("$5")
    '\\$5'
    """
    return "".join(sign if sign.isprintable() else " " for sign in text).replace("$", r"\$")


def fonts_for(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """Return font families that have the characters of texts, and the characters in none.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    families : list of str
        For matplotlib's ``font.family``: each supplies the characters missing in those before it.
    missing : set of str
    """
    from matplotlib.font_manager import findfont, fontManager, get_font

    first = "DejaVu Sans"  # comes with matplotlib
    missing = {sign for text in texts for sign in text if sign.isprintable() and sign != " "}
    missing = {sign for sign in missing if not get_font(findfont(first)).get_char_index(ord(sign))}
    families = [first]
    others = {
        font.name: font.fname
        for font in sorted(fontManager.ttflist, key=lambda one: (one.name, one.fname))
        # colour emoji are not drawn, and LastResort has a box for everything
        if font.style == "normal" and not {"Color", "Resort"} & set(font.name.split())
    }
    for name in sorted(others, key=lambda one: (not one.startswith("Noto"), one)):
        if not missing:
            break
        try:
            font = get_font(others[name])
        except (OSError, RuntimeError):  # in the list of fonts, but gone or damaged
            continue
        had = {sign for sign in missing if font.get_char_index(ord(sign))}
        if had:
            families.append(name)
            missing -= had
    return families, missing
