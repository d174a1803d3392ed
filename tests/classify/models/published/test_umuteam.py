"""The five UMUTeam modes against their equations, and checkpoints that are not whole."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
from affekt.cache import DamagedError, InputError, Manifest
from affekt.classify.models.published.umuteam import MODES, load_umuteam
from affekt.extract.errors import Unusable
from safetensors.torch import load_file, save_file

from tests.support.encoder_models import saved, tone
from tests.support.umuteam_models import EN, ES, expected, text_vector, write_speech, write_text

JOINT = ("concat", "mean", "multihead")
HEARING = ("audio", *JOINT)
TEXT = "¡Qué alegría verte!"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("umuteam")
    made = {mode: write_speech(root / mode, mode) for mode in HEARING}
    made["text"] = write_text(root / "text")
    made["bert"] = saved("bert", root / "bert")
    return made


@pytest.fixture(scope="module")
def models(folders):
    bert = str(folders["bert"])
    return {mode: load_umuteam(folders[mode], mode, "es", bert=bert) for mode in MODES}


@pytest.mark.parametrize("seconds", [0.13, 0.5, 2.345])
@pytest.mark.parametrize("mode", HEARING)
def test_equals_the_equations(folders, models, mode, seconds):
    samples = tone(int(16000 * seconds))
    words = text_vector(folders["bert"], TEXT)
    found = models[mode].scores(samples, TEXT)
    np.testing.assert_allclose(found, expected(folders[mode], mode, samples, words), atol=2e-6)
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_text_equals_the_stock_classifier(folders, models):
    tokenizer = tf.AutoTokenizer.from_pretrained(folders["text"])
    stock = tf.AutoModelForSequenceClassification.from_pretrained(folders["text"]).eval()
    with torch.no_grad():
        logits = stock(**tokenizer(TEXT, return_tensors="pt")).logits
    np.testing.assert_allclose(
        models["text"].scores(text=TEXT), logits.softmax(-1)[0].numpy(), atol=1e-6
    )
    assert models["text"].labels == ES


def test_weighted_layers(tmp_path):
    folder = write_speech(tmp_path / "m", "audio", weighted=True)
    samples = tone(8000)
    found = load_umuteam(folder, "audio", "es").scores(samples)
    np.testing.assert_allclose(found, expected(folder, "audio", samples, None), atol=2e-6)


def test_english_has_seven_labels(tmp_path):
    folder = write_speech(tmp_path / "m", "audio", EN)
    model = load_umuteam(folder, "audio", "en")
    assert model.labels == EN
    assert len(model.scores(tone(4000))) == 7


def test_long_audio_is_cut_after_160_seconds(models):
    long = np.resize(tone(16000), 16000 * 161)
    frames = models["audio"]._features(long)["input_features"]
    assert frames.shape == (1, 8000, 160)  # of 20 ms


def damaged(folder, tmp_path, change):
    """A copy of a checkpoint whose tensors went through `change`."""
    copy = tmp_path / "damaged"
    shutil.copytree(folder, copy)
    state = load_file(copy / "model.safetensors")
    change(state)
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("mode", HEARING)
def test_a_missing_or_extra_tensor_is_refused_by_name(folders, tmp_path, mode):
    """Every tensor outside the encoder, and one inside, one after the other."""
    state = load_file(folders[mode] / "model.safetensors")
    outside = [name for name in state if not name.startswith("wav2vec2_bert.")]
    some = outside[::7] if mode == "multihead" else outside
    for name in [*some, "wav2vec2_bert.encoder.layers.1.ffn1.output_dense.bias"]:
        copy = damaged(folders[mode], tmp_path, lambda state, name=name: state.pop(name))
        with pytest.raises(InputError, match=f"missing: {name}"):
            load_umuteam(copy, mode, "es")
        shutil.rmtree(copy)
    copy = damaged(folders[mode], tmp_path, lambda state: state.update(extra=torch.zeros(2)))
    with pytest.raises(InputError, match="left over: extra"):
        load_umuteam(copy, mode, "es")


def test_another_shape_is_refused_by_name(folders, tmp_path):
    def change(state):
        state["classifier.out_proj.bias"] = torch.zeros(7)

    copy = damaged(folders["audio"], tmp_path, change)
    with pytest.raises(InputError, match=r"classifier\.out_proj\.bias is \(7,\), expected \(6,\)"):
        load_umuteam(copy, "audio", "es")


@pytest.mark.parametrize(
    ("folder", "mode", "named"),
    [
        ("multihead", "mean", "left over: mult_attn_model"),
        ("mean", "multihead", "missing: mult_attn_model"),
        ("concat", "audio", r"classifier\.dense\.weight"),
        ("audio", "concat", r"classifier\.dense\.weight"),
    ],
)
def test_weights_of_another_mode(folders, folder, mode, named):
    with pytest.raises(InputError, match=named):
        load_umuteam(folders[folder], mode, "es", bert=str(folders["bert"]))


def test_half_precision_is_read_as_float32(folders, tmp_path):
    def halve(state):
        for name in state:
            state[name] = state[name].half()

    copy = damaged(folders["audio"], tmp_path, halve)
    model = load_umuteam(copy, "audio", "es")
    whole = load_umuteam(folders["audio"], "audio", "es")
    samples = tone(8000)
    np.testing.assert_allclose(model.scores(samples), whole.scores(samples), atol=5e-3)


def test_weights_that_are_cut_off_or_no_floats(folders, tmp_path):
    def whole(state):
        state["classifier.dense.bias"] = torch.zeros(32, dtype=torch.int64)

    copy = damaged(folders["audio"], tmp_path, whole)
    with pytest.raises(InputError, match=r"classifier\.dense\.bias holds I64"):
        load_umuteam(copy, "audio", "es")
    path = copy / "model.safetensors"
    data = path.read_bytes()
    for length in (0, 100, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedError, match="sound safetensors"):
            load_umuteam(copy, "audio", "es")


def test_shards(folders, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(folders["audio"], copy)
    state = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, members in parts.items():
        save_file({name: state[name] for name in members}, copy / file, metadata={"format": "pt"})
    table = {name: file for file, members in parts.items() for name in members}
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": table}))
    samples = tone(8000)
    found = load_umuteam(copy, "audio", "es").scores(samples)
    np.testing.assert_allclose(found, expected(folders["audio"], "audio", samples, None), atol=2e-6)
    for table, said in (({}, "no weight_map"), ({"a": "../x.safetensors"}, "not a file next to")):
        index.write_text(json.dumps({"weight_map": table}))
        with pytest.raises(InputError, match=said):
            load_umuteam(copy, "audio", "es")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin"])
def test_a_bin_file_is_read_as_tensors_alone(folders, tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "memo"))
    copy = tmp_path / "bin"
    shutil.copytree(folders["audio"], copy)
    torch.save(load_file(copy / "model.safetensors"), copy / name)
    (copy / "model.safetensors").unlink()
    samples = tone(8000)
    found = load_umuteam(copy, "audio", "es").scores(samples)
    np.testing.assert_allclose(found, expected(folders["audio"], "audio", samples, None), atol=2e-6)


def test_a_hostile_bin_is_refused_and_never_run(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "memo"))
    copy, mark = tmp_path / "evil", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return mark.write_text, ("x",)

    shutil.copytree(folders["audio"], copy)
    torch.save({"a": Evil()}, copy / "model.bin")
    load_umuteam(copy, "audio", "es")  # safetensors first: the other is not opened
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="does not hold tensors only"):
        load_umuteam(copy, "audio", "es")
    assert not mark.exists()


def test_code_of_its_own_is_refused(folders, tmp_path):
    copy = tmp_path / "code"
    shutil.copytree(folders["audio"], copy)
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "model.Net"}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="auto_map"):
        load_umuteam(copy, "audio", "es")


def test_labels_that_contradict_the_language(tmp_path, folders):
    with pytest.raises(InputError, match=r"its labels are anger.*expected angry"):
        load_umuteam(folders["audio"], "audio", "en")
    silent = write_speech(tmp_path / "m", "audio", [f"LABEL_{i}" for i in range(6)])
    assert load_umuteam(silent, "audio", "es").labels == ES


def test_a_text_model_of_another_size(folders, tmp_path):
    small = saved("bert", tmp_path / "small", hidden_size=16)
    for mode in JOINT:
        with pytest.raises(InputError, match=r"16 numbers.*takes 32"):
            load_umuteam(folders[mode], mode, "es", bert=str(small))


@pytest.mark.parametrize(("mode", "language"), [("audios", "es"), ("audio", "spa")])
def test_unknown_words(mode, language):
    with pytest.raises(InputError, match="expected one of"):
        load_umuteam("x", mode, language)


def test_what_a_mode_needs(models):
    samples = tone(4000)
    with pytest.raises(InputError, match="needs a text"):
        models["concat"].scores(samples)
    with pytest.raises(InputError, match="needs audio"):
        models["concat"].scores(text=TEXT)
    with pytest.raises(Unusable, match="at least 1600"):
        models["audio"].scores(samples[:1599])
    with pytest.raises(Unusable, match=r"empty_text|no visible|character"):
        models["mean"].scores(samples, "  ")


@pytest.fixture
def clips(tmp_path):
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", tone(4000 + 800 * index, index), 16000)
    rows = [{"id": f"c{i}", "path": f"{i}.wav", "text": TEXT if i else ""} for i in range(3)]
    return Manifest.from_rows(rows, root=tmp_path)


def test_predicts_a_manifest_clip_by_clip(models, clips):
    predictions = models["audio"].predict(clips)
    assert predictions.ids == ["c0", "c1", "c2"]
    assert predictions.labels == ES
    one = models["audio"].predict(clips.select(["c2"]))
    assert np.array_equal(one.proba[0], predictions.proba[2])


def test_missing_text_is_an_error_or_declared(models, clips):
    with pytest.raises(InputError, match=r"1 of 3 clips.*c0 \(no text\).*affekt transcribe"):
        models["mean"].predict(clips)
    kept, left_out = models["mean"].usable(clips)
    assert left_out == {"c0": "no text"}
    assert models["mean"].predict(kept).ids == ["c1", "c2"]


def test_a_file_that_is_gone_names_the_clip(models, clips):
    clips.file(1).unlink()
    with pytest.raises(InputError, match=r"clip 'c1': missing: no file .*1\.wav"):
        models["audio"].predict(clips)
