"""Traps of running a pretrained encoder: length, texts.

The docstring of each test says what goes wrong elsewhere.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.extract import Encoder
from affekt.extract.encoders import open_backend
from affekt.extract.pooling import merge, split_evenly

from tests.support.encoder_models import (
    TEXTS,
    altered,
    backend,
    distance,
    model_folder,
    tone,
)

# torch about the masks that transformers' WavLM hands it; nothing we could pass differently
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
SHORT, LONG = tone(8000), tone(24000, 1)


@pytest.mark.parametrize("name", ["wav2vec2-base", "xlsr", "wav2vec2-bert", "whisper"])
def test_silence_is_finite_and_one_bad_sample_costs_one_row(name):
    """One NaN makes its whole row NaN."""
    broken = SHORT.copy()
    broken[10] = np.nan
    infinite = SHORT.copy()
    infinite[10] = np.inf
    silence = np.zeros(8000, dtype="f4")
    answers = backend(name, batching="padded").embed([SHORT, broken, silence, infinite])
    assert answers[1].code == answers[3].code == "non_finite_input"
    assert np.isfinite(answers[2].values).all()
    [alone] = backend(name).embed([SHORT])
    assert distance(answers[0].values, alone.values) <= 1e-6


def test_long_clips_follow_a_policy_and_passes_a_budget():
    """One attention map of ten minutes is 58 GB."""
    minute = tone(16000 * 61)
    name = str(model_folder("xlsr"))
    [refused] = Encoder(name).embed([minute])
    assert refused.code == "too_long"
    chunked = Encoder(name, long="chunk", max_seconds=2.0)
    clip = tone(16000 * 5)
    [row] = chunked.embed([clip])
    windows = backend("xlsr").embed(split_evenly(clip, 32000))
    expected = merge([(window.values, window.frames) for window in windows])
    assert len(windows) == 3
    assert distance(row.values, expected) <= 1e-6
    assert chunked.spec.key != Encoder(name).spec.key


def test_the_resampler_is_in_the_spec():
    """Linear and FFT resampling move a clip by a third."""
    spec = Encoder(str(model_folder("xlsr"))).spec
    assert "soxr" in json.dumps(spec.fields["input"])


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"])
def test_long_texts_are_cut_where_positions_end(name):
    """One token too many is an index error, on a GPU the end of the process."""
    opened = backend(name)
    assert opened.front.max_length == 64  # 66 positions of RoBERTa and MPNet hold 64 tokens
    for words in (30, 31, 32, 61, 62, 63, 1000):
        text = "a " * words
        [answer] = opened.embed([text])
        tokens = len(opened.front.tokenizer(text, verbose=False)["input_ids"])
        assert answer.frames == min(tokens, 64)
        assert ("truncated_tokens" in answer.flags) == (tokens > 64)


def test_padding_is_right_and_nothing_to_read_is_named(tmp_path):
    """Left padding moves a BERT row by a half; no tokens give the mean of nothing."""
    left = altered("bert", tmp_path / "x", "tokenizer_config.json", padding_side="left")
    ours = open_backend(left, batching="padded").embed(TEXTS)
    for text, answer in zip(TEXTS, ours, strict=True):
        [alone] = backend("bert").embed([text])
        assert distance(answer.values, alone.values) <= 1e-6
    for special in (True, False):
        opened = backend("bert", special_tokens=special)
        for nothing in ("", "  ", "\u200b", "\n\t"):
            assert opened.embed([nothing])[0].code == "empty_text"


def test_a_prefix_is_part_of_the_spec():
    """A query's vector was served for a document: the prompt was not in the key."""
    plain, prefixed = backend("bert"), backend("bert", prefix="the fear: ")
    assert plain.describe()["processor"] != prefixed.describe()["processor"]
    [ours] = prefixed.embed(["one two"])
    [written] = plain.embed(["the fear: one two"])
    assert distance(ours.values, written.values) <= 1e-6
    assert prefixed.embed([""])[0].code == "empty_text"
