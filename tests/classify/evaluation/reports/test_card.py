"""The model card holds no number that comparison.json does not hold."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from affekt.cache import InputError, Manifest
from affekt.classify import Predictions, Task, compare
from affekt.classify.evaluation import tables
from affekt.classify.evaluation.comparison import Comparison
from affekt.classify.evaluation.reports.card import _map, model_card
from affekt.classify.evaluation.reports.card_metadata import metadata
from affekt.classify.evaluation.reports.cli_report import card
from click.testing import CliRunner
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index


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


def test_clips_without_speakers_are_no_speakers(tmp_path):
    rows = [{"id": f"c{i}", "text": "x", "label": "ab"[i % 2]} for i in range(18)]
    clips = Manifest.from_rows(rows)
    half = Predictions(clips.ids, ["a", "b"], np.full((18, 2), 0.5))
    found = compare({"one": half}, clips, Task.from_labels(["a", "b"]), n_resamples=100)
    text = model_card(found.write(tmp_path), "one")
    assert "95 % intervals over 18 single clips; chance" in text
    one = ModelCard(text).data.eval_results[0]
    assert (one.dataset_args, one.metric_args["resampled"]) == ({"clips": 18}, "clip")
    assert r"\caption{Systems on 18 test clips; 95" in tables(found.data)


MEASURES = {
    "UAR": "uar",
    "accuracy": "accuracy",
    "macro F1": "macro_f1",
    "weighted F1": "weighted_f1",
}


@pytest.mark.parametrize("system", ["lr", "mean", "odd|<b>name</b>"])
def test_the_hub_reads_every_result_from_the_metadata(run, system):
    """The oracle is huggingface_hub, which parses the card into `EvalResult` and back."""
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    card = ModelCard(model_card(run, system))  # raises where the metadata are malformed
    results = card.data.eval_results
    assert len(results) == 4 * (1 + len(data["by"]["language"]["values"]))
    for one in results:
        scores = data["systems"][system]["test"]
        if one.dataset_config:
            language = one.dataset_config.removeprefix("language=")
            scores = data["by"]["language"]["values"][language]["systems"][system]
        score = scores[MEASURES[one.metric_name]]
        assert one.metric_value == pytest.approx(score["value"], abs=1e-4)
        assert one.metric_args["interval"] == pytest.approx(score["interval"], abs=1e-4)
        assert one.metric_args["resampled"] == "speaker"
        assert one.task_type == "audio-classification"
    assert {one.metric_type for one in results} == {"recall", "accuracy", "f1"}
    assert len({one.unique_identifier for one in results}) == 3  # all clips, deu, eng
    front = yaml.safe_load(model_card(run, system).split("---\n")[1])
    name = front["model-index"][0]["name"]
    assert eval_results_to_model_index(name, results) == front["model-index"]
    assert card.data.language == ["deu", "eng"]
    assert card.data.metrics == ["recall", "accuracy", "f1"]


@pytest.mark.parametrize("system", ["lr", "mean"])
def test_every_number_of_the_metadata_comes_from_the_comparison(run, system):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    known = np.array(list(numbers_of(data)), float)
    found = list(numbers_of(yaml.safe_load(model_card(run, system).split("---\n")[1])))
    assert len(found) > 30
    assert all(np.abs(known - value).min() <= 0.51e-4 for value in found)


def test_only_what_the_hub_takes_for_languages_and_data_sets_is_one(run):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    language = data["by"]["language"]["values"]
    language |= {"Spoken at home": language["deu"], "": language["eng"]}
    data["by"]["dataset"] = {"values": {"emodb": language["deu"], "my corpus": language["eng"]}}
    front = metadata(data, "lr", "text-classification", [])
    assert front["language"] == ["deu", "eng"]
    assert front["datasets"] == ["emodb"]
    text = f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n"
    named = {one.dataset_name for one in ModelCard(text).data.eval_results}
    assert {"test clips, dataset my corpus", "test clips, language (none)"} <= named


def test_encoders_from_the_hub_are_base_models(run):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    hub, here = (
        SimpleNamespace(fields={"encoder": {"name": name, "origin": origin}})
        for name, origin in (("owner/model", "hub"), ("folder", "folder"))
    )
    front = metadata(data, "lr", "audio-classification", [hub, here, hub])
    assert front["base_model"] == ["owner/model"]


def test_a_card_names_no_speaker(tmp_path, run):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    values = data["by"]["language"]["values"]
    data["by"]["speaker"] = {"values": {"Jane Doe": values["deu"], "John Doe": values["eng"]}}
    (tmp_path / "comparison.json").write_text(json.dumps(data))
    text = model_card(tmp_path, "lr")
    assert "Doe" not in text
    ends = sorted(one["systems"]["lr"]["uar"]["value"] for one in values.values())
    assert f"UAR of single speakers: {ends[0]:.3f} to {ends[1]:.3f}." in text


def test_unknown_speakers_and_languages_are_reported_as_unknown(tmp_path, run):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    parts = {"test": {"clips": 9, "speakers": 0, "labels": {"positive": 9}}}
    data["run"] = {"splits": [{"scheme": "stratified", "hash": "0" * 64, "parts": parts}]}

    def text(languages):
        fit = {"train": {"languages": languages}}
        data["run"]["members"] = {"lr": {"parts": [{"fit": fit}]}}
        (tmp_path / "comparison.json").write_text(json.dumps(data))
        return model_card(tmp_path, "lr")

    assert "| test | 9 | unknown | positive 9 |" in text({"": 132})
    assert "Clips of each language" not in text({"": 132})
    assert "in training: unknown 2, deu 130." in text({"deu": 130, "": 2})


def test_names_cannot_break_the_page(run):
    text = model_card(run, "odd|<b>name</b>")
    body = text.split("---\n", 2)[2].split("## Use")[0]
    assert "<b>" not in body
    assert "odd|" not in body


def test_what_is_not_a_run(run, tmp_path):
    with pytest.raises(InputError, match="does not exist; expected the folder"):
        model_card(tmp_path)
    with pytest.raises(InputError, match="Did you mean 'mean'"):
        model_card(run, "maen")


def test_a_model_folder_points_to_its_run(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    output = CliRunner().invoke(card, [str(tmp_path)])
    assert isinstance(output.exception, InputError)
    assert "name the folder that `affekt run` wrote, and the member with --system" in str(
        output.exception
    )


def test_columns_that_divide_alike_are_shown_once(tmp_path, run):
    data = json.loads((run / "comparison.json").read_text(encoding="utf-8"))
    values = data["by"]["language"]["values"]
    values["deu"]["clips"] += 1  # the rows of this run are alike
    corpora = {"one": values["eng"], "two": values["deu"]}
    language = data["by"]["language"]
    data["by"] = {"language": language, "dataset": {**language, "values": corpora}}
    (tmp_path / "comparison.json").write_text(json.dumps(data))
    text = model_card(tmp_path, "lr")
    assert "The same by dataset, which divides these clips as language does." in text
    results = ModelCard(text).data.eval_results
    assert [one.dataset_config for one in results] == [None, None, None, None] + [
        "language=deu"
    ] * 4 + ["language=eng"] * 4
    report = Comparison.read(tmp_path).report()
    assert "in the same way: one is eng, two is deu." in report
    corpora["two"] = values["eng"]
    (tmp_path / "comparison.json").write_text(json.dumps(data))
    assert "The same by" not in model_card(tmp_path, "lr")


@pytest.mark.parametrize(("joy", "rows"), [(["happy"], ["| joy | happy, joy |"]), ([], [])])
def test_labels_that_stand_for_themselves_are_not_listed(joy, rows):
    task = Task.from_spec({"labels": {"joy": joy, "calm": []}})
    system: Any = SimpleNamespace(models={"lr": SimpleNamespace(task=task)})
    text = "\n".join(map(str, _map({}, {"members": []}, system)))
    assert [line for line in text.splitlines() if "joy" in line or "calm" in line] == rows
