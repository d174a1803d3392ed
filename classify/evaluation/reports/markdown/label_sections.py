"""The sections of a report about single labels, cut where a task has many."""

from __future__ import annotations

from collections.abc import Sequence

from ....data.escape import md
from ..sections import Data, Section, Table
from .markdown_tables import score

MOST_LABELS = 30  # of more, tables show a part


def some(names: Sequence[str], most: int = MOST_LABELS) -> str:
    """Return names in a row, and how many more there are.

    Examples
    --------
    >>> some(["anger", "calm", "fear"], 2)
    'anger, calm and 1 more'
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def classes(data: Data, name: str) -> Section:
    """Return precision, recall and F1 of each label of a system; of many, the lowest recalls."""
    found = data["systems"][name]["test"]["classes"]
    shown, note = list(found.items()), ""
    if len(shown) > MOST_LABELS:
        worst = sorted(shown, key=lambda item: (not item[1]["support"], item[1]["recall"]))
        shown = worst[:MOST_LABELS]
        note = (
            f"The {MOST_LABELS} of {len(found)} labels with the lowest recall; all are in "
            "comparison.json."
        )
    rows = []
    for label, row in shown:
        recall = score({"value": row["recall"], "interval": row["recall_interval"]})
        rows.append(
            [md(label), f"{row['precision']:.3f}", recall, f"{row['f1']:.3f}", str(row["support"])]
        )
    shown = Table(["label", "precision", "recall", "F1", "clips"], rows)
    return Section(f"Classes of {name}", [note, shown], "classes")


def confusion(data: Data, name: str) -> Section:
    """Return the confusion matrix of a system; of many labels, the most frequent confusions."""
    labels = data["task"]["labels"]
    matrix = data["systems"][name]["test"]["confusion"]
    if len(labels) > MOST_LABELS:
        wrong = [
            (count, true, predicted)
            for true, row in enumerate(matrix)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ]
        wrong.sort(key=lambda one: (-one[0], *one[1:]))
        rows = [[md(labels[a]), md(labels[b]), str(n)] for n, a, b in wrong[:MOST_LABELS]]
        text = (
            f"The {len(rows)} most frequent of {len(wrong)} confusions; the whole matrix is in "
            "comparison.json."
        )
        shown = Table(["true", "predicted", "clips"], rows, left=2)
    else:
        text = "Rows are true, columns predicted."
        rows = zip(labels, matrix, strict=True)
        shown = Table(["", *map(md, labels)], [[md(label), *map(str, row)] for label, row in rows])
    return Section(f"Confusion of {name}", [text, shown], "confusion")
