"""The pictures of a report as files, drawn with matplotlib; they look as they do on the page."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

from ....cache.files.atomic_writes import write_whole
from ...serving.drawing import fonts_for, new_figure, plain
from .markdown.markdown_tables import score
from .markdown.system_order import best_of
from .pictures.kinds import Curve, Dot, Dots, Matrix, Picture
from .pictures.leaderboard import leaderboard
from .pictures.of_section import picture
from .sections import Data

Name = Callable[[str], str]
FORMATS = ("svg", "png")
#: colours of page.css in light
INK, SOFT, GRID, MARK, STRONG = "#1b2026", "#56606b", "#dde1e6", "#7d8a98", "#0b5fa5"
LINES = {"chance": ("#a34a00", (0, (5, 3))), "floor": ("#6a5acd", (0, (1.5, 2.5)))}
SHADES = {"better": "#cfe0ee", "worse": "#f3dfd0", "open": "#f6f7f9", "same": "#ffffff"}
STYLE = {
    "svg.fonttype": "none",  # the viewer has the fonts of more scripts, and shapes them
    "svg.hashsalt": "affekt",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
MOST_ROWS, MOST_SIGNS = 40, 34  # of a figure, of a name
MOST_WITH_TEXT = 30  # names of a matrix whose cells have texts
#: name of the picture and its file -> title, and what has to be in the JSON
SECTIONS = {
    "abstain": ("Answering only when sure, {best}", "abstain"),
    "classes": ("Classes, {best}", "test"),
    "confusion": ("Confusion, {best}", "test"),
    "differences": ("Differences: {pairs}", "pairs"),
    "dimensions": ("CCC of each dimension", "measure"),
    "diversity": ("Diversity", "diversity"),
    "layers": ("Layers", "run"),
    "learning": ("Learning curve of {learner}", "learning_curve"),
    "shortcuts": ("Shortcuts", "audit"),
    "transfer": ("Transfer", "transfer"),
}

OF_NUMBERS = ("differences", "dimensions")  # sections that a regression task has


def figures(
    data: Data, folder: str | PathLike[str], *, suffix: str | tuple[str, ...] = FORMATS
) -> list[Path]:
    """Write the figures of a comparison into a folder.

    Parameters
    ----------
    data
        `Comparison.data`, or the content of repeats.json or runs.json.
    folder
        Where to; made if it is not there. Files of the same names are replaced.
    suffix
        Formats: svg, png, pdf.

    Returns
    -------
    paths
        ``systems`` and, where the data is there, ``differences``, ``by-<column>``,
        ``each-<column>`` of the groups, ``classes``, ``confusion``, ``shortcuts``, ``diversity``,
        ``abstain``, ``reliability``, ``learning`` and ``transfer``, each in every format.

    Raises
    ------
    InputError
        If matplotlib cannot be imported.
    """
    folder = Path(folder)
    new_figure()  # matplotlib is there, before a folder is made
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, shown in pictures(data).items():
        for kind, content in drawn_files(shown, (suffix,) if isinstance(suffix, str) else suffix):
            paths.append(folder / f"{name}.{kind}")
            write_whole(paths[-1], content)
    return paths


def pictures(data: Data) -> dict[str, Picture]:
    """Return what there is to draw, by the name of its file."""
    if "test" not in data:
        return {"systems": leaderboard(data)}
    found: dict[str, Picture | None] = {"systems": leaderboard(data)}
    numbers, best, first = data.get("measure") == "ccc", best_of(data), data["pairs_of"]
    names = {  # a figure is read on its own
        "best": best,
        "learner": data.get("learning_curve_of", best),
        "pairs": f"{first} against each other system" if first else "all pairs",
    }
    for name, (title, needed) in SECTIONS.items():
        if data.get(needed) and (name in OF_NUMBERS or not numbers):
            found[name] = picture(data, name, title.format(**names))
    for column in data["by"]:
        found[f"by-{_signs(column)}"] = picture(data, "by", column)
    group = data["groups"]["column"]
    if group and group not in data["by"] and len(data["groups"]["values"]) > 1:
        found[f"each-{_signs(group)}"] = picture(data, "each", f"Each {group}")
    found["reliability"] = picture(data, "reliability", "")
    return {name: shown for name, shown in found.items() if shown is not None}


def _signs(column: str) -> str:
    return "".join(one if one.isalnum() else "-" for one in column)


def drawn_files(shown: Picture, formats: tuple[str, ...] = FORMATS) -> list[tuple[str, bytes]]:
    """Return a picture as files: pairs of a format and its bytes.

    A name in a script that no font of this machine has is written as boxes with its number, except
    in SVG, which keeps the text itself.
    """
    new_figure()  # or an error with what to do
    import matplotlib

    families, missing = fonts_for(_texts(shown))
    style: Any = {**STYLE, "font.family": families}
    with matplotlib.rc_context(style):
        found, figure = [], None
        for kind in formats:
            is_text = kind == "svg"
            if figure is None or missing:  # one layout, where names are written the same
                figure = _drawn(shown, _short if is_text else _boxes(missing))
            meta = {"Date": None} if kind == "svg" else {"Software": None} if kind == "png" else {}
            with warnings.catch_warnings(), BytesIO() as file:
                if is_text:  # the viewer brings the glyphs
                    warnings.filterwarnings("ignore", "Glyph .* missing from font")
                figure.savefig(file, format=kind, dpi=150, metadata=meta)
                found.append((kind, file.getvalue()))
                figure.set_layout_engine("none")  # every position is fixed now
    return found


def _drawn(shown: Picture, name: Name) -> Any:
    figure = new_figure(figsize=(7.2, 4.0), layout="constrained")
    if isinstance(shown, Dots):
        _dots(figure, shown, name)
    elif isinstance(shown, Matrix):
        _matrix(figure, shown, name)
    else:
        _curve(figure, shown, name)
    return figure


def _texts(shown: Picture) -> list[str]:
    if isinstance(shown, Dots):
        return [shown.title, shown.caption, *shown.head, *(row.name for row in shown.rows)]
    if isinstance(shown, Matrix):
        return [shown.title, shown.caption, *shown.names, "▲▼"]
    return [shown.title, shown.caption, shown.across, shown.up]


def _short(text: str) -> str:
    """Return a text that fits, and that matplotlib does not read as mathematics."""
    return plain(text if len(text) <= MOST_SIGNS else text[: MOST_SIGNS - 1] + "…")


def _boxes(missing: set[str]) -> Name:
    """Return how to write names with missing glyphs: boxes, and a number for each name."""
    numbers: dict[str, int] = {}

    def name(text: str) -> str:
        if not missing & set(text):
            return _short(text)
        number = numbers.setdefault(text, len(numbers) + 1)
        kept = "".join("□" if one in missing else one for one in text)
        return f"{_short(kept)} ({number})"

    return name


def _dots(figure: Any, shown: Dots, name: Name) -> None:
    rows = shown.rows[:MOST_ROWS]
    figure.set_size_inches(7.2, 1.1 + 0.27 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _dot(axes, row, place)
    scale = shown.scale
    for kind, value in shown.lines.items():
        colour, dashes = LINES[kind]
        axes.axvline(value, color=colour, linestyle=dashes, linewidth=1.3, zorder=1)
    axes.set(xlim=(scale.low, scale.high), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xticks(scale.ticks(), [f"{one:.3g}" for one in scale.ticks()], gid="tick")
    axes.set_yticks(range(len(rows)), [name(row.name or "(blank)") for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.strong else "normal")
    caption = [plain(shown.caption)] if shown.caption else []
    if not shown.caption and shown.lines:
        caption = [f"{_DASHES[kind]} line: {kind}." for kind in shown.lines]
    if len(rows) < len(shown.rows):
        caption.append(f"The first {len(rows)} of {len(shown.rows)}.")
    _finish(axes, shown, name, across=shown.measure, caption=" ".join(caption))
    axes.grid(axis="x", color=GRID, linewidth=0.7)


_DASHES = {"chance": "Dashed", "floor": "Dotted"}


def _dot(axes: Any, row: Dot, place: int) -> None:
    colour = STRONG if row.strong else MARK
    if row.interval and None not in row.interval:
        axes.plot(row.interval, [place, place], color=colour, linewidth=2, solid_capstyle="round")
    if row.value is not None:
        axes.plot([row.value], [place], "o", color=colour, markersize=6, clip_on=False)
    if row.cells:
        first = row.cells[0]
        axes.annotate(
            first if isinstance(first, str) else score(first),
            xy=(1.015, place),
            xycoords=("axes fraction", "data"),
            va="center",
            color=SOFT,
            fontsize=8.5,
        )


def _matrix(figure: Any, shown: Matrix, name: Name) -> None:
    from matplotlib.colors import to_rgb

    count = len(shown.names)
    names = [name(one) for one in shown.names]
    size = min(max(3.2, 1.6 + 0.62 * count), 16.0)
    figure.set_size_inches(size + 1.6, size + 0.4)
    axes = figure.subplots()
    paper, full = (1.0, 1.0, 1.0), to_rgb(STRONG)
    shades = [
        [
            to_rgb(SHADES[cell.shade])
            if isinstance(cell.shade, str)
            else _between(paper, full, 0.85 * min(max(cell.shade, 0.0), 1.0))
            for cell in row
        ]
        for row in shown.cells
    ]
    axes.imshow(shades)
    fontsize = min(9.0, 0.62 * 72 * (size - 1.6) / count / 3.6) if count else 9.0
    for y, row in enumerate(shown.cells if count <= MOST_WITH_TEXT else ()):
        for x, cell in enumerate(row):
            dark = not isinstance(cell.shade, str) and cell.shade > 0.85
            more = f"\n{cell.more}" if cell.more and fontsize > 6 else ""
            axes.text(
                *(x, y, f"{cell.text}{more}"),
                ha="center",
                va="center",
                fontsize=fontsize,
                color="white" if dark else INK,
            )
    small = min(9.5, 72 * (size - 1.6) / max(count, 1) * 0.8)
    axes.set_xticks(range(count), names, rotation=35, ha="right", fontsize=small)
    axes.set_yticks(range(count), names, fontsize=small)
    _finish(
        axes, shown, name, across=shown.columns_are, up=shown.rows_are, caption=plain(shown.caption)
    )


def _between(low: tuple[float, ...], high: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(a + share * (b - a) for a, b in zip(low, high, strict=True))


def _curve(figure: Any, shown: Curve, name: Name) -> None:
    figure.set_size_inches(5.2, 3.9)
    axes = figure.subplots()
    colour, dashes = LINES["chance"]
    if shown.diagonal:
        axes.plot([0, 1], [0, 1], color=colour, linestyle=dashes, linewidth=1.3)
    if shown.line is not None:
        axes.axhline(shown.line, color=colour, linestyle=dashes, linewidth=1.3)
    for point, bar in zip(shown.points, shown.bars or (), strict=False):
        if bar is not None:
            axes.plot([point[0]] * 2, bar, color=MARK, linewidth=2)
    across, up = zip(*shown.points, strict=True)
    axes.plot(across, up, color=STRONG, linewidth=1.5)
    for point, share in zip(shown.points, shown.sizes or [0.1] * len(across), strict=True):
        size = 3 + 9 * share**0.5
        axes.plot(*([one] for one in point), "o", color=STRONG, markersize=size, clip_on=False)
    axes.set(xlim=shown.x, ylim=shown.y)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    _finish(axes, shown, name, across=shown.across, up=shown.up)


def _finish(
    axes: Any, shown: Picture, name: Name, *, across: str, up: str = "", caption: str = ""
) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    title = shown.title if len(shown.title) <= 2 * MOST_SIGNS else _short(shown.title)
    axes.set_title(name(title) if title == _short(title) else plain(title))
    width = int(12 * axes.get_figure().get_figwidth())
    axes.set_xlabel("\n".join([across, *textwrap.wrap(caption, width)]))
    if up:
        axes.set_ylabel(up)
