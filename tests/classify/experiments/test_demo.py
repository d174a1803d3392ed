"""The synthetic corpus, the recipe that is written for a manifest, and `affekt demo`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import InputError, Manifest
from affekt.classify import Recipe
from affekt.classify.cli import affekt
from affekt.classify.experiments.demo.corpus import CUES, write_corpus
from affekt.classify.experiments.demo.recipe_for import write_recipe
from click.testing import CliRunner


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("demo"), voices=6, clips_per_voice=10)


def test_the_corpus_says_everywhere_that_it_is_synthetic(corpus):
    clips = Manifest.read(corpus)
    assert set(clips["dataset"]) == {"synthetic"}
    assert all(name.startswith("synthetic-") for name in clips.ids)
    assert all("synthetic" in path for path in clips["path"])
    assert "Synthetic" in (corpus.parent / "README.txt").read_text(encoding="utf-8")


def test_the_corpus_is_balanced_sound_and_the_same_again(corpus, tmp_path):
    clips = Manifest.read(corpus)
    assert len(clips) == 60
    assert {label: list(clips["label"]).count(label) for label in CUES} == dict.fromkeys(CUES, 12)
    assert set(clips["language"]) == {"eng", "spa", "deu"}
    again = write_corpus(tmp_path, voices=6, clips_per_voice=10)
    for one, other in zip(
        sorted(corpus.parent.rglob("*.*")), sorted(tmp_path.rglob("*.*")), strict=True
    ):
        assert one.read_bytes() == other.read_bytes()
    assert again.read_bytes() == corpus.read_bytes()
    for position in range(len(clips)):
        samples, rate = soundfile.read(clips.file(position))
        assert rate == 16000
        assert 0.5 < len(samples) / rate < 6
        assert np.abs(samples).max() < 1


def test_emotions_move_energy_and_tempo_and_pick_words(corpus):
    clips = Manifest.read(corpus)
    level, seconds = {}, {}
    for label in ("anger", "sadness"):
        chosen = clips.where(label=label)
        sounds = [soundfile.read(chosen.file(i))[0] for i in range(len(chosen))]
        level[label] = np.median([np.sqrt(np.mean(sound**2)) for sound in sounds])
        letters = [len(text) for text in chosen["text"]]
        seconds[label] = np.sum([len(sound) for sound in sounds]) / np.sum(letters)
    assert level["anger"] > 1.5 * level["sadness"]
    assert seconds["sadness"] > 1.15 * seconds["anger"]
    happy = " ".join(clips.where(label="happiness", language="eng")["text"])
    assert any(word in happy for word in ("wonderful", "delight", "party"))


def table(folder, rows):
    return Manifest.from_rows(rows).write(folder / "clips.csv")


def rows(labels, **columns):
    return [
        {"id": str(i), "text": f"t{i}", "label": label, **{k: v[i] for k, v in columns.items()}}
        for i, label in enumerate(labels)
    ]


def test_the_task_is_read_off_the_labels(tmp_path):
    path = write_recipe(table(tmp_path, rows(["positive", "negative"] * 3)), tmp_path / "d")
    assert Recipe.read(path).task == "valence"
    path = write_recipe(table(tmp_path, rows(["rot", "grün"] * 3)), tmp_path / "e")
    assert Recipe.read(path).task.endswith("task.yaml")
    assert "grün" in (tmp_path / "e" / "task.yaml").read_text(encoding="utf-8")
    path = write_recipe(table(tmp_path, rows(["anger", "joy"] * 3)), tmp_path / "f", "valence")
    assert Recipe.read(path).task == "valence"


def test_the_split_is_the_manifests_own_or_by_speaker_or_by_label(tmp_path):
    labels = ["a", "b"] * 5
    for number, (columns, scheme) in enumerate(
        [
            ({}, "stratified"),
            ({"speaker": [f"s{i % 5}" for i in range(10)]}, "speaker"),
            ({"speaker": ["", *(f"s{i}" for i in range(9))]}, "stratified"),
            ({"split": ["train"] * 6 + ["dev"] * 2 + ["test"] * 2}, "column"),
        ]
    ):
        path = write_recipe(table(tmp_path, rows(labels, **columns)), tmp_path / f"d{number}")
        assert Recipe.read(path).split["scheme"] == scheme


def test_members_are_those_whose_modality_is_there(tmp_path, corpus):
    assert list(Recipe.read(write_recipe(corpus, tmp_path / "a")).members) == [
        "speech-lr", "text-lr",
    ]  # fmt: skip
    text_only = table(tmp_path, rows(["a", "b"] * 3))
    assert list(Recipe.read(write_recipe(text_only, tmp_path / "b")).members) == ["text-lr"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["", "", ""], "has no labels"),
        (["a", "", "b"], "line 3: the label is blank"),
        ([f"label {i}" for i in range(31)], "31 different labels"),
    ],
)
def test_labels_that_are_none(tmp_path, labels, words):
    with pytest.raises(InputError, match=words):
        write_recipe(table(tmp_path, rows(labels)), tmp_path / "d")


def test_the_command(corpus, tmp_path):
    """With a small corpus put where the demo would write its own."""
    write_corpus(tmp_path / "demo" / "corpus", voices=9, clips_per_voice=10)
    told = CliRunner().invoke(affekt, ["demo", "-o", str(tmp_path / "demo")])
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("Synthetic corpus: the numbers below say nothing")
    assert "speech-lr" in told.stdout
    assert f"Report: {tmp_path / 'demo/out/report.html'}" in told.stdout
    again = CliRunner().invoke(affekt, ["demo", "-o", str(tmp_path / "demo")])
    assert "Nothing to do" in again.stderr


def test_the_command_on_ones_own_clips(tmp_path):
    labels = ["bored", "keen"] * 30
    speakers = [f"s{i // 2 % 10}" for i in range(60)]
    told_rows = rows(labels, speaker=speakers)
    for row in told_rows:
        row["text"] = f"{'what a drag' if row['label'] == 'bored' else 'let us go'} {row['id']}"
    own = table(tmp_path, told_rows)
    told = CliRunner().invoke(affekt, ["demo", "--manifest", str(own), "-o", str(tmp_path / "d")])
    assert told.exit_code == 0, told.output
    assert "Synthetic" not in told.stdout
    assert "text-lr" in told.stdout
    assert "speech-lr" not in told.stdout


def test_a_recipe_that_was_changed_stays(tmp_path):
    manifest = table(tmp_path, rows(["positive", "negative"] * 3))
    path = write_recipe(manifest, tmp_path / "d")
    assert write_recipe(manifest, tmp_path / "d") == path  # as it was: nothing to lose
    path.write_text("# mine\n" + path.read_text())
    with pytest.raises(InputError, match="affekt run"):
        write_recipe(manifest, tmp_path / "d")
    assert path.read_text().startswith("# mine")
