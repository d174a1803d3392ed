"""One bad clip is one quarantined clip; a fault of the machine is not a clip's."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.errors import AffektError
from affekt.extract import Encoder, Unusable
from affekt.extract.inputs import audio_files as files_module
from affekt.extract.inputs.audio_files import read_clip, read_file
from affekt.extract.inputs.isolated_decoder import Decoder
from affekt.extract.inputs.missing_files import hint_missing
from affekt.extract.running.embedding import run_extraction
from affekt.extract.transcription.fill_in_texts import Transcriber, transcribe

from tests.support.audio_toy import Simple, codes

RATE = 16_000


@pytest.fixture
def strange(tmp_path, sound, encode):
    """A folder with a good file and everything that is none; id -> reason code."""
    (tmp_path / "good.wav").write_bytes(encode(sound()))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(tmp_path, os.O_RDONLY)  # a socket's own path has to be short
        try:
            one.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
    with (tmp_path / "sparse.wav").open("wb") as file:
        file.truncate(30 << 30)
    with (tmp_path / "hollow.wav").open("wb") as file:
        file.write(encode(sound()))
        file.truncate(1 << 30)
    outside = tmp_path.parent / "outside.wav"
    outside.write_bytes(encode(sound()))
    (tmp_path / "link.wav").symlink_to(outside)
    expected = {
        "d" * 300 + ".wav": "bad_path",
        "loop.wav": "bad_path",
        "good.wav/inner.wav": "missing",
        "folder": "not_a_file",
        "pipe.wav": "not_a_file",
        "socket": "not_a_file",
        "sparse.wav": "too_large",
        "hollow.wav": "not_audio",
        "link.wav": "outside",
        "nowhere.wav": "missing",
    }
    rows = [{"id": path[:20], "path": path} for path in (*expected, "good.wav")]
    clips = Manifest.from_rows(rows, root=tmp_path)
    return clips, {path[:20]: code for path, code in expected.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="sockets by way of /proc")
def test_every_strange_path_is_one_quarantined_clip(strange, cache):
    clips, expected = strange
    done = run_extraction(clips, cache, Encoder.of(Simple()))
    assert codes(done) == expected
    digests = Cache(cache.path).digests(clips, "audio", rehash=True)
    assert [digest is not None for digest in digests] == [id == "good.wav" for id in clips.ids]
    assert (done.computed, done.exit_code) == (1, 3)
    heard = transcribe(clips, cache.path, Transcriber("toy", listen=lambda samples, language: "hm"))
    assert {name: why.split(":")[0] for name, why in heard.failed.items()} == expected
    assert heard.counts["heard"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="sockets by way of /proc")
def test_workers_treat_strange_paths_alike(strange, cache):
    clips, expected = strange
    done = run_extraction(clips, cache, Encoder("spectral"), workers=2)
    assert codes(done) == expected


def test_a_device_is_not_read():
    clips = Manifest.from_rows([{"id": "a", "path": "/dev/zero"}], root="/")
    with pytest.raises(Unusable, match="not a regular file"):
        read_clip(clips, 0)


def test_a_missing_file_says_what_is_there(tmp_path, monkeypatch):
    decomposed = unicodedata.normalize("NFD", "hé.wav")
    for name in ("a.flac", "B.WAV", decomposed, "c.wav "):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "audio" / "x").mkdir(parents=True)
    (tmp_path / "audio" / "x" / "d.wav").write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "audio")

    def said(path, root=tmp_path):
        clips = Manifest.from_rows([{"id": "a", "path": path}], root, allow_outside=True)
        with pytest.raises(Unusable) as caught:
            read_clip(clips, 0)
        assert caught.value.code == "missing"
        return caught.value.message

    assert said("a.wav").endswith("; there is a.flac")
    assert said("b.wav").endswith("; there is B.WAV")
    hint = hint_missing(tmp_path / "hé.wav")  # a manifest finds it
    assert hint == f"; there is {decomposed} (in another Unicode form)"
    assert said("c.wav").endswith("; there is c.wav  (with blanks at its ends)")
    assert said("x/d.wav").endswith(f"--root {tmp_path / 'audio'}")
    assert said("audio/x/d.wav", tmp_path / "audio").endswith(f"--root {tmp_path}")
    remedy = "leave out what is before it in the path"
    assert said("C:\\Users\\me\\audio\\x\\d.wav").endswith(f"; there is audio/x/d.wav: {remedy}")
    assert said("/Users/me/corpus/a.flac").endswith(f"; there is a.flac: {remedy}")
    assert said("audios/z.wav").endswith(
        "has no folder 'audios': --root names the folder that the paths start from"
    )
    assert said("audio/x/e.wav").endswith("audio/x/e.wav")


def test_a_killed_decoder_is_tried_again_and_then_the_machines_fault(sound, encode, monkeypatch):
    data = encode(sound(), format="MP3")
    with Decoder() as decoder:
        [first] = decoder(data, [(None, None)], RATE)
        os.kill(decoder._child.pid, signal.SIGKILL)
        [again] = decoder(data, [(None, None)], RATE)
        assert np.array_equal(first.samples, again.samples)
        real = decoder._pipes

        def killed():
            pipes = real()
            os.kill(decoder._child.pid, signal.SIGKILL)
            decoder._child.wait()
            return pipes

        monkeypatch.setattr(decoder, "_pipes", killed)
        with pytest.raises(AffektError, match="memory is short"):
            decoder(data, [(None, None)], RATE)


def test_a_killed_decoder_is_not_a_failure_of_a_clip(corpus, cache, sound, encode, monkeypatch):
    clips = corpus({"a.mp3": encode(sound(), format="MP3"), "b.wav": encode(sound(seed=1))})
    monkeypatch.setattr(Decoder, "_pipes", lambda self: (_ for _ in ()).throw(EOFError()))
    monkeypatch.setattr(Decoder, "_reap", lambda self: -signal.SIGKILL)
    with pytest.raises(AffektError, match="run the same command again"):
        run_extraction(clips, cache, Encoder.of(Simple()))
    monkeypatch.undo()
    [space] = Cache(cache.path).spaces()
    assert space.failures() == []
    assert run_extraction(clips, cache, Encoder.of(Simple())).failures == []


def test_a_decoder_that_takes_too_long_is_stopped(monkeypatch, sound, encode):
    with Decoder() as decoder:
        decoder(encode(sound()), [(None, None)], RATE)
        os.kill(decoder._child.pid, signal.SIGXCPU)  # what the limit on processor time sends
        [answer] = decoder(encode(sound()), [(None, None)], RATE)
        assert (answer.code, "took too long" in answer.message) == ("decode_error", True)


@pytest.mark.parametrize("times", [1, 9])
def test_a_disk_that_fails_is_tried_again_and_never_a_clips_fault(tmp_path, monkeypatch, times):
    path = tmp_path / "a.wav"
    path.write_bytes(b"content")
    real, calls = os.open, []

    def failing(name, flags, *more):
        calls.append(name)
        if len(calls) <= times:
            raise OSError(errno.EIO, "Input/output error")
        return real(name, flags, *more)

    monkeypatch.setattr(files_module, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(files_module.os, "open", failing)
    if times == 1:
        assert read_file(path).data == b"content"
        return
    with pytest.raises(AffektError, match="fault of the disk") as caught:
        read_file(path)
    assert not isinstance(caught.value, Unusable)
    assert len(calls) == 3


def test_modules_of_a_users_folder_are_not_imported(tmp_path, sound, encode):
    """A soundfile.py, json.py or av.py beside the data is nobody's module."""
    for name in ("soundfile", "json", "numpy", "av", "soxr"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "a.mp3").write_bytes(encode(sound(), format="MP3"))
    (tmp_path / "clips.csv").write_text("id,path\na,a.mp3\n")
    words = ["-P", "-m", "affekt.classify.cli", "extract", "clips.csv", "-c", "c", "-e", "spectral"]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "1 computed" in done.stdout
    with Decoder() as decoder:
        here = Path.cwd()
        try:
            os.chdir(tmp_path)
            [answer] = decoder((tmp_path / "a.mp3").read_bytes(), [(None, None)], RATE)
        finally:
            os.chdir(here)
    assert len(answer.samples) == RATE


def test_damage_is_a_rule_of_the_encoder(corpus, cache, sound, encode):
    cut = encode(sound(2.0))[:-16_000]
    clips = corpus({"cut.wav": cut})
    refusing, accepting = Encoder.of(Simple()), Encoder.of(Simple(), damage="accept")
    assert codes(run_extraction(clips, cache, refusing)) == {"cut": "truncated"}
    done = run_extraction(clips, cache, accepting)
    assert (done.computed, done.flags) == (1, {"damaged": ["cut"]})
    assert accepting.spec.fields["input"]["damage"] == "accept"
    assert "damage" not in refusing.spec.fields["input"]
    assert "decoder" in refusing.spec.fields["input"]
