"""Answers that nobody can have said are left out and counted; a given text is never blanked."""

from __future__ import annotations

import json

import pytest
import soundfile
from affekt.cache import Manifest, SpecError
from affekt.cache.files.durable import content_name
from affekt.extract.transcription import cli_transcribe
from affekt.extract.transcription.fill_in_texts import Transcriber, transcribe
from affekt.extract.transcription.transcripts import Transcripts
from affekt.extract.transcription.whisper_engines import Transcript, oddity
from click.testing import CliRunner

from tests.support.encoder_models import tone

ODD = {
    "": "empty",
    " \t\n ": "empty",
    "♪ ... ♪": "empty",
    "hola\x00": "garbled",
    "\x1b[31mhola": "garbled",
    "hola \ufffd\ufffd": "garbled",
    "\u202ehola": "garbled",
    "Thank you. " * 8: "repeats",
    "and " + "Subtítulos por la comunidad, " * 9: "repeats",
    "you " * 20: "repeats",
    "I know that you know. " * 30: "repeats",
    "ご視聴ありがとうございました。" * 8: "repeats",
    "谢谢大家" * 8: "repeats",
    "बहुत अच्छा, " * 8: "repeats",
}
PLAIN = [
    *("hola", "7", "你好", "no, no, no, no!", "ha ha ha ha ha ha ha ha ha ha", "Thank you. " * 7),
    "I said it once. " * 8 + "Then we went home, had tea, and slept until late in the day. " * 4,
    *("a\tb\nc", "¡Hola! ¿Qué tal?", "e\u0301l", "ha " * 19, "哈" * 19, "谢谢大家" * 7),
]


@pytest.mark.parametrize("text", [*ODD, *PLAIN])
def test_which_answers_are_odd(text):
    assert oddity(text) == ODD.get(text, "")


@pytest.fixture
def clips(tmp_path):
    soundfile.write(tmp_path / "0.wav", tone(8000), 16000)
    soundfile.write(tmp_path / "1.wav", tone(9600, 1), 16000)
    rows = [
        {"id": "new", "path": "0.wav", "text": ""},
        {"id": "given", "path": "1.wav", "text": " dicho "},
        {"id": "no file", "path": "2.wav", "text": "dicho"},
        {"id": "no audio", "path": "", "text": "dicho"},
    ]
    return Manifest.from_rows(rows, root=tmp_path)


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer_never_blanks_a_given_text(clips, tmp_path, answer):
    ear = Transcriber("toy", language="spa", listen=lambda *_: answer)
    for overwrite in (False, True, True):  # the third answers from what is stored
        done = transcribe(clips, tmp_path / "c", ear, overwrite=overwrite)
        assert list(done.clips["text"]) == ["", " dicho ", "dicho", "dicho"]
        assert done.clips["asr_reason"][0] == ODD[answer]
        assert list(done.clips["text_source"])[1] == "given"


def test_an_odd_answer_is_said(tmp_path, monkeypatch, clips):
    monkeypatch.setattr(
        "affekt.extract.transcription.transcriber.Transcriber",
        lambda *_, **__: Transcriber("toy", language="spa", listen=lambda *_: "you " * 30),
    )
    clips.select(["new"]).write(tmp_path / "clips.csv")
    words = [str(tmp_path / "clips.csv"), "-o", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(cli_transcribe.transcribe, words)
    assert "1 answers were left out, because they repeat one phrase over and over" in done.stderr
    assert list(Manifest.read(tmp_path / "out.csv")["text"]) == [""]


GOOD = {**{"audio": "ab" * 32}, **{"text": "hola", "language": "es", "reason": ""}}
GOOD |= {"no_speech": None, "likely": -0.5}
LINES = [
    *(b"[]", b"3", b"{}", b"null", b"not json", b"\xff\xfe", b"[" * 5000, b'{"audio": "x"}'),
    *(json.dumps(GOOD | change).encode() for change in (
        {"audio": "ab"}, {"audio": 7}, {"audio": "AB" * 32}, {"text": None}, {"text": ["a"]},
        {"language": 1}, {"likely": "high"}, {"more": 1},
    )),
]  # fmt: skip


def test_lines_that_are_not_answers_are_ignored_with_a_warning(tmp_path, caplog):
    store = Transcripts(tmp_path / "c", "toy", {"model": "toy"})
    store.add({"cd" * 32: Transcript("kept", "es")})
    data = b"\n".join([*LINES, json.dumps(GOOD).encode(), b""])
    (store.folder / content_name(data, ".jsonl")).write_bytes(data)
    (store.folder / "folder.jsonl").mkdir()
    heard = store.read()
    assert {key: one.text for key, one in heard.items()} == {"cd" * 32: "kept", "ab" * 32: "hola"}
    assert f"{len(LINES)} lines are not answers and are ignored" in caplog.text
    assert "folder.jsonl is damaged and ignored" in caplog.text


def test_a_spec_that_is_not_text(tmp_path):
    store = Transcripts(tmp_path / "c", "toy", {"model": "toy"})
    store.add({"cd" * 32: Transcript("kept", "es")})
    (store.folder / "transcriber.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="another transcriber"):
        store.read()
