"""What a probe found: a table, a data frame and a figure of the same numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

from affekt.notebook import frame

from ...cache.files.home_folder import at_home
from ..serving.drawing import new_figure, plain, save_figure

MADE_BY = "affekt probe --figure"


class Probe:
    """UAR by layer, and the layer and C that inner folds chose.

    Of a task of numbers, the measure is CCC and the penalty alpha: ``ccc`` and ``alpha`` take the
    place of ``uar`` and ``C`` everywhere, and every score has its ``dimensions``.

    Attributes
    ----------
    data : dict
        Everything, as plain values. ``layers``: for each layer its UAR on the outer folds with a
        95 % interval over speakers, by language where there are several, the C that inner folds
        chose, and ``inner_uar`` for each C. ``folds``: what each outer fold chose, and its UAR.
        ``uar``: of choosing so. ``chosen``: by the mean over all inner folds.

    Examples
    --------
    >>> score = {"value": 0.6, "interval": [0.5, 0.7]}
    >>> found = Probe({"spaces": {"toy": "toy"}, "tested": 20, "warnings": [],
    ...     "task": {"labels": ["no", "yes"]}, "chosen": {"space": "toy", "layer": 1, "C": 0.1},
    ...     "folds": [{"name": "fold 1", "space": "toy", "layer": 1, "C": 0.1, "uar": 0.6}],
    ...     "layers": [{"space": "toy", "layer": 0, "C": 1.0, "uar": score},
    ...                {"space": "toy", "layer": 1, "C": 0.1, "uar": score}], "uar": score})
    >>> print(found.table())
    toy
    layer    UAR  95 % interval      C
        0  0.600  0.500 - 0.700      1
       *1  0.600  0.500 - 0.700    0.1
    fold 1: layer 1, C 0.1: UAR 0.600
    Chosen on inner folds: layer 1, C 0.1.
    UAR of a layer chosen this way: 0.600 (0.500 - 0.700) on 20 clips of the outer folds.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)

    @property
    def chosen(self) -> dict[str, Any]:
        """The ``space``, ``layer`` and ``C`` that the inner folds of all outer folds chose."""
        return self.data["chosen"]

    def to_json(self) -> str:
        """Return `data` as JSON."""
        return json.dumps(self.data, ensure_ascii=False)

    @property
    def measure(self) -> str:
        """``"uar"``, or of a task of numbers ``"ccc"``."""
        return self.data.get("measure", "uar")

    @property
    def penalty(self) -> str:
        """``"C"``, or of a task of numbers ``"alpha"``."""
        return "alpha" if self.measure == "ccc" else "C"

    @property
    def dimensions(self) -> list[str]:
        """Names of the dimensions, for a task of several."""
        names = self.data["task"].get("dimensions", [])
        return names if len(names) > 1 else []

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each layer, and for each layer and language where there are several.

        Columns: ``space, layer, C, language`` ("all" for all clips), ``uar, low, high`` (NaN where
        there are too few speakers for an interval) and ``chosen``. Of several dimensions there are
        rows for each; a column ``dimension``, after ``language``, holds "mean" or its name.
        """
        found = []
        for one in self.data["layers"]:
            same = all(one[key] == self.chosen[key] for key in ("space", "layer"))
            whole = one[self.measure]
            for language, value in {"all": whole, **whole.get("by_language", {})}.items():
                head = {key: one[key] for key in ("space", "layer", self.penalty)}
                head["language"] = language
                parts = value["dimensions"] if self.dimensions else {}
                for dimension, score in {"mean": value, **parts}.items():
                    row = head | ({"dimension": dimension} if self.dimensions else {})
                    low, high = score["interval"] or (math.nan, math.nan)
                    known = math.nan if score["value"] is None else score["value"]
                    row |= {self.measure: known, "low": low, "high": high, "chosen": same}
                    found.append(row)
        return found

    @property
    def frame(self) -> Any:
        """`rows` as a pandas DataFrame.

        Raises
        ------
        InputError
            pandas is not installed.
        """
        return frame(self.rows())

    def table(self) -> str:
        """Return layers, folds and choice as text."""
        chosen, measure, penalty = self.chosen, self.measure, self.penalty
        name, width = measure.upper(), 6 if measure == "ccc" else 5  # CCC may be negative

        def place(one: Mapping[str, Any]) -> str:
            where = f"{one['space']}, " if len(self.data["spaces"]) > 1 else ""
            return f"{where}layer {one['layer']}, {penalty} {one[penalty]:g}"

        lines = []
        for space in self.data["spaces"]:
            own = [one for one in self.data["layers"] if one["space"] == space]
            parts = _parts(own[0][measure], self.dimensions)
            head = ["layer", name.rjust(width), "95 % interval".rjust(2 * width + 3)]
            head += [penalty.rjust(5), *(part.rjust(7) for part in parts)]
            lines += [space, "  ".join(head)]
            for one in own:
                is_chosen = (space, one["layer"]) == (chosen["space"], chosen["layer"])
                value = one[measure]
                cells = [f"{'*' if is_chosen else ''}{one['layer']}".rjust(5)]
                cells += [_number(value).rjust(width), _interval(value).rjust(2 * width + 3)]
                cells.append(f"{one[penalty]:>5g}")
                for part, score in _parts(value, self.dimensions).items():
                    cells.append(_number(score).rjust(max(7, len(part))))
                lines.append("  ".join(cells))
        for fold in self.data["folds"]:
            lines.append(f"{fold['name']}: {place(fold)}: {name} {fold[measure]:.3f}")
        value = self.data[measure]
        lines.append(f"Chosen on inner folds: {place(chosen)}.")
        interval = f" ({_interval(value)})" if value["interval"] else ""
        lines.append(
            f"{name} of a layer chosen this way: {value['value']:.3f}{interval} on "
            f"{self.data['tested']} clips of the outer folds."
        )
        return "\n".join(lines)

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the score by layer, a line for each space.

        There is a panel for all clips and for each language; below, as many for each dimension
        where there are several.

        Parameters
        ----------
        path : path, optional
            Write the figure there; the extension gives the format.

        Returns
        -------
        matplotlib.figure.Figure
            Shades are 95 % intervals over speakers; the dotted line is chance.

        Raises
        ------
        InputError
            matplotlib cannot be imported.
        """
        rows, measure = self.rows(), self.measure
        languages = list(dict.fromkeys(row["language"] for row in rows))
        dimensions = ["mean", *self.dimensions] if self.dimensions else [""]
        size = (1.6 + 4.8 * len(languages), 0.4 + 3.6 * len(dimensions))
        figure = new_figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(dimensions), len(languages), sharey=True, squeeze=False)
        chance = 0 if measure == "ccc" else 1 / len(self.data["task"]["labels"])
        for panel, (dimension, language) in zip(
            panels.flat, product(dimensions, languages), strict=True
        ):
            here = [r for r in rows if r["language"] == language]
            here = [r for r in here if r.get("dimension", "") == dimension]
            for space in self.data["spaces"]:
                own = [row for row in here if row["space"] == space]
                layers = [row["layer"] for row in own]
                (line,) = panel.plot(
                    layers, [row[measure] for row in own], "o-", markersize=3, label=plain(space)
                )
                low, high = ([row[key] for row in own] for key in ("low", "high"))
                panel.fill_between(layers, low, high, color=line.get_color(), alpha=0.15)
                for row in own:
                    if row["chosen"]:
                        panel.plot(
                            *(row["layer"], row[measure], "*"),
                            **{"markersize": 12, "color": line.get_color(), "mec": "black"},
                        )
            panel.axhline(chance, color="black", linestyle=":", lw=1)
            title = ["" if len(languages) == 1 else plain(language), plain(dimension)]
            panel.set(xlabel="layer", title=", ".join(filter(None, title)))
            panel.xaxis.get_major_locator().set_params(integer=True)
        for panel in panels[:, 0]:
            panel.set_ylabel(f"{measure.upper()} on outer folds (dotted: chance)")
        panels[0, 0].legend(fontsize="small")
        if path is not None:
            save_figure(figure, Path(at_home(path)), MADE_BY)
        return figure

    def __repr__(self) -> str:
        return f"Probe of {', '.join(self.data['spaces'])}: {self.chosen}"


def _parts(score: Mapping[str, Any], dimensions: Sequence[str]) -> dict[str, Any]:
    """Return the scores that a table shows next to one: of dimensions, then of languages."""
    found = {name: score["dimensions"][name] for name in dimensions}
    return found | score.get("by_language", {})


def _number(score: Mapping[str, Any]) -> str:
    return "-" if score["value"] is None else f"{score['value']:.3f}"


def _interval(value: Mapping[str, Any]) -> str:
    return "{:.3f} - {:.3f}".format(*value["interval"]) if value["interval"] else "-"
