"""Reports of tasks with many labels, and of columns that divide the clips alike."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.classify import Predictions, Task, compare
from affekt.classify.evaluation.reports.figures import pictures

LABELS = tuple(f"label-{number:03}" for number in range(120))


def comparison(labels, by, lacking=()):
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"{speaker}-{label}", "text": "x", "label": label, "speaker": f"s{speaker}",
            "language": "deu" if speaker % 2 else "spa", "dataset": "one" if speaker % 2 else "two",
        }
        for speaker in range(8)
        for label in labels
        if speaker % 2 == 0 or label not in lacking
    ]  # fmt: skip
    clips = Manifest.from_rows(rows)
    truth = np.array([labels.index(label) for label in clips["label"]])
    members = {}
    for name in ("a", "b"):
        proba = rng.dirichlet(np.ones(len(labels)), len(clips))
        proba[np.arange(len(clips)), truth] += 0.02
        members[name] = Predictions(
            list(clips.ids), labels, proba / proba.sum(axis=1, keepdims=True)
        )
    task = Task("many", labels, {label: label for label in labels})
    return compare(members, clips, task, by=by, n_resamples=50)


def test_a_report_of_many_labels_is_cut():
    text = comparison(LABELS, ()).report()
    assert len(text) < 20_000  # the whole matrix alone has 14,400 cells
    assert "The 30 of 120 labels with the lowest recall" in text
    assert "The 30 most frequent of" in text
    assert "and 90 more" in text


def test_columns_that_divide_the_clips_alike_are_shown_once():
    found = comparison(("anger", "calm", "joy"), ("language", "dataset"))
    text = found.report()
    assert text.count("| mean over ") == 1
    assert "The same as by language" in text
    assert "one is deu, two is spa" in text


def test_languages_with_other_classes_have_a_chance_of_their_own():
    labels = ("anger", "calm", "joy")
    lacking = comparison(labels, ("language",), lacking=("calm",))
    assert "Chance is one divided by their number: deu 0.500, spa 0.333." in lacking.report()
    assert "chance with all labels; where one" in pictures(lacking.data)["by-language"].caption
    assert "Chance is one" not in comparison(labels, ("language",)).report()


@pytest.mark.parametrize("labels", [30, 31])
def test_the_whole_matrix_up_to_thirty_labels(labels):
    text = comparison(LABELS[:labels], ()).report()
    assert ("Rows are true, columns predicted." in text) == (labels == 30)
