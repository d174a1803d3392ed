"""Long recordings as a timeline: one prediction for each window, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from ...cache.errors import InputError
from ...cache.files.atomic_writes import write_whole
from ...cache.manifest import Manifest
from ..data.escape import csv_text, defused
from ..data.estimates import Estimates
from ..data.predictions import Predictions
from ..data.task_file import check_columns
from ..models.new_clips.modalities_seen import Reason
from .drawing import new_figure, plain, save_figure

LONGEST = 4 * 3600.0  # seconds of a recording, as of a clip that is embedded
MOST = 1_000_000  # windows of all recordings
PANELS = 12  # recordings in one figure
MADE_BY = "affekt predict --figure"
SHORTEST = 0.001  # seconds between two starts; ids resolve a tenth of it


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


def check_window(window: float, hop: float) -> None:
    """Raise an `InputError` for lengths that cannot be used."""
    if not SHORTEST <= hop <= window:
        raise InputError(
            f"window {window:g} s, hop {hop:g} s; expected {SHORTEST:g} <= hop <= window"
        )


def window_id(recording: str, start: float, end: float) -> str:
    """Return the id of a window.

    Examples
    --------
    >>> window_id("talk.wav", 2.0, 6.0)
    'talk.wav#2.00-6.00'
    """
    return f"{recording}#{_time(start)}-{_time(end)}"


def windows(clips: Manifest, window: float, hop: float) -> tuple[Manifest, dict[str, Reason]]:
    """Cut the recordings of a manifest into overlapping segments.

    Parameters
    ----------
    clips : Manifest
        With paths; a text of a clip is kept for each of its windows.
    window, hop : float
        Length of a window and time from one start to the next, in seconds.

    Returns
    -------
    windows : Manifest
        Ids are ``CLIP#START-END``; the column ``recording`` holds the clip's id.
    failed : dict of str to Reason
        Of clips that have no length.

    Raises
    ------
    InputError
        Lengths that are not positive numbers; over a million windows.
    """
    from ..models.new_clips.own_encoders import measuring

    check_window(window, hop)
    rows, failed = [], {}
    lengths: dict[Path, float | Reason] = {}
    with measuring() as length_of:
        for position, clip in enumerate(clips):
            if not clip.path:
                failed[clip.id] = ("no audio", "")
                continue
            file = clips.file(position)
            if clip.end is None and file not in lengths:  # to find it, a file is read whole
                lengths[file] = length_of(file)
            end = lengths[file] if clip.end is None else clip.end
            if isinstance(end, tuple):
                failed[clip.id] = end
                continue
            begin = clip.start or 0.0
            length = end - begin
            if not length > 0:
                failed[clip.id] = "bad_segment", f"{length:g} s; expected more than 0"
                continue
            if length > LONGEST:
                hint = "cut it into segments (start, end)"
                failed[clip.id] = "too_long", f"{length:.1f} s, the limit is {LONGEST:g} s; {hint}"
                continue
            if len(rows) + (length - window) / hop > MOST:
                raise InputError(
                    f"--hop {hop:g} makes over {MOST:,} windows of these recordings, the limit; "
                    "choose a longer one, or fewer recordings"
                )
            for start, stop in spans(length, window, hop):
                first, last = round(begin + start, 4), round(begin + stop, 4)
                rows.append(
                    {
                        "id": window_id(clip.id, first, last),
                        "path": str(file),
                        "start": first,
                        "end": last,
                        "text": clip.text,
                        "recording": clip.id,
                    }
                )
    if not rows:
        return clips.select([]), failed
    return Manifest.from_rows(rows, root="/", source="windows", allow_outside=True), failed


def _time(seconds: float) -> str:
    """Return seconds as they are, to 0.1 ms: two windows never share an id."""
    text = f"{seconds:.4f}"
    return text[:-2] if text.endswith("00") else text


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
    """Write a CSV: id of the recording, start, end, and the columns of `Predictions.write`."""
    check_columns(predictions.labels, path, ("id", "start", "end", "label"))
    rows = [
        [defused(name), start, end, *predictions.cells(label, row)]
        for name, start, end, label, row in timeline_rows(clips, predictions)
    ]
    write_whole(Path(path), csv_text([["id", "start", "end", *predictions.columns], *rows]))


def draw_timeline(
    path: Path, clips: Manifest, predictions: Predictions, limits: np.ndarray | None = None
) -> tuple[int, int]:
    """Draw the probabilities over time, one panel for each recording (at most twelve).

    Parameters
    ----------
    path : Path
        The extension gives the format.
    clips : Manifest
        Of `affekt.classify.serving.timeline.windows`.
    predictions : Predictions
        At least one.
    limits : ndarray of shape (dimensions, 2), optional
        Least and largest number of each scale; if all are alike, the axis shows the whole scale.

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
            if limits is not None and (limits == limits[0]).all():
                low, high = min(stack.min(), limits[0, 0]), max(stack.max(), limits[0, 1])
                panel.set_ylim(low - (high - low) / 50, high + (high - low) / 50)
        else:
            panel.set_ylim(-0.02, 1.02)
            panel.set_ylabel("probability")
        panel.set_title(plain(name), fontsize=9)
    panels[-1].set_xlabel("time in seconds")
    panels[0].legend(fontsize=8)
    save_figure(figure, path, MADE_BY)
    return len(shown), len(found)
