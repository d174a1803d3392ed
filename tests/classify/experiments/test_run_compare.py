"""The key `compare` of a recipe: read with file and line, refused before any work, carried out."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.cache.errors import InputError
from affekt.classify import Task, probe
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.members.train import train_model
from affekt.classify.experiments.preview import preview
from affekt.classify.experiments.recipes.recipe import Recipe
from affekt.classify.experiments.run import run
from affekt.extract import Encoder, extract
from sklearn.metrics import balanced_accuracy_score

RECIPE = """
manifest: clips.csv
task: valence
encoders: {text: ngram}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.3}
members:
  words: {head: logistic, on: text, C: [0.01, 1]}
  weak: {head: logistic, on: text, C: 0.0001}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), voices=9, clips_per_voice=10).parent


def recipe(corpus, name, text):
    path = corpus / f"{name}.yaml"
    path.write_text(RECIPE + f"report: out-{name}\n" + text)
    return path


def test_what_is_asked_is_done(corpus):
    path = recipe(
        corpus,
        "full",
        "ensembles: [mean, stacking]\ncompare:\n  calibrate: temperature\n  subsets: true\n"
        "  calibrate_fused: temperature\n  crossed: text\n"
        "  by: speaker\n  n_resamples: 200\n  level: 0.9\n  learning_curve: weak\n",
    )
    run(path)
    data = json.loads((corpus / "out-full" / "comparison.json").read_text())
    assert data["settings"]["calibrate"] == "temperature"
    assert data["settings"]["calibrate_fused"] == "temperature"
    assert data["groups"]["crossed"] == "text"
    assert data["groups"]["count_crossed"] >= 5
    by = data["by"]["speaker"]
    assert [row["value"] for row in by["gaps"]] == list(by["values"])
    assert data["settings"]["n_resamples"] == 200
    assert data["settings"]["level"] == 0.9
    assert "speaker" in data["by"]
    assert data["learning_curve_of"] == "weak"
    report = (corpus / "out-full" / "report.md").read_text()
    assert "## Learning curve: weak" in report
    assert "## Shortcuts" in report
    assert run(path).did == []
    valence = Task.of("valence")
    for name in ("words", "mean", "stacking"):
        kind = "members" if name == "words" else "ensembles"
        found = valence.read_predictions(corpus / "out-full" / kind / name / "pred.csv")
        labels = Manifest.read(corpus / "clips.csv").select(found.ids)["label"]
        uar = balanced_accuracy_score([valence.label_of(label) for label in labels], found.label)
        assert data["systems"][name]["test"]["uar"]["value"] == pytest.approx(uar)


def test_a_cheap_member_gets_a_curve_unasked_and_another_wish_compares_again(corpus):
    run(recipe(corpus, "plain", "compare: {level: 0.5}\n"))
    data = json.loads((corpus / "out-plain" / "comparison.json").read_text())
    assert data["learning_curve_of"] in ("words", "weak")
    assert [point["share"] for point in data["learning_curve"]] == [0.1, 0.25, 0.5, 1.0]
    own = data["systems"][data["learning_curve_of"]]["test"]["uar"]["interval"]
    assert data["learning_curve"][-1]["uar"]["interval"] == pytest.approx(own, abs=0.02)
    again = run(recipe(corpus, "plain", "compare: {learning_curve: false}\n"))
    assert again.did == ["compared members and ensembles"]
    assert "learning_curve" not in json.loads(
        (corpus / "out-plain" / "comparison.json").read_text()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compare: {calibrat: x}", "Did you mean 'calibrate'"),
        ("compare: {calibrate: warmth}", "expected one of temperature, vector, isotonic"),
        ("compare: {learning_curve: nobody}", "expected one of words, weak"),
        ("compare: {by: room}", "no column 'room'.*one of id, path, text, speaker, language"),
        ("compare: {crossed: room}", "crossed: no column 'room'"),
        ("compare: {crossed: label}", "which is the label"),
        ("compare: {crossed: speaker}", "`crossed` is 'speaker', which .* has no effect"),
        ("compare: {calibrate_fused: warmth}", "calibrate_fused is 'warmth'; expected one of"),
        ("compare: {level: 2}", "expected a share"),
        ("compare: {n_resamples: 3}", "expected at least 100"),
        ("compare: {subsets: maybe}", "expected true or false"),
        ("compare: temperature", "expected a mapping"),
    ],
)
def test_wrong_wishes_are_refused_before_any_work(corpus, text, message):
    path = recipe(corpus, "wrong", text + "\n")
    with pytest.raises(InputError, match=message) as error:
        run(path)
    assert "wrong.yaml:" in str(error.value)
    assert not (corpus / "out-wrong").exists()


def test_what_learns_on_dev_needs_one(corpus):
    path = corpus / "folds.yaml"
    split = "scheme: group-kfold, n_splits: 3, dev_size: 0"
    text = RECIPE.replace("scheme: speaker, test_size: 0.3, dev_size: 0.3", split)
    text = text.replace("C: [0.01, 1]", "C: 1")
    path.write_text(text + "ensembles: [mean, stacking]\nreport: out-folds\n")
    assert Recipe.read(path).compare == {}
    with pytest.raises(InputError, match="stacking is fitted on dev"):
        run(path)


def test_a_planted_near_duplicate_is_warned_of(corpus, tmp_path):
    """The same recording, 40 samples shorter, under another id and speaker, on the other side."""
    clips = Manifest.read(corpus / "clips.csv")
    speakers = sorted(set(clips["speaker"]))
    side = {name: ("test", "train", "dev", "train")[i % 4] for i, name in enumerate(speakers)}
    (tmp_path / "wav").mkdir()
    rows = []
    for i, clip in enumerate(clips):
        shutil.copy(clips.file(i), tmp_path / "wav")
        rows.append([clip.id, clip.path, clip.label, clip.speaker, side[clip.speaker]])
    original = next(row for row in rows if row[-1] == "train")
    samples, rate = soundfile.read(tmp_path / original[1])
    soundfile.write(tmp_path / "wav/planted.wav", samples[:-40], rate)
    rows.append(["planted", "wav/planted.wav", original[2], "someone else", "test"])
    with (tmp_path / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "path", "label", "speaker", "split"], *rows])
    text = RECIPE.replace("text: ngram", "speech: spectral").replace("on: text", "on: speech")
    text = text.replace("scheme: speaker, test_size: 0.3, dev_size: 0.3", "scheme: column")
    options = "compare: {n_resamples: 100, learning_curve: false, audit_audio: false}\n"
    (tmp_path / "r.yaml").write_text(text + options, encoding="utf-8")
    run(tmp_path / "r.yaml")
    data = json.loads((tmp_path / "out/comparison.json").read_text(encoding="utf-8"))
    [warning] = [text for text in data["warnings"] if "planted" in text]
    assert original[0] in warning
    report = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "planted" in report.split("## Warnings")[1].split("\n## ")[0]


@pytest.mark.parametrize("split", ["one", "folds"])
def test_the_report_says_what_speaker_scaling_would_change(corpus, split):
    """The same as a run with `scale: speaker`, at the settings that were chosen."""
    found = {}
    for scale in ("true", "speaker"):
        text = RECIPE.replace("text: ngram", "speech: spectral").replace("on: text", "on: speech")
        text = text.replace("C: [0.01, 1]", "C: 100")
        text = text.replace("C: 0.0001", f"C: 0.01, scale: {scale}")
        if split == "folds":
            once = "scheme: speaker, test_size: 0.3, dev_size: 0.3"
            assert once in text
            text = text.replace(once, "scheme: group-kfold, n_splits: 3")
        options = "compare: {n_resamples: 100, learning_curve: false, audit_audio: false}\n"
        path = corpus / f"scale-{scale}-{split}.yaml"
        path.write_text(f"{text}report: out-scale-{scale}-{split}\n{options}", encoding="utf-8")
        run(path)
        out = corpus / f"out-scale-{scale}-{split}"
        found[scale] = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
        assert "## Speaker scaling" in (out / "report.md").read_text(encoding="utf-8")
    line = found["true"]["speaker_scaling"]
    scaled = found["speaker"]["systems"]["weak"]["dev"]["uar"]
    assert line["dev_uar_scaled"] == pytest.approx(scaled)
    assert line["dev_uar"] == found["true"]["systems"][line["member"]]["dev"]["uar"]
    assert line["dev_uar_scaled"] != line["dev_uar"]
    assert found["speaker"]["speaker_scaling"]["member"] == "words"  # the other scales already


FEW_TEXTS = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
members: {lr: {head: logistic, on: text}}
ensembles: []
compare: {n_resamples: 100, learning_curve: false}
report: out
"""
SAID = "8 clips are left out by the task: surprise 8"


def test_a_check_a_run_a_training_and_a_probe_say_which_clips_the_task_leaves_out(tmp_path):
    rows = [
        {"id": f"{s}{label}", "text": f"{label} {s}", "label": label, "speaker": f"s{s}"}
        for s in range(8)
        for label in ("anger", "neutral", "happiness", "surprise")
    ]
    clips = Manifest.from_rows(rows)
    clips.write(tmp_path / "clips.csv")
    (tmp_path / "r.yaml").write_text(FEW_TEXTS, encoding="utf-8")
    said: list[str] = []
    run(tmp_path / "r.yaml", progress=said.append)
    assert SAID in said
    assert preview(tmp_path / "r.yaml").notes[0] == SAID
    space = extract(clips, Cache(tmp_path / "my.cache"), Encoder("ngram"))
    said.clear()
    options = {"spaces": [space.name], "head": "logistic", "progress": said.append}
    train_model(clips, tmp_path / "my.cache", "valence", **options)
    assert SAID in said
    said.clear()
    probe(clips, space, "valence", C=[1.0], progress=said.append)
    assert SAID in said
    blank = clips.with_columns(label=["", *clips["label"][1:]])
    said.clear()
    train_model(blank, tmp_path / "my.cache", "valence", unlabelled="drop", **options)
    probe(blank, space, "valence", C=[1.0], unlabelled="drop", progress=said.append)
    assert said.count("9 clips are left out by the task: (blank) 1, surprise 8") == 2
    with pytest.raises(InputError, match="give --unlabelled drop to train or probe"):
        probe(blank, space, "valence")
    with pytest.raises(InputError, match="`unlabelled` is 'dropp'"):
        probe(blank, space, "valence", unlabelled="dropp")


def test_members_called_as_strategies_are_compared_beside_them(corpus):
    path = recipe(corpus, "named", "ensembles: [mean, max]\n")
    text = path.read_text().replace("  words:", "  mean:").replace("  weak:", "  max:")
    path.write_text(text)
    run(path)
    data = json.loads((corpus / "out-named" / "comparison.json").read_text())
    systems = data["systems"]
    assert sorted(systems) == ["max", "max ensemble", "mean", "mean ensemble"]
    assert systems["mean"]["kind"] == "member"
    assert systems["mean ensemble"]["members"] == ["max", "mean"]
