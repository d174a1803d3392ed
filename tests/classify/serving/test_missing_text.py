"""`affekt predict` with a model that reads text, and clips that have none."""

from __future__ import annotations

import json

import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.serving.cli_predict import predict
from affekt.extract import Encoder, extract
from affekt.extract.transcription.transcriber import Transcriber
from affekt.extract.transcription.whisper_engines import Transcript
from click.testing import CliRunner

from tests.support.encoder_models import tone
from tests.support.whisper_model import write_whisper

WORDS = {"happiness": "wonderful party", "anger": "furious insult", "neutral": "monday table"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text model, a small Whisper, and two recordings."""
    root = tmp_path_factory.mktemp("missing")
    rows = [
        {"id": f"{label}{n}", "text": f"{words} {n}", "label": label, "speaker": f"s{n}"}
        for label, words in WORDS.items()
        for n in range(6)
    ]
    clips = Manifest.from_rows(rows)
    space = extract(clips, Cache(root / "cache"), Encoder("ngram"), progress=False)
    model = Model(LogisticHead(), Task.named("valence"), space.features())
    model.fit(clips).save_pretrained(root / "model")
    write_whisper(root / "whisper")
    for n in range(2):
        soundfile.write(root / f"{n}.wav", tone(8000 + n), 16000)
    return root


@pytest.fixture
def hears(monkeypatch):
    """Whisper says what is told here; its own answers are nonsense."""

    def say(text):
        calls = []

        def transcribe(self, signal):
            calls.append(self.language)
            return Transcript(text, self.language or "en", "" if text else "no_speech")

        monkeypatch.setattr(Transcriber, "transcribe_signal", transcribe)
        return calls

    return say


def run(folder, *words):
    files = [folder / "0.wav", folder / "1.wav"]
    return CliRunner().invoke(
        predict, [str(word) for word in (folder / "model", *files, *words)], standalone_mode=False
    )


def test_without_the_flag_it_is_named(folder):
    result = run(folder, "--json")
    assert "2 of 2 clips have no text" in result.stderr
    assert "--transcribe" in result.stderr
    assert result.return_value == 3 or result.exit_code == 3


def test_the_flag_writes_the_text_and_names_the_transcriber(folder, hears, tmp_path):
    calls = hears("wonderful party")
    words = ("--transcribe", "--whisper", folder / "whisper", "--language", "eng")
    result = run(folder, *words, "--cache", tmp_path / "c", "--json")
    rows = json.loads(result.stdout)
    assert [row["label"] for row in rows] == ["positive", "positive"]
    assert rows[0]["text"] == "wonderful party"
    assert rows[0]["text_source"] == "asr"
    assert rows[0]["asr"].startswith("whisper-en-")
    assert calls == ["en", "en"]
    again = run(folder, *words, "--cache", tmp_path / "c")
    assert "transcribed by whisper-en-" in again.stdout
    assert len(calls) == 2  # kept in the cache


def test_nothing_said_is_a_reason(folder, hears):
    hears("")
    result = run(folder, "--transcribe", "--whisper", folder / "whisper")
    assert "2 blank" in result.stderr
    assert "not predicted: no text" in result.stderr
    assert result.return_value == 3 or result.exit_code == 3


def test_a_text_that_is_given_is_not_transcribed(folder, hears):
    calls = hears("furious insult")
    result = CliRunner().invoke(
        predict,
        [str(folder / "model"), str(folder / "0.wav"), "--text", "monday table", "--transcribe"],
        standalone_mode=False,
    )
    assert "neutral" in result.stdout
    assert calls == []
