"""Extraction on Ray, for real: workers and drivers are killed, interrupted, and start again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import AffektError, Cache, Manifest
from affekt.cache.care import verify
from affekt.extract import Encoder
from affekt.extract.running.embedding import run_extraction
from affekt.extract.running.engines import ray_driver

HOSTILE = "import pathlib\npathlib.Path(__file__ + '.ran').touch()\nraise ImportError('hostile')\n"
CLUSTER = f"affekt-{os.getpid()}-cluster"  # mark of the processes of `cluster`
PATIENCE = 240.0  # seconds that a loaded machine may take for anything
COMMAND = ["-P", "-m", "affekt", "extract", "clips.csv", "-c", "c", "-e", "spectral", "--json"]

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")


@pytest.fixture(scope="module")
def short():
    """A folder for temporary files: sockets of Ray need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="aray", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(short):
    """A cluster that is there already, with two processors."""
    before = os.environ.get("PYTHONPATH")
    os.environ["AFFEKT_TEST_MARK"] = CLUSTER  # its workers have it too
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=80 << 20, _temp_dir=str(short / "ray"),
    )  # fmt: skip
    del os.environ["AFFEKT_TEST_MARK"]
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    assert os.environ.get("PYTHONPATH") == before


@pytest.fixture(scope="module")
def killed():
    """Marks of what a killed driver started: in the end no process with one is left."""
    marks: list[str] = []
    yield marks
    until(lambda: not any(map(processes, marks)))


@pytest.fixture
def many(corpus, sound, encode, tmp_path):
    names = {f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(60)}
    clips = corpus(names | {"bad.wav": b"bad"})
    clips.write(tmp_path / "clips.csv")
    return clips


@pytest.fixture
def long(corpus, sound, encode, tmp_path):
    """Overlapping segments of three recordings: much to compute from few bytes."""
    files = [f"{n}.wav" for n in range(2)]
    corpus({name: encode(sound(30.0, seed=n)) for n, name in enumerate(files)})
    rows = [
        {"id": f"{name}-{n}", "path": f"audio/{name}", "start": n * 0.3, "end": n * 0.3 + 5.0}
        for name in files
        for n in range(80)
    ]
    clips = Manifest.from_rows(rows, tmp_path)
    clips.write(tmp_path / "clips.csv")
    return clips


def processes(mark: str, word: str = "") -> list[int]:
    """Return the living processes that were started with a mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_text(errors="replace")
            dead = "\nState:\tZ" in (place / "status").read_text()
            if mark in environment and word in (place / "cmdline").read_text() and not dead:
                found.append(int(place.name))
        except OSError:
            continue
    return found


def shared_memory(pids: list[int]) -> list[str]:
    """Return the files in shared memory named after a process, or are Ray's stores."""
    return [
        name
        for name in os.listdir("/dev/shm")  # noqa: PTH208
        if name.startswith("plasma") or {int(n) for n in re.findall(r"\d+", name)} & set(pids)
    ]


def until(condition, process=None):
    """Wait for a condition, as long as a process runs."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process is not None and process.poll() is not None:
            pytest.fail(f"it ended with {process.returncode}: {process.communicate()[1]}")
        assert time.monotonic() < end
        time.sleep(0.1)


def start(folder: Path, short: Path, mark: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *COMMAND, "--engine", "ray", "--workers", "2", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={
            **os.environ, "OMP_NUM_THREADS": "1", "AFFEKT_TEST_MARK": mark, "TMPDIR": str(short),
        },
    )  # fmt: skip


def stored(folder: Path) -> int:
    cache = Cache(folder, readonly=True)
    return sum(len(space) for space in cache.spaces()) if folder.exists() else 0


def rows_in_shards(folder: Path) -> int:
    """Count rows, twins too."""
    [space] = Cache(folder, readonly=True).spaces()
    return sum(len(space.index.rows(name)) for name in space.index.refresh().shards)


def check_rows(clips: Manifest, folder: Path, other: Cache) -> None:
    """Compare with what one process computes."""
    alone = run_extraction(clips, other, Encoder("spectral"), workers=1).space
    cache = Cache(folder)
    assert verify(cache).ok
    assert np.array_equal(other.read(alone, clips), cache.read(cache.spaces()[0], clips))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_driver_that_ends_leaves_a_whole_cache_and_no_process(
    long, cache, tmp_path, short, killed, number, code
):
    for name in ("numpy", "soundfile", "yaml", "json", "torch", "click"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    mark = f"affekt-{os.getpid()}-{number}"
    process = start(tmp_path, short, mark)
    until(lambda: stored(tmp_path / "c") > 0, process)
    started = processes(mark)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    assert "Traceback" not in err
    if number == signal.SIGKILL:  # for a minute Ray's agents try to report the death of its daemon
        killed.append(mark)
        until(lambda: processes(mark) == processes(mark, "Agent"))
        mark += " again"
    else:
        until(lambda: not processes(mark))
    assert verify(Cache(tmp_path / "c")).ok
    kept = stored(tmp_path / "c")
    assert 0 < kept <= 160
    assert list(tmp_path.rglob("*.ran")) == []  # no module of the folder is run
    if number != signal.SIGKILL:
        assert shared_memory(started) == []
        assert list(short.glob("affekt-ray-*")) == []
        return
    process = start(tmp_path, short, mark)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    shown = json.loads(out)
    assert (shown["hits"], shown["computed"]) == (kept, 160 - kept)
    assert rows_in_shards(tmp_path / "c") == 160
    assert list(short.glob("affekt-ray-*")) == []  # that of the first one too
    check_rows(long.select(long.ids[::10]), tmp_path / "c", cache)


def test_a_worker_that_dies_costs_its_clips_in_flight(long, cluster, cache, tmp_path):
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + PATIENCE
        while not killed and time.monotonic() < end:
            if 0 < stored(tmp_path / "c") < 140:
                for number in processes(CLUSTER, "ray::RayWorker.embed")[:1]:
                    os.kill(number, signal.SIGKILL)
                    killed.append(number)
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    far = Cache(tmp_path / "c")
    encoder = Encoder("spectral")
    done = run_extraction(long, far, encoder, engine="ray", workers=2)
    killer.join()
    assert killed
    assert (done.computed + done.hits, done.failures) == (160, [])
    assert done.hits <= 20  # of the share that was begun again
    assert rows_in_shards(tmp_path / "c") == 160  # what was stored was not computed again
    check_rows(long.select(long.ids[::10]), tmp_path / "c", cache)


@pytest.mark.data
def test_real_clips_give_the_rows_of_one_process(shared_data, cluster, cache, tmp_path):
    clips = Manifest.read(shared_data / "emodb" / "manifest.csv").select(range(40))
    far = Cache(tmp_path / "c")
    done = run_extraction(clips, far, Encoder("spectral"), engine="ray", workers=2)
    assert (done.computed, done.failures) == (40, [])
    check_rows(clips, far.path, cache)


def test_a_cluster_that_is_there_is_joined_and_left(many, cluster, cache, tmp_path, short):
    process = start(tmp_path, short, "joined", "--address", cluster)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, err
    shown = json.loads(out)
    assert [one["id"] for one in shown["quarantined"]] == ["bad"]
    assert (shown["computed"], shown["hits"], shown["repeated"]) == (60, 0, 0)
    assert "60/61 clips" in err or "61/61 clips" in err
    check_rows(many.select([id_ for id_ in many.ids if id_ != "bad"]), tmp_path / "c", cache)
    assert list(short.glob("affekt-ray-*")) == []
    assert len(ray.nodes()) == 1
    until(lambda: not processes(CLUSTER, "ray::RayWorker"))


def test_workers_that_always_die_end_in_a_sentence(many, cluster, tmp_path, monkeypatch):
    class Dies(ray_driver.RayWorker):
        def embed(self, number, columns):
            __import__("os").kill(__import__("os").getpid(), 9)

    monkeypatch.setattr(ray_driver, "RayWorker", Dies)
    with pytest.raises(AffektError, match=r"Ray failed with .*what was stored is kept"):
        run_extraction(many, Cache(tmp_path / "c"), Encoder("spectral"), engine="ray", workers=2)


def test_options_of_ray_need_ray(many, cache):
    for options in ({"address": "auto"}, {"gpus_per_worker": 1}):
        with pytest.raises(AffektError, match="are for `engine='ray'`"):
            run_extraction(many, cache, Encoder("spectral"), **options)
    with pytest.raises(AffektError, match="`gpus_per_worker=-1`, expected 0 or more"):
        run_extraction(many, cache, Encoder("spectral"), engine="ray", gpus_per_worker=-1)
