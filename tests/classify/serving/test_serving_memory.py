"""Clips from memory get the numbers that a cache gives, through encoders that stay open."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import (
    HEADS,
    Model,
    Predictor,
    System,
    Task,
    load_model,
    open_system,
    run,
    splits,
)
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.models.new_clips.new_clip import RawClip
from affekt.extract import Encoder, extract

from .test_predict import SETTINGS

VALENCE = Task.named("valence")
FUSED = ("concat", "mean", "cross-attention")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    write_corpus(folder, voices=6, clips_per_voice=6)
    return folder


@pytest.fixture(scope="module")
def clips(corpus) -> Manifest:
    return Manifest.read(corpus / "clips.csv")


@pytest.fixture(scope="module")
def part(clips):
    [part] = splits(clips, task=VALENCE, test_size=0.35, dev_size=0.25)
    return part


@pytest.fixture(scope="module")
def spaces(corpus, clips):
    cache = Cache(corpus / "my.cache")
    speech, text = (extract(clips, cache, Encoder(one)) for one in ("spectral", "ngram"))
    half = extract(clips, cache, Encoder("spectral"), store_dtype="float16")
    return {"speech": speech, "text": text, "half": half}


@pytest.fixture(scope="module")
def models(spaces, part) -> dict[str, Model]:
    one, two = spaces["speech"].features(), spaces["text"].features()
    fitted = {
        name: Model(HEADS[name](**SETTINGS[name]), VALENCE, [one, two] if name in FUSED else one)
        for name in SETTINGS
    }
    fitted["half"] = Model(HEADS["logistic"](), VALENCE, spaces["half"].features())
    return {name: model.fit(part.train, part.dev) for name, model in fitted.items()}


def forms(path: Path):
    """Every form in which one recording comes in."""
    samples, rate = soundfile.read(path, dtype="float32")
    stereo = np.stack([samples, samples], axis=1)
    whole, _ = soundfile.read(path, dtype="int16")
    return {
        "path": (path, None),
        "bytes": (path.read_bytes(), None),
        "file": (io.BytesIO(path.read_bytes()), None),
        "mono": (samples, rate),
        "double": (samples.astype(np.float64), rate),
        "integers": (whole, rate),
        "column": (samples[:, None], rate),
        "stereo": (stereo, rate),
        "torch": (torch.from_numpy(samples), rate),
    }


@pytest.mark.parametrize("name", [*SETTINGS, "half"])
def test_path_bytes_waveform_and_cache_are_the_same(name, models, clips, part):
    model = models[name]
    chosen = part.test.select(part.test.ids[:2])
    wanted = model.predict(chosen)
    file = chosen.file(0)
    text = str(chosen["text"][0])
    given = [RawClip(form, audio, rate, text=text) for form, (audio, rate) in forms(file).items()]
    answer = System("m", {"m": model}).answer(given)
    assert answer.failed == {}
    assert answer.predictions is not None
    assert answer.predictions.ids == [one.id for one in given]
    expected = np.repeat(wanted.proba[:1], len(given), axis=0)
    np.testing.assert_allclose(answer.predictions.proba, expected, atol=1e-6)
    assert answer.members["m"] == answer.predictions


def test_one_bad_clip_fails_alone(models, part):
    good = part.test.file(0)
    answer = System("m", {"m": models["logistic"]}).answer(
        [
            RawClip("good", good),
            RawClip("none", Path("no/such.wav")),
            RawClip("text", text="only a text"),
            RawClip("junk", b"not audio at all"),
            RawClip("short", np.zeros(10, np.float32), 16000),
            RawClip("nan", np.full(16000, np.nan, np.float32), 16000),
            RawClip("rate", np.zeros(16000, np.float32), 3),
            RawClip("empty", np.zeros((0, 2), np.float32), 16000),
        ]
    )
    assert answer.predictions is not None
    assert answer.predictions.ids == ["good"]
    assert answer.failed == {
        "none": "missing",
        "text": "no audio",
        "junk": "not_audio",
        "short": "too_short",
        "nan": "non_finite_input",
        "rate": "implausible_header",
        "empty": "empty",
    }
    with pytest.raises(InputError, match="ids appear twice: a"):
        System("m", {"m": models["logistic"]}).answer([RawClip("a", text="x")] * 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"audio": 42}, "audio is 42 (int); expected a path"),
        ({"audio": [0.0, 0.1]}, "(list); expected a path"),
        ({"audio": np.zeros(3, np.uint8), "sampling_rate": 16000}, "a waveform of uint8"),
        ({"audio": np.zeros((2, 16000)), "sampling_rate": 16000}, "pass its transpose"),
        ({"audio": np.zeros(16000)}, "sampling_rate is None for a waveform"),
        ({"text": ["a"]}, "text is ['a'] (list)"),
    ],
)
def test_other_types_are_refused_by_name(given, said):
    with pytest.raises(TypeError) as error:
        RawClip("x", **given)
    assert said in str(error.value)


def test_an_array_or_a_series_of_paths_is_a_list_of_them(models, clips, part):
    pandas = pytest.importorskip("pandas")
    paths = [str(clips.file(clips.ids.index(name))) for name in part.test.ids[:2]]
    with models["logistic"] as model:
        wanted = model.predict(paths)
        for given in (np.array(paths), np.array(paths, dtype=object), pandas.Series(paths)):
            assert model.predict(given) == wanted


def test_a_segment_is_that_of_a_manifest(models, clips, corpus, spaces):
    segment = Manifest.from_rows(
        [{"id": "s", "path": clips["path"][0], "start": 0.1, "end": 0.6}], root=corpus
    )
    extract(segment, spaces["speech"].cache, Encoder("spectral"))
    wanted = models["logistic"].predict(segment)
    answer = System("m", {"m": models["logistic"]}).answer(
        [RawClip("s", clips.file(0), start=0.1, end=0.6)]
    )
    assert answer.predictions is not None
    np.testing.assert_allclose(answer.predictions.proba, wanted.proba, atol=1e-6)


def test_no_file_is_written_and_one_encoder_is_opened(models, part, tmp_path, monkeypatch):
    import tempfile

    from affekt.classify.models.new_clips import own_encoders as raw

    opened = []
    plain = raw.open_encoder
    monkeypatch.setattr(
        raw, "open_encoder", lambda *a, **more: opened.append(a) or plain(*a, **more)
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    models["mlp"].save_pretrained(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with open_system(tmp_path / "m") as system:
        for _ in range(5):
            system.answer([RawClip("x", part.test.file(0))])
    assert len(opened) == 1
    assert sorted(tmp_path.rglob("*")) == before
    system.answer([RawClip("x", part.test.file(0))])
    assert len(opened) == 2


def test_a_loaded_model_takes_every_form(models, clips, part, tmp_path, monkeypatch):
    models["concat"].save_pretrained(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    chosen = part.test.select(part.test.ids[:2])
    wanted = models["concat"].predict(chosen).proba
    files, texts = [chosen.file(0), chosen.file(1)], list(chosen["text"])
    waves = [soundfile.read(file, dtype="float32")[0] for file in files]
    rate = soundfile.info(files[0]).samplerate
    before = sorted(tmp_path.rglob("*"))
    with load_model(tmp_path / "m") as model:
        for found in (
            model.predict(chosen),
            model.predict(files, texts=texts),
            model.predict([str(file) for file in files], texts=texts),
            model.predict(waves, sampling_rate=rate, texts=texts),
            model.predict((wave for wave in waves), sampling_rate=rate, texts=texts),
            model.predict([files[0], waves[1]], sampling_rate=rate, texts=texts),
            model.predict([file.read_bytes() for file in files], texts=texts),
        ):
            np.testing.assert_allclose(found.proba, wanted, atol=1e-6)
        [one] = model.predict(waves[0], sampling_rate=rate, text=texts[0]).proba
        np.testing.assert_allclose(one, wanted[0], atol=1e-6)
        with files[0].open("rb") as file:
            assert model.predict(file, text=texts[0]).ids == ["audio"]
        lacking = "1 of 1 clips cannot be embedded: audio: no text; give `text` or"
        with pytest.raises(InputError, match=lacking):
            model.predict(files[0].read_bytes())
        answer = model.answer([files[0], b"junk"], texts=texts)
        assert answer.predictions is not None
        assert len(answer.predictions) == 1
        assert answer.failed == {"audio-2": "not_audio"}
    assert sorted(tmp_path.rglob("*")) == before


def test_texts_are_as_many_predictions(spaces, part):
    model = Model(HEADS["logistic"](), VALENCE, spaces["text"].features()).fit(part.train)
    said = ["wonderful party", "what a day", "terrible"]
    found = model.predict(texts=said)
    assert found.ids == ["text-1", "text-2", "text-3"]
    for row, text in zip(found.proba, said, strict=True):
        np.testing.assert_allclose(model.predict(text=text).proba[0], row, atol=1e-12)
    assert model.predict([], text="x").ids == ["text"]


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ((), {"text": ["a", "b"]}, "text is ['a', 'b'] (list); expected one str; several texts"),
        ((), {"text": 42}, "text is 42 (int)"),
        ((), {"text": b"bytes"}, "text is b'bytes' (bytes)"),
        ((), {"text": {"a": 1}}, "text is {'a': 1} (dict)"),
        ((), {"texts": "one"}, "one text is text='...'"),
        ((), {"texts": [1]}, "texts holds 1 (int)"),
        ((), {"text": "a", "texts": ["a"]}, "expected one of them"),
        (42, {}, "cannot predict int; expected a path, bytes"),
        ({"a": 1}, {}, "cannot predict dict"),
        ([0.1, 0.2], {}, "numpy.asarray"),
        ([["a.wav"]], {}, "a list that holds list"),
        ("a.wav", {"txt": "x"}, "no argument 'txt'; expected clips, cache, text"),
        ("a.wav", {"encoder": "x"}, "Did you mean 'encoders'?"),
        ("a.wav", {"sampling_rate": 16000}, "sampling_rate=16000 is for waveforms"),
        (np.zeros(16000), {}, "sampling_rate is None for a waveform"),
    ],
)
def test_wrong_types_are_refused_with_a_hint(models, given, options, said):
    with pytest.raises(TypeError) as error:
        models["mlp"].predict(given, **options)
    assert said in str(error.value)


def test_numbers_that_do_not_match_are_refused(models, clips):
    with pytest.raises(InputError, match="1 texts for 2 recordings"):
        models["mlp"].predict([clips.file(0), b""], texts=["a"])
    with pytest.raises(InputError, match="one text for 2 recordings"):
        models["mlp"].predict([clips.file(0), b""], text="a")
    with pytest.raises(InputError, match="at least one text"):
        models["mlp"].predict(texts=[])


RECIPE = """\
manifest: clips.csv
task: valence
encoders: {speech: spectral, text: ngram}
split: {scheme: speaker, test_size: 0.35, dev_size: 0.25}
members:
  lr: {head: logistic, on: speech}
  words: {head: logistic, on: text}
ensembles: [mean, max, weighted, geometric, vote, stacking, greedy]
compare: {n_resamples: 100}
report: out
"""


@pytest.fixture(scope="module")
def finished(corpus):
    (corpus / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    assert run(corpus / "recipe.yaml").exit_code == 0
    return corpus / "out"


def test_every_strategy_from_memory_is_that_of_the_cache(finished, clips, corpus, part):
    import json

    systems = json.loads((finished / "comparison.json").read_text())["systems"]
    assert len(systems) == 9
    chosen = part.test.select(part.test.ids[:3])
    waves = [soundfile.read(chosen.file(row), dtype="float32")[0] for row in range(3)]
    rate = soundfile.info(chosen.file(0)).samplerate
    texts = list(chosen["text"])
    for name in systems:
        with load_model(finished, system=name) as predictor:
            assert isinstance(predictor, Predictor)
            stored = predictor.predict(chosen, Cache(corpus / "my.cache"))
            heard = predictor.predict(waves, sampling_rate=rate, texts=texts)
            np.testing.assert_allclose(heard.proba, stored.proba, atol=1e-6, err_msg=name)
            assert predictor.labels == VALENCE.labels
    assert load_model(finished).name in systems
    with pytest.raises(InputError, match="`revision` is for a model"):
        load_model(finished, revision="main")


def test_200_calls_load_once_and_take_no_more_memory(tmp_path, monkeypatch):
    """As a service does; afterwards from eight threads, which get the same numbers."""
    from concurrent.futures import ThreadPoolExecutor

    from affekt.extract.encoders import transformer

    from tests.support import encoder_models as small

    small.saved("bert", tmp_path / "enc")
    rows = [
        {"id": f"{label}{n}", "text": f"{label} word {n}", "label": label}
        for n in range(4)
        for label in ("anger", "neutral", "happiness")
    ]
    clips = Manifest.from_rows(rows)
    encoder = Encoder(str(tmp_path / "enc"), device="cpu")
    space = extract(clips, Cache(tmp_path / "c"), encoder)
    Model(HEADS["logistic"](), VALENCE, space.features()).fit(clips).save_pretrained(tmp_path / "m")
    loads = []
    plain = transformer.load_model
    monkeypatch.setattr(
        transformer, "load_model", lambda *a, **more: loads.append(1) or plain(*a, **more)
    )
    model = load_model(tmp_path / "m", device="cpu")
    sizes = []
    for number in range(200):
        model.predict(text=f"a sentence, number {number}")
        if number >= 40:
            sizes.append(resident())
    assert len(loads) == 1
    assert max(sizes) < 1.03 * sizes[0]
    texts = [f"sentence {number % 5}" for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: model.predict(text=text).proba.tobytes(), texts))
    assert len(set(zip(texts, found, strict=True))) == 5
    again = load_model(tmp_path / "m", device="cpu")
    assert again.predict(text=texts[0]).proba.tobytes() == found[0]
    assert len(loads) == 1  # models of one encoder share it
    model.close()
    again.close()
    again.predict(text=texts[0])
    assert len(loads) == 2


def resident() -> int:
    """Bytes of this process in memory."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("no /proc")
    return int(statm.read_text().split()[1]) * 4096
