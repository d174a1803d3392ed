"""`words` cuts at spaces and signs in every script, and nowhere inside a word."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from affekt.extract.builtin.ngram import Ngram
from affekt.extract.inputs.words import words
from hypothesis import given, strategies as st


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("Hindi", "यह बहुत अच्छा है"),
        ("Tamil", "மிகவும் நல்ல படம்"),
        ("Bengali", "খুব ভালো লাগলো"),
        ("Amharic", "በጣም ጥሩ ነው"),
        ("Yoruba", "ẹ̀kọ́ dára púpọ̀"),
        ("Persian with a non-joiner", "می\u200cخواهم بروم"),
        ("Arabic with vowels", "شُكْرًا جَزِيلًا"),
        ("Hebrew with vowels", "שָׁלוֹם לך"),
        ("Thai", "ดีมาก ครับ"),
        ("Adlam", "𞤸𞤵𞤲𞤮 𞤥𞤮𞥅𞤶𞥆𞤵𞤥"),
        ("Vietnamese", "rất vui được gặp bạn"),
        ("French", "l’été aujourd'hui"),
        ("Korean", "정말 좋아요"),
    ],
)
def test_words_between_spaces_stay_whole(language, text):
    folded = unicodedata.normalize("NFKC", text).casefold()
    assert words(text) == folded.split(), language
    [row] = Ngram().embed([text])
    assert row.frames == len(text.split())


def test_signs_and_single_characters_are_words():
    assert words("真的很好! すごい") == [*"真的很好!すごい"]
    assert words("𠮷野家、𠮷") == [*"𠮷野家、𠮷"]
    assert words("ok... 😀😀 #tag @you 3.5") == [*["ok", *"...😀😀#"], "tag", "@", "you", *"3.5"]
    assert words("a_b 'x' ' \u0301y") == ["a", "_", "b", "'", "x", "'", "'", "\u0301", "y"]
    assert words("İyi 1️⃣") == ["i̇yi", "1️⃣"]


@given(st.text())
def test_nothing_but_space_is_lost(text):
    folded = unicodedata.normalize("NFKC", text).casefold()
    assert "".join(words(text)) == "".join(folded.split())


def test_chinese_texts_with_common_words_are_alike():
    """A sentence without spaces is more than one long word of its own."""
    good, better, bad = (
        row.values[0] for row in Ngram().embed(["我很开心", "我真的很开心", "天气糟糕"])
    )
    split = len(good) * 3 // 4  # words come after character n-grams
    assert np.dot(good[split:], better[split:]) > 0.4
    assert abs(np.dot(good[split:], bad[split:])) < 0.1
