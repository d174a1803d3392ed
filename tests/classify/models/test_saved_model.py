"""A saved model comes back as it was, and one that does not fit itself is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import Cache, DamagedError, InputError, SpecError
from affekt.classify import LogisticHead, Model, load_model

from .test_model import VALENCE, fill, make_clips, make_spec
from .test_persist import reseal, rewrite


@pytest.fixture(scope="module")
def clips():
    return make_clips()


@pytest.fixture(scope="module")
def space(tmp_path_factory, clips):
    return fill(Cache(tmp_path_factory.mktemp("m") / "c"), make_spec(), clips, constant=True)


@pytest.fixture(scope="module")
def model(space, clips):
    return Model(LogisticHead(C=0.1), VALENCE, space.features(layers=1)).fit(clips)


def test_round_trip(model, clips, space, tmp_path):
    model.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m", space.cache)
    assert again.predict(clips) == model.predict(clips)
    assert again.record == json.loads(json.dumps(model.record))
    assert again.task == VALENCE
    bare = load_model(tmp_path / "m")
    assert bare.predict(clips, space.cache) == model.predict(clips)
    with pytest.raises(InputError, match="toy") as error:
        bare.predict(clips)  # it would embed them in memory, and a toy has no encoder
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
    rewrite(tmp_path / "m", change)
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
        reseal(tmp_path / "m", save(changed))
        with pytest.raises(InputError) as error:
            load_model(tmp_path / "m")
        assert words in str(error.value)


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
