"""Model: what it learns from, what it refuses, and that it comes back as it was saved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from affekt.cache import (
    Cache,
    DamagedError,
    InputError,
    Manifest,
    MissingError,
    Spec,
    SpecError,
    row_key,
    text_digest,
)
from affekt.classify import HEADS, LogisticHead, Model, Task, load_model, splits
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


def test_round_trip(model, part, space, tmp_path):
    model.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m", space.cache)
    assert again.predict(part.test) == model.predict(part.test)
    assert again.record == json.loads(json.dumps(model.record))
    assert again.task == VALENCE
    bare = load_model(tmp_path / "m")
    assert bare.predict(part.test, space.cache) == model.predict(part.test)
    with pytest.raises(InputError, match="toy") as error:
        bare.predict(part.test)  # it would embed them in memory, and a toy has no encoder
    assert "predict(clips, cache)" in error.value.__notes__[0]
    again.save_pretrained(tmp_path / "copy")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "m" / name).read_bytes()


def test_the_record_names_no_speaker(model, tmp_path):
    model.save_pretrained(tmp_path / "m")
    text = (tmp_path / "m" / "config.json").read_text(encoding="utf-8")
    assert '"speakers": ' in text
    assert '"s1"' not in text
    assert model.record["train"]["hash"] in text
    assert {"python", "numpy", "scikit-learn", "affekt"} <= set(model.record["versions"])


def test_a_cache_computed_otherwise_is_refused_with_the_fields(model, tmp_path, clips):
    model.save_pretrained(tmp_path / "m")
    other = Cache(tmp_path / "other")
    fill(other, make_spec(pooling="max", encoder={"name": "toy", "revision": "b"}), clips)
    for action in (
        lambda: load_model(tmp_path / "m", other),
        lambda: load_model(tmp_path / "m").predict(clips, other),
    ):
        with pytest.raises(SpecError) as error:
            action()
        assert "pooling: 'mean' here, 'max' there" in str(error.value)
        assert "encoder.revision" in str(error.value)
    with pytest.raises(SpecError, match="holds no text embeddings"):
        load_model(tmp_path / "m", Cache(tmp_path / "empty"))


def edit(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def reseal(folder, data):
    """Put other tensors into a model, with a digest that fits them."""
    (folder / "model.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit(folder, lambda c: c["weights"].update(sha256=digest, bytes=len(data)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["head"].update(name="logistik"), "Did you mean 'logistic'"),
        (lambda c: c["head"].update(name="../../evil"), "unknown head"),
        (lambda c: c["head"].update(name="patch"), "head"),
        (lambda c: c["labels"].reverse(), "labels are not those of the task"),
        (lambda c: c["task"].update(labels=["negative", "positive"]), "changed after"),
        (lambda c: c["task"].pop("map"), "map"),
        (lambda c: c["features"][0].update(layers=[3]), "expected 0 to 2"),
        (lambda c: c["features"][0].update(layers=[0, 1]), "16 wide"),
        (lambda c: c["features"][0].update(combine="max"), "combine"),
        (lambda c: c["features"][0]["spec"].pop("pooling"), "pooling"),
        (lambda c: c["features"].append(c["features"][0]), "16 wide"),
        (lambda c: c["features"].clear(), "0 wide"),
        (lambda c: c.update(scale=False), "unexpected tensors"),
        (lambda c: c["head"]["state"].update(n_features_in=9), "9"),
        (lambda c: c["head"]["state"]["params"].update(evil=1), "evil"),
        (lambda c: c["head"]["state"]["targets"].update(values=["a", "b", "c"]), "does not"),
    ],
)
def test_a_config_that_does_not_fit_itself(model, tmp_path, change, words):
    model.save_pretrained(tmp_path / "m")
    edit(tmp_path / "m", change)
    with pytest.raises(InputError) as error:
        load_model(tmp_path / "m")
    assert words in str(error.value)


def test_one_byte_and_one_tensor(model, tmp_path):
    from safetensors.numpy import load_file, save

    model.save_pretrained(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    good = weights.read_bytes()
    for at in (10, len(good) // 2, len(good) - 1):
        weights.write_bytes(good[:at] + bytes([good[at] ^ 8]) + good[at + 1 :])
        with pytest.raises(DamagedError):
            load_model(tmp_path / "m")
    weights.write_bytes(good)
    tensors = load_file(weights)
    for changed, words in [
        ({k: v for k, v in tensors.items() if k != "scaler.mean"}, "scaler.mean"),
        ({k: v for k, v in tensors.items() if k != "head.coef"}, "coef"),
        (tensors | {"head.extra": np.ones(1)}, "extra"),
        (tensors | {"stray": np.ones(1)}, "stray"),
        (tensors | {"scaler.mean": np.ones(3)}, "scaler.mean"),
        (tensors | {"scaler.mean": tensors["scaler.mean"].astype("f4")}, "scaler.mean"),
        (tensors | {"head.coef": tensors["head.coef"][:, :4].copy()}, "coef"),
        (tensors | {"head.coef": tensors["head.coef"] * np.nan}, "NaN"),
    ]:
        data = save(changed)
        weights.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        edit(
            tmp_path / "m",
            lambda c, d=data, h=digest: c["weights"].update(sha256=h, bytes=len(d)),
        )
        with pytest.raises(InputError) as error:
            load_model(tmp_path / "m")
        assert words in str(error.value)


def test_an_untrained_model_neither_saves_nor_predicts(space, tmp_path, clips):
    model = Model(LogisticHead(), VALENCE, space.features(layers=1))
    with pytest.raises(InputError, match="not trained"):
        model.save_pretrained(tmp_path / "m")
    with pytest.raises(InputError, match="not trained"):
        model.predict(clips)


def test_a_scale_that_divides_by_zero_and_the_names_as_stored(model, tmp_path):
    from safetensors.numpy import load_file, save

    model.save_pretrained(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    tensors = load_file(weights)
    for scale in (0.0, -1.0):
        changed = tensors | {"scaler.scale": np.array([scale, *tensors["scaler.scale"][1:]])}
        reseal(tmp_path / "m", save(changed))
        with pytest.raises(InputError, match=r"m: config\.json: scaler\.scale holds .* above 0"):
            load_model(tmp_path / "m")
    reseal(tmp_path / "m", save({n: a for n, a in tensors.items() if n != "head.coef"}))
    with pytest.raises(InputError, match=r"m: .*model\.safetensors: .*missing \['head\.coef'\]"):
        load_model(tmp_path / "m")


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
