"""The clips that the browser of a page shows: the worst errors first, as many as a page holds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from .....cache.errors import InputError
from ....data.scales import ScaleTask
from ....data.splitting.leaks import speakers
from ..markdown.system_order import ordered
from ..sections import Data

if TYPE_CHECKING:
    from .....cache.manifest import Manifest
    from ....data.predictions import Predictions

MOST_BYTES = 1_200_000  # of all rows, so that a page stays below 2 MB
MOST_SYSTEMS = 6
MOST_ANSWERS = 4  # labels whose probability is kept, by system
MOST_TEXT = 300


def clip_rows(
    data: Data, predictions: Mapping[str, Predictions], clips: Manifest, folder: Path
) -> dict[str, Any]:
    """Return the test clips on which systems differ or the best is wrong, worst first.

    Of a task of numbers, return all test clips, the largest error of the best system first.

    Parameters
    ----------
    data : mapping
        `Comparison.data`.
    predictions : mapping of str to Predictions
        Of every system, in the order of `clips`.
    clips : Manifest
        The test clips with their labels or ratings.
    folder : Path
        Where the page will be: audio is linked from there, where its file exists.

    Returns
    -------
    dict
        For JSON: ``systems``, the best first; ``labels``, or ``dimensions`` with their ranges;
        ``clips``, how many test clips there are, and ``found``, how many of them to show; ``rows``,
        a list for each clip that fits: id, text, audio, start, end, language, speaker. Then follow
        the number of its label, and by system numbers of labels and their probabilities, the most
        probable first; or its ratings, and by system what it predicts.
    """
    names = ordered(data)[:MOST_SYSTEMS]
    kind = _Rated if data.get("measure") == "ccc" else _Labelled
    content = kind(data, predictions, clips, names)
    columns = {
        **{name: clips[name] for name in ("text", "path", "start", "end", "language")},
        "id": clips.ids,
        "speaker": speakers(clips),  # as the tables name them
    }
    rows: list[list[Any]] = []
    size = 0
    for clip in content.found:
        mine = {name: column[clip] for name, column in columns.items()}
        audio = _audio(clips, int(clip), folder) if mine["path"] else None
        row = [*_about(mine, audio), *content.row(clip)]
        size += len(json.dumps(row, ensure_ascii=False).encode())
        if size > MOST_BYTES:
            break
        rows.append(row)
    return {
        "format": 1,
        "systems": names,
        **content.head,
        "clips": len(clips),
        "found": len(content.found),
        "rows": rows,
    }


class _Labelled:
    """The labels of clips, and the probabilities that systems give them."""

    def __init__(
        self, data: Data, predictions: Mapping[str, Predictions], clips: Manifest, names: list[str]
    ) -> None:
        labels = list(data["task"]["labels"])
        self.head = {"labels": labels}
        self.proba = np.stack([predictions[name].proba for name in names])
        answers = np.stack([predictions[name].codes for name in predictions])
        place = {label: number for number, label in enumerate(labels)}
        self.truth = np.array([place[str(label)] for label in clips["label"]])
        own = np.arange(len(self.truth))
        wrong = predictions[names[0]].codes != self.truth
        found = np.flatnonzero(wrong | (answers != answers[0]).any(0))
        # surely wrong first: the probability of the wrong answer less that of the right one
        doubt = self.proba[0].max(1) - self.proba[0][own, self.truth] + wrong
        self.found = found[np.argsort(-doubt[found], kind="stable")]

    def row(self, clip: int) -> list[Any]:
        label = int(self.truth[clip])
        answers = []
        for one in self.proba[:, clip]:
            order = np.argsort(-one, kind="stable")[:MOST_ANSWERS].tolist()
            kept = order if label in order else [*order[:-1], label]
            answers.append([value for k in kept for value in (int(k), round(float(one[k]), 3))])
        return [label, answers]


class _Rated:
    """The ratings of clips, and the numbers that systems predict."""

    def __init__(
        self, data: Data, predictions: Mapping[str, Any], clips: Manifest, names: list[str]
    ) -> None:
        task: Any = ScaleTask.from_record(data["task"])
        self.head = {"dimensions": {n: [one.low, one.high] for n, one in task.scales.items()}}
        self.truth = task.ratings(clips)
        self.values = np.stack([predictions[name].values for name in names])
        ranges = np.array([high - low for low, high in self.head["dimensions"].values()])
        error = np.nanmean(np.abs(self.values[0] - self.truth) / ranges, axis=1)
        self.found = np.argsort(-error, kind="stable")

    def row(self, clip: int) -> list[Any]:
        return [_rounded(self.truth[clip]), [_rounded(one) for one in self.values[:, clip]]]


def _rounded(numbers: np.ndarray) -> list[float | None]:
    return [None if np.isnan(one) else round(float(one), 3) for one in numbers]


def _about(clip: Data, audio: str | None) -> list[Any]:
    text = str(clip["text"])
    if len(text) > MOST_TEXT:
        text = text[:MOST_TEXT] + "…"
    times = _rounded(np.array([clip["start"], clip["end"]], dtype=float))
    return [clip["id"], text, audio, *times, str(clip["language"]), clip["speaker"]]


def _audio(clips: Manifest, at: int, folder: Path) -> str | None:
    """Return the address of a clip's file, from the page; None where it is not available."""
    try:
        file = clips.file(at)
        if not file.is_file():
            return None
        relative = os.path.relpath(file.absolute(), folder.absolute())
    except (InputError, OSError, ValueError):  # outside the root, or on another drive
        return None
    return quote(Path(relative).as_posix())
