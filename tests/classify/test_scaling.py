"""Models that scale within groups: transductive by name, saved, reported, refused for one file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import Cache, InputError
from affekt.classify import LogisticHead, Model, Task, load_model, splits
from affekt.classify.run_report import _settings

from .test_model import VALENCE, fill, make_clips, make_spec


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    clips = make_clips()
    space = fill(Cache(tmp_path_factory.mktemp("scaling") / "c"), make_spec(), clips)
    [part] = splits(clips, task=VALENCE, test_size=0.3, dev_size=0.2)
    return space, part


def scaled_by_hand(values, groups):
    made = np.empty_like(values, dtype=np.float64)
    for name in np.unique(groups):
        rows = groups == name
        made[rows] = (values[rows] - values[rows].mean(axis=0)) / values[rows].std(axis=0)
    return made


def test_equals_scaling_each_speaker_by_hand(setting):
    space, part = setting
    model = Model(LogisticHead(C=0.1), VALENCE, space.features(layers=1), scale="speaker")
    model.fit(part.train, part.dev)
    X = {n: space.cache.read(space, c, layers=1) for n, c in part.parts.items()}
    head = LogisticHead(C=0.1).fit(
        scaled_by_hand(X["train"], part.train["speaker"]), part.train["label"].astype(str)
    )
    wanted = head.predict_proba(scaled_by_hand(X["test"], part.test["speaker"]))
    np.testing.assert_allclose(model.predict(part.test).proba, wanted, atol=1e-5)


def test_saved_and_loaded_it_predicts_the_same(setting, tmp_path):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
    model.fit(part.train, part.dev).save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m", space.cache)
    assert again.predict(part.test) == model.predict(part.test)


def test_a_clip_without_a_speaker_or_alone_is_refused(setting):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
    model.fit(part.train, part.dev)
    nameless = part.test.with_columns(speaker=[""] * len(part.test))
    with pytest.raises(InputError, match="single file cannot be scaled by its speaker"):
        model.predict(nameless)
    with pytest.raises(InputError, match="fewer than 5 rows"):
        model.predict(part.test.select([part.test.ids[0]]))


def test_an_unknown_column_names_the_nearest(setting):
    space, _ = setting
    with pytest.raises(InputError, match="Did you mean 'speaker'"):
        Model(LogisticHead(), Task.named("valence"), space.features(layers=1), scale="speakers")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "speakers"}, "Did you mean 'speaker'"),
        ({"groups": ["b", "a"]}, "unsorted groups"),
        ({"groups": ["a", "b"]}, "scaler|shape"),
        ({"more": 1}, "GroupScaler holds"),
    ],
)
def test_a_scaler_that_was_tampered_with_is_refused(setting, tmp_path, change, message):
    space, part = setting
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
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
    [line] = _settings("lr", {"parts": [part]})
    assert "scaled within each speaker" in line
    assert "transductive" in line


def test_a_small_group_is_answered_with_what_a_recipe_can_say(setting):
    space, part = setting
    few = part.train.select(part.train.ids[:20])
    model = Model(LogisticHead(), VALENCE, space.features(layers=1), scale="speaker")
    with pytest.raises(InputError, match="fewer than 5 rows") as error:
        model.fit(few)
    assert "scale: language or dataset" in str(error.value)
    assert "min_rows" not in str(error.value)
