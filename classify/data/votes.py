"""Soft labels: the votes of several raters for a clip, to train on and to score against.

Three ways to write them in a manifest: one column per class (`votes:anger`, `votes:joy`, ...), JSON
in the label column (`{"anger": 3, "joy": 1}`), counts or shares, or one column per rater. A fourth
is a table of its own, one row for each vote. `with_votes` brings any of the columns and tables into
columns of the task's labels, which a run trains on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...cache.errors import InputError, listed
from ...cache.files.reading import parse_json
from ...cache.manifest import Manifest
from ...cache.manifest.columns import normal
from ...cache.manifest.tables.table import read_table

if TYPE_CHECKING:
    from .task import Task

PREFIX = "votes:"
MAPPED = "votes of "  # columns of the task's labels, as `with_votes` makes them


@dataclass(frozen=True)
class Votes:
    """How raters labelled each clip.

    Attributes
    ----------
    counts : ndarray of shape (clips, classes), float64
        Votes, or shares of votes; every row has some.
    """

    ids: list[str]
    classes: tuple[str, ...]
    counts: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Distributions (clips, classes); rows sum to 1."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)

    @property
    def tied(self) -> int:
        """Number of clips for which two classes lead."""
        return int(((self.counts == self.counts.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def read_votes(clips: Manifest, classes: Sequence[str] | None = None) -> Votes:
    """Read the votes of each clip from `votes:` columns, or from JSON in the label column.

    Parameters
    ----------
    clips : Manifest
    classes : sequence of str, optional
        The classes and their order; by default all that are voted for, sorted.

    Returns
    -------
    Votes

    Raises
    ------
    InputError
        No votes, numbers below 0, a clip without any vote, or a class that is not expected.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> clips = Manifest.from_rows([
    ...     {"id": "a", "text": "oh", "label": '{"joy": 3, "fear": 1}'},
    ...     {"id": "b", "text": "no", "label": '{"fear": 2}'},
    ... ])
    >>> votes = read_votes(clips)
    >>> votes.classes, votes.shares.tolist()
    (('fear', 'joy'), [[0.25, 0.75], [1.0, 0.0]])
    """
    rows = _rows_of_columns(clips) or [
        _from_json(text, clips, i) for i, text in enumerate(clips["label"])
    ]
    found = sorted({name for row in rows for name in row})
    names = tuple(found if classes is None else classes)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise InputError(f"votes for {listed(unknown)}; expected {', '.join(names)}")
    counts = np.zeros((len(rows), len(names)))
    for i, row in enumerate(rows):
        for name, number in row.items():
            counts[i, names.index(name)] = number
    empty = np.flatnonzero(counts.sum(axis=1) <= 0)
    if len(empty):
        raise InputError(
            f"{len(empty)} clips have no vote (first: "
            f"{clips.place(int(empty[0]))}); leave them out or give them one"
        )
    return Votes(clips.ids, names, counts)


def with_votes(
    clips: Manifest, source: Path | Sequence[str] | None, task: Task, *, drop_ties: bool = False
) -> Manifest:
    """Return the clips with a column of votes for each label of the task.

    Raters' labels are mapped as the task maps labels; votes for what it leaves out do not count.
    Where the table has no labels, a clip's label is the raters' most frequent one, of equal ones
    the first in task order.

    Parameters
    ----------
    clips : Manifest
        With columns ``votes:LABEL``, unless there is a source.
    source : path, sequence of str or None
        Table with a row for each vote: ``id``, ``label``, and perhaps ``count``; or columns of the
        clips, each with the label of one rater. A blank cell is not a vote.
    drop_ties : bool
        Give a clip for which several labels lead no label, in place of the first of them.

    Raises
    ------
    InputError
        No votes, a label that the task does not have, a number below 0, an id that is not there.

    Examples
    --------
    >>> from affekt.classify.data.task import Task
    >>> rows = [{"id": "a", "text": "oh", "votes:joy": 2, "votes:anger": 1, "votes:surprise": 4}]
    >>> clips = with_votes(Manifest.from_rows(rows), None, Task.named("valence"))
    >>> clips["label"].tolist(), task_votes(clips, Task.named("valence")).counts.tolist()
    (['positive'], [[1.0, 0.0, 2.0]])
    """
    rows = _rows_of(clips, source)
    if not rows:
        raise InputError(
            f"{clips.source} has no columns of votes; expected {PREFIX}anger, {PREFIX}joy, ..., or "
            "votes: TABLE.csv with the columns id and label, one row for each vote"
        )
    counts = np.zeros((len(clips), len(task.labels)))
    for at, (row, dataset) in enumerate(zip(rows, clips["dataset"], strict=True)):
        for raw, number in row.items():
            try:
                label = task.label_of(raw, dataset) if number else None
            except InputError as error:
                where = source if isinstance(source, Path) else clips.source
                raise InputError(f"{where}: a vote for {clips.ids[at]!r}: {error}") from None
            if label is not None:
                counts[at, task.labels.index(label)] += number
    columns = {
        MAPPED + name: list(map(repr, counts[:, at].tolist()))
        for at, name in enumerate(task.labels)
    }
    if "label" not in clips or not any(clips["label"]):
        top = [task.labels[at] for at in counts.argmax(axis=1)]
        leading = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1)
        clear = counts.any(axis=1) & ((leading == 1) | (not drop_ties))
        given = [name if one else "" for name, one in zip(top, clear, strict=True)]
        columns["label"] = [_raw(task, name) if name else "" for name in given]
    return clips.with_columns(**columns)


def task_votes(clips: Manifest, task: Task) -> Votes:
    """Return the votes of clips that `with_votes` made, in task order; each has one or more."""
    columns = [clips[MAPPED + name] for name in task.labels]
    counts = np.array([[float(cell) for cell in column] for column in columns]).T
    empty = np.flatnonzero(counts.sum(axis=1) <= 0)
    if len(empty):
        raise InputError(
            f"{len(empty)} clips have a label and no vote for {', '.join(task.labels)} (first: "
            f"{clips.place(int(empty[0]))}); give them one, or leave them out"
        )
    return Votes(clips.ids, task.labels, counts)


def _raw(task: Task, label: str) -> str:
    """Return a raw label that the task maps to a label, so that it can be mapped again."""
    own = [raw for raw, to in task.map.items() if to == label]
    return label if label in own else own[0]


def _rows_of(clips: Manifest, source: Path | Sequence[str] | None) -> Sequence[dict[str, float]]:
    if source is None:
        return _rows_of_columns(clips)
    if isinstance(source, Path):
        return _rows_of_table(clips, source)
    given = zip(*(clips[name] for name in source), strict=True)
    return [dict(Counter(filter(None, row))) for row in given]


def _rows_of_columns(clips: Manifest) -> list[dict[str, float]]:
    """Return the votes in columns, ``[]`` where there are none."""
    columns = [name for name in clips.columns if name.startswith(PREFIX)]
    if not columns:
        return []
    return [
        {n[len(PREFIX) :]: _number(clips[n][i], clips.place(i)) for n in columns if clips[n][i]}
        for i in range(len(clips))
    ]


def _rows_of_table(clips: Manifest, path: Path) -> list[dict[str, float]]:
    table = read_table(path)
    if {"id", "label"} - set(table.columns):
        raise InputError(
            f"{path} has the columns {', '.join(table.columns)}; expected id and label, one row "
            "for each vote, and perhaps count"
        )
    known: dict[str, dict[str, float]] = {clip: defaultdict(float) for clip in clips.ids}
    ids, labels = normal(table.columns["id"]), table.columns["label"]
    counts = table.columns.get("count", [""] * len(table))
    for row, (clip, label, count) in enumerate(zip(ids, labels, counts, strict=True)):
        if clip in known and label:  # a table may be of more clips than take part
            known[clip][label] += _number(count, table.place(row)) if count else 1.0
    if not any(known.values()):
        raise InputError(f"{path} has no vote for any of the {len(clips)} clips; check the ids")
    return [known[clip] for clip in clips.ids]


def _from_json(text: str, clips: Manifest, position: int) -> dict[str, float]:
    try:
        row = parse_json(text, parse_constant=float)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InputError(
            f"{clips.place(position)}: label is {text!r}; expected votes as "
            f'JSON ({{"anger": 3, "joy": 1}}), or columns named {PREFIX}anger, {PREFIX}joy, ...'
        )
    return {name: _number(value, clips.place(position)) for name, value in row.items()}


def _number(value: object, place: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise InputError(f"{place}: {value!r} votes; expected a number of at least 0")
    return number
