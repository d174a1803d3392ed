"""Every recipe in recipes/, as shipped, from clips to a report, a served answer and a card.

Small random models of the same classes stand for the Hub ids, with as many layers as the recipe
asks for. Networks train for a few epochs; everything else is what the file says.
"""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
import soundfile
import transformers as tf
from affekt.classify import Recipe, open_system, run
from affekt.classify.evaluation.reports.card import model_card
from affekt.classify.experiments.preview import preview

from tests.support.encoder_models import saved, tone
from tests.support.umuteam_models import EN, ES, write_speech, write_text

ROOT = Path(__file__).resolve().parents[4]
FILES = sorted({*(ROOT / "recipes").glob("*.yaml")} - {ROOT / "recipes" / "ray-cluster.yaml"})
QUICK = {"mlp": "max_epochs: 3", "patch": "max_epochs: 1", "concat": "max_epochs: 3",
         "mean": "max_epochs: 3", "cross-attention": "max_epochs: 2"}  # fmt: skip
PHRASES = {
    "anger": "no no no the anger", "disgust": "oh so bad", "fear": "I am so afraid",
    "joy": "so very happy", "happiness": "so very happy", "neutral": "one two three",
    "sadness": "the house is dark", "surprise": "you came today",
}  # fmt: skip


def named(labels):
    return {"num_labels": len(labels), "id2label": dict(enumerate(labels))}


MODELS = {
    "dccuchile/bert-base-spanish-wwm-cased": lambda at: saved("bert", at, num_hidden_layers=12),
    "dccuchile/bert-base-spanish-wwm-uncased": lambda at: saved("bert", at),
    "google-bert/bert-base-uncased": lambda at: saved("bert", at),
    "PlanTL-GOB-ES/roberta-base-bne": lambda at: saved("roberta", at, num_hidden_layers=12),
    "bertin-project/bertin-roberta-base-spanish": lambda at: saved(
        "roberta", at, num_hidden_layers=12
    ),
    "jonatasgrosman/wav2vec2-large-xlsr-53-spanish": lambda at: saved(
        "xlsr-ctc", at, num_hidden_layers=24
    ),
    "facebook/wav2vec2-large-xlsr-53": lambda at: saved("xlsr", at, num_hidden_layers=24),
    "UMUTeam/w2v-bert-emotion-en": lambda at: write_speech(at, "audio", EN),
    "UMUTeam/w2v-bert-emotion-es": lambda at: write_speech(at, "audio", ES),
    "UMUTeam/roberta-emotion-en": lambda at: write_text(at, EN),
    "UMUTeam/MarIA-emotion-es": lambda at: write_text(at, ES),
    "fine-tuned/beto": lambda at: saved(
        "bert", at, kind=tf.BertForSequenceClassification, **named(ES)
    ),
    "fine-tuned/wav2vec2-large-xlsr-53-spanish": lambda at: saved(
        "xlsr", at, kind=tf.Wav2Vec2ForSequenceClassification, **named(ES)
    ),
}


def write_corpus(folder: Path, *, parts: bool) -> None:
    """Six labels of eight speakers; `parts` names dev and test only: a corpus for testing."""
    rows = []
    for speaker in range(8):
        for number, label in enumerate(ES):
            name = f"{speaker}-{label}.wav"
            samples = tone(4000, seed=10 * number + speaker)
            soundfile.write(folder / name, samples, 16000)
            os.utime(folder / name, (1e9, 1e9))  # a file of just now may change unseen
            text = f"{PHRASES[label]} {'abcdefghij'[speaker]}"
            row = {"id": name, "path": name, "text": text, "label": label, "speaker": f"s{speaker}"}
            row |= {"language": "spa" if speaker % 2 else "eng", "dataset": "made-up"}
            rows.append(row | ({"split": "dev" if speaker < 3 else "test"} if parts else {}))
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def stand_in(path: Path, folder: Path) -> Path:
    """Write a recipe with local models for the Hub ids, and heads that train quickly."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"manifest: \S+", "manifest: clips.csv", text)
    for name, write in MODELS.items():
        if f"name: {name}" in text:
            place = write(folder / "models" / name)
            text = re.sub(rf"name: {re.escape(name)}(?=[,}}])", f"name: {place}", text)
    text = text.replace(", max_epochs: 100", "")
    for head, settings in QUICK.items():
        text = text.replace(f"{{head: {head}, ", f"{{head: {head}, {settings}, ")
    assert not re.search(r"name: [\w-]+/", text)  # no Hub id is left
    text += "compare: {n_resamples: 200, learning_curve: false}\n"
    (folder / path.name).write_text(text, encoding="utf-8")
    return folder / path.name


@pytest.mark.parametrize("shipped", FILES, ids=lambda path: path.stem)
def test_a_shipped_recipe_runs_to_the_report_and_answers(shipped, tmp_path):
    write_corpus(tmp_path, parts=shipped.stem == "itst")
    path = stand_in(shipped, tmp_path)
    recipe = Recipe.read(path)
    assert run(path).exit_code == 0
    data = json.loads((recipe.report / "comparison.json").read_text(encoding="utf-8"))
    assert set(recipe.members) < set(data["systems"])
    assert len(data["systems"]) == len(recipe.members) + len(recipe.ensembles)
    assert run(path).did == []
    assert preview(recipe).is_current

    models = (tmp_path / "models").rglob("config.json")
    folders = sorted({str(one.parent) for one in models})
    clip = tmp_path / "4-joy.wav"
    answer = open_system(recipe.report, system=list(data["systems"])[-1])  # an ensemble of all
    [scores] = answer([clip], text="so very happy e", encoders=folders)
    assert {one["label"] for one in scores} == set(data["task"]["labels"])
    assert sum(one["score"] for one in scores) == pytest.approx(1)
    card = model_card(recipe.report)
    assert data["chosen"] in card
