"""A timeline as a figure: the probabilities over time, one panel for each recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...cache.files.atomic_writes import written
from ...cache.manifest import Manifest
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from .drawing import new_figure, plain
from .timeline import timeline_rows

PANELS = 12  # recordings in one figure
MADE_BY = "affekt predict --figure"


def is_figure(head: bytes) -> bool:
    """Whether a file begins as `draw_timeline` writes PNG and SVG."""
    return head.startswith((b"\x89PNG", b"<?xml")) and MADE_BY.encode() in head


def draw_timeline(path: Path, clips: Manifest, predictions: Predictions) -> tuple[int, int]:
    """Draw the probabilities over time, one panel for each recording (at most twelve).

    Parameters
    ----------
    path : Path
        Its ending says the format.
    clips : Manifest
        Of `affekt.classify.serving.timeline.windows`.
    predictions : Predictions
        At least one.

    Returns
    -------
    shown, all : int
        Numbers of recordings.

    Raises
    ------
    InputError
        matplotlib cannot be imported.
    """
    found: dict[str, list[tuple[float, np.ndarray]]] = {}
    for name, start, end, _, proba in timeline_rows(clips, predictions):
        found.setdefault(name, []).append(((start + end) / 2, proba))
    shown = list(found)[:PANELS]
    figure = new_figure(figsize=(8, 0.8 + 1.8 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for panel, name in zip(panels, shown, strict=True):
        times = [time for time, _ in found[name]]
        stack = np.stack([proba for _, proba in found[name]])
        for column, label in enumerate(predictions.labels):
            panel.plot(times, stack[:, column], marker="o", markersize=3, label=plain(label))
        if isinstance(predictions, Estimates):
            panel.set_ylabel("predicted")
        else:
            panel.set_ylim(-0.02, 1.02)
            panel.set_ylabel("probability")
        panel.set_title(plain(name), fontsize=9)
    panels[-1].set_xlabel("time in seconds")
    panels[0].legend(fontsize=8)
    with written(path) as draft:
        kind = path.suffix.lower().removeprefix(".")
        made_by = {"png": {"Software": MADE_BY}, "svg": {"Creator": MADE_BY}}.get(kind)
        figure.savefig(draft, dpi=150, format=kind, metadata=made_by)
    return len(shown), len(found)
