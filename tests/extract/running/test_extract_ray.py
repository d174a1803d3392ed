"""Extraction on Ray, for real where it is installed: an extra, and nothing that starts quickly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import AffektError, Cache, Manifest
from affekt.cache.care import verify
from affekt.extract import Encoder
from affekt.extract.running.embedding import run_extraction

from .test_extract_kill import PROGRAM

HOSTILE = "import pathlib\npathlib.Path(__file__ + '.ran').touch()\nraise ImportError('hostile')\n"


@pytest.fixture
def many(corpus, sound, encode, tmp_path):
    pytest.importorskip("ray", reason="Ray is an extra")
    names = {f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(60)}
    clips = corpus(names | {"bad.wav": b"bad"})
    clips.write(tmp_path / "clips.csv")
    return clips


def processes(mark: str) -> list[str]:
    """Return the command lines of living processes that were started with a mark in it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_text(errors="replace"):
                found.append((place / "cmdline").read_text(errors="replace")[:100])
        except OSError:
            continue
    return found


def start(folder: Path, mark: str) -> subprocess.Popen[str]:
    words = ["extract", "clips.csv", "-c", "c", "-e", "spectral", "--engine", "ray"]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, *words, "--workers", "2", "--json"],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "AFFEKT_TEST_MARK": mark},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition, process, seconds=240.0):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_one_bad_clip_is_quarantined_and_no_module_of_the_folder_is_run(many, cache, tmp_path):
    for name in ("numpy", "soundfile", "yaml", "json", "torch", "click"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    process = start(tmp_path, "hostile")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 3, err
    assert [one["id"] for one in json.loads(out)["quarantined"]] == ["bad"]
    assert list(tmp_path.rglob("*.ran")) == []
    good = many.select([id_ for id_ in many.ids if id_ != "bad"])
    alone = run_extraction(many, cache, Encoder("spectral"), workers=1)
    far = Cache(tmp_path / "c")
    assert np.array_equal(cache.read(alone.space, good), far.read(far.spaces()[0], good))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_whole_cache_and_no_process(many, tmp_path, number, code):
    mark = f"affekt-{os.getpid()}-{number}"
    shared = set(os.listdir("/dev/shm"))  # noqa: PTH208
    process = start(tmp_path, mark)
    wait_for(lambda: any("ray::_task" in line for line in processes(mark)), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    end = time.monotonic() + 240  # Ray's own agents look now and then whether they are orphans
    while processes(mark) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes(mark) == []
    assert set(os.listdir("/dev/shm")) <= shared  # noqa: PTH208
    if (tmp_path / "c").exists():
        assert verify(Cache(tmp_path / "c")).ok


def test_workers_that_die_end_in_a_sentence(many, tmp_path, monkeypatch):
    import ray

    end = lambda job: __import__("os").kill(__import__("os").getpid(), 9)  # noqa: E731 - by value
    monkeypatch.setattr("affekt.extract.running.ray_tasks._task", end)
    clips = Manifest.read(tmp_path / "clips.csv")
    try:
        with pytest.raises(AffektError, match=r"Ray failed with .*what was stored is kept"):
            run_extraction(
                clips, Cache(tmp_path / "c"), Encoder("spectral"), engine="ray", workers=2
            )
    finally:
        ray.shutdown()
