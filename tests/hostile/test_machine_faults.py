"""A fault of the machine ends a command in a sentence; no clip is blamed, and it goes on later."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.cli import affekt
from affekt.classify.serving.http import cli_serve
from affekt.extract import Encoder, extract
from affekt.extract.inputs import audio_files as files, isolated_decoder as decoder
from click.testing import CliRunner

from tests.support.whisper_model import write_whisper

LABELS = ["anger", "happiness", "neutral", "sadness"]
RECIPE = """\
manifest: clips.csv
task: emotion6
cache: new.cache
encoders: {speech: spectral}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}
members: {lr: {head: logistic, on: speech}}
compare: {n_resamples: 100, learning_curve: false}
report: out
"""
COMMANDS = {
    "extract": ["extract", "clips.csv", "-c", "new.cache", "-e", "spectral"],
    "run": ["run", "recipe.yaml"],
    "predict": ["predict", "model", "wav", "-o", "p.csv"],
    "predict a manifest": ["predict", "model", "clips.csv", "--cache", "new.cache", "-o", "p.csv"],
    "predict windows": ["predict", "model", "wav/0.mp3", "--window", "0.2", "-o", "p.csv"],
    "transcribe": ["transcribe", "clips.csv", "-o", "t.csv", "--model", "whisper"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Eight MP3, which a process of its own decodes, and a model."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "wav").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(8):
        sound = np.sin(np.arange(8000) * (0.05 + 0.02 * (i % 2))) + rng.normal(0, 0.1, 8000)
        soundfile.write(folder / "wav" / f"{i}.mp3", 0.2 * sound, 16_000, format="MP3")
        label = LABELS[i % 2]
        rows.append({"id": str(i), "path": f"wav/{i}.mp3", "label": label, "speaker": i // 2})
    Manifest.from_rows(rows).write(folder / "clips.csv")
    (folder / "recipe.yaml").write_text(RECIPE)
    clips = Manifest.read(folder / "clips.csv")
    space = extract(clips, Cache(folder / "my.cache"), Encoder("spectral"), workers=1)
    Model(LogisticHead(), Task.from_labels(LABELS[:2]), space.features()).fit(
        clips
    ).save_pretrained(folder / "model")
    shutil.rmtree(folder / "my.cache")
    write_whisper(folder / "whisper")
    return folder


def killed(patch):
    """The system ends the decoder for want of memory, each time."""
    start = decoder.Decoder._pipes

    def pipes(self):
        found = start(self)
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait()
        return found

    patch.setattr(decoder.Decoder, "_pipes", pipes)


def no_process(patch):
    def popen(*words, **options):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    patch.setattr("subprocess.Popen", popen)


def no_memory(patch):
    def read(path):
        raise MemoryError

    patch.setattr(files, "_read", read)


def bad_disk(patch):
    def read(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch.setattr(files, "_read", read)


FAULTS = [killed, no_process, no_memory, bad_disk]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_clip_is_blamed_for_a_fault_of_the_machine(world, tmp_path, monkeypatch, name):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(decoder, "_PAUSE", 0.0)
    for fault in FAULTS:
        with monkeypatch.context() as patch:
            fault(patch)
            done = CliRunner().invoke(affekt, COMMANDS[name], standalone_mode=False)
        said = f"{fault.__name__}: {done.output}{done.exception!r}"
        assert getattr(done.exception, "exit_code", 0) == 1, said
        assert "run the same command again" in str(done.exception).lower(), said
        assert "quarantined" not in done.output, said
        for place in (*tmp_path.glob("new.cache"), *tmp_path.glob("clips.cache")):
            assert [one.failures() for one in Cache(place).spaces() if one.failures()] == [], said
        assert not (tmp_path / "p.csv").exists(), said
        assert not (tmp_path / "t.csv").exists(), said
    done = CliRunner().invoke(affekt, COMMANDS[name], standalone_mode=False)
    assert done.exception is None, done.output
    assert done.return_value in (0, None), done.output


def test_the_service_says_that_its_model_cannot_be_read(world, monkeypatch):
    read = Path.read_bytes

    def broken(path):
        if path.name == "model.safetensors":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    testclient = pytest.importorskip("starlette.testclient", reason="serve is not installed")
    ran = []

    def end_at_once(app, *rest):
        with testclient.TestClient(app):
            ran.append(app)

    monkeypatch.setattr(cli_serve, "_run", end_at_once)
    serve = ["serve", str(world / "model"), "--port", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        said = stopped(serve)
    assert "Input/output error" in said
    assert "model.safetensors" in said
    assert not ran
    assert CliRunner().invoke(affekt, serve, standalone_mode=False).exception is None
    assert ran


def stopped(words) -> str:
    """Return what a command says that ends with exit code 1, by the whole command line."""
    from affekt.classify.cli import main

    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 1, said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert "internal error" not in said.getvalue()
    return said.getvalue()


def no_pipe(patch):
    """The pipe to the decoder fails, each time."""

    def send(*words):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch.setattr(decoder, "_send", send)


CLIP, TIMELINE = "/predict", "/predict?window=0.2"


@pytest.mark.parametrize(
    ("fault", "places"),  # the decoder of clips has been started already
    [(killed, [CLIP, TIMELINE]), (no_process, [TIMELINE]), (no_pipe, [CLIP, TIMELINE])],
)
def test_the_service_blames_no_clip_and_goes_on(world, monkeypatch, fault, places):
    testclient = pytest.importorskip("starlette.testclient", reason="serve is not installed")
    monkeypatch.setattr(decoder, "_PAUSE", 0.0)
    sound = (world / "wav" / "0.mp3").read_bytes()
    codes = []

    def ask(app, *rest):
        with testclient.TestClient(app, base_url="http://localhost") as client:
            for where in places:
                with monkeypatch.context() as patch:
                    fault(patch)
                    answer = client.post(where, files={"audio": ("a.mp3", sound)})
                assert answer.json()["code"] == "failed", answer.text
                again = client.post(where, files={"audio": ("a.mp3", sound)})
                codes.append((answer.status_code, again.status_code))

    monkeypatch.setattr(cli_serve, "_run", ask)
    words = ["serve", str(world / "model"), "--port", "0"]
    done = CliRunner().invoke(affekt, words, standalone_mode=False)
    assert done.exception is None, f"{done.output}{done.exception!r}"
    assert codes == [(500, 200)] * len(places)
