"""From raw audio and text to an answer: the training features are replayed, or nothing is said."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, CanaryError, InputError, Manifest, SpecError
from affekt.classify import HEADS, Model, Predictions, Task, load_model, run, splits
from affekt.classify.cli import affekt
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.serving.loading import open_system
from affekt.classify.serving.timeline import spans
from affekt.extract import Encoder, extract
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from safetensors.numpy import load_file, save

VALENCE = Task.named("valence")
QUICK = {"max_epochs": 2, "random_state": 0}
SETTINGS = {
    "logistic": {},
    "mlp": {**QUICK, "hidden": (16,)},
    "patch": {**QUICK, "d_model": 32, "feedforward": 64, "n_blocks": 1},
    "concat": {**QUICK, "hidden": (16,)},
    "mean": {**QUICK, "hidden": (16,), "dim": 16},
    "cross-attention": {**QUICK, "d_model": 32, "feedforward": 64, "n_blocks": 1},
}
RECIPE = """\
manifest: clips.csv
task: valence
encoders: {speech: spectral, text: ngram}
split: {scheme: speaker, test_size: 0.35, dev_size: 0.25}
members:
  speech: {head: logistic, on: speech}
  words: {head: logistic, on: text}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Sixty synthetic clips in every format, mono and stereo, at three sampling rates."""
    folder = tmp_path_factory.mktemp("predict")
    manifest = write_corpus(folder, voices=6, clips_per_voice=10)
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        samples, rate = soundfile.read(folder / row["path"], dtype="float32")
        ending = ("wav", "flac", "ogg", "mp3")[number % 4]
        if number % 3 == 0:
            samples, rate = np.repeat(samples, 3), rate * 3
        if number % 2:
            samples = np.stack([samples, 0.7 * samples], axis=1)
        path = f"{row['path'].removesuffix('.wav')}-{number % 3}.{ending}"
        (folder / row["path"]).unlink()
        soundfile.write(folder / path, samples, rate)
        row["path"] = path
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    assert run(folder / "recipe.yaml").exit_code == 0
    return folder


@pytest.fixture(scope="module")
def clips(corpus) -> Manifest:
    return Manifest.read(corpus / "clips.csv")


def trained(name, corpus, clips) -> Model:
    cache = Cache(corpus / "my.cache")
    speech, text = (extract(clips, cache, Encoder(one)) for one in ("spectral", "ngram"))
    fused = name in ("concat", "mean", "cross-attention")
    features = [speech.features(), text.features()] if fused else speech.features()
    [part] = splits(clips, task=VALENCE, test_size=0.35, dev_size=0.25)
    return Model(HEADS[name](**SETTINGS[name]), VALENCE, features).fit(part.train, part.dev)


@pytest.mark.parametrize("name", SETTINGS)
def test_raw_and_cached_and_reloaded_are_the_same(name, corpus, clips, tmp_path):
    model = trained(name, corpus, clips)
    cached = model.predict(clips)
    model.save_pretrained(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.predict(clips, Cache(corpus / "my.cache")) == cached
    system = open_system(tmp_path / "m")
    answer = system.predict(clips, Cache(tmp_path / "fresh"))
    assert answer.failed == {}
    assert answer.predictions is not None
    np.testing.assert_allclose(answer.predictions.proba, cached.proba, atol=1e-6)


@pytest.mark.parametrize("system", ["speech", "mean", "max"])
def test_a_run_predicts_as_it_was_compared(system, corpus, clips, tmp_path):
    from affekt.classify.ensembles.fitted_rules import STRATEGIES

    members = {
        name: Predictions.read(corpus / f"out/members/{name}/pred.csv", labels=VALENCE.labels)
        for name in ("speech", "words")
    }
    wanted = members[system] if system in members else STRATEGIES[system]().combine(members)
    answer = open_system(corpus / "out", system=system).predict(
        clips.select(wanted.ids), Cache(tmp_path / "fresh")
    )
    assert answer.predictions is not None
    np.testing.assert_allclose(answer.predictions.proba, wanted.proba, atol=1e-6)


def test_the_service_says_why_the_mean_was_chosen(corpus, tmp_path, capsys):
    from affekt.classify.evaluation.scores.dev_choice import WHY_MEAN
    from affekt.classify.serving.http.cli_serve import _say_ready

    folder = shutil.copytree(corpus / "out", tmp_path / "out")
    data = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    for name, best, why in (("mean", "speech", WHY_MEAN), ("max", "max", "")):
        data["chosen"], data["choice"] = name, {"best": best, "why": why}
        (folder / "comparison.json").write_text(json.dumps(data), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as listening, open_system(folder) as chosen:
            assert (chosen.name, chosen.why) == (name, why)
            _say_ready(chosen, listening)
        said = capsys.readouterr().err
        assert (f"mean was chosen: {WHY_MEAN}" in said) == bool(why)
        assert f"{name} answers at http://127.0.0.1:" in said
    assert open_system(folder, system="mean").why == ""
    data["choice"] = ["not a mapping"]
    (folder / "comparison.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError, match="was not written by an affekt run"):
        open_system(folder)


def test_real_clips_of_every_format(shared_data, corpus, clips, tmp_path):
    model = trained("logistic", corpus, clips)
    real = Manifest.read(shared_data / "speech_valence.csv")
    endings = [Path(path).suffix for path in real["path"]]
    chosen = [i for e in sorted(set(endings)) for i in np.flatnonzero(np.array(endings) == e)[:3]]
    real = real.select(np.array(chosen))
    cache = Cache(tmp_path / "c")
    extract(real, cache, Encoder("spectral"))
    cached = model.predict(real, cache)
    files = [str(real.file(i)) for i in range(len(real))]
    raw = model.predict(files)
    assert raw.ids == files
    np.testing.assert_allclose(raw.proba, cached.proba, atol=1e-6)


def test_fusion_that_bears_gaps_predicts_from_either_side(corpus, clips, tmp_path):
    cache = Cache(corpus / "my.cache")
    features = [extract(clips, cache, Encoder(one)).features() for one in ("spectral", "ngram")]
    head = HEADS["concat"](**SETTINGS["concat"], missing="predict")
    texts = ["" if i % 3 else text for i, text in enumerate(clips["text"])]
    gaps = clips.with_columns(text=texts)
    [part] = splits(gaps, task=VALENCE, test_size=0.35, dev_size=0.25)
    model = Model(head, VALENCE, features).fit(part.train, part.dev)
    assert len(model.predict(part.test)) == len(part.test)
    model.save_pretrained(tmp_path / "m")
    system = open_system(tmp_path / "m")
    fresh = Cache(tmp_path / "fresh")
    answer = system.predict(part.test, fresh)
    assert answer.predictions is not None
    np.testing.assert_allclose(answer.predictions.proba, model.predict(part.test).proba, atol=1e-6)
    nothing = Manifest.from_rows([{"id": "x", "text": " ", "path": "none.wav"}], root=corpus)
    assert system.predict(nothing, fresh).failed == {"x": "missing and empty_text"}


def test_another_spec_is_refused_with_its_fields(corpus, clips, tmp_path):
    trained("logistic", corpus, clips).save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["features"][0]["spec"]["numerics_epoch"] = 999
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SpecError, match="numerics_epoch: 999 here"):
        open_system(tmp_path / "m").predict(clips, Cache(tmp_path / "fresh"))


def test_an_encoder_that_computes_otherwise_is_refused(corpus, clips, tmp_path):
    """The canary travels with the model."""
    import hashlib

    trained("logistic", corpus, clips).save_pretrained(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    tensors = load_file(weights)
    assert "canary.0" in tensors
    tensors["canary.0"] = tensors["canary.0"] * np.float32(1.1)
    data = save(tensors)
    weights.write_bytes(data)
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["weights"].update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CanaryError):
        open_system(tmp_path / "m").predict(clips, Cache(tmp_path / "fresh"))


def predict(*words):
    result = CliRunner().invoke(affekt, ["predict", *map(str, words)], catch_exceptions=True)
    return result


def test_one_file_is_printed_readably(corpus):
    file = next((corpus / "wav").glob("*.flac"))
    done = predict(corpus / "out", file, "--system", "speech")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(file)
    assert lines[1].split()[0] in VALENCE.labels
    assert len(lines) == 5
    shares = [float(line.split()[1].rstrip("%")) for line in lines[2:]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.3)
    one = predict(corpus / "out", file, "--system", "speech", "--top", "1")
    assert len(one.stdout.splitlines()) == 3
    assert "--top" not in one.stderr
    table = predict(corpus / "out", file, "--top", "1", "-o", corpus / "one.csv")
    assert "--top: a table has every label" in table.stderr


def test_names_over_255_bytes_get_ids_that_end_as_they_do(corpus, tmp_path):
    deep = tmp_path / ("a" * 120) / ("é" * 60) / ("b" * 100)
    deep.mkdir(parents=True)
    files = sorted((corpus / "wav").glob("*.flac"))[:2]
    for file in files:
        shutil.copy(file, deep / file.name)
    words = (corpus / "out", deep, "--system", "speech")
    done = predict(*words, "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["path"] for row in rows] == [str(deep / file.name) for file in files]
    assert all(len(row["id"].encode()) <= 255 for row in rows)
    assert len({row["id"] for row in rows}) == 2
    assert [row["id"].endswith(file.name) for row, file in zip(rows, files, strict=True)]
    here = json.loads(predict(corpus / "out", *files, "--system", "speech", "--json").stdout)
    assert [row["scores"] for row in rows] == [row["scores"] for row in here]
    wide = predict(*words, "--window", "1", "--json")
    assert wide.exit_code == 0, wide.output


def test_json_csv_and_jsonl_say_the_same(corpus, tmp_path):
    words = (corpus / "out", corpus / "wav", "--system", "speech", "--cache", tmp_path / "c")
    done = json.loads(predict(*words, "--json").stdout)
    assert predict(*words, "-o", tmp_path / "p.csv").exit_code == 0
    assert predict(*words, "-o", tmp_path / "p.jsonl").exit_code == 0
    table = Predictions.read(tmp_path / "p.csv", labels=VALENCE.labels)
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == done
    assert [row["id"] for row in done] == table.ids
    assert [row["label"] for row in done] == table.label
    for row, proba in zip(done, table.proba, strict=True):
        assert [row["scores"][label] for label in table.labels] == proba.tolist()


def test_a_system_answers_like_a_pipeline(corpus):
    system = open_system(corpus / "out", system="speech")
    files = [str(path) for path in sorted((corpus / "wav").iterdir())[:3]]
    answer = system(files[0])
    assert [set(row) for row in answer] == [{"label", "score"}] * 3
    assert [row["score"] for row in answer] == sorted((r["score"] for r in answer), reverse=True)
    many = system(files, top=1)
    assert [row["label"] for row in many[0]] == [answer[0]["label"]]
    # the last bit of a product depends on the number of rows
    assert many[0][0]["score"] == pytest.approx(answer[0]["score"], rel=1e-12)
    assert len(many) == 3
    [best] = open_system(corpus / "out", system="words")(text="wonderful party", top=1)
    assert best["label"] == "positive"
    with pytest.raises(InputError, match="no text"):
        open_system(corpus / "out", system="words")(files[0])


def test_a_manifest_with_broken_files_ends_with_3(corpus, tmp_path):
    shutil.copytree(corpus / "wav", tmp_path / "wav")
    files = sorted(path.name for path in (tmp_path / "wav").iterdir())
    (tmp_path / "wav" / files[0]).write_bytes(b"")
    (tmp_path / "clips.csv").write_text(
        "id,path\n" + "".join(f"{i},wav/{name}\n" for i, name in enumerate(files[:4])),
        encoding="utf-8",
    )
    done = predict(corpus / "out", tmp_path / "clips.csv", "--system", "speech", "--json")
    assert done.exit_code == 3
    assert "0: not predicted: empty" in done.stderr
    assert [row["id"] for row in json.loads(done.stdout)] == ["1", "2", "3"]


def test_text_alone_and_with_a_file(corpus):
    alone = predict(corpus / "out", "--system", "words", "--text", "wonderful party", "--json")
    [row] = json.loads(alone.stdout)
    assert row["label"] == "positive"
    file = next((corpus / "wav").glob("*.mp3"))
    both = predict(corpus / "out", file, "--system", "mean", "--text", "wonderful party")
    assert both.exit_code == 0
    without = predict(corpus / "out", file, "--system", "mean")
    assert without.exit_code == 3
    assert "not predicted: no text" in without.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "x.wav"], "is not a model folder"),
        (["OUT"], "nothing to predict"),
        (["OUT", "--text", " "], "--text is blank"),
        (["OUT", "none.wav"], "none.wav: no such file"),
        (["OUT", "https://example.org/a.wav"], "no such file; expected a file on this machine"),
        (["OUT", "https://example.org/a.csv"], "no such file. Expected a file on this machine"),
        (["OUT", "WAV", "--text", "x"], "--text belongs to one file"),
        (["OUT", "--text", "x", "--text", "y"], "--text was given 2 values: 'x', 'y'"),
        (["OUT", "WAV", "--system", "speach"], "Did you mean 'speech'"),
        (["MODEL", "WAV", "--system", "mean"], "is a model"),
        (["OUT", "WAV", "-o", "p.txt"], ".csv or .jsonl"),
        (["OUT", "EMPTY"], "no audio file in this folder"),
    ],
)
def test_wrong_usage(corpus, tmp_path, words, said):
    names = {
        "OUT": corpus / "out",
        "WAV": corpus / "wav",
        "MODEL": corpus / "out/members/speech/model",
        "EMPTY": tmp_path,
    }
    done = predict(*(names.get(word, word) for word in words))
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)


@given(st.floats(0.1, 100), st.floats(0.5, 10), st.floats(0.1, 1))
@settings(max_examples=50, deadline=None)
def test_windows_cover_a_recording_and_stay_inside(seconds, window, share):
    found = spans(seconds, window, share * window)
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(seconds, abs=1e-3)
    for (start, end), (after, _) in pairwise(found):
        assert end - start == pytest.approx(window)
        assert start < after <= end + 1e-9


def test_a_timeline_as_a_table_and_a_figure(corpus, tmp_path):
    """A long recording of two clips; each window is predicted as if it were a clip."""
    sounds = [soundfile.read(path)[0] for path in sorted((corpus / "wav").glob("*-1.flac"))[:3]]
    sounds = [sound if sound.ndim == 1 else sound.mean(axis=1) for sound in sounds]
    soundfile.write(tmp_path / "long.wav", np.concatenate(sounds), 16000)
    total = sum(map(len, sounds)) / 16000
    words = (
        corpus / "out",
        tmp_path / "long.wav",
        "--system",
        "speech",
        "--window",
        1,
        "--hop",
        0.5,
    )
    done = predict(*words, "-o", tmp_path / "t.csv", "--figure", tmp_path / "t.png")
    assert done.exit_code == 0, done.output
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {str(tmp_path / "long.wav")}
    assert float(rows[-1]["end"]) == pytest.approx(total, abs=1e-3)
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    cut = Manifest.from_rows(
        [{"id": "w", "path": "long.wav", "start": rows[1]["start"], "end": rows[1]["end"]}],
        root=tmp_path,
    )
    answer = open_system(corpus / "out", system="speech").predict(cut, Cache(tmp_path / "c"))
    assert answer.predictions is not None
    told_csv = [float(rows[1][label]) for label in VALENCE.labels]
    assert told_csv == pytest.approx(answer.predictions.proba[0].tolist(), abs=1e-12)
    told_json = json.loads(predict(*words, "--json").stdout)
    assert [row["start"] for row in told_json] == [float(row["start"]) for row in rows]
    wrong = predict(*words[:4], "--hop", 1)
    assert "--window" in str(wrong.exception)
