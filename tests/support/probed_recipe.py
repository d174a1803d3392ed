"""A recipe whose members take the layer that a probe chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from affekt.classify import run


def layers_of_members(corpus: Path, task: str | Path, head: str, a: Any, b: Any, to: Path) -> list:
    """Return the layers that `layers: probe` chose for a member on each of two spaces."""
    recipe = to / "recipe.yaml"
    recipe.write_text(
        f"manifest: {corpus / 'clips.csv'}\ntask: {task}\ncache: {corpus / 'c'}\n"
        f"encoders: {{a: {{space: {a.name}}}, b: {{space: {b.name}}}}}\n"
        "split: {scheme: speaker, dev_size: 0}\n"
        f"members: {{one: {{head: {head}, on: a, layers: probe, refit: true}},"
        f" two: {{head: {head}, on: b, layers: {{b: [probe]}}}}}}\nreport: out\n"
    )
    run(recipe)
    records = [
        json.loads((to / "out" / "members" / name / "member.json").read_text())
        for name in ("one", "two")
    ]
    return [list(one["parts"][0]["chosen"]["layers"].values()) for one in records]
