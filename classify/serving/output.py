"""How predictions are printed: a table, lines of JSON, or bars for each clip."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...cache.errors import InputError, listed, one_line
from ...cache.files.atomic_writes import write_whole, written
from ...cache.files.reading import parse_json
from ..data.escape import cell, csv_text, defused
from ..data.estimates import PREFIX, Estimates
from ..models.new_clips.modalities_seen import Reason, reason_text
from ..options import to_stderr

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ..data.predictions import Predictions
    from ..models.new_clips.answer import Answer

FEW = 5  # clips of one reason that are named one by one
SHOWN = 20  # clips that are printed readably; more become a table
STARTS = (("id", "label"), ("id", "start", "end", "label"))  # of headers; labels follow
SPAN = ["id", "start", "end"]  # of windows, before the columns of numbers


#: what a remark means for an answer
MEANS = {
    "low_rate": " (sampled at fewer Hz than the model reads: often wrong if training was not)",
    "unlike_training": " (far from all that the model was trained on: do not trust the answer."
    " Recorded in another way, such as at another sampling rate, or much longer or shorter?)",
    "outside_scale": " (a number far outside of the scale, which no rater could have given: do not"
    " trust the answer)",
    "separate_channels": " (perhaps two people on a telephone: the answer is of both together)",
}


def say_remarks(answer: Answer, unread: Mapping[str, Reason], *, window: bool) -> None:
    """Print on stderr what was not predicted and why, and what was predicted with a remark.

    Parameters
    ----------
    unread : mapping of str to Reason
        Of clips that were not even tried.
    window : bool
        Whether this is a timeline already; else one is the advice for what is too long.
    """
    reasons = {name: reason_text(reason) for name, reason in unread.items()} | answer.reasons
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    codes = {name: code for name, (code, _) in unread.items()} | answer.failed
    shown: Counter[str] = Counter()
    others: dict[str, list[str]] = {}
    for reason, names in by_reason.items():
        code = codes[names[0]]
        shown[code] += 1
        if shown[code] > FEW:  # each with a reason of its own, such as its path
            others.setdefault(code, []).extend(names)
            continue
        for named in map(one_line, names) if len(names) <= FEW else [listed(names)]:
            to_stderr(f"{named}: not predicted: {reason}")
    for code, names in others.items():
        to_stderr(f"{listed(names)}: not predicted: {code}")
    if not window and "too_long" in answer.failed.values():
        to_stderr("For audio that is too long for the model, make a timeline with --window SECONDS")
    by_remark: dict[str, list[str]] = {}
    for name, remark in answer.one_sided.items():
        by_remark.setdefault(remark, []).append(name)
    for note in answer.notes:
        to_stderr(note)
    for remark, names in (*by_remark.items(), *answer.flags.items()):
        to_stderr(f"{listed(names)}: {remark}{MEANS.get(remark, '')}")


def write_output(
    path: Path,
    predictions: Predictions,
    rows: Sequence[Mapping[str, Any]],
    windows: Manifest | None = None,
) -> None:
    """Write ``.csv``, with every label, or ``.jsonl``; with no row if nothing was predicted.

    Parameters
    ----------
    rows : sequence of mapping
        Of `as_rows`.
    windows : Manifest, optional
        Of a timeline.
    """
    from .timeline import write_timeline

    if path.suffix == ".jsonl":
        with written(path) as draft:
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif windows is not None:
        write_timeline(path, windows, predictions)
    else:
        predictions.write(path)
    to_stderr(f"{len(rows)} {'predictions' if windows is None else 'windows'}: {path}")


def columns_beside(clips: Manifest, predictions: Predictions) -> dict[str, str]:
    """Return the columns of a table by the names that it has for them.

    Raises
    ------
    InputError
        One is called as a column of the predictions will be.
    """
    names = {
        own[0] if len(own := clips.taken.get(name, (name,))) == 1 else name: name
        for name in clips.columns
        if name != "id"
    }
    if twice := [name for name in _answers(predictions) if name in names]:
        raise InputError(
            f"--keep-columns: {clips.source} has the column {twice[0]}, which the predictions need;"
            " rename it"
        )
    return names


def _answers(predictions: Predictions) -> list[str]:
    return [PREFIX + name.removeprefix(PREFIX) for name in predictions.columns]


def write_beside(path: Path, clips: Manifest, predictions: Predictions) -> None:
    """Write the columns of a table with the predictions behind them, a row for each of its clips.

    Columns have the names of the table, and those of predictions begin with ``predicted_``. They
    are blank where a clip was not predicted.
    """
    found = {name: predictions.cells(label, row) for name, label, row in predictions}
    names, answers = columns_beside(clips, predictions), _answers(predictions)
    blank = [""] * len(answers)
    cells = zip(*(map(_text, clips[name].tolist()) for name in names.values()), strict=True)
    rows = (
        [defused(name), *own, *found.get(name, blank)]
        for name, own in zip(clips.ids, cells, strict=True)
    )
    write_whole(path, csv_text([["id", *names, *answers], *rows]))
    to_stderr(f"{len(found)} predictions for {len(clips)} rows: {path}")


def _text(value: Any) -> str:
    """Return a cell; times are numbers, and NaN where there is none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)


def check_form(option: str, path: Path) -> None:
    """Raise unless the name of a file says that `write_output` can write it."""
    if path.suffix not in (".csv", ".jsonl"):
        raise InputError(f"{option} {path}: expected a name that ends in .csv or .jsonl")


def is_output(head: bytes) -> bool:
    r"""Whether a file begins as `write_output` and `Predictions.write` write it.

    Parameters
    ----------
    head : bytes
        Its beginning, with the first row whole.

    Examples
    --------
    >>> is_output(b"id,label,no,yes\na,yes,0.25,0.75\n"), is_output(b"id,label,age\na,yes,31\n")
    (True, False)
    """
    lines = head.decode("utf-8", "replace").splitlines()[:2]
    try:
        if lines[0].startswith("{"):
            found = parse_json(lines[0], lenient=True)
            numbers = found.get("values")
            return {"id", "label", "score", "scores"} <= found.keys() or (
                {"id", "values"} <= found.keys()
                and isinstance(numbers, dict)
                and all(isinstance(one, float) for one in numbers.values())
            )
        header, *rows = csv.reader(lines)
        if columns := [name for name in header if name.startswith(PREFIX)]:
            numbers = [float(one) for row in rows for one in row[len(header) - len(columns) :]]
            return header[: len(header) - len(columns)] in (["id"], SPAN) and len(numbers) > 0
        after = next(len(names) for names in STARTS if tuple(header[: len(names)]) == names)
        sums = [math.fsum(float(cell) for cell in row[after:]) for row in rows]
    except (ValueError, AttributeError, IndexError, StopIteration, csv.Error):
        return False
    return len(header) > after and all(abs(total - 1) < 1e-3 for total in sums)


def show(predictions: Predictions, rows: Sequence[dict[str, Any]]) -> None:
    """Print each clip with its bars, or a table if there are many."""
    if len(rows) > SHOWN:
        click.echo(_table(predictions), nl=False)
    elif rows:
        click.echo("\n\n".join(map(_readable, rows)))


def as_rows(
    predictions: Predictions, top: int | None, extra: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one row of JSON for each clip: its `top` labels (or numbers), and `extra`."""
    rows = []
    for name, label, proba in predictions:
        if isinstance(predictions, Estimates):
            values = dict(zip(predictions.labels, proba.tolist(), strict=True))
            rows.append({"id": name, "values": values} | dict(extra.get(name, {})))
            continue
        order = sorted(range(len(proba)), key=lambda k: (-proba[k], k))[:top]
        scores = {predictions.labels[k]: float(proba[k]) for k in order}
        row = {"id": name, "label": label, "score": scores[label], "scores": scores}
        rows.append(row | dict(extra.get(name, {})))
    return rows


def _readable(row: dict[str, Any]) -> str:
    """One clip to read: label, confidence, every probability with a bar; or numbers."""
    if "values" in row:
        width = max(len(name) for name in row["values"])
        lines = [f"  {name:<{width}}  {value:8.3f}" for name, value in row["values"].items()]
        return "\n".join([one_line(row["id"]), *lines, *_transcribed(row)])
    width = max(len(label) for label in row["scores"])
    lines = [one_line(row["id"]), f"{row['label']} ({row['score']:.1%})"]
    for label, score in row["scores"].items():
        lines.append(f"  {label:<{width}}  {score:6.1%}  {'#' * round(30 * score)}".rstrip())
    return "\n".join([*lines, *_transcribed(row)])


def _transcribed(row: Mapping[str, Any]) -> list[str]:
    return [f"  transcribed by {row['asr']}: {row['text']!r}"] if row.get("asr") else []


def _table(predictions: Predictions) -> str:
    rows = [["id", *predictions.columns]]
    for name, label, row in predictions:
        first = [cell(name), cell(label)] if label else [cell(name)]
        rows.append([*first, *(f"{value:.4f}" for value in row)])
    return csv_text(rows)
