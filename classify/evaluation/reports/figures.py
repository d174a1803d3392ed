"""Figures of a comparison, drawn with matplotlib (the extra `plot`); they show no other number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ...serving.drawing import new_figure, plain
from .markdown.shared_sections import columns, ordered

Data = Mapping[str, Any]
BLUE, GREY = "#1f5f8b", "#8c8c8c"


def figures(data: Data, folder: str | PathLike[str], *, suffix: str = "png") -> list[Path]:
    """Write the figures of a comparison into a folder.

    Parameters
    ----------
    data
        `Comparison.data`.
    folder
        Where to; made if it is not there.
    suffix
        Format: png, pdf or svg.

    Returns
    -------
    paths
        ``systems``, ``confusion``, ``classes``, and where the data is there ``by-<column>``,
        ``abstain``, ``reliability``, ``learning`` and ``transfer``.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    folder = Path(folder)
    new_figure()  # matplotlib is there, before a folder is made
    folder.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, Callable[[Any, Data], None]] = {"systems": _systems}
    if data.get("measure") != "ccc":
        jobs["confusion"] = _confusion
    jobs |= {f"by-{_file(column)}": _by(column) for column in data["by"]}
    if data.get("abstain"):
        jobs["abstain"] = _abstain
    if data.get("reliability"):
        jobs["reliability"] = _reliability
    if data.get("learning_curve"):
        jobs["learning"] = _learning
    if data.get("transfer"):
        jobs["transfer"] = _transfer
    paths = []
    for name, draw in jobs.items():
        figure = new_figure(figsize=(6.4, 4.0), layout="constrained")
        draw(figure, data)
        path = folder / f"{name}.{suffix}"
        figure.savefig(path, dpi=150)
        paths.append(path)
    return paths


def _systems(figure: Any, data: Data) -> None:
    names, (lead, title) = ordered(data)[::-1], columns(data)[0]
    figure.set_size_inches(6.4, 1.2 + 0.3 * len(names))
    axes = figure.subplots()
    for row, name in enumerate(names):
        value = data["systems"][name]["test"][lead]
        colour = BLUE if name == data["chosen"] else GREY
        _bar(axes, value, row, colour)
    axes.axvline(_chance(data), color="black", linestyle=":", linewidth=1)
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_xlabel(f"{title} on test (dotted: chance)")


def _chance(data: Data) -> float:
    return 0.0 if data.get("measure") == "ccc" else 1 / len(data["task"]["labels"])


def _confusion(figure: Any, data: Data) -> None:
    name = data["chosen"] or ordered(data)[0]
    counts = data["systems"][name]["test"]["confusion"]
    labels = [_plain(label) for label in data["task"]["labels"]]
    shares = [[n / max(sum(row), 1) for n in row] for row in counts]
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            axes.text(j, i, n, ha="center", va="center", color="wk"[shares[i][j] < 0.5])
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true", title=_plain(name))


def _by(column: str) -> Callable[[Any, Data], None]:
    def draw(figure: Any, data: Data) -> None:
        part, names = data["by"][column]["values"], ordered(data)[:5]
        lead, title = columns(data)[0]
        axes = figure.subplots()
        for place, name in enumerate(names):
            colour = f"C{place}"
            for row, value in enumerate(part.values()):
                height = row + 0.14 * (place - (len(names) - 1) / 2)
                _bar(axes, value["systems"][name][lead], height, colour)
            axes.plot([], [], "o", color=colour, label=_plain(name))
        axes.axvline(_chance(data), color="black", linestyle=":", linewidth=1)
        axes.set_yticks(range(len(part)), [f"{_plain(v)} ({r['clips']})" for v, r in part.items()])
        axes.invert_yaxis()
        axes.set_xlabel(title)
        axes.legend(fontsize="small")

    return draw


def _abstain(figure: Any, data: Data) -> None:
    curve = data["abstain"]["curve"]
    axes = figure.subplots()
    axes.plot([p["coverage"] for p in curve], [p["risk"] for p in curve], "o-", color=BLUE)
    axes.set(xlabel="share of clips answered", ylabel="error rate", ylim=(0, None))


def _reliability(figure: Any, data: Data) -> None:
    bins = data["reliability"]
    most = max(row["clips"] for row in bins)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1)
    for row in bins:
        size = 4 + 10 * (row["clips"] / most) ** 0.5
        axes.plot([row["confidence"]], [row["accuracy"]], "o", color=BLUE, markersize=size)
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))


def _learning(figure: Any, data: Data) -> None:
    axes = figure.subplots()
    points = data["learning_curve"]
    for point in points:
        low, high = point["uar"]["interval"]
        if low is not None:
            axes.plot([point["clips"]] * 2, [low, high], color=GREY)
    axes.plot([p["clips"] for p in points], [p["uar"]["value"] for p in points], "o-", color=BLUE)
    axes.set(xlabel="training clips", ylabel="UAR on test", xscale="log")


def draw_transfer(data: Data, path: Path) -> bool:
    """Draw the heat map of a transfer matrix; do without where matplotlib is not installed.

    Returns
    -------
    drawn : bool
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    _transfer(figure, data)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    return True


def _transfer(figure: Any, data: Data) -> None:
    found = data["transfer"]
    names = found["names"]
    measure = found.get("measure", "uar")  # not in the JSON of the first release
    values = [[found["cells"][a][b][measure]["value"] for b in names] for a in names]
    axes = figure.subplots()
    least = -1.0 if measure == "ccc" else 0.0
    image = axes.imshow(values, cmap="Blues", vmin=max(least, min(map(min, values)) - 0.1))
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            colour = "white" if value > middle else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), [_plain(name) for name in names])
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set(xlabel="tested on", ylabel="trained on")
    figure.colorbar(image, label=measure.upper())


def _bar(axes: Any, value: Data, height: float, colour: str) -> None:
    low, high = value.get("interval") or (None, None)
    if low is not None:
        axes.plot([low, high], [height, height], color=colour, linewidth=2)
    axes.plot([value["value"]], [height], "o", color=colour)


def _plain(text: str) -> str:
    """Return text as `plain` does, cut where it would not fit."""
    return plain(text if len(text) <= 32 else text[:31] + "…")


def _file(text: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in text)
