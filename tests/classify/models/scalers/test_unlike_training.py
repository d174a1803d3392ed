"""A clip unlike all of training is answered with a remark, wherever the answer is read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.experiments.members.train import train_model
from affekt.classify.experiments.run import run
from affekt.classify.models.new_clips.answer import UNLIKE, Answer
from affekt.classify.models.new_clips.system import System
from affekt.classify.models.scalers.scaling import FAR, Scaling
from affekt.extract import Encoder, extract
from sklearn.preprocessing import StandardScaler

from tests.support.small_models import predict


def speech(path, rate: int, seed: int) -> str:
    """Write noise in syllables, as loud in every band as the rate allows."""
    rng = np.random.default_rng(seed)
    loud = 0.1 + 0.05 * np.sin(np.arange(rate) * 2 * np.pi * (3 + seed % 3) / rate)
    soundfile.write(path, loud * rng.standard_normal(rate), rate)
    return str(path)


@pytest.fixture(scope="module")
def telephone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("telephone")
    rows = [
        {
            "path": speech(folder / f"{n}.wav", 16000 if n >= 36 else 8000, n),
            "label": ("negative", "positive")[n % 2],
            "speaker": f"s{n // 4}",
            "split": "test" if n >= 32 else "train",
        }
        for n in range(40)
    ]
    clips = Manifest.from_rows(rows)
    cache = Cache(folder / "cache")
    space = extract(clips, cache, Encoder("spectral"))
    model = Model(LogisticHead(), Task.named("valence"), space.features(layers=-1))
    model.fit(clips.where(split="train"))
    model.save_pretrained(folder / "model")
    return folder, clips, cache, space, model


def test_the_distance_is_the_root_mean_square_of_scaled_features():
    rng = np.random.default_rng(0)
    train = rng.normal(3, 2, (60, 5)).astype(np.float32)
    new = rng.normal(3, 2, (3000, 5)).astype(np.float32) * rng.uniform(1, 20, (3000, 1))
    new = new.astype(np.float32)
    new[::7, :2] = np.nan  # a side that is missing
    scaling = Scaling(True).fit(train, Manifest.from_rows([{"text": "x"}]))
    scaled = StandardScaler().fit(train).transform(new)
    mean = np.array([np.mean(row[np.isfinite(row)] ** 2) for row in scaled])
    _, found = scaling.watched(scaling.apply(new, None))
    assert found.tolist() == (np.sqrt(mean) > FAR).tolist()
    assert 0 < found.sum() < len(found)
    assert not Scaling(False).watched(new)[1].any()


@pytest.mark.parametrize("scale", [True, "speaker", "dataset"])
def test_rows_on_the_disk_and_rows_scaled_within_groups_are_looked_at(
    telephone, scale, monkeypatch
):
    _, clips, _, space, _ = telephone
    clips = clips.with_columns(dataset=["one"] * len(clips))
    model = Model(LogisticHead(), Task.named("valence"), space.features(layers=-1), scale=scale)
    model.fit(clips.where(split="train"))
    test = clips.where(split="test")
    whole = model.predict(test)
    assert whole.unlike_training == test.ids[4:]
    monkeypatch.setattr("affekt.classify.heads.training.rows_on_disk.LARGE", 1)
    monkeypatch.setattr("affekt.classify.heads.training.rows_on_disk.BLOCK", 3 * space.dim)
    left = model.predict(test.select(np.arange(len(test))[::-1]))
    assert left.unlike_training == test.ids[:3:-1]
    assert np.allclose(left.select(test.ids).proba, whole.proba, atol=1e-6)


def test_wideband_speech_is_unlike_telephone_speech(telephone):
    _, clips, cache, _, model = telephone
    test = clips.where(split="test")
    assert model.predict(clips.where(split="train")).unlike_training == []
    assert model.predict(test).unlike_training == test.ids[4:]
    answer = model.answer(test.select([0, 7]))
    assert answer.flags["unlike_training"] == [test.ids[7]]
    assert list(answer.remarks) == [test.ids[7]]
    assert model.answer(test, cache).flags["unlike_training"] == test.ids[4:]


def test_what_one_of_several_models_marks_is_marked(telephone):
    folder, clips, cache, _, model = telephone
    other = Model.from_pretrained(folder / "model", cache)
    other.scaling.mean = other.scaling.mean + 100 * other.scaling.deviation
    test = clips.where(split="test")
    answer = System("both", {"all": other, "four": model}).predict(test, cache)
    assert answer.flags == {UNLIKE: test.ids}


def test_a_remark_says_all_that_there_is_to_say():
    remarks = Answer(None, {}, one_sided={"a": "audio alone"}, flags={UNLIKE: ["a"]}).remarks
    assert remarks == {"a": "audio alone; unlike every clip of training: do not trust the answer"}


def test_predict_says_so(telephone):
    folder = telephone[0]
    result = predict(folder / "model", folder / "32.wav", folder / "39.wav", "--json")
    assert result.exit_code == 0, result.output
    narrow, wide = json.loads(result.stdout)
    assert "remark" not in narrow
    assert wide["remark"] == "unlike every clip of training: do not trust the answer"
    assert "39.wav: unlike_training (far from all that the model was trained on" in result.stderr


@pytest.mark.parametrize(("scheme", "tested"), [("column", 8), ("group-kfold", 40)])
def test_train_warns_of_test_clips(telephone, scheme, tested):
    folder, clips, cache, space, _ = telephone
    lines: list[str] = []
    train_model(
        clips,
        cache.path,
        "valence",
        spaces=[space.name],
        head="logistic",
        scheme=scheme,
        progress=lines.append,
    )
    [said] = [line for line in lines if "unlike" in line]
    assert f"4 of {tested} test clips are unlike every clip of training" in said
    assert str(folder / "36.wav") in said


def test_a_run_and_its_report_warn_of_test_clips(telephone, tmp_path):
    folder, clips = telephone[:2]
    clips.write(tmp_path / "clips.csv")
    (tmp_path / "recipe.yaml").write_text(
        f"manifest: clips.csv\ntask: valence\ncache: {folder / 'cache'}\nreport: out\n"
        f"encoders: {{speech: spectral}}\nsplit: {{scheme: column, dev_size: 0.2}}\n"
        "members: {lr: {head: logistic, on: speech}, other: {head: lda, on: speech}}\n"
        "compare: {n_resamples: 100, learning_curve: false}\n"
    )
    for _ in range(2):  # also where the members were trained earlier
        lines: list[str] = []
        run(tmp_path / "recipe.yaml", progress=lines.append)
        said = "member lr: 4 of 8 test clips are unlike every clip of training"
        assert [line for line in lines if said in line]
        assert said in (tmp_path / "out/report.md").read_text()
        shutil.rmtree(tmp_path / "out/members/other")
