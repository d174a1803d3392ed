"""Model: what it learns from, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from affekt.cache import (
    Cache,
    InputError,
    Manifest,
    MissingError,
    Spec,
    row_key,
    text_digest,
)
from affekt.classify import HEADS, LogisticHead, Model, Task, splits
from affekt.classify.models.new_clips import own_encoders as raw
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

EMOTIONS = ["anger", "happiness", "neutral", "sadness", "surprise"]
VALENCE = Task.named("valence")


def make_clips(n=150, speakers=10):
    return Manifest.from_rows(
        {
            "id": f"c{i:03d}",
            "text": f"sentence {i}",
            "label": EMOTIONS[i % len(EMOTIONS)],
            "speaker": f"s{i % speakers}",
            "language": ["deu", "eng"][i % 2],
        }
        for i in range(n)
    )


def make_spec(name="toy", **fields):
    return Spec(
        {
            "format": 1,
            "modality": "text",
            "encoder": {"name": name},
            "layers": {"count": 3, "dim": 8},
            "pooling": "mean",
            "store_dtype": "float32",
            **fields,
        }
    )


def fill(cache, spec, clips, *, constant=False):
    """Store rows whose layer 1 tells the labels apart; the other layers are noise."""
    space = cache.create(spec)
    rng = np.random.default_rng(0)
    with space.writer() as writer:
        for clip in clips:
            values = rng.normal(size=(3, 8)).astype(np.float32)
            values[1, EMOTIONS.index(clip.label) % 8] += 4
            values[:, 7] = 5.0 if constant else values[:, 7]
            writer.add(row_key(space.key, "text", text_digest(clip.text)), clip.id, values)
    return space


@pytest.fixture(scope="module")
def clips():
    return make_clips()


@pytest.fixture(scope="module")
def space(tmp_path_factory, clips):
    return fill(Cache(tmp_path_factory.mktemp("m") / "c"), make_spec(), clips, constant=True)


@pytest.fixture(scope="module")
def part(clips):
    """Every emotion is in train, not only every label."""
    [part] = splits(clips, task=VALENCE, test_size=0.3, dev_size=0.2, random_state=2)
    return part


@pytest.fixture(scope="module")
def model(space, part):
    return Model(LogisticHead(C=0.1, tol=1e-6), VALENCE, space.features(layers=1)).fit(
        part.train, part.dev
    )


def test_equals_a_scikit_learn_pipeline(space, part, model):
    """StandardScaler and LogisticRegression on the same rows, columns in task order."""
    oracle = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.1, class_weight="balanced", tol=1e-6, max_iter=5000),
    )
    X = {name: space.cache.read(space, c, layers=1) for name, c in part.parts.items()}
    oracle.fit(X["train"].astype(np.float64), part.train["label"].astype(str))
    wanted = oracle.predict_proba(X["test"].astype(np.float64))
    found = model.predict(part.test)
    assert found.labels == VALENCE.labels == tuple(oracle.classes_)
    np.testing.assert_allclose(found.proba, wanted, atol=2e-4)
    assert found.ids == part.test.ids
    assert np.mean(np.array(found.label) == part.test["label"]) > 0.9


def test_order_and_company_of_clips_do_not_matter(part, model):
    whole = model.predict(part.test)
    shuffled = list(np.random.default_rng(1).permutation(part.test.ids))
    again = model.predict(part.test.select(shuffled)).align(whole.ids)
    np.testing.assert_allclose(again.proba, whole.proba, atol=1e-12)
    one = model.predict(part.test.select([part.test.ids[3]]))
    np.testing.assert_allclose(one.proba[0], whole.proba[3], atol=1e-12)


def test_one_seed_gives_bit_equal_results(space, part, model):
    again = Model(LogisticHead(C=0.1, tol=1e-6), VALENCE, space.features(layers=1)).fit(
        part.train, part.dev
    )
    assert np.array_equal(again.predict(part.test).proba, model.predict(part.test).proba)


def test_the_scaler_is_fitted_on_train_only(space, part, model):
    X = space.cache.read(space, part.train, layers=1).astype(np.float64)
    np.testing.assert_allclose(model.scaling.mean, X.mean(axis=0), rtol=1e-12)
    assert model.scaling.deviation[7] == 1  # the constant feature


def test_constant_feature_and_no_scaling(space, part):
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale=False)
    assert np.isfinite(model.fit(part.train).predict(part.test).proba).all()


def test_nan_in_features_names_the_clips(space, part, monkeypatch, clips):
    features = space.features(layers=1)
    values = features.read(part.train)
    values[4, 2] = np.nan
    monkeypatch.setattr(type(features), "read", lambda self, clips: values[: len(clips)])
    with pytest.raises(InputError, match=part.train.ids[4]):
        Model(LogisticHead(), VALENCE, features).fit(part.train)


def test_a_class_that_train_lacks_gets_probability_zero(space, part):
    train = part.train.where(label=["negative", "neutral"])
    found = Model(LogisticHead(), VALENCE, space.features(layers=1)).fit(train).predict(part.test)
    assert found.labels == VALENCE.labels
    assert (found.proba[:, VALENCE.labels.index("positive")] == 0).all()


def test_one_class_only(space, part):
    train = part.train.where(label="neutral")
    with pytest.raises(InputError, match=r"all .* clips of train have the label 'neutral'"):
        Model(LogisticHead(), VALENCE, space.features(layers=1)).fit(train)


def test_labels_are_left_out_and_counted_or_refused(space, clips):
    model = Model(LogisticHead(), VALENCE, space.features(layers=1)).fit(clips)
    assert model.record["left_out"] == {"surprise": 30}
    assert model.record["train"]["clips"] == 120
    wrong = clips.with_columns(label=["angerr", *list(clips["label"][1:])])
    with pytest.raises(InputError, match="Did you mean 'anger'"):
        Model(LogisticHead(), VALENCE, space.features(layers=1)).fit(wrong)


def test_a_speaker_of_test_in_train_is_refused(space, part):
    model = Model(LogisticHead(), VALENCE, space.features(layers=1))
    mixed = part.train.select(part.train.ids[:20])
    with pytest.raises(InputError, match="both train and test"):
        model.fit(part.train, part.dev, test=mixed)
    model.fit(part.train, part.dev, test=mixed, allow_speaker_overlap=True)
    model.fit(part.train, part.dev, test=part.test)


def test_a_clip_of_train_in_dev_is_refused(space, part):
    model = Model(LogisticHead(), VALENCE, space.features(layers=0))
    some = part.train[:2]
    with pytest.raises(InputError, match=r"2 clips in both train and dev: c\d+, c\d+\. .*leave it"):
        model.fit(part.train, some)
    assert model.fit(part.train, some, allow_duplicates=True).record["dev"]["clips"] == 2
    others = Manifest.from_rows(  # of another table with the same ids
        {"id": clip.id, "text": f"sentence {i}", "label": "joy"} for i, clip in enumerate(some, 1)
    )
    model.fit(part.train, others)


def test_missing_rows_are_named(model, clips):
    rows = [{"id": "new", "text": "never seen"}]
    with pytest.raises(MissingError) as error:
        model.predict(Manifest.from_rows(rows))
    assert error.value.ids == ["new"]
    assert "extract(clips, Cache(" in str(error.value)  # no command reads <rows>
    assert "affekt extract" not in str(error.value)


def test_several_layers_and_a_mean(space, part):
    for layers, combine, width in [([0, 1], "concat", 16), ("all", "mean", 8), (1, "concat", 8)]:
        features = space.features(layers=layers, combine=combine)
        model = Model(LogisticHead(), VALENCE, features).fit(part.train)
        assert model.head_.n_features_in_ == width
        assert len(model.predict(part.test)) == len(part.test)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (LinearSVC(), r"LinearSVC has no predict_proba.*CalibratedClassifierCV\(LinearSVC\(\)\)"),
        (torch.nn.Linear(8, 3), "of type Linear; .* needs a subclass of Head around it"),
        (None, "of type NoneType"),
        (LogisticHead, r"the class LogisticHead; expected LogisticHead\(\)"),
    ],
)
def test_a_wrong_head_is_refused_before_any_work(space, part, head, said):
    with pytest.raises(InputError, match=said):
        Model(head, VALENCE, space.features(layers=1)).fit(part.train)


def test_a_head_of_scikit_learn_trains_but_is_not_saved(space, part, tmp_path):
    head = DecisionTreeClassifier(max_depth=3)
    model = Model(head, VALENCE, space.features(layers=1)).fit(part.train, part.dev)
    assert model.head_.random_state == 0
    assert head.random_state is None
    with pytest.raises(InputError, match="DecisionTreeClassifier cannot be saved"):
        model.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_untrained_model_neither_saves_nor_predicts(space, tmp_path, clips):
    model = Model(LogisticHead(), VALENCE, space.features(layers=1))
    with pytest.raises(InputError, match="not trained"):
        model.save_pretrained(tmp_path / "m")
    with pytest.raises(InputError, match="not trained"):
        model.predict(clips)


def test_one_path_is_one_input_and_a_generator_a_list(model, monkeypatch):
    given = []
    monkeypatch.setattr(raw, "raw_clips", lambda files, **more: given.append(files) or 1 / 0)
    for clips in ("a/", Path("b.wav"), (name for name in ("c.wav", "d.wav"))):
        with pytest.raises(ZeroDivisionError):
            model.predict(clips)
    assert given == [["a/"], [Path("b.wav")], ["c.wav", "d.wav"]]


def test_a_call_or_dev_in_which_no_clip_has_a_side(space, clips, part, tmp_path):
    some = clips.select(part.train.ids[:30])  # of train alone
    other = fill(Cache(tmp_path / "c"), make_spec("other"), some)
    head = HEADS["concat"](hidden=(4,), max_epochs=1, missing="predict", random_state=0)
    features = [space.features(layers=1), other.features(layers=1)]
    model = Model(head, VALENCE, features).fit(part.train, part.dev)
    assert model.head_.missing_["dev"]["second_missing"] == len(part.dev)
    alone = model.predict(part.test.select(part.test.ids[:1]))
    assert np.isfinite(alone.proba).all()
    with pytest.raises(InputError, match=r"none of the .* clips of train has features of other"):
        Model(head, VALENCE, features).fit(part.train.select(part.train.ids[30:]))
