"""Whisper through transformers, on a small random model, against its own plain calls."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache import InputError
from affekt.extract.transcription.transcriber import Transcriber
from safetensors.torch import load_file, save_file

from tests.support.encoder_models import saved, tone
from tests.support.whisper_model import write_whisper


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper") / "whisper-tiny")


def plain(folder, samples, language):
    """What a user writes: processor, generate, decode."""
    processor = tf.WhisperProcessor.from_pretrained(folder)
    model = tf.WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = processor(
        samples, sampling_rate=16000, return_tensors="pt", return_attention_mask=True
    )
    with torch.no_grad():
        ids = model.generate(**inputs, language=language, task="transcribe", do_sample=False)
    return processor.batch_decode(ids, skip_special_tokens=True)[0]


def test_equals_the_plain_call(folder):
    samples = tone(24000)
    ear = Transcriber(str(folder), language="spa")
    heard = ear._loaded()(samples, ear.language)
    assert heard.text == plain(folder, samples, "es")
    assert heard.language == "es"
    assert 0 <= heard.no_speech <= 1
    assert heard.likely < 0
    assert ear._loaded()(samples, "es") == heard  # one clip, one transcript


def test_the_language_is_detected(folder):
    heard = Transcriber(str(folder))._loaded()(tone(16000), None)
    assert heard.language in ("en", "de", "es", "pl", "ur")


def test_long_audio(folder):
    heard = Transcriber(str(folder), language="spa")._loaded()(np.resize(tone(16000), 520000), "es")
    assert heard.language == "es"
    assert heard.no_speech is None


def test_english_only(tmp_path):
    folder = write_whisper(tmp_path / "whisper.en", english_only=True)
    assert Transcriber(str(folder))._loaded()(tone(8000), None).language == "en"


def test_languages(folder):
    with pytest.raises(InputError, match=r"'esperanto'.*ISO 639-3"):
        Transcriber(str(folder), language="esperanto")
    with pytest.raises(InputError, match=r"does not know the language 'fr'; it knows de, en"):
        Transcriber(str(folder), language="fra").transcribe(tone(8000))


def test_the_spec_is_known_without_loading(folder, tmp_path):
    ear = Transcriber(str(folder), language="spa")
    assert ear._engine is None
    names = set(ear.spec["model"]["files"])
    assert {"config.json", "model.safetensors", "generation_config.json"} <= names
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    assert Transcriber(str(copy), language="es").spec == ear.spec
    keys = {
        Transcriber(str(folder), language=language, dtype=dtype).store(tmp_path).key
        for language in (None, "spa", "deu")
        for dtype in ("float32", "float16")
    }
    assert len(keys) == 6
    (copy / "generation_config.json").write_text("{}")
    assert Transcriber(str(copy), language="es").spec != ear.spec


def test_a_whisper_that_is_not_whole(folder, tmp_path):
    copy = tmp_path / "less"
    shutil.copytree(folder, copy)
    state = load_file(copy / "model.safetensors")
    name = next(name for name in state if name.endswith("decoder.layers.0.fc1.weight"))
    del state[name]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"decoder\.layers\.0\.fc1\.weight"):
        Transcriber(str(copy), language="es").transcribe(tone(8000))


def test_a_model_that_is_not_whisper_is_refused(tmp_path):
    with pytest.raises(InputError, match="'hubert' model; expected a Whisper model"):
        Transcriber(str(saved("hubert-base", tmp_path / "hubert")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        Transcriber(str(tmp_path / "empty"))


def test_faster_whisper_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match=r"pip install 'affekt\[asr\]'"):  # before it is looked for
        Transcriber("someone/whisper", engine="faster-whisper")
    with pytest.raises(InputError, match=r"'faster'.*Did you mean 'faster-whisper'"):
        Transcriber(str(tmp_path), engine="faster")


def test_faster_whisper(tmp_path, monkeypatch):
    """The engine's calls, on a stand-in for the library, which cannot be installed everywhere."""
    asked = {}

    class WhisperModel:
        def __init__(self, path, **options):
            asked.update(path=path, **options)

        def transcribe(self, samples, **options):
            asked.update(options)
            part = SimpleNamespace(text=" Hola. ", no_speech_prob=0.1, avg_logprob=-0.2)
            parts = [part, part] if np.std(samples) > 0.05 else []
            return iter(parts), SimpleNamespace(language="es")

    library = ModuleType("faster_whisper")
    library.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", library)
    (tmp_path / "model.bin").write_bytes(b"ctranslate2")
    ear = Transcriber(str(tmp_path), language="spa", engine="faster-whisper", device="cpu")
    heard = ear.transcribe(tone(16000))
    assert (heard.text, heard.language, heard.reason) == ("Hola. Hola.", "es", "")
    assert asked["language"] == "es"
    assert asked["compute_type"] == "float32"
    assert asked["temperature"] == 0.0
    assert ear.transcribe(tone(16000) / 100).reason == "no_speech"
