"""Which clips the browser of a page shows, and what of them: as many as a page can hold."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from .....cache.errors import InputError
from ....data.splitting.leaks import speakers
from ..markdown.report import ordered

if TYPE_CHECKING:
    from .....cache.manifest import Manifest
    from ....data.predictions import Predictions

__all__ = ["clip_rows"]

Data = Mapping[str, Any]
MOST_BYTES = 1_200_000  # of all rows, so that a page stays below 2 MB
MOST_SYSTEMS = 6
MOST_ANSWERS = 4  # labels whose probability is kept, by system
MOST_TEXT = 300


def clip_rows(
    data: Data, predictions: Mapping[str, Predictions], clips: Manifest, folder: Path
) -> dict[str, Any]:
    """Return the test clips on which systems differ or the best is wrong, worst first.

    Parameters
    ----------
    data : mapping
        `Comparison.data`.
    predictions : mapping of str to Predictions
        Of every system, in the order of `clips`.
    clips : Manifest
        The test clips with their labels.
    folder : Path
        Where the page will lie: audio is linked from there, where its file is there.

    Returns
    -------
    dict
        For JSON: ``systems``, the best first; ``labels``; ``clips``, how many test clips there are
        and ``found``, on how many systems differ or the best is wrong; ``rows``, a list for each
        clip that fits: id, text, audio, start, end, language, speaker, number of its label, and
        by system numbers of labels and their probabilities, the most probable first.
    """
    labels = list(data["task"]["labels"])
    names = ordered(data)[:MOST_SYSTEMS]
    proba = np.stack([predictions[name].proba for name in names])
    answers = np.stack([predictions[name].codes for name in predictions])
    place = {label: number for number, label in enumerate(labels)}
    truth = np.array([place[str(label)] for label in clips["label"]])
    own = np.arange(len(truth))
    wrong = predictions[names[0]].codes != truth
    found = np.flatnonzero(wrong | (answers != answers[0]).any(0))
    # surely wrong first: the probability of the wrong answer less that of the right one
    doubt = proba[0].max(1) - proba[0][own, truth] + wrong
    found = found[np.argsort(-doubt[found], kind="stable")]
    columns = {
        **{name: clips[name] for name in ("text", "path", "start", "end", "language")},
        "id": clips.ids,
        "speaker": speakers(clips),  # as the tables name them
    }
    rows: list[list[Any]] = []
    size = 0
    for clip in found:
        mine = {name: column[clip] for name, column in columns.items()}
        audio = _audio(clips, int(clip), folder) if mine["path"] else None
        row = _row(mine, audio, int(truth[clip]), proba[:, clip])
        size += len(json.dumps(row, ensure_ascii=False).encode())
        if size > MOST_BYTES:
            break
        rows.append(row)
    return {
        "format": 1,
        "systems": names,
        "labels": labels,
        "clips": len(truth),
        "found": len(found),
        "rows": rows,
    }


def _row(clip: Data, audio: str | None, label: int, proba: np.ndarray) -> list[Any]:
    text = str(clip["text"])
    if len(text) > MOST_TEXT:
        text = text[:MOST_TEXT] + "…"
    times = [
        None if np.isnan(one) else round(float(one), 3) for one in (clip["start"], clip["end"])
    ]
    answers = []
    for one in proba:
        order = np.argsort(-one, kind="stable")[:MOST_ANSWERS].tolist()
        kept = order if label in order else [*order[:-1], label]
        answers.append([value for k in kept for value in (int(k), round(float(one[k]), 3))])
    who = [str(clip["language"]), clip["speaker"]]
    return [clip["id"], text, audio, *times, *who, label, answers]


def _audio(clips: Manifest, at: int, folder: Path) -> str | None:
    """Return the address of a clip's file, from the page; None where it is not at hand."""
    try:
        file = clips.file(at)
        if not file.is_file():
            return None
        relative = os.path.relpath(file.absolute(), folder.absolute())
    except (InputError, OSError, ValueError):  # outside the root, or on another drive
        return None
    return quote(Path(relative).as_posix())
