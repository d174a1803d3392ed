"""Signals: in a destructor, where Python swallows what a handler raises, and in every stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

IN_DESTRUCTOR = """
import os, signal, threading, time
from affekt.classify import cli

start = threading.Thread.start

def start_late(thread):
    start(thread)
    time.sleep(0.2)  # on a loaded machine the thread is quicker than the hook that starts it

threading.Thread.start = start_late

class Met:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.05)  # the handler raises here, and Python may only report it

def work(*args, **options):
    Met()
    time.sleep(100)

cli.affekt.main = work
cli.main([])
"""


CLOSED_TWICE = """
import os, signal
import click
from affekt.classify import cli

@click.command()
def work():
    handle = os.open(os.curdir, os.O_RDONLY)
    try:
        os.close(handle)
        os.kill(os.getpid(), signal.{name})
        closed = True
    finally:  # as in shutil.rmtree
        os.close(handle)

cli.affekt.main = work.main
cli.main([])
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.parametrize("program", [IN_DESTRUCTOR, CLOSED_TWICE], ids=["destructor", "clean-up"])
def test_a_signal_ends_the_program_wherever_it_comes(program: str, name: str, code: int):
    command = [sys.executable, "-c", program.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "file descriptor" not in done.stderr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A corpus with audio, a cache with its texts, recipes, and a recording of many hours."""
    from affekt.cache import Cache, Manifest
    from affekt.classify.experiments.demo.corpus import write_corpus
    from affekt.extract import Encoder, extract

    folder = tmp_path_factory.mktemp("signals")
    path = write_corpus(folder, voices=6, clips_per_voice=20)
    extract(Manifest.read(path), Cache(folder / "my.cache"), Encoder("ngram"))
    (folder / "recipe.yaml").write_text(RECIPE)
    minute = np.random.default_rng(0).normal(0, 0.1, 60 * 16_000)
    soundfile.write(folder / "minute.mp3", minute, 16_000, format="MP3")
    (folder / "long.mp3").write_bytes((folder / "minute.mp3").read_bytes() * 180)
    (folder / "long.csv").write_text("id,path\na,long.mp3\nb,minute.mp3\nc,minute.mp3\n")
    return folder


def marked(mark: str) -> list[str]:
    """Return the processes that were started with a mark; not one that waits to be reaped.

    Returned as `pid (name) state ...`, as the system has it.
    """
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes():
                text = (place / "stat").read_text()
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if text.rpartition(")")[2].split()[0] not in "ZX":
                    found.append(f"{text[:40]} {command}")
    return found


def until(what: Callable[[], object], seconds: float) -> bool:
    """Wait until something is so; say whether it came to that."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


#: far more than a loaded machine needs; by hand each ended within 5 s
PATIENCE = 60
RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}
members:
  slow: {head: mlp, on: text, hidden: [[512]], max_epochs: 100000, patience: 100000}
report: out
"""
ON = "clips.csv --cache my.cache --space ngram --task valence"
VALUES = ",".join(f"{k}e-3" for k in range(1, 4000))
SLOW = "--set hidden=[512] --set max_epochs=100000 --set patience=100000"
STAGES = {
    "probe": f"probe {ON} --n-jobs 2 --C {VALUES}",
    "train": f"train {ON} --dev-size 0.2 --head mlp {SLOW} -o model",
    "run": "run recipe.yaml",
    "extract": "extract clips.csv --cache new.cache --encoder spectral --workers 1",
    "workers": "extract clips.csv --cache two.cache --encoder spectral --workers 2",
    "decode": "extract long.csv --cache long.cache --encoder spectral --long chunk --workers 1",
}


def begun(stage: str, corpus: Path, mark: str, said: Path) -> bool:
    """Whether a command has come to what it is interrupted in."""
    if stage == "run":
        return (corpus / "out" / ".unfinished").exists()
    if stage == "train":
        return "training" in said.read_text()
    if stage == "extract":
        return (corpus / "new.cache" / "tmp").exists()
    if stage == "probe":
        return "layer x" in said.read_text()
    part = {"workers": "engines.workers", "decode": "inputs.isolated_decoder"}[stage]
    return sum(part in line for line in marked(mark)) >= (1 if stage == "decode" else 2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *(("probe", "SIGTERM"), ("probe", "SIGINT"), ("probe", "SIGHUP"), ("extract", "SIGHUP")),
        *(("train", "SIGTERM"), ("run", "SIGINT"), ("workers", "SIGTERM"), ("decode", "SIGTERM")),
    ],
)
def test_a_signal_ends_a_stage_and_leaves_nothing(stage, name, corpus, tmp_path):
    number = getattr(signal, name)
    mark = f"affekt-signals-{os.getpid()}-{stage}-{name}"
    said = tmp_path / "said"
    words = [sys.executable, "-m", "affekt.classify.cli", *STAGES[stage].split()]
    with said.open("w") as stream:
        child = subprocess.Popen(
            words, cwd=corpus, stdout=stream, stderr=stream, start_new_session=True,
            env={**os.environ, "AFFEKT_TEST_MARK": mark, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        ready = until(lambda: begun(stage, corpus, mark, said) or child.poll() is not None, 240)
        assert ready, said.read_text()
        assert child.poll() is None, said.read_text()
        child.send_signal(number)
        assert child.wait(timeout=PATIENCE) == 128 + number, said.read_text()
        assert until(lambda: not marked(mark), PATIENCE), marked(mark)
        memory = Path("/dev/shm")
        assert until(lambda: not list(memory.glob(f"*[-_]{child.pid}[-_]*")), PATIENCE)
        assert "Traceback" not in said.read_text()
    finally:
        child.kill()
        child.wait()
