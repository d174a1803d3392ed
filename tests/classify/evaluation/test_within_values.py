"""Differences between systems within a language are those of a comparison of its clips alone."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.classify.data.estimates import Estimates
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.reports.markdown.column_tables import differences_within
from affekt.classify.evaluation.reports.sections import Table

LABELS = ("negative", "neutral", "positive")
PER_SPEAKER, SPEAKERS = 9, {"deu": 7, "eng": 6, "spa": 4}  # four are too few for a test


def corpus() -> Manifest:
    return Manifest.from_rows(
        [
            {
                "id": f"{language}-{speaker}-{i}",
                "speaker": f"{language}-{speaker}",
                "language": language,
                "text": "x",
                # German has no neutral clip
                "label": LABELS[i % 3] if language != "deu" else LABELS[2 * (i % 2)],
                "valence": 1 + (i * 5) % 7,
            }
            for language, count in SPEAKERS.items()
            for speaker in range(count)
            for i in range(PER_SPEAKER)
        ]
    )


def guessing(clips: Manifest, task: Task) -> dict[str, Predictions]:
    """Return three systems that differ in how much they know."""
    rng = np.random.default_rng(3)
    truth = np.eye(3)[[LABELS.index(label) for label in clips["label"]]]
    return {
        name: Predictions(
            clips.ids, LABELS, (1 - know) * rng.dirichlet(np.ones(3), len(clips)) + know * truth
        )
        for name, know in {"a": 0.6, "b": 0.3, "c": 0.1}.items()
    }


def rating(clips: Manifest, task: Task) -> dict[str, Estimates]:
    rng = np.random.default_rng(4)
    truth = np.array([float(value) for value in clips["valence"]])[:, None]
    return {
        name: Estimates(clips.ids, task.labels, truth + error * rng.normal(size=truth.shape))
        for name, error in {"a": 0.5, "b": 2.0, "c": 3.0}.items()
    }


RATED = Task.from_spec(
    {"type": "regression", "dimensions": {"valence": {"range": [1, 7]}}}, source="affect"
)


@pytest.mark.parametrize(
    ("task", "make", "measure"),
    [(Task.from_labels(LABELS), guessing, "uar"), (RATED, rating, "ccc")],
)
def test_a_difference_within_a_language_is_that_of_its_clips_alone(task, make, measure):
    clips = corpus()
    systems = make(clips, task)
    options = {"strategies": (), "n_resamples": 200}
    whole = compare(systems, clips, task, by=("language",), **options)
    values = whole.data["by"]["language"]["values"]
    assert values["spa"]["differences"] == []
    for language in ("deu", "eng"):
        part = clips.where(language=language)
        alone = compare(
            {name: one.select(part.ids) for name, one in systems.items()}, part, task, **options
        )
        # over the two labels that German has
        scale = 3 / 2 if (measure, language) == ("uar", "deu") else 1
        for found, pair in zip(values[language]["differences"], alone.data["pairs"], strict=True):
            assert (found["a"], found["b"]) == (pair["a"], pair["b"])
            assert found["value"] == pytest.approx(scale * pair[f"{measure}_difference"])
            limits = [scale * limit for limit in pair[f"{measure}_difference_interval"]]
            assert found["interval"] == pytest.approx(limits)
            assert found["p"] == pytest.approx(pair[f"p_{measure}"])
            corrected = min(1, 2 * pair[f"p_{measure}_corrected"])  # two languages are tested
            assert found["p_corrected"] == pytest.approx(corrected)
    assert any(one["p_corrected"] < 1 for one in values["deu"]["differences"])
    report = whole.report()
    lead = measure.upper()
    said = f"Differences in {lead} within each language: the first system less the other."
    assert f"{said} p corrected allows for the 6 tests. Not tested, with fewer than 5" in report
    assert "| language | first | other | difference | p | p corrected |" in report


def test_of_many_differences_those_with_the_smallest_p_are_shown():
    ps = [0.9 - i / 100 for i in range(40)]
    values = {
        f"v{i}": {"differences": [{"b": "y", "value": 0.0, "interval": [0, 0]} | one]}
        for i, one in enumerate({"p": p, "p_corrected": 1.0} for p in ps)
    }
    data = {"by": {"season": {"values": values}}, "pairs_of": "x"}
    text, table = differences_within(data, "season")
    assert str(text).endswith("The 30 with the smallest p:")
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == [f"v{i}" for i in reversed(range(10, 40))]
