"""The synthetic corpus, and `affekt demo` on it and on a table of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import InputError, Manifest
from affekt.classify.cli import affekt
from affekt.classify.experiments.demo.corpus import CUES, write_corpus
from affekt.classify.experiments.first_recipe.recipe_for import write_recipe
from affekt.classify.experiments.run import run
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


def test_the_command(corpus, tmp_path):
    """With a small corpus put where the demo would write its own."""
    write_corpus(tmp_path / "demo" / "corpus", voices=9, clips_per_voice=10)
    result = CliRunner().invoke(affekt, ["demo", "-o", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Synthetic corpus: the numbers below say nothing")
    assert "speech-lr" in result.stdout
    assert f"Report: {tmp_path / 'demo/out/report.html'}" in result.stdout
    again = CliRunner().invoke(affekt, ["demo", "-o", str(tmp_path / "demo")])
    assert "Nothing to do" in again.stderr


def test_the_command_on_ones_own_clips(tmp_path):
    labels = ["bored", "keen"] * 30
    speakers = [f"s{i // 2 % 10}" for i in range(60)]
    table_rows = rows(labels, speaker=speakers)
    for row in table_rows:
        row["text"] = f"{'what a drag' if row['label'] == 'bored' else 'let us go'} {row['id']}"
    own = table(tmp_path, table_rows)
    result = CliRunner().invoke(affekt, ["demo", "--manifest", str(own), "-o", str(tmp_path / "d")])
    assert result.exit_code == 0, result.output
    assert "Synthetic" not in result.stdout
    assert "text-lr" in result.stdout
    assert "speech-lr" not in result.stdout


def test_a_note_on_the_table_is_printed_once(tmp_path):
    table_rows = rows(["bored", "keen"] * 30, recording=[f"{i}.wav" for i in range(60)])
    own = table(tmp_path, table_rows)
    [note] = Manifest.read(own).notes
    result = CliRunner().invoke(affekt, ["demo", "--manifest", str(own), "-o", str(tmp_path / "d")])
    assert result.exit_code == 0, result.output
    assert result.stderr.count(note) == 1
    again: list[str] = []
    run(tmp_path / "d" / "recipe.yaml", progress=again.append)
    assert [line for line in again if note in line]


def test_a_recipe_that_was_changed_stays(tmp_path):
    manifest = table(tmp_path, rows(["positive", "negative"] * 30))
    path = write_recipe(manifest, tmp_path / "recipe.yaml").path
    path.write_text("# mine\n" + path.read_text())
    write_recipe(manifest, path)  # nothing but a comment differs: nothing to do
    assert path.read_text().startswith("# mine")
    changed = path.read_text().replace("0.25", "0.3")
    path.write_text(changed)
    with pytest.raises(InputError, match="affekt run"):
        write_recipe(manifest, path)
    assert path.read_text() == changed
