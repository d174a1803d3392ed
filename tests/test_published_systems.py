"""The five systems that affekt grew out of, each whole, by the commands that README names.

Stand-ins have the published tensor names, labels and settings, and small random weights. Each
test imports what was published, or trains the same system; then: report, a file, memory, card.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import transformers as tf
from affekt.classify import load_model
from affekt.classify.cli import affekt
from click.testing import CliRunner

from tests.support.encoder_models import saved, tone
from tests.support.umuteam_models import EN, ES, expected, text_vector, write_speech
from tests.support.vocametrix_models import DEFAULTS, SMALL, tensors, write

TEXT = "I am so very happy that you came"
RECIPE = """\
manifest: clips.csv
task: %(task)s
cache: my.cache
encoders: {%(encoders)s}
split: {scheme: speaker, test_size: 0.34, dev_size: 0.17}
members: {%(members)s}
ensembles: [mean, max]
compare: {n_resamples: 100, learning_curve: false}
report: out
"""


def call(*words, code=0):
    """Run a command in this process; give what it prints, and what it says on stderr."""
    done = CliRunner().invoke(affekt, [str(word) for word in words])
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout, done.stderr


def write_corpus(folder: Path, labels) -> None:
    """One recording and text of each label by each of six speakers."""
    rows = []
    for speaker in range(6):
        for number, label in enumerate(labels):
            name = f"{speaker}-{label}.wav"
            samples = tone(4000, seed=10 * number + speaker)
            soundfile.write(folder / name, samples, 16000, subtype="FLOAT")
            os.utime(folder / name, (1e9, 1e9))
            text = f"{TEXT} {label} {speaker}"
            row = {"path": name, "text": text, "label": label, "speaker": f"s{speaker}"}
            rows.append(row | {"language": "spa", "split": "test"})
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, tone(9000, seed=3), 16000, subtype="FLOAT")
    return path


def answers(place: Path, clip: Path, *, text=None, encoders=(), system=None) -> dict[str, float]:
    """The probabilities of one clip: by command, by path and from memory, which are the same."""
    words = [f"--encoder={one}" for one in encoders]
    words += [f"--text={text}"] if text else []
    words += [f"--system={system}"] if system else []
    out, _ = call("predict", place, clip, *words, "--json")
    [row] = json.loads(out)
    samples, rate = soundfile.read(clip, dtype="float32")
    with load_model(place, system=system, encoders=encoders) as model:
        for given in (clip, clip.read_bytes(), samples):
            how = {"sampling_rate": rate} if given is samples else {}
            found = model.predict(given, text=text, **how)
            wanted = [row["scores"][label] for label in found.labels]
            np.testing.assert_allclose(found.proba[0], wanted, atol=1e-6)
    assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-6)
    return row["scores"]


def whole(folder: Path, text: str) -> dict:
    """Check a recipe, run it, run it again, and write its card."""
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    assert "Nothing was embedded" in call("run", "--check", path)[0]
    assert not (folder / "out").exists()
    assert "Report: " in call("run", path)[0]
    assert "Nothing to do" in call("run", path)[1]
    data = json.loads((folder / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert "# Comparison" in (folder / "out" / "report.md").read_text(encoding="utf-8")
    system = data["chosen"] or "mean"
    card, _ = call("card", folder / "out", "--system", system)
    assert f"{data['systems'][system]['test']['uar']['value']:.3f}" in card
    return data


def test_speech_alone(tmp_path, clip):
    """Wav2Vec2-BERT with the toolkit's classifier: published, and trained anew on its encoder."""
    folder = write_speech(tmp_path / "w2v-bert-emotion-es", "audio", ES)
    call("import-model", folder, "--mode", "audio", "-o", tmp_path / "model")
    found = answers(tmp_path / "model", clip, encoders=[folder])
    wanted = expected(folder, "audio", soundfile.read(clip, dtype="float32")[0], None)
    np.testing.assert_allclose([found[label] for label in ES], wanted, atol=1e-5)

    write_corpus(tmp_path, ES)
    values = {"task": "emotion6", "encoders": f"speech: {folder}"}
    whole(tmp_path, RECIPE % {**values, "members": "audio: {head: mlp, on: speech, max_epochs: 3}"})
    assert set(answers(tmp_path / "out", clip, encoders=[folder])) == set(ES)


def joint(tmp_path: Path, clip: Path, mode: str, labels) -> tuple[Path, Path]:
    """Import a published model of audio and text, and compare it with its equations."""
    speech = write_speech(tmp_path / f"w2v-bert-{mode}-emotion", mode, labels)
    bert = saved("bert", tmp_path / "bert")
    model = tmp_path / f"model-{mode}"
    call("import-model", speech, "--mode", mode, "--encoder", bert, "-o", model)
    found = answers(model, clip, text=TEXT, encoders=[speech, bert])
    samples = soundfile.read(clip, dtype="float32")[0]
    wanted = expected(speech, mode, samples, text_vector(bert, TEXT))
    np.testing.assert_allclose([found[label] for label in labels], wanted, atol=1e-5)
    return speech, bert


def test_the_mean_of_speech_and_text(tmp_path, clip):
    speech, bert = joint(tmp_path, clip, "mean", EN)
    write_corpus(tmp_path, EN)
    values = {
        "task": "emotion7",
        "encoders": f"speech: {speech}, text: {{name: {bert}, pooling: cls}}",
    }
    members = "mean: {head: mean, on: [speech, text], max_epochs: 3}"
    whole(tmp_path, RECIPE % {**values, "members": members})
    assert len(answers(tmp_path / "out", clip, text=TEXT, encoders=[speech, bert])) == len(EN)


def test_concatenation_and_cross_attention(tmp_path, clip):
    speech, bert = joint(tmp_path, clip, "multihead", ES)
    joint(tmp_path, clip, "concat", ES)
    write_corpus(tmp_path, ES)
    values = {
        "task": "emotion6",
        "encoders": f"speech: {speech}, text: {{name: {bert}, pooling: cls}}",
    }
    members = (
        "concat: {head: concat, on: [speech, text], max_epochs: 3}, "
        "multihead: {head: cross-attention, on: [speech, text], max_epochs: 2}"
    )
    data = whole(tmp_path, RECIPE % {**values, "members": members})
    assert set(data["systems"]) == {"concat", "multihead", "mean", "max"}
    for system in data["systems"]:
        words = {"text": TEXT, "encoders": [speech, bert], "system": system}
        assert set(answers(tmp_path / "out", clip, **words)) == set(ES)


def test_the_valence_card(tmp_path, clip):
    xlsr = saved("xlsr", tmp_path / "wav2vec2-large-xlsr-53")
    published = write(tmp_path / "valence", tensors(**{**SMALL, "width": 32}),
                      {**DEFAULTS, "nhead": 4})  # fmt: skip
    words = (
        "--encoder",
        xlsr,
        "--no-scaler",
        "--input-dim",
        32,
        "--labels",
        "negative,neutral,positive",
    )
    call("import-model", published, *words, "-o", tmp_path / "model")
    found = answers(tmp_path / "model", clip, encoders=[xlsr])
    assert list(found) == ["negative", "neutral", "positive"]

    write_corpus(tmp_path, ES)
    values = {"task": "valence-vocametrix", "encoders": f"speech: {xlsr}"}
    member = "patch: {head: patch, on: speech, layers: -1, max_epochs: 1, n_blocks: 1}"
    data = whole(tmp_path, RECIPE % {**values, "members": member})
    assert data["task"]["labels"] == ["negative", "neutral", "positive"]
    answers(tmp_path / "out", clip, encoders=[xlsr])


def test_mean_and_max_of_text_and_speech_classifiers(tmp_path, clip):
    """recipes/itst.yaml with classifiers of this machine: nothing is trained."""
    named = {"num_labels": len(ES), "id2label": dict(enumerate(ES))}
    text = saved("bert", tmp_path / "beto", kind=tf.BertForSequenceClassification, **named)
    speech = saved("xlsr", tmp_path / "xlsr", kind=tf.Wav2Vec2ForSequenceClassification, **named)
    write_corpus(tmp_path, ES)
    shipped = (Path(__file__).parents[1] / "recipes" / "itst.yaml").read_text(encoding="utf-8")
    shipped = shipped.replace("fine-tuned/beto", str(text)).replace("report: itst/", "report: ")
    shipped = shipped.replace("fine-tuned/wav2vec2-large-xlsr-53-spanish", str(speech))
    data = whole(tmp_path, shipped)
    assert set(data["systems"]) == {"text", "speech", "mean", "max"}
    found = {
        system: answers(tmp_path / "out", clip, text=TEXT, encoders=[text, speech], system=system)
        for system in data["systems"]
    }
    one, other = (np.array([found[name][label] for label in ES]) for name in ("text", "speech"))
    mean = np.array([found["mean"][label] for label in ES])
    np.testing.assert_allclose(mean, (one + other) / 2, atol=1e-6)
    most = np.maximum(one, other)
    largest = np.array([found["max"][label] for label in ES])
    np.testing.assert_allclose(largest, most / most.sum(), atol=1e-6)
