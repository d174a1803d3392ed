"""Every layer of every family is transformers' own hidden state of the single file."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.layers import masked_pool
from affekt.extract.inputs.decode import decode
from affekt.extract.pooling import pool

from tests.support.encoder_models import (
    SPEECH,
    TEXT,
    TEXTS,
    backend,
    distance,
    model_folder,
    plain_layers,
    tone,
)

# torch about the masks that transformers' WavLM hands it; nothing we could pass differently
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

CLIPS = [tone(16000), tone(7777, 1), tone(24321, 2), tone(721, 3)]


@pytest.mark.parametrize("name", [*SPEECH, *TEXT])
def test_layers_equal_those_of_the_single_file_or_text(name):
    items = CLIPS if name in SPEECH else TEXTS
    answers = backend(name).embed(items)
    assert name in TEXT or backend(name).tapped == (name != "conformer")
    for item, answer in zip(items, answers, strict=True):
        states, keep = plain_layers(name, model_folder(name), item)
        assert answer.frames == int(keep.sum())
        assert distance(answer.values, states[:, keep].mean(dim=1)) <= 1e-5


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-base", "wav2vec2-bert", "whisper"])
@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "nemo", "urdu"])
def test_layers_of_real_clips_of_every_format(name, corpus, shared_data):
    with (shared_data / corpus / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_format = {row["path"].rsplit(".", 1)[-1]: row["path"] for row in rows}
    for path in by_format.values():
        signal = decode((shared_data / corpus / path).read_bytes(), 16000, None, None)
        [answer] = backend(name).embed([signal.samples])
        states, keep = plain_layers(name, model_folder(name), signal.samples)
        assert distance(answer.values, states[:, keep].mean(dim=1)) <= 1e-5, path


@pytest.mark.parametrize("pooling", ["mean", "mean+std", "max"])
@pytest.mark.parametrize("batching", ["auto", "padded", "packed"])
@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-bert", "bert", "deberta-v2"])
def test_poolings_are_those_of_the_valid_frames(name, pooling, batching):
    items = CLIPS[:3] if name in SPEECH else TEXTS
    opened = backend(name, pooling=pooling, batching=batching)
    for item, answer in zip(items, opened.embed(items), strict=True):
        states, keep = plain_layers(name, model_folder(name), item)
        assert answer.values.shape == (opened.n_layers, opened.dim)
        # packed, filter banks are made in float64, where the library's are rounded
        tolerance = 3e-5 if (name, batching) == ("wav2vec2-bert", "packed") else 1e-5
        assert distance(answer.values, pool(states[:, keep], pooling)) <= tolerance


@pytest.mark.parametrize("batching", ["auto", "packed"])
@pytest.mark.parametrize(
    ("options", "tokens"),
    [({"pooling": "cls"}, slice(1)), ({"special_tokens": False}, slice(1, -1))],
)
def test_cls_is_the_first_token_and_special_tokens_may_stay_unpooled(options, tokens, batching):
    answers = backend("bert", batching=batching, **options).embed(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        states, _ = plain_layers("bert", model_folder("bert"), text)
        assert distance(answer.values, states[:, tokens].mean(dim=1)) <= 1e-5


def test_masked_pool_equals_pool_of_each_row_alone():
    rng = np.random.default_rng(0)
    states = torch.from_numpy(rng.normal(size=(5, 9, 4)).astype("f4"))
    keep = torch.from_numpy(rng.random((5, 9)) < 0.5)
    keep[:, 0] = True
    states[~keep] = float("nan")  # whatever stands in the padding
    for pooling in ("mean", "mean+std", "max", "cls"):
        together = masked_pool(states, keep, pooling)
        for row in range(5):
            alone = pool(states[row, keep[row]], pooling)
            torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-6)


def test_layer_count_and_width_are_known_before_loading():
    for name in ("xlsr", "whisper", "distilbert"):
        opened = open_backend(str(model_folder(name)), pooling="mean+std")
        described = opened.describe()
        assert opened._model is None
        [answer] = opened.embed([TEXTS[1] if name in TEXT else CLIPS[0]])
        assert answer.values.shape == (described["layers"]["count"], described["layers"]["dim"])
