"""Signals: in a destructor, where Python swallows what a handler raises, and in every stage."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, time
from affekt.classify import cli

class Met:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.05)  # the handler raises here, and Python may only report it

def work(*args, **options):
    Met()
    time.sleep(20)

cli.affekt.main = work
cli.main([])
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_V03_a_signal_in_a_destructor_still_ends_the_program(name: str, code: int):
    command = [sys.executable, "-c", PROGRAM.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == code, done.stderr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A corpus with audio, and a cache with its texts."""
    from affekt.cache import Cache, Manifest
    from affekt.classify.demo_corpus import write_corpus
    from affekt.extract import Encoder, extract

    folder = tmp_path_factory.mktemp("signals")
    path = write_corpus(folder, voices=6, clips_per_voice=20)
    extract(Manifest.read(path), Cache(folder / "my.cache"), Encoder("ngram"))
    return folder


def of_session(pid: int) -> list[str]:
    """Return the processes of a session that still run; one that only waits to be reaped does not.

    Returned as `pid (name) state ...`, as the system has it.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            text = path.read_text()
            state, _, _, session = text.rpartition(")")[2].split()[:4]
            if int(session) == pid and state not in "ZX":
                found.append(text)
    return found


def until(what: Callable[[], object], seconds: float) -> bool:
    """Wait until something is so; say whether it came to that."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


PROBE = (
    "probe clips.csv --cache my.cache --space ngram --task valence --n-jobs 2 --dev-size 0.2 --C "
)
STAGES = {
    "probe": PROBE + ",".join(f"{k}e-3" for k in range(1, 4000)),
    "extract": "extract clips.csv --cache new.cache --encoder spectral",
}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("stage", "name"),
    [("probe", "SIGTERM"), ("probe", "SIGINT"), ("probe", "SIGHUP"), ("extract", "SIGHUP")],
)
def test_a_signal_ends_a_stage_and_leaves_nothing(stage, name, corpus, tmp_path):
    number = getattr(signal, name)
    words = [sys.executable, "-m", "affekt.classify.cli", *STAGES[stage].split()]
    with (tmp_path / "said").open("w") as said:
        child = subprocess.Popen(
            words, cwd=corpus, stdout=said, stderr=said, start_new_session=True
        )
    try:
        begun = {
            "probe": lambda: len(of_session(child.pid)) > 3,  # two workers and their tracker
            "extract": (corpus / "new.cache" / "tmp").exists,
        }[stage]
        assert until(lambda: begun() or child.poll() is not None, 60)
        assert child.poll() is None, (tmp_path / "said").read_text()
        child.send_signal(number)
        assert child.wait(timeout=5) == 128 + number
        assert until(lambda: not of_session(child.pid), 5), of_session(child.pid)
        memory = Path("/dev/shm")
        assert until(lambda: not list(memory.glob(f"*[-_]{child.pid}[-_]*")), 5)
    finally:
        child.kill()
        child.wait()
