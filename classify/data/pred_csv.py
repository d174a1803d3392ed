"""Predictions from tables: CSV files with rounded digits, and pandas DataFrames."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from ...cache.errors import InputError, listed, nearest
from ...cache.files.reading import parse_json
from ...cache.manifest.tables.cells import is_frame, text_of, with_points
from ...cache.manifest.tables.separated import delimiter_of
from ...cache.manifest.tables.sources import opened
from .escape import restored

EXACT = 1e-9
FORMS = (".csv", ".tsv", ".jsonl", ".json")
OWN = ("id", "label")  # columns that are not a class
PREFIX = "predicted_"  # of columns of numbers, so that ratings are never taken for predictions


def check_labels(labels: object) -> None:
    """Check that the labels wanted are a list, where any are."""
    if labels is not None and (isinstance(labels, str) or not isinstance(labels, Iterable)):
        raise InputError(
            f"labels is {labels!r}; expected a list of labels, such as those of a task: "
            "labels=task.labels"
        )


def predictions_of_file(
    kind: type[Any], path: Path, labels: Sequence[str] | None, rename: Mapping[str, str]
) -> Any:
    """Return the predictions in a `pred.csv`; see `Predictions.read`."""
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, expected a file of predictions; those of a run are in "
            f"{path / 'members' / 'NAME' / 'pred.csv'}"
        )
    try:
        with opened(path, (*FORMS, path.suffix.lower())) as source:
            if source.kind in (".parquet", ".xlsx"):
                raise InputError(f"{path}: a {source.kind} file; save the predictions as .csv")
            text = source.text().read()
    except UnicodeError as error:
        raise InputError(f"{path}: not text in UTF-8 ({error}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read as predictions: {error}") from error
    if text.lstrip()[:1] in ("{", "["):
        return _of_json_lines(kind, path, text, labels, rename)
    delimiter = delimiter_of(text.lstrip().partition("\n")[0])
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(lines.line_num, row) for row in lines if row]
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: {error}") from error
    header = _own_names([restored(name.strip()) for name in rows[0][1]] if rows else [])
    if "id" not in header:
        raise InputError(
            f"{path}: columns {header or 'none'}; expected id,label and one column per class. "
            "Name the column of clip ids id"
        )
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise InputError(f"{path}: columns {', '.join(twice)} appear twice; expected each once")
    if "" in header:
        raise InputError(
            f"{path}: column {header.index('') + 1} has no name, as the index that pandas "
            "writes; name it, or write the file with index=False"
        )
    if len(rows) < 2:
        raise InputError(f"{path}: 0 rows; expected one row per clip")
    for line, row in rows[1:]:
        if len(row) != (width := len(header)):
            raise InputError(f"{path}: line {line} has {len(row)} cells; expected {width}")
    cells = {name: [restored(row[c]) for _, row in rows[1:]] for c, name in enumerate(header)}
    given = [name for name in header if name not in OWN]
    cells |= {name: list(with_points(cells[name])) for name in given}
    chosen = [name.strip() for name in cells["label"]] if "label" in cells else None  # as a header
    proba = np.empty((len(rows) - 1, len(given)))
    for column, name in enumerate(given):
        for row, cell in enumerate(cells[name]):
            try:
                proba[row, column] = float(cell)
            except ValueError:
                raise InputError(
                    f"{path}: line {rows[row + 1][0]}, column {name!r}: {cell!r}; expected a number"
                    ", because every column except id and label is the probability of a class. "
                    "Name the column of predicted labels label, and remove other columns"
                ) from None
    kind._undo_rounding([cells[name] for name in given], proba)
    names = [rename.get(name, name) for name in given]
    chosen = chosen and [rename.get(name, name) for name in chosen]
    return _predictions(kind, cells["id"], names, proba, chosen, labels, str(path))


def _of_json_lines(
    kind: type[Any], path: Path, text: str, labels: Sequence[str] | None, rename: Mapping[str, str]
) -> Any:
    """Return the predictions in the lines of JSON that `affekt predict` writes."""
    rows: list[tuple[str, str | None, dict[str, float]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            scores = row.get("scores") or {PREFIX + k: v for k, v in row["values"].items()}
            rows.append((row["id"], row.get("label"), {k: scores[k] + 0.0 for k in scores}))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{path}: line {number} is JSON, and not a line of affekt predict: expected id, "
                "label and scores (or values), or a CSV table; pandas.read_json(..., lines=True, "
                "dtype={'id': str}).to_csv(..., index=False) writes one"
            ) from None
        if rows[-1][2].keys() != rows[0][2].keys():
            raise InputError(
                f"{path}: line {number} has scores of {listed(list(scores))}, line 1 of "
                f"{listed(list(rows[0][2]))}; expected all in each: predict without --top"
            )
    names = sorted(rows[0][2])
    proba = np.array([[scores[name] for name in names] for _, _, scores in rows])
    chosen = [rename.get(label, label) for _, label, _ in rows if label is not None]
    names = [rename.get(name, name) for name in names]
    ids = [clip for clip, _, _ in rows]
    return _predictions(kind, ids, names, proba, chosen or None, labels, str(path))


def predictions_of_frame(
    kind: type[Any], table: Any, labels: Sequence[str] | None, source: str
) -> Any:
    """Return the predictions in a pandas DataFrame, with the checks of `Predictions.read`."""
    if not is_frame(table):
        raise InputError(
            f"{source} is of type {type(table).__name__}, expected a pandas DataFrame; "
            "Predictions.read reads a file"
        )
    names = _own_names([str(name) for name in table.columns])
    table = table.set_axis(names, axis=1)
    if "id" not in names:
        raise InputError(
            f"{source}: columns {', '.join(names) or 'none'}; expected id, label and one column "
            "per class. frame.rename_axis('id').reset_index() makes an index a column"
        )
    ids, given = table["id"].tolist(), [name for name in names if name not in OWN]
    if odd := [one for one in ids if not isinstance(one, str)]:
        raise InputError(
            f"{source}: the id {odd[0]!r} is not text; read the table with dtype={{'id': str}}, "
            "so that 01 stays 01"
        )
    chosen = [text_of(one) for one in table["label"].tolist()] if "label" in names else None
    try:
        proba = np.array(table.loc[:, given], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{source}: columns {', '.join(given)} are probabilities; expected numbers: {error}"
        ) from None
    if (np.abs(proba.sum(axis=1) - 1) > EXACT).any():
        kind._undo_rounding([list(map(shortest, column)) for column in proba.T.tolist()], proba)
    return _predictions(kind, ids, given, proba, chosen, labels, source)


def in_order(values: Any, ids: Sequence[str], labels: Sequence[str], source: str) -> np.ndarray:
    """Return numbers as float64; of a DataFrame, in the order of the ids and labels it has.

    Examples
    --------
    >>> import pandas
    >>> frame = pandas.DataFrame({"no": [0.2, 0.6], "yes": [0.8, 0.4]}, index=["b", "a"])
    >>> in_order(frame, ["a", "b"], ["yes", "no"], "<frame>").tolist()
    [[0.4, 0.6], [0.8, 0.2]]
    """
    if is_frame(values):
        for axis, (own, names) in enumerate(((values.index, ids), (values.columns, labels))):
            if len(own) == len(names) and set(own) == set(names):
                values = values.reindex(list(names), axis=axis)
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{source}: the probabilities are not numbers, expected an array (clips, labels): "
            f"{error}"
        ) from None


def _own_names(names: Sequence[str]) -> list[str]:
    """Return a header in which ``ID`` and ``Label`` are `OWN`, as a manifest reads them.

    Examples
    --------
    >>> _own_names(["ID", "Label", "JOY"]), _own_names(["id", "Id"])
    (['id', 'label', 'JOY'], ['id', 'Id'])
    """
    own = [name.casefold() if name.casefold() in OWN else name for name in names]
    return own if len(set(own)) == len(set(names)) else list(names)


def _predictions(
    kind: type[Any],
    ids: list[str],
    names: list[str],
    proba: np.ndarray,
    chosen: list[str] | None,
    labels: Sequence[str] | None,
    source: str,
) -> Any:
    """Return predictions of probabilities, or of chosen labels where no column has any."""
    if not names:
        if chosen is None:
            raise InputError(
                f"{source}: only a column id; expected a column label or one column per class"
            )
        return kind.one_hot(ids, labels or sorted(set(chosen)), chosen, source=source)
    found = kind(ids, names, proba, source=source)
    if labels is not None:
        found = found.reorder(labels)
    if chosen is not None:
        found._agree(chosen)
    return found


def remedy(values: np.ndarray, total: np.ndarray) -> str:
    """Return what numbers that are not probabilities may be, and what to do."""
    if not np.isfinite(values).all():
        return ""
    if (values < 0).any() or values.max() > 100.5:
        return " If they are logits or log-probabilities, take their softmax first"
    if (np.abs(total - 100) <= 1).all():
        return " They look like per cent: divide them by 100"
    if values.max() <= 1:
        return " If they are one yes or no for each label (sigmoid), divide each row by its sum"
    return ""


def undo_rounding(columns: Sequence[Sequence[str]], proba: np.ndarray) -> None:
    """Divide rows by their sums, in place, where rounding explains their distance from 1."""
    fractions = [cell.strip().partition(".")[2] for column in columns for cell in column]
    digits = max(map(len, fractions), default=0)
    total = proba.sum(axis=1, keepdims=True)
    near = np.abs(total - 1) <= len(columns) * 0.5 * 10.0**-digits + EXACT
    if 2 <= digits <= 4 and near.all() and "".join(fractions).isdigit():
        proba /= total


def shortest(value: float) -> str:
    """Return the shortest text that reads back equal."""
    return str(int(value)) if value in (0.0, 1.0) else repr(value)


def other_labels(found: Any, labels: Sequence[str]) -> str:
    """Say how the labels differ from those that are wanted, and what to do."""
    mine = sorted(set(found.labels) - set(labels))
    theirs = sorted(set(labels) - set(found.labels))
    like = nearest(mine[0], theirs or labels) if mine else ""
    advice = f"{like} --rename THEIRS=OURS (in Python rename=) maps labels with the same meaning"
    if found.hard and mine:
        row = found.label.index(mine[0])
        count = sum(label in mine for label in found.label)
        others = f" Also not known: {listed(list(map(repr, mine[1:])))}." if mine[1:] else ""
        return (
            f"{found.ids[row]!r} has the label {mine[0]!r}; expected one of {', '.join(labels)},"
            f" as {len(found) - count} of {len(found)} rows have.{others}{advice}; --common "
            "leaves out rows with a blank label or none"
        )
    return (
        f"labels {', '.join(found.labels)}; expected {', '.join(labels)}"
        + (f"; too many: {', '.join(mine)}" if mine else "")
        + (f"; missing: {', '.join(theirs)}" if theirs else "")
        + f".{advice}"
    )


_ALIKE = {
    "blanks around them": str.strip,
    "case": str.casefold,
    "folders or extensions": lambda name: PureWindowsPath(name).stem,
}


def spelling_hint(missing: Sequence[str], surplus: Sequence[str]) -> str:
    """Return a note where ids differ as a program spells them: numbers, names of files."""
    with suppress(ValueError):
        if {float(i) for i in missing} == {float(i) for i in surplus}:
            return ". As numbers they are the same: read ids as text (pandas: dtype={'id': str})"
    for what, same in _ALIKE.items():
        alike = set(map(same, missing))
        if len(alike) == len(missing) == len(surplus) and alike == set(map(same, surplus)):
            return f". They differ only in {what}: write them as the manifest has them"
    return ""
