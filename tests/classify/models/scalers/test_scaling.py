"""Models that scale within groups: transductive by name, saved, reported, refused for one file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import LogisticHead, Model, System, Task, load_model, splits
from affekt.classify.evaluation.reports.markdown.clips_and_training import _settings
from affekt.classify.models.scalers import scaling
from affekt.classify.models.scalers.scaling import Scaling
from affekt.classify.models.scalers.speaker_scaler import SpeakerScaler
from affekt.classify.serving.loading import _open_member
from sklearn.preprocessing import StandardScaler

from ..test_model import VALENCE, fill, make_clips, make_spec


@pytest.mark.parametrize("most", [1, 1 << 22])
def test_columns_are_scaled_as_all_at_once(most, monkeypatch):
    """Equal to the last bit, whichever columns are taken together."""
    monkeypatch.setattr(scaling, "VALUES", most)
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((300, 515)) * np.geomspace(1e-3, 1e3, 515)).astype(np.float32)
    values[:, 200] = 3.25
    clips = Manifest.from_rows({"id": str(row), "text": "x"} for row in range(300))
    found = Scaling(True).fit(values, clips)
    expected = StandardScaler().fit(values.astype(float))
    np.testing.assert_array_equal(found.mean, expected.mean_)
    np.testing.assert_array_equal(found.deviation, expected.scale_)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    clips = make_clips()
    space = fill(Cache(tmp_path_factory.mktemp("scaling") / "c"), make_spec(), clips)
    [part] = splits(clips, task=VALENCE, test_size=0.3, dev_size=0.2)
    return space, part


def within_each(train, values, groups):
    X, _, seen = train
    made = np.empty_like(values, dtype=np.float64)
    for name in np.unique(groups):
        made[groups == name] = (
            StandardScaler().fit(X[seen == name]).transform(values[groups == name])
        )
    return made


def of_speakers(train, values, groups):
    return SpeakerScaler().fit(*train).transform(values, groups)


@pytest.mark.parametrize("column", ["speaker", "language"])
def test_equals_scaling_by_hand(setting, column):
    space, part = setting
    model = Model(LogisticHead(C=0.1), VALENCE, space.features(layers=1), scale=column)
    model.fit(part.train, part.dev)
    X = {n: space.cache.read(space, c, layers=1) for n, c in part.parts.items()}
    y = part.train["label"].astype(str)
    learnt = (X["train"], y, part.train[column])
    by_hand = of_speakers if column == "speaker" else within_each
    scaled = {name: by_hand(learnt, X[name], clips[column]) for name, clips in part.parts.items()}
    head = LogisticHead(C=0.1).fit(scaled["train"], y)
    wanted = head.predict_proba(scaled["test"])
    np.testing.assert_allclose(model.predict(part.test).proba, wanted, atol=1e-5)


def test_saved_and_loaded_it_predicts_the_same(setting, tmp_path):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
    model.fit(part.train, part.dev).save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m", space.cache)
    assert again.predict(part.test) == model.predict(part.test)


def test_a_clip_without_a_speaker_is_one_of_an_average_speaker(setting, caplog):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
    model.fit(part.train, part.dev)
    nameless = part.test.with_columns(speaker=[""] * len(part.test))
    found = model.predict(nameless)
    assert f"{len(nameless)} of {len(nameless)} clips name no speaker" in caplog.text
    one = nameless.select([nameless.ids[0]])
    np.testing.assert_allclose(model.predict(one).proba[0], found.proba[0], atol=1e-12)


def test_the_models_of_folds_say_once_that_clips_name_no_speaker(setting, tmp_path, caplog):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
    model.fit(part.train, part.dev)
    for fold in ("model-1", "model-2", "model-3"):
        model.save_pretrained(tmp_path / "lr" / fold)
    models = _open_member(tmp_path / "lr")
    nameless = part.test.with_columns(speaker=[""] * len(part.test))
    answer = System("lr", {"lr": models[0]}, folds={"lr": models}).predict(nameless, space.cache)
    assert len(answer.predictions) == len(nameless)
    assert caplog.text.count("name no speaker") == 1


def test_a_clip_without_a_language_or_alone_is_refused(setting, tmp_path):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="language")
    model.fit(part.train, part.dev)
    nameless = part.test.with_columns(language=[""] * len(part.test))
    with pytest.raises(InputError, match="single file cannot be scaled by its language"):
        model.predict(nameless)
    with pytest.raises(InputError, match="single file cannot be scaled by its language"):
        System("lr", {"lr": model}).predict(nameless, Cache(tmp_path))  # before it is embedded
    other = part.test.select([part.test.ids[0]]).with_columns(language=["pol"])
    with pytest.raises(InputError, match="fewer than 5 rows"):
        model.predict(other)


def test_an_unknown_column_names_the_nearest(setting):
    space, _ = setting
    with pytest.raises(InputError, match="Did you mean 'speaker'"):
        Model(LogisticHead(), Task.named("valence"), space.features(layers=1), scale="speakers")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "speakers"}, "Did you mean 'speaker'"),
        ({"by": "dataset", "groups": ["deu"]}, "has shape"),
        ({"groups": ["b", "a"]}, "unsorted groups"),
        ({"groups": ["a"]}, "scaler|shape"),
        ({"more": 1}, "GroupScaler holds"),
    ],
)
def test_a_scaler_that_was_tampered_with_is_refused(setting, tmp_path, change, message):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="language")
    model.fit(part.train, part.dev).save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    config["scale"].update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "m", space.cache)


def test_the_report_says_that_it_is_transductive():
    part = {
        "chosen": {"layers": {"speech": -1}, "settings": {}},
        "tried": [{}],
        "scaled_within": "speaker",
    }
    [line] = _settings("lr", {"parts": [part]}, "uar")
    assert "scaled within each speaker" in line
    assert "transductive" in line


def test_a_small_group_is_answered_with_what_a_recipe_can_say(setting):
    space, part = setting
    rare = ["pol" if row < 4 else "deu" for row in range(len(part.train))]
    few = part.train.with_columns(language=rare)
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="language")
    with pytest.raises(InputError, match="fewer than 5 rows") as error:
        model.fit(few)
    assert "scale: language or dataset" in str(error.value)
    assert "min_rows" not in str(error.value)


def test_by_command_from_training_to_files_of_one_speaker(affekt, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"{s}-{k}", "text": f"voice{s} " * 3 + word, "label": label, "speaker": f"s{s}"}
        for s in range(8)
        for k, (word, label) in enumerate(
            [("rain dark", "sadness"), ("table road", "neutral"), ("sun laugh", "joy")] * 2
        )
    ]
    for row in rows:
        row["text"] += f" {row['id']}"
    Manifest.from_rows(rows).write(tmp_path / "clips.csv")
    common = ("clips.csv", "--cache", "c")
    code, _, err = affekt("extract", *common, "--encoder", "ngram")
    assert code == 0, err
    train = ("train", *common, "--space", "ngram", "--task", "valence", "--head", "lda")
    for scale in ("true", "speaker"):
        code, _, err = affekt(*train, "--scale", scale, "-o", scale)
        assert code == 0, err
    code, _, err = affekt(*train, "--scale", "speakers", "-o", "m")
    assert code == 2
    assert "Did you mean 'speaker'" in err
    Manifest.from_rows([{"id": r["id"], "text": r["text"]} for r in rows[:6]]).write(
        tmp_path / "new.csv"
    )
    _, alone, _ = affekt("predict", "speaker", "new.csv", "--json")
    assert "6 of 6 clips name no speaker" in caplog.text
    caplog.clear()
    code, together, err = affekt("predict", "speaker", "new.csv", "--one-speaker", "--json")
    assert code == 0, err
    assert "name no speaker" not in caplog.text
    assert json.loads(together) != json.loads(alone)
    Manifest.from_rows([{"id": r["id"], "text": r["text"], "who": "x"} for r in rows[:6]]).write(
        tmp_path / "who.csv"
    )
    _, named, _ = affekt("predict", "speaker", "who.csv", "--speaker", "who", "--json")
    assert json.loads(named) == json.loads(together)
    code, _, err = affekt("predict", "speaker", "who.csv", "--speaker", "whom")
    assert code == 2
    assert "Did you mean 'who'" in err
    code, _, err = affekt("predict", "true", "new.csv", "--one-speaker")
    assert code == 2
    assert "scale: speaker" in err
