"""The content of a task file: strict, and with every label as the text that was written.

YAML takes ``no`` for false, ``01`` for 1 and ``null`` for nothing. In a task file all of them are
labels, as they are written; only a corpus may map a raw label to ``null``, which leaves it out. A
mapping that Python passes has lost what was written: there such a value is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...cache.commands.terminal import HIDDEN
from ...cache.errors import InputError, check_characters, nearest
from .located_yaml import Located

KEYS = (
    "name", "version", "extends", "vocabulary", "labels", "leave_out", "synonyms", "corpora",
    "values", "ignore_case",
)  # fmt: skip
NOT_A_TASK = (
    "expected a Task, its name, a YAML file or a mapping; Task.from_labels takes labels alone"
)
BOOKS = ("emotions", "sentiments")
NUMBERS = "regression"  # the other type of task: see affekt.classify.data.scales


def is_numeric(spec: Mapping[str, Any], source: str) -> bool:
    """Whether a task is of numbers on scales, by its key `type`."""
    kind = spec.get("type")
    if kind not in (None, NUMBERS):
        raise InputError(
            f"{source}: type is {kind!r}; expected {NUMBERS} for a regression task, or no type for "
            f"a classification task.{nearest(str(kind), [NUMBERS])}"
        )
    if kind != NUMBERS and "dimensions" in spec:
        raise InputError(f"{source}: dimensions belong to a regression task; add type: {NUMBERS}")
    return kind == NUMBERS


def spec_of(top: Located) -> dict[str, Any]:
    """Return the content of a task file, labels as they are written.

    Raises
    ------
    InputError
        An unknown key or a value of another kind; with file and line.
    """
    if isinstance(top.value, dict) and {"type", "dimensions"} & top.value.keys():
        return top.plain()
    keys = top.mapping("the task", KEYS)
    spec: dict[str, Any] = {}
    for key, item in keys.items():
        if key == "labels":
            table = isinstance(item.value, dict)
            spec[key] = _table(item, "labels") if table else _words(item, "labels")
        elif key in ("leave_out", "vocabulary"):
            spec[key] = _words(item, key)
            if key == "vocabulary" and (odd := [one for one in spec[key] if one not in BOOKS]):
                item.fail(f"vocabulary {odd[0]!r}; expected {' or '.join(BOOKS)}")
        elif key == "synonyms":
            spec[key] = _table(item, key)
        elif key == "corpora":
            spec[key] = {
                name: {raw: _target(label) for raw, label in own.mapping(name).items()}
                for name, own in item.mapping(key).items()
            }
        elif key == "values":
            spec[key] = {label: _number(value, label) for label, value in item.mapping(key).items()}
        elif key == "ignore_case":
            spec[key] = item.flag(key)
        elif key == "version":
            spec[key] = item.number(key, whole=True)
        else:
            spec[key] = item.word(key)
    return spec


def plain_spec(spec: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the content of a task from a mapping, checked as a task file is."""
    return spec_of(_located({key: one for key, one in spec.items() if one is not None}, source))


def _located(value: Any, source: str) -> Located:
    """Return a value as if it had been written in a file; only text and whole numbers are text."""
    if isinstance(value, Mapping):
        keys = (_located(key, source).word("a key") for key in value)
        items = (_located(item, source) for item in value.values())
        return Located(dict(zip(keys, items, strict=True)), source, 0)
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return Located([_located(item, source) for item in value], source, 0)
    written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    check_characters(written, source)
    return Located(value, source, 0, written)


def check_label(label: object, source: str) -> None:
    """Check that a task's label can head a column of ``pred.csv`` and be read back."""
    if not isinstance(label, str) or not label.strip():
        raise InputError(f"{source}: the label {label!r} is blank; expected text")
    check_characters(label, f"{source}: the label {label!r}")
    if label in ("id", "label"):
        raise InputError(
            f"{source}: a label is called {label!r}, as a column of every prediction file; rename "
            f"it, such as {label + '_'!r}"
        )
    if label != label.strip() or HIDDEN.search(label) or "\n" in label or "\t" in label:
        raise InputError(
            f"{source}: the label {label!r} begins or ends with a blank or holds a control "
            "character; remove it"
        )


def check_columns(
    labels: Iterable[str],
    path: object,
    others: Sequence[str] = ("id", "label"),
) -> None:
    """Check that each label can head a column of a file of predictions and be read back."""
    for label in labels:
        if label in others or label != label.strip() or not label:
            raise InputError(
                f"{path}: the label {label!r} of this model would not read back from a table, as "
                "its name is that of another column, or has blanks around it; write .jsonl instead "
                "(affekt predict -o NAME.jsonl), or rename it with Predictions.renamed"
            )


def _words(item: Located, what: str) -> list[str]:
    """Return a list of texts; a single text would be iterated letter by letter."""
    if not isinstance(item.value, list):
        item.fail(f"{what} is {item.plain()!r}; expected a list: [{item.written or '...'}]")
    return [one.word(what) for one in item.value]


def _table(item: Located, what: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, one in item.mapping(what).items():
        if isinstance(one.value, list):
            found[name] = _words(one, name)
        elif one.value is None:
            if one.written:
                one.fail(
                    f"{name} is {one.written}; quote it if it is a label, or write [] for none"
                )
            found[name] = []
        else:
            found[name] = [one.word(name)]
    return found


def _target(item: Located) -> str | None:
    return None if item.value is None else item.word("a label")


def _number(item: Located, what: str) -> float:
    value = item.number(f"the value of {what}")
    if not math.isfinite(value):
        item.fail(f"the value of {what} is {value}; expected a finite number")
    return value
