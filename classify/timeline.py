"""Long recordings as a timeline: one prediction for each window, as a table and a figure."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from ..cache.errors import InputError
from ..cache.manifest import Manifest
from .predictions import Predictions

__all__ = ["draw_timeline", "spans", "timeline_rows", "windows", "write_timeline"]

LONGEST = 48 * 3600.0  # seconds; a header that claims more is not believed
PANELS = 12  # recordings in one figure


def spans(seconds: float, window: float, hop: float) -> list[tuple[float, float]]:
    """Return start and end of each window in seconds; the last one ends where the sound does.

    Examples
    --------
    >>> spans(9.5, window=4, hop=2)
    [(0.0, 4.0), (2.0, 6.0), (4.0, 8.0), (5.5, 9.5)]
    >>> spans(3.0, window=4, hop=2)
    [(0.0, 3.0)]
    """
    if seconds <= window:
        return [(0.0, seconds)]
    starts = [float(start) for start in np.arange(0, seconds - window + 1e-9, hop)]
    if starts[-1] + window < seconds - 1e-3:
        starts.append(seconds - window)
    return [(start, start + window) for start in starts]


def windows(clips: Manifest, window: float, hop: float) -> Manifest:
    """Cut the recordings of a manifest into overlapping segments.

    Parameters
    ----------
    clips : Manifest
        With paths; a text of a clip is kept for each of its windows.
    window, hop : float
        Length of a window and distance of two beginnings, in seconds.

    Returns
    -------
    Manifest
        Ids are ``CLIP#START-END``; the column ``recording`` holds the clip's id.

    Raises
    ------
    InputError
        Lengths that are no lengths, a file whose length cannot be read.
    """
    import soundfile

    if not 0 < hop <= window:
        raise InputError(f"window {window:g} s, hop {hop:g} s; expected 0 < hop <= window")
    rows = []
    for position, clip in enumerate(clips):
        file = clips.file(position)
        try:
            info = soundfile.info(file)
        except (OSError, soundfile.SoundFileError) as error:
            raise InputError(f"{clips.place(position)}: {clip.path}: {error}") from None
        end = info.duration if clip.end is None else clip.end
        begin = clip.start or 0.0
        if not 0 < end - begin <= LONGEST:
            raise InputError(f"{clip.id}: {end - begin:g} seconds; expected 0 to {LONGEST:g}")
        for start, stop in spans(end - begin, window, hop):
            rows.append(
                {
                    "id": f"{clip.id}#{begin + start:.2f}-{begin + stop:.2f}",
                    "path": str(file),
                    "start": round(begin + start, 4),
                    "end": round(begin + stop, 4),
                    "text": clip.text,
                    "recording": clip.id,
                }
            )
    return Manifest.from_rows(rows, root="/", source="windows", allow_outside=True)


def timeline_rows(
    clips: Manifest, predictions: Predictions
) -> Iterator[tuple[str, float, float, str, np.ndarray]]:
    """Yield recording, start, end, label and probabilities of each window that has them."""
    place = {name: row for row, name in enumerate(clips.ids)}
    for name, label, proba in predictions:
        row = place[name]
        start, end = float(clips["start"][row]), float(clips["end"][row])
        yield str(clips["recording"][row]), start, end, label, proba


def write_timeline(path: str | PathLike[str], clips: Manifest, predictions: Predictions) -> None:
    """Write a CSV: id of the recording, start, end, label, one probability column per class."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "start", "end", "label", *predictions.labels])
        for name, start, end, label, proba in timeline_rows(clips, predictions):
            writer.writerow([name, start, end, label, *map(repr, proba.tolist())])
    draft.replace(path)


def draw_timeline(path: str | PathLike[str], clips: Manifest, predictions: Predictions) -> None:
    """Draw the probabilities over time, one panel for each recording (at most twelve).

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
    found: dict[str, list[tuple[float, np.ndarray]]] = {}
    for name, start, end, _, proba in timeline_rows(clips, predictions):
        found.setdefault(name, []).append(((start + end) / 2, proba))
    shown = list(found)[:PANELS]
    figure = Figure(figsize=(8, 0.8 + 1.8 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for panel, name in zip(panels, shown, strict=True):
        times = [time for time, _ in found[name]]
        stack = np.stack([proba for _, proba in found[name]])
        for column, label in enumerate(predictions.labels):
            panel.plot(times, stack[:, column], marker="o", markersize=3, label=_plain(label))
        panel.set_ylim(-0.02, 1.02)
        panel.set_title(_plain(name), fontsize=9)
        panel.set_ylabel("probability")
    panels[-1].set_xlabel("time in seconds")
    panels[0].legend(fontsize=8)
    figure.savefig(Path(path), dpi=150)


def _plain(text: str) -> str:
    """Return text that matplotlib does not read as mathematics."""
    return "".join(sign if sign.isprintable() else " " for sign in text).replace("$", r"\$")
