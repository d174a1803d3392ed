"""`affekt compare`: labels of predictions that are spelt otherwise than those of the task."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from affekt.cache.manifest import Manifest
from affekt.classify.data.predictions import Predictions
from affekt.classify.evaluation.cli_compare import compare
from click.testing import CliRunner

from .test_cli_compare import LABELS, call


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"id": f"c{i}", "text": "-", "label": LABELS[i % 3], "speaker": f"s{i % 15}"}
        for i in range(150)
    ]
    Manifest.from_rows(rows).write(tmp_path / "clips.csv")
    return tmp_path


def test_labels_alone_and_other_names_with_a_map(folder, tmp_path):
    clips = Manifest.read(folder / "clips.csv")
    with (tmp_path / "theirs.csv").open("w") as file:
        file.write("id,label\n")
        for clip in clips:
            file.write(f"{clip.id},{clip.label.replace('joy', 'happy')}\n")
    out = call(
        tmp_path / "theirs.csv",
        "--truth",
        folder / "clips.csv",
        "--rename",
        "happy=joy",
        "--resamples",
        50,
        "--json",
    )
    assert json.loads(out)["systems"]["theirs"]["test"]["uar"]["value"] == 1


def test_labels_in_capitals_are_those_of_the_task(folder, tmp_path):
    clips = Manifest.read(folder / "clips.csv")
    rows = "".join(f"{clip.id},{clip.label.upper()}\n" for clip in clips)
    (tmp_path / "llm.csv").write_text(f"id,label\n{rows}")
    words = ["--truth", folder / "clips.csv", "--resamples", 50, "--json"]
    result = CliRunner().invoke(compare, [str(word) for word in (tmp_path / "llm.csv", *words)])
    assert json.loads(result.stdout)["systems"]["llm"]["test"]["uar"]["value"] == 1
    assert "llm: labels matched regardless of case: ANGER=anger, JOY=joy" in result.stderr
    both = rows.replace("JOY", "joy", 1)  # two labels of theirs would be one
    (tmp_path / "llm.csv").write_text(f"id,label\n{both}")
    result = CliRunner().invoke(compare, [str(word) for word in (tmp_path / "llm.csv", *words)])
    assert "matched" not in result.stderr


@pytest.mark.parametrize("write", [str.title, " {} ".format, "{}\n".format])
def test_a_task_reads_labels_of_predictions_as_those_of_a_table(tmp_path, write):
    """Two spellings of one label are one where the task ignores case, on both sides."""
    (tmp_path / "any.yaml").write_text("extends: emotion6\nignore_case: true\n")
    labels = [task_label for _ in range(4) for task_label in ("anger", "joy", "sadness")]
    spelt = [write(label) if at % 2 else label.upper() for at, label in enumerate(labels)]
    Manifest.from_rows(
        {"id": str(at), "text": "x", "label": label, "speaker": str(at)}
        for at, label in enumerate(spelt)
    ).write(tmp_path / "truth.csv")
    with (tmp_path / "llm.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *enumerate(spelt[::-1])])
    words = ["--truth", tmp_path / "truth.csv", "--task", tmp_path / "any.yaml", "--json"]
    found = json.loads(call(tmp_path / "llm.csv", *words, "--resamples", 50))
    right = np.mean([a == b for a, b in zip(labels, labels[::-1], strict=True)])
    assert found["systems"]["llm"]["test"]["accuracy"]["value"] == pytest.approx(right)


def test_blanks_around_predicted_labels_are_those_of_the_file(folder, tmp_path):
    clips = Manifest.read(folder / "clips.csv")
    rows = "".join(f"{clip.id}, {clip.label} , 1, 0, 0\n" for clip in clips if clip.label == "joy")
    (tmp_path / "llm.csv").write_text(f"id, label, joy, anger, neutral\n{rows}")
    assert set(Predictions.read(tmp_path / "llm.csv", LABELS).label) == {"joy"}
