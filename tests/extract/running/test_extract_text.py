"""Extraction of texts, also at the edge, and the n-gram encoder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.identity.content_digests import row_key
from affekt.extract import Encoder, Pooled, Unusable, extract
from affekt.extract.builtin.ngram import VERSION, Ngram
from affekt.extract.inputs.text_checks import ready_text
from affekt.extract.running.embedding import run_extraction
from hypothesis import given, settings, strategies as st


def manifest(*texts: str) -> Manifest:
    return Manifest.from_rows([{"id": str(n), "text": text} for n, text in enumerate(texts)])


def codes(done):
    return {failure.id: failure.code for failure in done.failures}


def vector(text: str) -> np.ndarray:
    [row] = Ngram().embed([text])
    assert isinstance(row, Pooled)
    return row.values[0]


def test_nothing_to_embed(cache):
    clips = manifest("fine", "", "   ", "\u200b\ufeff", "\t\n", "\u2060\u00ad", "?!")
    done = run_extraction(clips, cache, Encoder("ngram"))
    assert codes(done) == dict.fromkeys("2345", "empty_text")
    assert (done.computed, done.without) == (2, 1)  # a blank cell is a clip without text
    digests = dict(zip(clips.ids, cache.digests(clips, "text"), strict=True))
    for note in done.space.failures():  # under the key by which a run looks for it
        digest = digests[note["id"]]
        assert note["key"] == (digest and row_key(done.space.key, "text", digest))
    [empty] = Encoder("ngram").embed([""])
    assert isinstance(empty, Unusable)
    assert empty.code == "empty_text"


def test_long_texts(cache):
    clips = manifest("word " * 100_000, "word " * 511)
    done = run_extraction(clips, cache, Encoder("ngram"))
    assert done.computed == 2
    assert np.isfinite(cache.read(done.space, clips)).all()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_tokens_around_the_limit_of_a_transformer(cache, family):
    """One word is one token, two marks are added, the models take 64; RoBERTa counts from 2."""
    from tests.support.encoder_models import model_folder

    counts = [61, 62, 63, 1000, 100_000]
    clips = manifest(*("one " * n for n in counts))
    encoder = Encoder(str(model_folder(family)))
    done = run_extraction(clips, cache, encoder)
    assert (done.computed, done.failures) == (5, [])
    cut = done.flags["truncated_tokens"]
    assert cut == [str(n) for n in range(len(counts) - len(cut), len(counts))]
    assert {"3", "4"} <= set(cut)
    rows = cache.read(done.space, clips)
    assert np.isfinite(rows).all()
    for id_ in cut[1:]:  # all are cut to the same tokens
        assert np.allclose(rows[int(id_)], rows[int(cut[0])], rtol=1e-5, atol=1e-6)


def test_unicode(cache):
    composed, apart = "caf\u00e9 ni\u00f1o", unicodedata.normalize("NFD", "caf\u00e9 ni\u00f1o")
    assert composed != apart
    texts = ["שלום עולם", "مرحبا", "a\u200bb", "lone \ud800 half", "nul \0 inside", "💔😢"]
    clips = manifest(composed, apart, *texts)
    done = run_extraction(clips, cache, Encoder("ngram"))
    assert codes(done) == {"5": "bad_text", "6": "bad_text"}
    rows = cache.read(done.space, clips.select(["0", "1"]))
    assert np.array_equal(rows[0], rows[1])
    assert done.repeated == 1
    assert ready_text("a\u200bb") == "a\u200bb"


def test_what_looks_like_a_special_token_is_text(cache):
    clips = manifest("good [SEP] bad", "good bad", "</s>", "[CLS]")
    space = extract(clips, cache, Encoder("ngram"))
    rows = cache.read(space, clips, layers=0)
    assert not np.allclose(rows[0], rows[1])
    assert len({row.tobytes() for row in rows}) == 4


def test_words_that_readers_take_for_missing(tmp_path):
    table = tmp_path / "clips.csv"
    words = ["nan", "NULL", "NA", "None", "null", "NaN", "n/a", "-"]
    table.write_text("id,text\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words)))
    clips, cache = Manifest.read(table), Cache(tmp_path / "cache")
    done = run_extraction(clips, cache, Encoder("ngram"))
    assert (done.clips, done.without, done.failures) == (8, 0, [])
    nan, null = cache.read(done.space, clips.select(["0", "1"]), layers=0)
    assert np.array_equal(nan, vector("nan"))
    assert np.array_equal(null, vector("NULL"))


def test_parts_keep_equal_texts_together(cache):
    clips = manifest(*["same", "other", "third"] * 4)
    counts = [run_extraction(clips, cache, Encoder("ngram"), part=(n, 2)) for n in (1, 2)]
    assert sum(done.computed for done in counts) == 3
    assert sum(done.repeated for done in counts) == 9


def test_ngram_is_the_same_in_every_process():
    """Python's own hash differs from process to process; ours may not."""
    code = (
        "from affekt.extract.builtin.ngram import Ngram; import hashlib;"
        "v = Ngram().embed(['¡Qué alegría, 世界! 😀'])[0].values;"
        "print(hashlib.sha256(v.tobytes()).hexdigest()[:16])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    [digest] = found
    assert len(digest) == 17
    signs = np.sign(vector("¡Qué alegría, 世界! 😀")).astype(np.int8)  # from the hashes alone
    assert (VERSION, hashlib.sha256(signs.tobytes()).hexdigest()[:16]) == (2, "0d7c4682d275d0e7")


@pytest.mark.parametrize(
    "options", [{"dim": 10}, {"dim": 4 * 10**30}, {"longest": 0}, {"longest": 10**30}]
)
def test_ngram_refuses_sizes_that_it_does_not_have(options):
    with pytest.raises(InputError, match="expected"):
        Encoder("ngram", **options)


def test_ngram_finds_the_ngrams_that_a_plain_loop_finds():
    """Against sets made the slow way, through inner products of texts without collisions."""

    def grams(text):
        found = []
        for word in text.split():
            marked = f"<{word}>"
            found += list(word)
            found += [marked[i : i + n] for n in (2, 3, 4, 5) for i in range(len(marked) - n + 1)]
        return found

    def counts(items):
        return {item: np.log1p(items.count(item)) for item in items}

    def cosine(a, b):
        dot = sum(a[key] * b.get(key, 0.0) for key in a)
        return dot / np.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))

    backend = Ngram(dim=1 << 22)
    texts = ["good morning moon", "moon landing", "night mare mare"]
    split = backend.dim * 3 // 4
    rows = [row.values[0] for row in backend.embed(texts)]
    for i in range(3):
        for j in range(3):
            expected = cosine(counts(grams(texts[i])), counts(grams(texts[j])))
            assert rows[i][:split] @ rows[j][:split] == pytest.approx(expected, abs=1e-6)
            words = [t.split() + list(zip(t.split(), t.split()[1:], strict=False)) for t in texts]
            expected = cosine(counts(words[i]), counts(words[j]))
            assert rows[i][split:] @ rows[j][split:] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_ngram_rows_are_unit_vectors_or_reasons(text):
    [row] = Encoder("ngram").embed([text])
    if isinstance(row, Unusable):
        assert row.code in ("empty_text", "bad_text")
        return
    assert row.values.shape == (1, 4096)
    halves = row.values[0, :3072], row.values[0, 3072:]
    for half in halves:
        assert np.linalg.norm(half) == pytest.approx(1, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), max_size=8))
def test_ngram_rows_do_not_depend_on_other_texts(texts):
    encoder = Encoder("ngram")
    together = encoder.embed(texts)
    for text, row in zip(texts, together, strict=True):
        [alone] = encoder.embed([text])
        if isinstance(row, Pooled):
            assert isinstance(alone, Pooled)
            assert np.array_equal(row.values, alone.values)
        else:
            assert isinstance(alone, Unusable)
            assert alone.code == row.code


def test_ngram_case_and_width_do_not_matter_but_letters_do():
    assert np.array_equal(vector("GUT"), vector("gut"))
    assert np.array_equal(vector("Straße"), vector("STRASSE"))
    assert np.array_equal(vector("ｇｏｏｄ"), vector("good"))
    assert vector("good") @ vector("bad") < 0.6 * (vector("good") @ vector("goods"))


@pytest.mark.data
def test_ngram_separates_emotions_better_than_chance_in_three_languages(shared_data):
    """By the nearest mean of the classes, which needs no fitting."""
    emotions = ["joy", "sadness", "anger"]
    sets = {"meld": emotions, "emoevent_es": emotions, "afrisenti": ["positive", "negative"]}
    for name, labels in sets.items():
        clips = Manifest.read(shared_data / name / "manifest.csv")
        if name == "afrisenti":
            clips = clips.where(language="hau")
        random = np.random.default_rng(0)
        ids = [random.permutation(clips.where(label=label).ids)[:400] for label in labels]
        train = clips.select([id_ for some in ids for id_ in some[:300].tolist()])
        test = clips.select([id_ for some in ids for id_ in some[300:].tolist()])
        means = np.stack([sum(map(vector, train.where(label=one)["text"])) for one in labels])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        found = [labels[np.argmax(means @ vector(text))] for text in test["text"]]
        recall = np.mean(np.array(found) == test["label"])  # classes are equally many
        assert recall > 1.3 / len(labels), (name, recall)
