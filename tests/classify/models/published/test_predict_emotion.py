"""The UMUTeam toolkit's one call: its combinations, its answer, its model.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import InputError
from affekt.classify import predict_emotion
from affekt.classify.models.published.predict_emotion import read_model_json
from affekt.extract.inputs.decode import decode
from affekt.extract.transcription.whisper_engines import Transcript

from tests.support.encoder_models import saved, tone
from tests.support.umuteam_models import ES, expected, text_vector, write_speech, write_text
from tests.support.whisper_model import write_whisper

file = sys.modules["affekt.classify.models.published.predict_emotion"]
HEARING = ("audio", "concat", "mean", "multihead")
TEXT = "No lo puedo creer"


@pytest.fixture(scope="module")
def toolkit(tmp_path_factory):
    """A model.json with a small model of every mode, and a recording at 44.1 kHz in stereo."""
    root = tmp_path_factory.mktemp("toolkit")
    models = {mode: str(write_speech(root / mode, mode)) for mode in HEARING}
    models["text"] = str(write_text(root / "text"))
    models["bert"] = str(saved("bert", root / "bert"))
    models["whisper"] = str(write_whisper(root / "whisper"))
    config = root / "model.json"
    config.write_text(json.dumps({"es": models}))
    audio = root / "clip.flac"
    soundfile.write(audio, np.stack([tone(44100), tone(44100, 1)], 1), 44100)
    return config, audio, models


@pytest.fixture(autouse=True)
def unloaded():
    yield
    file._loaded.cache_clear()
    file._transcriber.cache_clear()


@pytest.mark.parametrize("mode", HEARING)
def test_every_mode_that_hears(toolkit, mode):
    config, audio, models = toolkit
    answer = predict_emotion(
        audio_path=audio, text=TEXT, mode=mode.upper(), language="ES", model_config_path=config
    )
    assert list(answer) == ["top_label", "top_score", "scores"]
    assert tuple(answer["scores"]) == ES
    samples = decode(audio.read_bytes(), 16000).samples
    words = text_vector(models["bert"], TEXT)
    wanted = expected(Path(models[mode]), mode, samples, words)
    np.testing.assert_allclose(list(answer["scores"].values()), wanted, atol=2e-6)
    assert answer["top_label"] == ES[int(wanted.argmax())]
    assert answer["top_score"] == max(answer["scores"].values())
    assert type(answer["top_score"]) is float


@pytest.mark.data
def test_real_clips_of_every_format(toolkit, shared_data):
    """WAV, FLAC, Ogg and MP3, mono and stereo: what is heard is what the decoder gives."""
    config, _, models = toolkit
    files = [path for path in sorted(shared_data.glob("*/*/**/*")) if path.is_file()]
    seen = {}
    for path in files:
        if path.suffix in (".wav", ".flac", ".ogg", ".mp3"):
            info = soundfile.info(path)
            if info.duration < 3:
                seen.setdefault((path.suffix, info.channels, info.samplerate), path)
    assert {suffix for suffix, *_ in seen} == {".wav", ".flac", ".ogg", ".mp3"}
    for path in seen.values():
        answer = predict_emotion(path, mode="audio", model_config_path=config)
        samples = decode(path.read_bytes(), 16000).samples
        wanted = expected(Path(models["audio"]), "audio", samples, None)
        np.testing.assert_allclose(list(answer["scores"].values()), wanted, atol=2e-6)


def test_text_alone(toolkit):
    answer = predict_emotion(text=TEXT, model_config_path=toolkit[0])
    assert sum(answer["scores"].values()) == pytest.approx(1)


def test_the_rules_of_combination():
    """The same combinations raise ValueError as in the toolkit, before a model is looked for."""
    with pytest.raises(ValueError, match="must provide either audio_path or text"):
        predict_emotion(mode="text")
    for mode in HEARING:
        with pytest.raises(ValueError, match=f"mode='{mode}' requires an audio_path"):
            predict_emotion(text="hola", mode=mode)
    with pytest.raises(ValueError, match="'video'; expected one of text, audio"):
        predict_emotion(audio_path="a.wav", mode="video")
    with pytest.raises(ValueError, match="'fr'; expected one of es, en"):
        predict_emotion(audio_path="a.wav", mode="audio", language="fr")
    with pytest.raises(ValueError, match="no model is named"):
        predict_emotion(audio_path="a.wav", mode="audio")


def test_model_id_goes_before_the_config(toolkit, tmp_path):
    config, audio, models = toolkit
    with pytest.raises(InputError, match="no config"):
        predict_emotion(audio, mode="audio", model_id=str(tmp_path), model_config_path=config)
    assert predict_emotion(audio_path=audio, mode="audio", model_id=models["audio"])["top_label"]


def test_models_stay_loaded(toolkit, monkeypatch):
    config, audio, _ = toolkit
    loads = []
    load = file.load_umuteam

    def counting(*args, **options):
        loads.append(args[1])
        return load(*args, **options)

    monkeypatch.setattr(file, "load_umuteam", counting)
    for mode in ("audio", "text", "audio", "text"):
        predict_emotion(audio_path=audio, text=TEXT, mode=mode, model_config_path=config)
    assert loads == ["audio", "text"]
    config_file = next(iter((audio.parent / "audio").glob("config.json")))
    config_file.write_text(config_file.read_text() + "\n")  # another file: loaded anew
    predict_emotion(audio_path=audio, mode="audio", model_config_path=config)
    assert loads == ["audio", "text", "audio"]
    assert file._loaded.cache_info().maxsize == 2


def test_whisper_writes_the_text_that_is_missing(toolkit, monkeypatch):
    config, audio, _ = toolkit
    heard = []

    def transcribe(self, samples):
        heard.append((len(samples), self.language))
        return Transcript(TEXT, self.language)

    monkeypatch.setattr(
        "affekt.extract.transcription.transcriber.Transcriber.transcribe", transcribe
    )
    for mode in ("text", "mean"):
        with_text = predict_emotion(
            audio_path=audio, text=TEXT, mode=mode, model_config_path=config
        )
        assert predict_emotion(audio_path=audio, mode=mode, model_config_path=config) == with_text
    assert heard == [(16000, "es")] * 2
    predict_emotion(audio_path=audio, mode="audio", model_config_path=config)
    assert len(heard) == 2


def test_nothing_said(toolkit, tmp_path):
    config, _, _ = toolkit
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    with pytest.raises(InputError, match=r"no speech was found.*silent.*mode='audio'"):
        predict_emotion(audio_path=tmp_path / "silence.wav", mode="text", model_config_path=config)


def test_audio_that_cannot_be_read(toolkit, tmp_path):
    config, _, _ = toolkit
    (tmp_path / "text.wav").write_text("hello")
    for name, said in (("none.wav", "missing: no file"), ("text.wav", "not_audio")):
        with pytest.raises(InputError, match=said):
            predict_emotion(audio_path=tmp_path / name, mode="audio", model_config_path=config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ('{"es": {"audio": "a", "audio": "b"}}', "twice"),
        ('{"es": "a"}', "holds no modes"),
        ('{"es": {"sound": "a"}}', r"es\.sound"),
        ('{"es": {"audio": 3}}', r"es\.audio is 3"),
        ('{"es": {"audio": NaN}}', "NaN"),
        ("[" * 10_000, "nested too deeply"),
        ('{"es": {"audio": "' + "a" * 1_000_001 + '"}}', "at most"),
    ],
)
def test_model_json(tmp_path, text, said):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_model_json(path)


def test_no_model_json(tmp_path):
    with pytest.raises(InputError, match="no file"):
        predict_emotion(text="a", model_config_path=tmp_path / "none.json")


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_device_that_is_not_there(toolkit, monkeypatch, device):
    config, audio, _ = toolkit
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for mode in ("audio", "text"):
        with pytest.raises(InputError, match=f"device '{device}'.*0 CUDA devices"):
            predict_emotion(audio, TEXT, mode=mode, device=device, model_config_path=config)


def test_a_mode_that_is_not_text():
    for wrong in (None, 3):
        with pytest.raises(InputError, match=f"`mode` is {wrong}; expected one of text, audio"):
            predict_emotion(text=TEXT, mode=wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"`language` is {wrong}; expected one of es, en"):
            predict_emotion(text=TEXT, language=wrong)  # type: ignore[arg-type]


def test_what_is_too_short_is_named(toolkit, tmp_path):
    config, audio, _ = toolkit
    soundfile.write(tmp_path / "short.wav", tone(800), 16000)
    with pytest.raises(InputError, match=r"short\.wav: too_short: "):
        predict_emotion(tmp_path / "short.wav", mode="audio", model_config_path=config)
    for mode in ("text", "mean"):
        with pytest.raises(InputError, match="text '': empty_text: "):
            predict_emotion(audio, "", mode=mode, model_config_path=config)
