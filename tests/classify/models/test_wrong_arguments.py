"""What a notebook passes by mistake is named, with what is expected in its place."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import HEADS, LogisticHead, Model, Task, compare, probe, splits
from affekt.extract import Encoder, extract

WORDS = {"anger": "bad awful", "neutral": "table chair", "happiness": "great lovely"}
ROWS = [
    {"id": f"c{i}", "text": f"{WORDS[label]} {i}", "label": label, "speaker": f"s{i % 6}"}
    for i in range(36)
    for label in [list(WORDS)[i % 3]]
]


@pytest.fixture(scope="module")
def clips():
    return Manifest.from_rows(ROWS)


@pytest.fixture(scope="module")
def space(tmp_path_factory, clips):
    return extract(clips, Cache(tmp_path_factory.mktemp("w") / "c"), Encoder("ngram"))


@pytest.fixture(scope="module")
def model(space, clips):
    return Model(LogisticHead(), "valence", space.features()).fit(clips)


def test_a_task_may_be_a_name(space, clips, model):
    named = Model(LogisticHead(), Task.named("valence"), space.features()).fit(clips)
    assert model.predict(clips) == named.predict(clips)
    assert Task.from_labels([0, 1]).labels == ("0", "1")
    assert Task.from_labels([0, 1]).label_of(1) == "1"
    assert repr(HEADS).startswith("<heads for labels: logistic, lda, mlp")


def test_features_in_place_of_a_space_and_no_clips(space, clips, model):
    for given in (space.features(), "ngram", [space, None]):
        with pytest.raises(InputError, match="expected a space"):
            probe(clips, given, "valence")
    with pytest.raises(InputError, match="no clips to predict"):
        model.predict(clips[:0])


def test_clips_that_are_no_manifest(space, model):
    cache, encoder = space.cache, Encoder("ngram")
    for call in (
        lambda: extract(ROWS, cache, encoder),
        lambda: cache.read(space, ROWS),
        lambda: cache.missing(space, ROWS),
        lambda: space.features().read(ROWS),
        lambda: splits(ROWS),
        lambda: model.fit(ROWS),
        lambda: model.fit(None),
        lambda: model.task.select(ROWS),
        lambda: compare({}, ROWS, "valence"),
    ):
        with pytest.raises(InputError, match=r"Manifest\.read .*Manifest\.from_frame"):
            call()


@pytest.mark.parametrize(("cache", "encoder"), [("c", None), (None, "ngram")])
def test_names_in_place_of_a_cache_or_an_encoder(space, clips, cache, encoder):
    with pytest.raises(InputError, match=r"expected extract\(clips, Cache\(folder\), Encoder"):
        extract(clips, cache or space.cache, encoder or Encoder("ngram"))


@pytest.mark.parametrize("kind", ["Space", "Cache", "Encoder"])
def test_a_space_in_place_of_its_features(space, kind):
    wrong = {"Space": space, "Cache": space.cache, "Encoder": Encoder("ngram")}[kind]
    with pytest.raises(InputError, match=rf"type {kind}; expected .*space\.features\(layers=-1\)"):
        Model(LogisticHead(), "valence", wrong)


def test_a_seed_that_is_not_a_number(space):
    with pytest.raises(InputError, match="`random_state` is 'x'; expected a whole number"):
        Model(LogisticHead(), "valence", space.features(), random_state="x")


def test_members_that_are_no_predictions(clips, model):
    found = model.predict(clips)
    for wrong, message in (
        ([found], "of type list; expected a dictionary"),
        (found, "of type Predictions; expected a dictionary"),
        ({"a": found.proba}, "'a' is of type ndarray, expected Predictions"),
    ):
        with pytest.raises(InputError, match=message):
            compare(wrong, clips, "valence")


def test_features_of_another_shape(space, clips, model):
    X = space.features().read(clips)
    wanted = model.predict(clips)
    for same in (X.astype(np.float64), np.asfortranarray(X), X.tolist()):
        assert model.predict_features(clips.ids, same) == wanted
    for ids, wrong in ((["a"], X[:2]), (["a"], X[:1, None]), (["a"], X[0]), (["a"], X[:1, 1:])):
        with pytest.raises(InputError, match=r"features have the shape \(.*expected \(1, 4096\)"):
            model.predict_features(ids, wrong)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite_name_the_clip(space, clips, model, wrong):
    X = space.features().read(clips)[:2].copy()
    X[1, 5] = wrong
    message = f"the features of '{clips.ids[1]}' hold what is not a finite number"
    with pytest.raises(InputError, match=message):
        model.predict_features(clips.ids[:2], X)
    with pytest.raises(InputError, match="expected numbers"):
        model.predict_features(clips.ids[:2], X.astype(str))
