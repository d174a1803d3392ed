"""Texts at the edge: empty, endless, composed, disguised, without a padding token."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from affekt.extract.errors import Unusable

from tests.support.encoder_models import TEXT, TEXTS, backend, distance


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "gpt2"])
def test_nothing_to_read_is_quarantined(name):
    answers = backend(name).embed(["", " \n\t ", TEXTS[0], "\u3000"])
    assert [getattr(answer, "code", None) for answer in answers] == [
        "empty_text",
        "empty_text",
        None,
        "empty_text",
    ]


@pytest.mark.parametrize("name", TEXT)
def test_a_text_of_any_length_is_cut_by_rule_and_flagged(name):
    opened = backend(name)
    short, endless = opened.embed(["a b", "the anger " * 20_000])
    assert short.flags == ()
    assert endless.flags == ("truncated_tokens",)
    assert endless.frames == opened.front.max_length == 64
    assert np.isfinite(endless.values).all()


@pytest.mark.parametrize("name", ["bert", "xlm-roberta"])
def test_composed_and_decomposed_letters_are_one_text(name):
    text = "¡Qué alegría verte!"
    parts = unicodedata.normalize("NFD", text)
    assert parts != text
    one, two = backend(name).embed([text, parts])
    assert np.array_equal(one.values, two.values)
    for bad in ("a\0b", "\ud83d alone"):
        [answer] = backend(name).embed([bad])
        assert isinstance(answer, Unusable)
        assert answer.code == "bad_text"


@pytest.mark.parametrize(
    ("name", "mark"),
    [("bert", "[SEP]"), ("roberta", "</s>"), ("xlm-roberta", "<s>"), ("deberta-v2", "[CLS]")],
)
def test_marks_written_in_a_text_are_text(name, mark):
    opened = backend(name)
    own = opened.front.tokenizer.convert_tokens_to_ids(mark)
    ids = opened.front.prepare(f"one {mark} two").tensors["input_ids"].tolist()
    plain = opened.front.prepare("one two").tensors["input_ids"].tolist()
    assert ids.count(own) == plain.count(own) == 1
    assert opened.describe()["processor"]["marks_in_text"] == "split"


def test_no_padding_token_is_needed():
    opened = backend("gpt2")
    assert opened.front.tokenizer.pad_token_id is None
    together = opened.embed(TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        [alone] = opened.embed([text])
        assert distance(answer.values, alone.values) <= 1e-6
