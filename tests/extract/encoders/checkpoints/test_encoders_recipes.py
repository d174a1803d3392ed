"""The recipes of the published systems: each is read, one runs on small fine-tuned models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers as tf
from affekt.cache import Cache, Manifest
from affekt.classify import Predictions, Recipe, run
from affekt.classify.experiments.demo.corpus import write_corpus

from tests.support.encoder_models import saved

FOLDER = Path(__file__).resolve().parents[4] / "recipes"
RECIPES = sorted({*FOLDER.glob("*.yaml")} - {FOLDER / "ray-cluster.yaml"})
SPANISH = ("anger", "disgust", "fear", "joy", "neutral", "sadness")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_is_read(path):
    recipe = Recipe.read(path)
    assert recipe.members
    for member in recipe.members.values():
        assert member.head or len(member.on) == 1


def test_itst_is_the_mean_and_maximum_of_two_fine_tuned_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path, voices=6, clips_per_voice=5)
    clips = Manifest.read("clips.csv")
    split = ["test" if s in ("voice-00", "voice-01") else "train" for s in clips["speaker"]]
    clips.with_columns(split=split).write("clips.csv")
    names = {"id2label": dict(enumerate(SPANISH)), "classifier_proj_size": 16}
    tuned = tmp_path / "fine-tuned"
    saved("bert", tuned / "beto", kind=tf.BertForSequenceClassification, **names)
    saved(
        "xlsr",
        tuned / "wav2vec2-large-xlsr-53-spanish",
        kind=tf.Wav2Vec2ForSequenceClassification,
        **names,
    )
    text = next(path for path in RECIPES if path.name == "itst.yaml").read_text(encoding="utf-8")
    Path("itst.yaml").write_text(text, encoding="utf-8")
    run("itst.yaml")

    [one, two] = Cache("itst/my.cache").spaces()
    assert one.spec.labels == two.spec.labels == list(SPANISH)
    members = [Predictions.read(f"itst/out/members/{name}/pred.csv") for name in ("text", "speech")]
    assert members[0].ids == members[1].ids
    assert members[0].labels == members[1].labels == SPANISH
    test = Manifest.read("clips.csv").where(split="test")
    for space in (one, two):
        stored = space.features(layers=-1).read(test.select(members[0].ids))
        assert any(np.allclose(stored, member.proba, atol=1e-5) for member in members)
    assert Path("itst/out/report.md").is_file()
