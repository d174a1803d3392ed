"""How good each layer of an encoder is, where a run tried several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....data.escape import md
from .markdown_tables import table

Data = Mapping[str, Any]
FEWEST = 3  # layers of a curve


def layer_curves(data: Data) -> dict[str, list[tuple[int, float]]]:
    """Return the best UAR (or CCC) of each layer, by member and encoder.

    A probe's are those over folds of the training clips, others those on dev. Of a run in folds,
    the first fold's are taken.
    """
    measure, found = data.get("measure", "uar"), {}
    for member, record in (data.get("run") or {}).get("members", {}).items():
        part = record["parts"][0]
        for encoder, probed in part.get("probed", {}).items():
            found[f"{encoder}, probed for {member}"] = dict(enumerate(probed["by_layer"]))
        for encoder in part.get("chosen", {}).get("layers", {}):
            best: dict[int, float] = {}
            for one in part["tried"]:
                layer, score = one["layers"].get(encoder), one.get(f"dev_{measure}")
                if isinstance(layer, int) and layer >= 0 and score is not None:
                    best[layer] = max(float(score), best.get(layer, float(score)))
            found.setdefault(f"{encoder}, tried for {member}", best)
    return {name: sorted(scores.items()) for name, scores in found.items() if len(scores) >= FEWEST}


def layers_section(data: Data) -> str:
    """Return a table of the layers; blank where nothing tried several."""
    curves = layer_curves(data)
    if not curves:
        return ""
    measure = data.get("measure", "uar").upper()
    layers = sorted({layer for points in curves.values() for layer, _ in points})
    rows = []
    for layer in layers:
        scores = [dict(points).get(layer) for points in curves.values()]
        rows.append([str(layer), *("-" if one is None else f"{one:.3f}" for one in scores)])
    text = (
        f"The best {measure} with each layer: on dev, or over folds of the training clips where it "
        "was probed. The best of many layers is picked partly for its luck."
    )
    return f"## Layers\n\n{text}\n\n" + table(["layer", *map(md, curves)], rows)
