"""The model card holds no number that comparison.json does not hold."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import yaml
from affekt.cache import InputError, Manifest
from affekt.classify import Predictions, Task, compare
from affekt.classify.evaluation.reports.card import model_card
from affekt.classify.evaluation.reports.cli_card import card
from click.testing import CliRunner


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = ["negative", "neutral", "positive"]
    rows = [
        {"id": f"c{i}", "text": "x", "label": labels[i % 3], "speaker": f"s{i % 12}",
         "language": ["deu", "eng"][i % 2]}
        for i in range(120)
    ]  # fmt: skip
    clips = Manifest.from_rows(rows)
    members = {}
    for name in ("lr", "odd|<b>name</b>"):
        proba = rng.dirichlet([1, 1, 1], len(clips))
        proba[np.arange(len(clips)), [i % 3 for i in range(len(clips))]] += 1
        members[name] = Predictions(clips.ids, labels, proba / proba.sum(axis=1, keepdims=True))
    result = compare(
        members,
        clips,
        Task.named("valence"),
        dev=members,
        dev_truth=clips,
        allow_overlap=True,
        n_resamples=200,
    )
    return result.write(tmp_path_factory.mktemp("run"))


def numbers_of(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("system", [None, "lr", "mean", "odd|<b>name</b>"])
def test_every_number_comes_from_the_comparison(run, system):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    known = {f"{value:.3f}" for value in numbers_of(data)} | {"0.333"}  # chance of three labels
    known |= {str(value) for value in numbers_of(data)}
    text = model_card(run, system).split("---\n", 2)[2]
    # thousandths, and numbers that stand alone in a table
    found = re.findall(r"\d\.\d{3}", text) + re.findall(r"\| (\d+) \|", text)
    assert len(found) > 20
    assert set(found) <= known


def test_three_speakers_have_no_intervals(run, tmp_path):
    assert "95 % intervals over 12 speakers; chance" in model_card(run)
    rows = [
        {"id": f"c{i}", "text": "x", "label": "ab"[i % 2], "speaker": f"s{i % 3}"}
        for i in range(18)
    ]
    clips = Manifest.from_rows(rows)
    half = Predictions(clips.ids, ["a", "b"], np.full((18, 2), 0.5))
    found = compare({"one": half}, clips, Task.from_labels(["a", "b"]), n_resamples=50)
    assert "3 speakers: too few for intervals; chance" in model_card(found.write(tmp_path), "one")


def test_the_front_is_yaml_with_the_scores(run):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    front = yaml.safe_load(model_card(run, "lr").split("---\n")[1])
    [result] = front["model-index"][0]["results"]
    scores = {one["type"]: one["value"] for one in result["metrics"]}
    for key, value in scores.items():
        assert value == pytest.approx(data["systems"]["lr"]["test"][key]["value"], abs=1e-4)


def test_names_cannot_break_the_page(run):
    text = model_card(run, "odd|<b>name</b>")
    body = text.split("---\n", 2)[2].split("## Use")[0]
    assert "<b>" not in body
    assert "odd|" not in body


def test_what_is_no_run(run, tmp_path):
    with pytest.raises(InputError, match="is not there; expected the folder"):
        model_card(tmp_path)
    with pytest.raises(InputError, match="Did you mean 'mean'"):
        model_card(run, "maen")


def test_a_model_folder_points_to_its_run(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    told = CliRunner().invoke(card, [str(tmp_path)])
    assert isinstance(told.exception, InputError)
    assert "name the folder that `affekt run` left, and the member with --system" in str(
        told.exception
    )
