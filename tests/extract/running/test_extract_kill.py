"""Kill an extraction at any moment, go on, and compare with one that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.care import verify
from affekt.extract import Encoder, extract
from affekt.extract.running.embedding import run_extraction

#: Runs `affekt extract` with shards of few rows, much more slowly than a test looks at them.
PROGRAM = """
import sys, time
from affekt.cache.rows import writer
from affekt.extract.builtin import ngram; from affekt.extract.builtin import spectral
writer.Writer.__init__.__kwdefaults__["rows"] = 4
ngram.Ngram.batch_clips = spectral.Spectral.batch_clips = 4
for family in (ngram.Ngram, spectral.Spectral):
    def slow(self, inputs, embed=family.embed):
        time.sleep(0.05 * len(inputs))
        return embed(self, inputs)
    family.embed = slow
from affekt.classify.cli import main
main(sys.argv[1:])
"""

#: Comes first, and has the clips read and decoded by processes, as for an encoder on a GPU.
FED = """
from affekt.extract.builtin import spectral
from affekt.extract.running.engines import feeders
feeders._WORTH, feeders._BLOCK, spectral.Spectral.on_gpu = 1, 4, True
"""

PROC = Path("/proc/self/environ").exists()
PATIENCE = 120.0  # seconds that a loaded machine may take for anything


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "extract", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def stored_rows(cache: Path) -> int:
    spaces = Cache(cache, readonly=True).spaces() if cache.exists() else []
    return sum(len(space) for space in spaces)


def wait_for_rows(process: subprocess.Popen[str], cache: Path, rows: int) -> None:
    end = time.monotonic() + PATIENCE
    while stored_rows(cache) < rows and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def texts(tmp_path):
    rows = [{"id": f"t{n}", "text": f"text number {n} of many"} for n in range(200)]
    Manifest.from_rows(rows).write(tmp_path / "texts.csv")
    return tmp_path / "texts.csv", "ngram"


@pytest.fixture
def sounds(tmp_path, corpus, sound, encode):
    clips = corpus({f"s{n}.wav": encode(sound(0.2, seed=n)) for n in range(64)})
    clips.write(tmp_path / "sounds.csv")
    return tmp_path / "sounds.csv", "spectral"


@pytest.fixture
def fed(sounds, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", FED + PROGRAM)
    monkeypatch.setenv("AFFEKT_TEST", str(sounds[0]))
    return sounds


def left_behind(mark: str) -> list[str]:
    """The processes with a mark in their environment that do not end, if any."""
    end = time.monotonic() + PATIENCE
    while (found := _marked(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _marked(mark: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"AFFEKT_TEST={mark}".encode() in (place / "environ").read_bytes():
                found.append((place / "cmdline").read_text().replace("\0", " "))
    return found


def check(table: Path, encoder: str, cache: Path) -> None:
    """Nothing damaged, nothing missing, nothing foreign, every value as undisturbed."""
    clips = Manifest.read(table)
    damaged = Cache(cache)
    report = verify(damaged)
    assert report.ok, report
    [space] = damaged.spaces()
    whole = Cache(cache.with_name("whole"))
    reference = extract(clips, whole, Encoder(encoder), workers=1)
    assert space.keys() == reference.keys()
    assert np.array_equal(damaged.read(space, clips), whole.read(reference, clips))


def go_on(table: Path, encoder: str, cache: Path) -> None:
    """Compute the rest, in this process; what is stored is not computed again."""
    kept = stored_rows(cache)
    clips = Manifest.read(table)
    done = run_extraction(clips, Cache(cache), Encoder(encoder), workers=1)
    assert done.hits == kept
    assert done.hits + done.computed + done.repeated == len(clips)
    check(table, encoder, cache)


@pytest.mark.parametrize(("kind", "processes"), [("texts", 2), ("sounds", 1), ("fed", 2)])
def test_kill_9_at_random_then_resume_is_as_undisturbed(kind, processes, request, tmp_path):
    table, encoder = request.getfixturevalue(kind)
    cache = tmp_path / "cache"
    words = (table, "--cache", cache, "-e", encoder)
    draw = random.Random(processes)
    before = 0
    for _ in range(2):
        running = [start(*words, "--part", f"{n + 1}/{processes}") for n in range(processes)]
        wait_for_rows(running[0], cache, before + 1)
        time.sleep(draw.uniform(0, 0.15))
        for process in running:
            process.kill()
            process.communicate(timeout=PATIENCE)
        kept = stored_rows(cache)
        assert kept >= before  # nothing that was stored is lost
        before = kept
    go_on(table, encoder, cache)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("kind", ["texts", "fed"])
def test_signals_end_it_softly(kind, request, tmp_path, number, code):
    table, encoder = request.getfixturevalue(kind)
    cache = tmp_path / "cache"
    process = start(table, "--cache", cache, "-e", encoder)
    wait_for_rows(process, cache, 8)
    feeders = [line for line in _marked(str(table)) if "engines.feeders" in line]
    assert bool(feeders) == (kind == "fed" and PROC)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert left_behind(str(table)) == []
    assert stored_rows(cache) >= 8
    go_on(table, encoder, cache)


@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_feeders_and_their_decoders_end_when_their_parent_is_killed(fed, tmp_path):
    table, encoder = fed
    cache = tmp_path / "cache"
    process = start(table, "--cache", cache, "-e", encoder)
    wait_for_rows(process, cache, 4)
    assert [line for line in _marked(str(table)) if "engines.feeders" in line]
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert left_behind(str(table)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(sounds, tmp_path, number):
    table, encoder = sounds
    cache = tmp_path / "cache"
    process = start(table, "--cache", cache, "-e", encoder, "--workers", 2)
    wait_for_rows(process, cache, 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)  # until the last worker has closed its stderr
    code = 143 if number == signal.SIGTERM else -9
    assert process.returncode == code or "64/64" in err
    assert "Traceback" not in err
    go_on(table, encoder, cache)


def test_locale_C_spaces_and_umlauts(tmp_path, sound, encode):
    folder = tmp_path / "Grüße aus Köln" / "ein ordner"
    folder.mkdir(parents=True)
    (folder / "größe 1.wav").write_bytes(encode(sound()))
    table = folder.parent / "schöne clips.csv"
    table.write_text("id,path\nä 1,ein ordner/größe 1.wav\n", encoding="utf-8")
    for locale in ({"LC_ALL": "C"}, {"LANG": "POSIX", "LC_ALL": "POSIX"}):
        process = subprocess.run(
            [sys.executable, "-m", "affekt.classify.cli", "extract", str(table), "--cache",
             str(folder / "cäche"), "-e", "spectral", "--json"],
            capture_output=True,
            env={**os.environ, **locale},
            timeout=60,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["hits"] + json.loads(process.stdout)["computed"] == 1
    assert Cache(folder / "cäche").spaces()[0].failures() == []


def test_paths_written_on_windows(corpus, cache, sound, encode):
    clips = corpus({"a b.wav": encode(sound()), "ü.wav": encode(sound(seed=1))})
    rows = [{"id": c.id, "path": c.path.replace("/", "\\")} for c in clips]
    windows = Manifest.from_rows(rows, root=clips.root)
    assert windows.clip(0).path == "audio\\a b.wav"
    space = extract(windows, cache, Encoder("spectral"))
    assert np.array_equal(cache.read(space, windows), cache.read(space, clips))


def test_a_space_of_a_newer_version_is_refused(texts, tmp_path):
    table, encoder = texts
    cache = tmp_path / "cache"
    extract(Manifest.read(table), Cache(cache), Encoder(encoder))
    [path] = (cache / "spaces").glob("*/spec.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"format": 2}))
    process = start(table, "--cache", cache, "-e", encoder)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "newer" in err


@pytest.mark.parametrize("given", ["", '{"cache": "my.ca', '{"cache": "my.cache"}\n{"id": ["cl'])
def test_a_worker_whose_run_was_killed_ends_silently(given, tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "affekt.extract.running.engines.workers"],
        input=given, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")
    assert list(tmp_path.iterdir()) == []
