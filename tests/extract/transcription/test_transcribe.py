"""Transcription of clips without text: each content once, with the source of each text."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import InputError, Manifest, SpecError
from affekt.extract.transcription import cli_transcribe
from affekt.extract.transcription.fill_in_texts import Transcriber, transcribe
from affekt.extract.transcription.transcripts import Transcripts
from affekt.extract.transcription.whisper_engines import Transcript
from click.testing import CliRunner

from tests.support.encoder_models import tone
from tests.support.whisper_model import write_whisper


class Ear:
    """A recogniser that counts its calls and says how long the clip was."""

    def __init__(self, text="hola {}"):
        self.calls, self.text, self.languages = 0, text, []

    def __call__(self, samples, language):
        self.calls += 1
        self.languages.append(language)
        return self.text.format(len(samples))


@pytest.fixture
def corpus(tmp_path):
    """Three recordings, one of them under two names and once more as a segment; a silent one."""
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", tone(8000 + 1600 * index, index), 16000)
    shutil.copy(tmp_path / "0.wav", tmp_path / "again.wav")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    soundfile.write(tmp_path / "click.wav", tone(800), 16000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows = [
        {"id": "a", "path": "0.wav", "language": "spa"},
        {"id": "b", "path": "1.wav", "language": "eng"},
        {"id": "c", "path": "2.wav", "text": "dicho", "language": "spa"},
        {"id": "again", "path": "again.wav", "language": "spa"},
        {"id": "part", "path": "0.wav", "start": 0.1, "end": 0.4, "language": "spa"},
        {"id": "silent", "path": "silent.wav", "language": "spa"},
        {"id": "click", "path": "click.wav", "language": "spa"},
        {"id": "broken", "path": "broken.wav", "language": "spa"},
        {"id": "absent", "path": "absent.wav", "language": "spa"},
    ]
    return Manifest.from_rows(rows, root=tmp_path)


def column(clips, name):
    return dict(zip(clips.ids, clips[name], strict=True))


def test_each_content_is_transcribed_once(corpus, tmp_path):
    ear = Ear()
    done = transcribe(corpus, tmp_path / "c", Transcriber("toy", language="spa", listen=ear))
    assert ear.calls == 3  # a, b, part: "again" is the audio of a, c has a text
    texts = column(done.clips, "text")
    assert texts["a"] == texts["again"] == "hola 8000"
    assert texts["part"] == "hola 4800"
    assert texts["c"] == "dicho"
    assert done.clips.ids == corpus.ids
    assert dict(done.counts) == {"heard": 3, "given": 1, "stored": 1, "blank": 2, "failed": 2}
    again = transcribe(corpus, tmp_path / "c", Transcriber("toy", language="es", listen=ear))
    assert ear.calls == 3
    assert list(again.clips["text"]) == list(done.clips["text"])
    assert again.counts["stored"] == 4


def test_a_clip_of_hours_is_not_transcribed_but_its_segments_are(tmp_path):
    """A few KB of FLAC decode to hours: refused by the header, and by what is decoded."""
    soundfile.write(tmp_path / "long.flac", np.zeros(3601 * 1000, np.int16), 1000)
    rows = [{"id": "long", "path": "long.flac"}, *(
        {"id": f"{start}", "path": "long.flac", "start": start, "end": start + 5}
        for start in (0, 3500)
    )]  # fmt: skip
    clips = Manifest.from_rows(rows, root=tmp_path)
    done = transcribe(clips, tmp_path / "c", Transcriber("toy", listen=Ear()))
    assert list(done.failed) == ["long"]
    assert done.failed["long"].startswith("too_long: over 3600 s")
    assert "segments (start, end)" in done.failed["long"]
    assert done.counts["failed"] == 1


def test_where_a_text_is_from(corpus, tmp_path):
    done = transcribe(corpus, tmp_path / "c", Transcriber("toy", language="spa", listen=Ear()))
    source, reason = column(done.clips, "text_source"), column(done.clips, "asr_reason")
    assert source["a"] == "asr"
    assert source["c"] == "given"
    assert source["silent"] == ""
    assert reason["silent"] == "silent"
    assert reason["click"] == "too_short"
    assert reason["absent"] == "missing"
    assert column(done.clips, "asr")["a"].startswith("toy-es-")
    assert column(done.clips, "asr_language")["a"] == "es"
    assert set(done.failed) == {"broken", "absent"}


def test_a_given_text_is_kept_unless_asked_for(corpus, tmp_path):
    done = transcribe(
        corpus, tmp_path / "c", Transcriber("toy", language="spa", listen=Ear()), overwrite=True
    )
    assert column(done.clips, "text")["c"] == "hola 11200"
    assert column(done.clips, "text_source")["c"] == "asr"


def test_the_language_of_each_clip(corpus, tmp_path):
    ear = Ear()
    done = transcribe(corpus, tmp_path / "c", Transcriber("toy", listen=ear), per_language=True)
    assert sorted(ear.languages) == ["en", "es", "es"]
    assert column(done.clips, "asr_language")["b"] == "en"
    assert column(done.clips, "asr")["a"] != column(done.clips, "asr")["b"]
    none = Manifest.from_rows([{"id": "a", "path": "0.wav"}], root=tmp_path)
    with pytest.raises(InputError, match="row 1: no language"):
        transcribe(none, tmp_path / "c", Transcriber("toy", listen=ear), per_language=True)


def test_another_language_or_model_is_another_answer(corpus, tmp_path):
    a, b = Ear("uno"), Ear("dos")
    one = corpus.select(["a"])
    transcribe(one, tmp_path / "c", Transcriber("toy", language="spa", listen=a))
    other = transcribe(one, tmp_path / "c", Transcriber("toy", language="eng", listen=b))
    named = transcribe(one, tmp_path / "c", Transcriber("toy2", language="spa", listen=b))
    assert (a.calls, b.calls) == (1, 2)
    assert list(other.clips["text"]) == list(named.clips["text"]) == ["dos"]


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        (Transcript("Gracias.", no_speech=0.7, likely=-1.2), "no_speech"),
        (Transcript("Gracias.", no_speech=0.7, likely=-0.9), ""),
        (Transcript("Gracias.", no_speech=0.5, likely=-3.0), ""),
        (Transcript("  ", likely=-0.1), "empty"),
        (Transcript(" ... ♪", likely=-0.1), "empty"),
        (Transcript("你好", likely=-0.1), ""),
    ],
)
def test_the_rule_for_no_speech(heard, reason):
    found = Transcriber("toy", listen=lambda *_: heard).transcribe(tone(8000))
    assert found.reason == reason
    assert bool(found.text) is not bool(reason)


def test_an_interruption_keeps_what_was_transcribed(corpus, tmp_path):
    class Stops(Ear):
        def __call__(self, samples, language):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(samples, language)

    ear = Stops()
    with pytest.raises(KeyboardInterrupt):
        transcribe(corpus, tmp_path / "c", Transcriber("toy", language="spa", listen=ear))
    ear = Ear()
    transcribe(corpus, tmp_path / "c", Transcriber("toy", language="spa", listen=ear))
    assert ear.calls == 1


def test_a_failing_disk_stores_nothing_and_says_so(corpus, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    ear = Transcriber("toy", language="spa", listen=Ear())
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            transcribe(corpus, tmp_path / "c", ear)
    assert not [path for path in (tmp_path / "c").rglob("*") if path.suffix == ".jsonl"]
    assert transcribe(corpus, tmp_path / "c", ear).counts["heard"] == 3


def test_a_damaged_segment_is_transcribed_again(corpus, tmp_path, caplog):
    ear = Ear()
    recogniser = Transcriber("toy", language="spa", listen=ear)
    transcribe(corpus, tmp_path / "c", recogniser)
    [segment] = recogniser.store(tmp_path / "c").folder.glob("*.jsonl")
    data = bytearray(segment.read_bytes())
    data[40] ^= 1
    segment.write_bytes(bytes(data))
    done = transcribe(corpus, tmp_path / "c", recogniser)
    assert ear.calls == 6
    assert "damaged" in caplog.text
    assert column(done.clips, "text")["a"] == "hola 8000"


def test_two_writers_at_once_lose_nothing(tmp_path):
    """Both answers are stored; of two for one content the first segment's counts, for everybody."""
    key, spec = "ab" * 32, {"model": "toy"}
    for text in ("uno", "dos"):
        Transcripts(tmp_path, "toy", spec).add({key: Transcript(text)})
    stores = [Transcripts(tmp_path, "toy", spec).read()[key].text for _ in range(2)]
    assert stores[0] == stores[1]
    store = Transcripts(tmp_path, "toy", spec)
    assert len(list(store.folder.glob("*.jsonl"))) == 2
    (store.folder / "transcriber.json").write_text('{"model":"other"}')
    with pytest.raises(SpecError, match="another transcriber"):
        store.read()


def test_command(tmp_path):
    model = write_whisper(tmp_path / "whisper-tiny")
    soundfile.write(tmp_path / "a.wav", tone(8000), 16000)
    soundfile.write(tmp_path / "0.wav", 0 * tone(8000), 16000)
    (tmp_path / "clips.csv").write_text(
        "id,path,text,language,mood\na,a.wav,,spa,x\nb,,ya,spa,y\nc,no.wav,,spa,z\nd,0.wav,,spa,\n"
    )
    output = tmp_path / "with_text.csv"
    words = [str(tmp_path / "clips.csv"), "-o", str(output), "--model", str(model)]
    done = CliRunner().invoke(
        cli_transcribe.transcribe, [*words, "--language", "column", "--json"], standalone_mode=False
    )
    assert done.exception is None, done.output
    assert done.return_value == 3  # one clip could not be read
    assert "no file" in done.stderr
    assert "transcripts are blank: " in done.stderr
    assert "1 silent" in done.stderr
    counts = json.loads(done.stdout)
    assert (counts["clips"], counts["given"], counts["failed"]) == (4, 1, 1)
    assert Path(counts["cache"]) == tmp_path / "clips.cache"
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["mood"] for row in rows] == ["x", "y", "z", ""]
    assert rows[0]["asr_language"] == "es"
    assert rows[0]["asr"].startswith("whisper-tiny-es-")
    assert Manifest.read(output).ids == ["a", "b", "c", "d"]
    again = CliRunner().invoke(
        cli_transcribe.transcribe, [*words, "--language", "column"], standalone_mode=False
    )
    assert "1 given" in again.stdout
    assert "stored" in again.stdout or "blank" in again.stdout
