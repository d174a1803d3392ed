"""What a probe found: a table, a data frame and a figure of the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from affekt.notebook import frame

from ...cache.files.atomic_writes import written
from ..serving.drawing import new_figure, plain

MADE_BY = "affekt probe --figure"


class Probe:
    """UAR by layer, and the layer and C that inner folds chose.

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

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each layer, and for each layer and language where there are several.

        Columns: ``space, layer, C, language`` ("all" for all clips), ``uar, low, high`` (NaN where
        there are too few speakers for an interval) and ``chosen``.
        """
        found = []
        for one in self.data["layers"]:
            same = all(one[key] == self.chosen[key] for key in ("space", "layer"))
            parts = {"all": one["uar"], **one["uar"].get("by_language", {})}
            for language, value in parts.items():
                low, high = value["interval"] or (float("nan"), float("nan"))
                head = {"space": one["space"], "layer": one["layer"], "C": one["C"]}
                score = {"uar": value["value"], "low": low, "high": high}
                found.append({**head, "language": language, **score, "chosen": same})
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
        chosen, several = self.chosen, len(self.data["spaces"]) > 1
        lines = []
        for space in self.data["spaces"]:
            own = [one for one in self.data["layers"] if one["space"] == space]
            languages = list(own[0]["uar"].get("by_language", {}))
            head = "layer    UAR  95 % interval      C"
            lines += [space, head + "".join(f"  {name:>7}" for name in languages)]
            for one in own:
                is_chosen = (space, one["layer"]) == (chosen["space"], chosen["layer"])
                value = one["uar"]
                cells = [f"{'*' if is_chosen else ''}{one['layer']}".rjust(5)]
                cells += [f"{value['value']:.3f}", _interval(value).rjust(13), f"{one['C']:>5g}"]
                cells += [f"{value['by_language'][name]['value']:>7.3f}" for name in languages]
                lines.append("  ".join(cells))
        for fold in self.data["folds"]:
            where = f"{fold['space']}, " if several else ""
            lines.append(
                f"{fold['name']}: {where}layer {fold['layer']}, C {fold['C']:g}: "
                f"UAR {fold['uar']:.3f}"
            )
        where = f"{chosen['space']}, " if several else ""
        value = self.data["uar"]
        lines.append(f"Chosen on inner folds: {where}layer {chosen['layer']}, C {chosen['C']:g}.")
        interval = f" ({_interval(value)})" if value["interval"] else ""
        lines.append(
            f"UAR of a layer chosen this way: {value['value']:.3f}{interval} on "
            f"{self.data['tested']} clips "
            "of the outer folds."
        )
        return "\n".join(lines)

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw UAR by layer, a line for each space; a panel for all clips and for each language.

        Parameters
        ----------
        path : path, optional
            Write the figure there; the ending says the format.

        Returns
        -------
        matplotlib.figure.Figure
            Shades are 95 % intervals over speakers; the dotted line is chance.

        Raises
        ------
        InputError
            matplotlib cannot be imported.
        """
        rows = self.rows()
        languages = list(dict.fromkeys(row["language"] for row in rows))
        figure = new_figure(figsize=(1.6 + 4.8 * len(languages), 4.0), layout="constrained")
        panels = figure.subplots(1, len(languages), sharey=True, squeeze=False)[0]
        for panel, language in zip(panels, languages, strict=True):
            for space in self.data["spaces"]:
                own = [r for r in rows if (r["space"], r["language"]) == (space, language)]
                layers = [row["layer"] for row in own]
                (line,) = panel.plot(
                    layers, [row["uar"] for row in own], "o-", markersize=3, label=plain(space)
                )
                low, high = ([row[key] for row in own] for key in ("low", "high"))
                panel.fill_between(layers, low, high, color=line.get_color(), alpha=0.15)
                for row in own:
                    if row["chosen"]:
                        panel.plot(row["layer"], row["uar"], "*", markersize=12, color="black")
            panel.axhline(1 / len(self.data["task"]["labels"]), color="black", linestyle=":", lw=1)
            panel.set(xlabel="layer", title="" if len(languages) == 1 else plain(language))
            panel.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel("UAR on outer folds (dotted: chance)")
        panels[0].legend(fontsize="small")
        if path is not None:
            kind = Path(path).suffix.lower().removeprefix(".")
            made_by = {"png": {"Software": MADE_BY}, "svg": {"Creator": MADE_BY}}.get(kind)
            with written(Path(path)) as draft:
                figure.savefig(draft, dpi=150, format=kind, metadata=made_by)
        return figure

    def __repr__(self) -> str:
        return f"Probe of {', '.join(self.data['spaces'])}: {self.chosen}"


def is_figure(head: bytes) -> bool:
    """Whether a file begins as `Probe.plot` writes PNG and SVG."""
    return head.startswith((b"\x89PNG", b"<?xml")) and MADE_BY.encode() in head


def _interval(value: Mapping[str, Any]) -> str:
    return "{:.3f} - {:.3f}".format(*value["interval"]) if value["interval"] else "-"
