"""Fine-tuned classifiers as spaces of class probabilities."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache.errors import InputError
from affekt.extract import Encoder
from affekt.extract.encoders import open_backend
from affekt.extract.errors import Unusable

from tests.support.encoder_models import (
    SPEECH,
    TEXT,
    TEXTS,
    _scratch,
    distance,
    model_folder,
    saved,
    tone,
)

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

LABELS = ("anger", "joy", "sadness")
CLIPS = [tone(8000), tone(24000, 1), tone(5000, 2)]
MODELS = {
    "xlsr": tf.Wav2Vec2ForSequenceClassification,
    "wav2vec2-base": tf.Wav2Vec2ForSequenceClassification,
    "wavlm-base": tf.WavLMForSequenceClassification,
    "hubert-large": tf.HubertForSequenceClassification,
    "data2vec-audio": tf.Data2VecAudioForSequenceClassification,
    "wav2vec2-bert": tf.Wav2Vec2BertForSequenceClassification,
    "whisper": tf.WhisperForAudioClassification,
    "bert": tf.BertForSequenceClassification,
    "roberta": tf.RobertaForSequenceClassification,
    "xlm-roberta": tf.XLMRobertaForSequenceClassification,
    "distilbert": tf.DistilBertForSequenceClassification,
    "mpnet": tf.MPNetForSequenceClassification,
    "deberta-v2": tf.DebertaV2ForSequenceClassification,
    "electra": tf.ElectraForSequenceClassification,
}


@cache
def fine_tuned(name):
    from pathlib import Path

    return saved(
        name,
        Path(_scratch().name) / f"{name}-classifier",
        kind=MODELS[name],
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        classifier_proj_size=16,
        use_weighted_layer_sum=name in ("xlsr", "wavlm-base"),
    )


def plain(name, item):
    """What a user writes for one file."""
    folder = fine_tuned(name)
    model = MODELS[name].from_pretrained(folder).eval()
    if name in TEXT:
        inputs = tf.AutoTokenizer.from_pretrained(folder)(
            item, truncation=True, max_length=64, return_tensors="pt"
        )
    else:
        extractor = tf.AutoFeatureExtractor.from_pretrained(folder)
        inputs = extractor(item, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).logits.softmax(dim=-1)


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_equal_the_single_file(name):
    items = CLIPS if name in SPEECH else TEXTS
    for batching in ("auto", "padded"):
        opened = open_backend(str(fine_tuned(name)), classifier=True, batching=batching)
        assert opened.labels == LABELS
        assert (opened.n_layers, opened.dim) == (1, 3)
        for item, answer in zip(items, opened.embed(items), strict=True):
            assert abs(float(answer.values.sum()) - 1) < 1e-6
            assert (answer.values >= 0).all()
            assert distance(answer.values, plain(name, item)) <= 1e-5


def test_labels_are_in_the_spec_and_windows_stay_distributions():
    name = str(fine_tuned("xlsr"))
    spec = Encoder(name, classifier=True).spec
    assert spec.labels == list(LABELS)
    assert spec.fields["layers"] == {"semantics": "class-probabilities", "count": 1, "dim": 3}
    assert spec.key != Encoder(name).spec.key
    [row] = Encoder(name, classifier=True, long="chunk", max_seconds=1.0).embed([tone(56000)])
    assert abs(float(row.values.sum()) - 1) < 1e-6


def test_the_same_checkpoint_gives_layers_and_leaves_its_head_behind():
    opened = open_backend(str(fine_tuned("xlsr")))
    [answer] = opened.embed([CLIPS[0]])
    assert answer.values.shape == (4, 32)
    assert {name.split(".")[0] for name in opened.dropped} == {
        "projector",
        "classifier",
        "layer_weights",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "LABEL_0"}}, "classifier"),
        ({"id2label": {"0": "a", "1": "b", "5": "c"}}, "numbers"),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "repeats"),
        ({"problem_type": "multi_label_classification"}, "multi_label"),
    ],
)
def test_outputs_that_are_not_a_distribution_over_named_classes_are_refused(
    tmp_path, changes, message
):
    import shutil

    shutil.copytree(fine_tuned("bert"), tmp_path / "x")
    path = tmp_path / "x" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=message):
        open_backend(str(tmp_path / "x"), classifier=True)


def test_a_classifier_without_its_head_is_refused():
    with pytest.raises(InputError, match=r"missing|classifier"):
        open_backend(str(model_folder("bert")), classifier=True).load()


def test_pooling_is_the_classifiers_own():
    with pytest.raises(InputError, match="pooling"):
        open_backend(str(fine_tuned("bert")), classifier=True, pooling="max")


def test_bad_inputs_cost_their_row_only():
    opened = open_backend(str(fine_tuned("bert")), classifier=True)
    answers = opened.embed(["", TEXTS[0], "a\0"])
    assert [type(answer) for answer in answers][::2] == [Unusable, Unusable]
    assert np.isfinite(answers[1].values).all()
