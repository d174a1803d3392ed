"""What a user names to `affekt predict`: broken files fail alone, wrong input before any work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, InputError, Manifest, SpecError
from affekt.classify import HEADS, Model, Task
from affekt.classify.models.new_clips import own_encoders
from affekt.classify.serving import timeline
from affekt.classify.serving.loading import open_system
from affekt.extract import Encoder, extract
from safetensors.numpy import save_file

from tests.support.encoder_models import saved
from tests.support.small_models import predict, sound, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return write_models(tmp_path_factory.mktemp("inputs"))


def refused(said: str, *words: object) -> None:
    result = predict(*words)
    assert isinstance(result.exception, InputError), result.output
    assert said in str(result.exception)


def test_one_bad_file_of_a_folder_fails_alone(models, tmp_path):
    wav = tmp_path / "wav"
    sound(wav / "good.wav")
    sound(wav / "dir.wav" / "inner.wav", seed=1)
    os.mkfifo(wav / "pipe.wav")
    (wav / "loop.wav").symlink_to("loop.wav")
    (wav / "gone.wav").symlink_to("nowhere.wav")
    shutil.copy(wav / "good.wav", os.fsencode(wav) + b"/bad\xff.wav")
    (wav / "link").symlink_to("dir.wav")
    (wav / "a.m4a").write_bytes(b"x")
    (wav / "notes.xyz").write_bytes(b"x")
    (wav / "._good.wav").write_bytes(b"\0\5\x16\7")
    (wav / "__MACOSX").mkdir()
    sound(wav / "__MACOSX" / "good.wav")
    result = predict(models / "speech", wav, "--json")
    assert result.exit_code == 3, result.output
    names = [str(wav / "dir.wav/inner.wav"), str(wav / "good.wav")]
    assert [row["id"] for row in json.loads(result.stdout)] == names
    for said in (
        "pipe.wav: not predicted: not_a_file",
        "loop.wav: not predicted: denied (cannot be read: Too many levels",
        "gone.wav: not predicted: missing",
        "bad\\udcff.wav: not predicted: bad_name",
        "link: a link to a folder is not followed",
        "a.m4a: not predicted: not_audio (a text file",
        "have it read): " + str(wav / "notes.xyz"),
        f"next to the audio: {wav / '._good.wav'}, {wav / '__MACOSX'}",
    ):
        assert said in result.stderr


def test_every_ending_that_can_be_decoded_is_found(models, tmp_path):
    sound(tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav")
    for name, kind in (("b.aifc", "AIFF"), ("c.snd", "AU"), ("d.sph", "NIST"), ("e.wave", "WAV")):
        soundfile.write(tmp_path / name, samples, rate, format=kind, subtype="PCM_16")
    result = predict(models / "speech", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert [Path(row["id"]).name for row in json.loads(result.stdout)] == [
        *("a.wav", "b.aifc", "c.snd", "d.sph", "e.wave")
    ]


def test_a_window_table_does_not_stop_at_a_bad_file(models, tmp_path):
    """Also a stream, whose header says that it has no samples, has a length."""
    sound(tmp_path / "a.wav", 1.2)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = bytes(4)
    (tmp_path / "stream.wav").write_bytes(data)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("dear diary")
    result = predict(models / "speech", tmp_path, "--window", 1, "--json")
    assert result.exit_code == 3, result.output
    rows = json.loads(result.stdout)
    times = [(Path(row["recording"]).name, row["start"], row["end"]) for row in rows]
    assert times == [(name, *t) for name in ("a.wav", "stream.wav") for t in ((0, 1), (0.2, 1.2))]
    assert "empty.wav: not predicted: empty" in result.stderr
    assert "text.wav: not predicted: not_audio" in result.stderr


def test_a_recording_beyond_four_hours_has_no_windows(models, tmp_path):
    samples = np.zeros(14_401 * 1000, np.int16)
    samples[9000:10_000] = np.random.default_rng(0).integers(-3000, 3000, 1000)
    soundfile.write(tmp_path / "long.flac", samples, 1000)
    (tmp_path / "clips.csv").write_text("id,path,start,end\na,long.flac,,\nb,long.flac,9,10\n")
    result = predict(models / "speech", tmp_path / "clips.csv", "--window", 1, "--json")
    assert result.exit_code == 3, result.output
    assert {row["recording"] for row in json.loads(result.stdout)} == {"b"}
    assert "a: not predicted: too_long (14401.0 s, the limit is 14400 s; cut it" in result.stderr


def test_windows_just_above_a_boundary_have_ids_of_their_own(models, tmp_path, monkeypatch):
    sound(tmp_path / "a.wav", 1.0039)
    result = predict(models / "speech", tmp_path / "a.wav", "--window", 1, "--hop", 0.5, "--json")
    assert result.exit_code == 0, result.output
    ids = [row["id"].partition("#")[2] for row in json.loads(result.stdout)]
    assert ids == ["0.00-1.00", "0.0039-1.0039"]
    sound(tmp_path / "b.wav", 0.506)
    words = (models / "speech", tmp_path / "b.wav", "--window", 0.5, "--hop")
    assert len(json.loads(predict(*words, 0.003, "--json").stdout)) == 3
    refused("0.001 <= hop", *words, 0.0001)
    monkeypatch.setattr(timeline, "MOST", 150)  # 168 and 3 windows
    refused("over 150 windows", *words, 0.003, tmp_path / "a.wav")
    assert predict(*words, 0).exit_code == 2


def test_segments_of_a_manifest_are_windowed_where_they_lie(models, tmp_path):
    sound(tmp_path / "a.wav", 2)
    (tmp_path / "clips.csv").write_text(
        "id,path,start,end,text\na,a.wav,0.5,1.5,\nb,a.wav,1.2,,\nc,a.wav,3,,\nd,,,,x\n"
    )
    result = predict(models / "speech", tmp_path / "clips.csv", "--window", 0.6, "--json")
    assert result.exit_code == 3, result.output
    times = {row["id"] for row in json.loads(result.stdout)}
    assert times == {"a#0.50-1.10", "a#0.80-1.40", "a#0.90-1.50", "b#1.20-1.80", "b#1.40-2.00"}
    assert "c: not predicted: bad_segment (-1 s" in result.stderr
    assert "d: not predicted: no audio" in result.stderr


def test_a_fusion_reports_a_missing_side(models, tmp_path, caplog):
    (tmp_path / "clips.csv").write_text("id,path,text\na,none.wav,so good\n", encoding="utf-8")
    result = predict(models / "fused", tmp_path / "clips.csv", "--json")
    assert result.exit_code == 0, result.output
    said = "audio missing; predicted from text alone"
    assert f"a: {said}" in result.stderr
    assert json.loads(result.stdout)[0]["remark"] == said
    system = open_system(models / "fused")
    clips = Manifest.read(tmp_path / "clips.csv")
    assert system.predict(clips, Cache(tmp_path / "c")).one_sided == {"a": said}
    system(tmp_path / "clips.csv")
    assert f"a: {said}" in caplog.text


def test_a_pipeline_answers_for_every_clip(models, tmp_path):
    files = [sound(tmp_path / "wav" / f"{n}.wav", seed=n) for n in range(3)]
    table = tmp_path / "clips.csv"
    table.write_text("id,path\n" + "".join(f"{f.stem},wav/{f.name}\n" for f in files))
    system = open_system(models / "speech")
    wanted = [row for file in files for row in system(file)]
    for named in (tmp_path / "wav", table, files):
        answers = system(named)
        assert [len(answer) for answer in answers] == [3, 3, 3]
        for row, one in zip(chain(*answers), wanted, strict=True):
            assert row["label"] == one["label"]
            assert row["score"] == pytest.approx(one["score"], abs=1e-6)
    for top in (0, -1):
        with pytest.raises(InputError, match="expected 1 or more"):
            system(files[0], top=top)


def test_the_same_encoder_in_a_folder_of_another_name(tmp_path):
    """A folder is known by its files; the rows go into the model's own space."""
    saved("wav2vec2-base", tmp_path / "one")
    files = [sound(tmp_path / "wav" / f"{n}.wav", 0.3, seed=n) for n in range(6)]
    rows = [
        {"id": file.stem, "path": str(file), "label": ("anger", "happiness")[n % 2]}
        for n, file in enumerate(files)
    ]
    clips = Manifest.from_rows(rows, root="/", allow_outside=True)
    space = extract(clips, Cache(tmp_path / "c"), Encoder(str(tmp_path / "one"), device="cpu"))
    model = Model(HEADS["logistic"](), Task.named("valence"), space.features()).fit(clips)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "one").rename(tmp_path / "two")
    words = (tmp_path / "model", files[0], "--encoder", tmp_path / "two", "--device", "cpu")
    result = predict(*words, "--cache", tmp_path / "fresh", "--json")
    assert result.exit_code == 0, result.output
    [row] = json.loads(result.stdout)
    wanted = model.predict(clips.select(["0"]))
    assert row["score"] == pytest.approx(float(wanted.proba.max()), abs=1e-6)
    [made] = Cache(tmp_path / "fresh").spaces()
    assert made.spec == space.spec
    assert len(made) == 1
    (tmp_path / "two").rename(tmp_path / "one")
    saved("wav2vec2-base", tmp_path / "other", layer_norm_eps=1e-3)
    result = predict(*words[:2], "--encoder", tmp_path / "other", "--device", "cpu")
    assert result.exit_code == 0, result.output  # the model remembers its own folder
    assert "other is not used: " in result.stderr
    assert "is not the encoder that the model was trained on" in result.stderr
    refused("nowhere: no such folder", tmp_path / "model", files[0],
            "--encoder", tmp_path / "nowhere")  # fmt: skip


def test_an_encoder_that_is_not_used_is_compared_with_the_nearest(monkeypatch, tmp_path):
    errors = iter([InputError("x"), SpecError("long" * 99, 1), SpecError("short", 5)])

    def refuse(*_, **__):
        raise next(errors)

    monkeypatch.setattr(own_encoders, "open_encoder", refuse)
    monkeypatch.setattr(own_encoders, "_is_code", lambda spec: False)
    [note] = own_encoders.check_places([None] * 3, [tmp_path])
    assert note.endswith("long" * 99)


def test_a_table_from_a_pipe_of_the_shell(models, tmp_path):
    sound(tmp_path / "a.wav", 0.3)
    (tmp_path / "clips.csv").write_text("id,path\na,a.wav\n")
    result = subprocess.run(
        ["bash", "-c", f"affekt predict {models / 'speech'} <(cat clips.csv) --json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert [row["id"] for row in json.loads(result.stdout)] == ["a"]


def test_many_clips_of_one_reason_are_one_line(models, tmp_path):
    (tmp_path / "wav").mkdir()
    for number in range(9):
        (tmp_path / "wav" / f"{number}.wav").write_text("a text")
    result = predict(models / "speech", tmp_path / "wav")
    assert result.exit_code == 3
    [line] = [line for line in result.stderr.splitlines() if "not predicted" in line]
    assert "4.wav and 4 more: not predicted: not_audio" in line


def test_a_model_where_one_stands(models, tmp_path, monkeypatch):
    file = sound(tmp_path / "a.wav")
    monkeypatch.chdir(models / "speech")
    assert predict(".", file).exit_code == 0
    refused("names no model", "", file)
    refused("is not a model folder", "/", file)
    refused("nothing is there", tmp_path / "none", file)
    refused("Did you mean 'speech'?", models / "speeech", file)
    refused("is not a folder here", tmp_path / "none", file, "--system", "mean")
    (tmp_path / "run" / "members").mkdir(parents=True)
    refused("did not finish", tmp_path / "run", file)
    (tmp_path / "run" / "comparison.json").write_text('{"systems": {"a"')
    refused(f"{tmp_path}/run/comparison.json cannot be read", tmp_path / "run", file)
    (tmp_path / "run" / "comparison.json").write_text('{"systems": [], "chosen": 1}')
    refused("not written by an affekt run", tmp_path / "run", file)


def test_what_would_be_ignored_is_refused(models, tmp_path):
    file = sound(tmp_path / "a.wav")
    refused("given twice", models / "speech", file, file)
    refused("belongs to a manifest", models / "speech", file, "--root", tmp_path)
    refused("is for --transcribe", models / "speech", file, "--whisper", "small")
    refused("is for --transcribe", models / "speech", file, "--language", "eng")
    refused("needs no folder", models / "speech", file, "--encoder", tmp_path)
    refused("is a model or a run", models / "speech", file, "--cache", models / "words")
    result = predict(models / "speech", file, "--transcribe")
    assert "does not use text" in result.stderr


def test_too_long_says_the_limit_and_what_to_do(models, tmp_path):
    result = predict(models / "speech", sound(tmp_path / "a.wav", 61))
    assert "not predicted: too_long (61.0 s, the limit is 60 s)" in result.stderr
    assert "--window SECONDS" in result.stderr


def test_an_encoder_is_not_a_model(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    save_file({"layer": np.zeros(2)}, tmp_path / "model.safetensors")
    result = predict(tmp_path, sound(tmp_path / "a.wav"))
    assert isinstance(result.exception, InputError)
    assert "a checkpoint (hubert): name it as an encoder" in str(result.exception)


def test_reasons_that_differ_in_a_path_do_not_fill_the_screen(models, tmp_path):
    rows = "".join(f"c{i},gone/{i}.wav\n" for i in range(40))
    (tmp_path / "clips.csv").write_text(f"id,path\n{rows}")
    result = predict(models / "speech", tmp_path / "clips.csv")
    lines = [line for line in result.stderr.splitlines() if "not predicted: missing" in line]
    assert len(lines) == 6
    assert lines[-1] == "c5, c6, c7, c8, c9 and 30 more: not predicted: missing"


def test_a_low_rate_and_two_voices_are_remarked(models, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal((8000, 2)), 8000)
    result = predict(models / "speech", tmp_path / "a.wav")
    assert "a.wav: low_rate (sampled at fewer Hz than the model reads" in result.stderr
    assert "a.wav: separate_channels (perhaps two people on a telephone" in result.stderr


def test_silence_is_remarked(models, tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.0] * 16000, 16000)
    result = predict(models / "speech", tmp_path / "a.wav")
    assert result.exit_code == 0
    assert "a.wav: silent" in result.stderr


def test_damage_beyond_a_little_is_predicted_by_option(models, tmp_path):
    sound(tmp_path / "whole.wav")
    data = (tmp_path / "whole.wav").read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(data[: len(data) * 3 // 4])
    result = predict(models / "speech", cut, "--json")
    assert result.exit_code == 3
    assert "cut.wav: not predicted: truncated" in result.stderr
    result = predict(models / "speech", cut, "--json", "--damage", "accept")
    assert result.exit_code == 0, result.output
    assert [row["id"] for row in json.loads(result.stdout)] == [str(cut)]
    assert "damaged" in result.stderr
    refused("leave --cache out", models / "speech", cut, "--damage", "accept", "--cache", tmp_path)
