"""A fault of the machine ends a command in a sentence; no clip is blamed, and it goes on later."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, Manifest
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.cli import affekt
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

    patch.setattr(decoder.subprocess, "Popen", popen)


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
