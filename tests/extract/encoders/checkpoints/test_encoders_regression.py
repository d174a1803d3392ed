"""Models that give numbers: arousal, dominance, valence, as a space that can be a feature."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache import Cache, InputError, Manifest
from affekt.classify.models.new_clips.own_encoders import open_encoder
from affekt.classify.models.published import published
from affekt.extract import Encoder
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.checkpoints.pooled_head import PooledWav2Vec2
from affekt.extract.running.embedding import run_extraction

from tests.support.encoder_models import distance, saved, tone

CLIPS = [tone(8000), tone(20000, 1), tone(12345, 2)]
NAMES = ("arousal", "dominance", "valence")
DIMENSIONS = {"id2label": dict(enumerate(NAMES)), "problem_type": "regression", "num_labels": 3}


@pytest.fixture(scope="module")
def dimensional(tmp_path_factory):
    """As audeering's model is: the mean over frames, dense, tanh, out_proj."""
    folder = tmp_path_factory.mktemp("dimensional") / "m"
    saved("xlsr", folder, kind=PooledWav2Vec2, **DIMENSIONS)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["Wav2Vec2ForSpeechClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def by_hand(folder, samples):
    """The mean of the last states, dense, tanh, out_proj, with transformers' encoder alone."""
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors")
    inputs = tf.AutoFeatureExtractor.from_pretrained(folder)(
        samples, sampling_rate=16000, return_tensors="pt"
    )
    model = tf.Wav2Vec2Model.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        mean = model(**inputs).last_hidden_state.mean(1)
    x = torch.tanh(mean @ state["classifier.dense.weight"].T + state["classifier.dense.bias"])
    return x @ state["classifier.out_proj.weight"].T + state["classifier.out_proj.bias"]


@pytest.mark.parametrize("batching", ["single", "padded"])
def test_dimensions_equal_the_equations(dimensional, batching):
    opened = open_backend(str(dimensional), classifier=True, batching=batching)
    assert (opened.labels, opened.outputs) == (None, NAMES)
    for samples, answer in zip(CLIPS, opened.embed(CLIPS), strict=True):
        assert answer.values.shape == (1, 3)
        assert distance(answer.values, by_hand(dimensional, samples)) <= 1e-5


def test_a_space_of_numbers_is_a_feature_and_opens_again(dimensional, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", CLIPS[1], 16000, subtype="FLOAT")
    clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}], root=tmp_path)
    encoder = Encoder(str(dimensional), classifier=True)
    spec = encoder.spec
    assert spec.fields["outputs"] == list(NAMES)
    assert "labels" not in spec.fields
    assert spec.fields["layers"] == {"semantics": "regression-outputs", "count": 1, "dim": 3}
    cache = Cache(tmp_path / "c")
    done = run_extraction(clips, cache, encoder)
    values = done.space.features(layers=-1).read(clips)
    np.testing.assert_allclose(values, by_hand(dimensional, CLIPS[1]), rtol=1e-4, atol=1e-5)
    assert open_encoder(spec, dimensional).spec == spec


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bert", tf.BertForSequenceClassification), ("xlsr", tf.Wav2Vec2ForSequenceClassification)],
)
def test_regression_models_of_transformers(tmp_path, name, kind):
    folder = saved(name, tmp_path / "m", kind=kind, **DIMENSIONS)
    opened = open_backend(str(folder), classifier=True)
    item = CLIPS[0] if opened.modality == "audio" else "one two"
    [found] = opened.embed([item])
    if opened.modality == "audio":
        made = tf.AutoFeatureExtractor.from_pretrained(folder)
        inputs = made(item, sampling_rate=16000, return_tensors="pt")
    else:
        inputs = tf.AutoTokenizer.from_pretrained(folder)(item, return_tensors="pt")
    with torch.inference_mode():
        wanted = kind.from_pretrained(folder).eval()(**inputs).logits
    assert distance(found.values, wanted) <= 1e-5


def test_a_head_of_this_kind_that_classifies_predicts_by_command(tmp_path):
    import soundfile

    labels = {0: "joy", 1: "anger"}
    folder = saved("xlsr", tmp_path / "m", kind=PooledWav2Vec2, num_labels=2, id2label=labels)
    soundfile.write(tmp_path / "a.wav", CLIPS[0], 16000, subtype="FLOAT")
    model = published(folder)
    found = model.model.predict(tmp_path / "a.wav")
    [wanted] = open_backend(str(folder), classifier=True).embed([CLIPS[0]])
    np.testing.assert_allclose(found.proba[0], wanted.values[0], atol=1e-6)
    config = json.loads((folder / "config.json").read_text()) | {"pooling_mode": "sum"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="pooling_mode is 'sum'"):
        published(folder)
    with pytest.raises(InputError, match="pooling_mode is 'sum'"):
        open_backend(str(folder), classifier=True).load()
