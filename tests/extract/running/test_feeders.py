"""Feeders: processes that make clips ready for an encoder on a GPU, which is pretended here."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.errors import AffektError
from affekt.cache.rows.index import Table
from affekt.extract import Encoder
from affekt.extract.running import feed
from affekt.extract.running.claims import Claims
from affekt.extract.running.embedding import run_extraction
from affekt.extract.running.engines import feeders

from tests.support.audio_toy import Simple

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


class OnGpu(Simple):
    on_gpu = True


@pytest.fixture
def pretend(monkeypatch):
    """Feeders for any number of clips, three of them, a few clips at a time."""
    monkeypatch.setattr(feeders, "_WORTH", 1)
    monkeypatch.setattr(feeders, "_BLOCK", 3)
    monkeypatch.setattr(feeders, "processors", lambda: 6)


@pytest.fixture
def mixed(corpus, sound, encode, files):
    """Every kind of clip: formats, segments, copies, broken, missing, silent and refused files."""
    good = encode(sound(1.0, seed=50))
    whole = files | {f"more{n}.wav": encode(sound(0.3 + n / 50, seed=n)) for n in range(20)}
    whole |= {"copy.wav": files["0.wav"], "copy2.wav": files["0.wav"], "cut.wav": good[:3000]}
    whole |= {
        "none.wav": b"",
        "noise.mp3": b"no sound " * 400,
        "broken.flac": files["1.flac"][:2000],
    }
    whole |= {f"broken{n}.flac": files["1.flac"][:2000] for n in range(3)}
    whole |= {"still.wav": encode(np.zeros(8000, np.float32)), "gone.wav": good, "long.wav": good}
    clips = corpus(whole)
    (clips.root / "audio" / "gone.wav").unlink()
    rows = [{"id": one.id, "path": one.path, "speaker": f"s{one.id}"} for one in clips]
    times = [(0, 0.4), (0.2, 0.6), (0.9, 3), (0.3, None), (2, 1)]
    rows += [
        {"id": f"{path[6:-4]}-{n}", "path": path, "start": start, "end": end}
        for path in ("audio/long.wav", "audio/3.mp3", "audio/copy.wav")
        for n, (start, end) in enumerate(times)
    ]
    return Manifest.from_rows(rows, root=clips.root)


def facts(done):
    values = done.as_dict()
    return values | {"quarantined": sorted(values["quarantined"], key=json.dumps)}


def test_feeders_give_what_threads_give(mixed, cache, tmp_path, pretend):
    other = Cache(tmp_path / "other")
    expected = run_extraction(mixed, other, Encoder.of(Simple(), silence="refuse"))
    assert len(expected.failures) > 10
    assert expected.repeated > 1
    found = run_extraction(mixed, cache, Encoder.of(OnGpu(), silence="refuse"))
    for done in (expected, found):
        done.seconds = 0.0
    assert facts(found) == facts(expected)
    assert found.space.keys() == expected.space.keys()
    known = [id_ for id_ in mixed.ids if id_ not in {one.id for one in expected.failures}]
    some = mixed.select(known)
    assert np.array_equal(cache.read(found.space, some), other.read(expected.space, some))
    assert by_id(found.space) == by_id(expected.space)
    assert notes(cache) == notes(other)
    assert again(mixed, cache) == again(mixed, other)


def by_id(space):
    """The failures noted; which of several copies is met first, no order of threads promises."""
    return sorted(space.failures(), key=lambda one: one["id"])


def notes(cache):
    """The index of clips, without what depends on the moment of reading."""
    lines = (json.loads(line) for line in Cache(cache.path).clips.refresh().lines().splitlines())
    return sorted(json.dumps({**line, "at": "", "mtime_ns": 0}) for line in lines)


def again(clips, cache):
    """What a second run finds."""
    done = run_extraction(clips, Cache(cache.path), Encoder.of(OnGpu(), silence="refuse"))
    done.seconds = 0.0
    return facts(done)


def test_twins_in_different_shares_are_computed_once(corpus, cache, sound, encode, pretend):
    data = encode(sound())
    clips = corpus({f"{n:02}.wav": data for n in range(12)})
    done = run_extraction(clips, cache, Encoder.of(OnGpu()))
    assert (done.computed, done.repeated, done.hits, len(done.space)) == (1, 11, 0, 1)


def test_what_is_stored_already_is_not_decoded(corpus, cache, sound, encode, pretend):
    clips = corpus({f"{n}.wav": encode(sound(seed=n)) for n in range(9)})
    run_extraction(clips, cache, Encoder.of(OnGpu()))
    backend = OnGpu()
    done = run_extraction(clips, Cache(cache.path), Encoder.of(backend), rehash=True)
    assert (done.computed, done.hits, backend.sizes) == (0, 9, [])


@pytest.mark.parametrize("victim", ["engines.feeders", "isolated_decoder"])
def test_a_killed_process_is_reported_and_loses_nothing(
    victim, corpus, cache, sound, encode, pretend, monkeypatch
):
    count = 300  # several messages of each feeder
    clips = corpus({f"{n}.wav": encode(sound(0.1, seed=n)) for n in range(count)})
    monkeypatch.setattr(feeders, "MEMORY", 1)  # one message of each is under way
    monkeypatch.setattr(feeders, "_LONG", 8)
    killed: set[int] = set()  # once of each: a decoder killed twice within one file is an error

    class Killing(OnGpu):
        def embed(self, inputs):
            for feeder in processes_below(os.getpid(), "engines.feeders"):
                decoders = processes_below(feeder, "isolated_decoder")
                victims = decoders if victim == "isolated_decoder" else [feeder]
                if victims and feeder not in killed:
                    killed.add(feeder)
                    with suppress(ProcessLookupError):  # it ended meanwhile
                        os.kill(victims[0], signal.SIGKILL)
            return super().embed(inputs)

    before = open_files()
    if victim == "engines.feeders":
        with pytest.raises(AffektError, match="was killed, perhaps because memory is short"):
            run_extraction(clips, cache, Encoder.of(Killing()))
    else:  # another one takes its place
        run_extraction(clips, cache, Encoder.of(Killing()))
    assert killed
    assert processes_below(os.getpid(), "engines.feeders") == []
    gc.collect()
    assert open_files() == before
    kept = len(Cache(cache.path).spaces()[0])
    done = run_extraction(clips, Cache(cache.path), Encoder.of(OnGpu()))
    assert (done.hits, done.computed) == (kept, count - kept)


def test_a_fault_of_the_disk_in_a_feeder_is_an_error_here(
    corpus, cache, sound, encode, pretend, monkeypatch
):
    clips = corpus({f"{n}.wav": encode(sound(0.2, seed=n)) for n in range(9)})
    at_opening(FAIL, clips.root / "site", monkeypatch)
    with pytest.raises(AffektError, match="a fault of the disk or the system"):
        run_extraction(clips, cache, Encoder.of(OnGpu()))


def at_opening(what, site, monkeypatch):
    """Let feeders that a test starts do something whenever they open a file."""
    site.mkdir()
    (site / "sitecustomize.py").write_text(OPENING + what)
    monkeypatch.syspath_prepend(site)


OPENING = """
import sys
if any("feeders" in word for word in sys.orig_argv):
    import errno, os
    open_, os.open = os.open, lambda path, *how, **more: opened(path, *how, **more)
    def opened(path, *how, **more):
        if str(path).endswith(".wav"):
            first(str(path))
        return open_(path, *how, **more)
"""
FAIL = """
    def first(path):
        if path.endswith("4.wav"):
            raise OSError(errno.EIO, "Input/output error")
"""
NOTE = """
    def first(path):
        with open(os.path.join(os.path.dirname(__file__), "opened"), "a") as file:
            file.write(os.path.basename(path) + "\\n")
"""


@pytest.mark.parametrize("ahead", [1, 2])
def test_few_long_recordings_are_decoded_ahead_in_all(ahead, corpus, encode, pretend, monkeypatch):
    monkeypatch.setattr(feeders, "MEMORY", 1)  # all of them are long
    monkeypatch.setattr(feeders, "_LONG", ahead)
    noise = np.random.default_rng(0).standard_normal(feeders._NBYTES // 4, dtype="f4") / 10
    clips = corpus({f"{n}.wav": encode(np.roll(noise, n)) for n in range(8)})  # each is a message
    site = clips.root / "site"
    at_opening(NOTE, site, monkeypatch)

    def opened():
        return (site / "opened").read_text().split() if (site / "opened").exists() else []

    encoder = Encoder.of(OnGpu(), max_seconds=300.0)
    claims = Claims(Table.of({}), "space", "audio")
    monkeypatch.setattr(feeders, "_BLOCK", 1)
    rows = feeders.feed_in_processes(clips, range(len(clips)), encoder, claims, 3)
    for taken, row in enumerate(rows, 1):
        assert row.content is not None
        expected = min(len(clips), taken + ahead)
        until(lambda expected=expected: len(opened()) >= expected)
        assert len(opened()) == expected, "more are ahead"
    assert sorted(opened()) == [f"{n}.wav" for n in range(8)]


def until(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "seconds"), [("x.wav", 3.0), ("x.flac", 3.0), ("x.mp3", math.inf)]
)
def test_the_length_in_the_head_of_a_file(name, seconds, tmp_path, sound, encode):
    data = encode(sound(3.0), 16000, name[2:])
    (tmp_path / name).write_bytes(data)
    assert feed._seconds_by_head(tmp_path / name, len(data)) == pytest.approx(seconds, abs=0.01)
    for size in (0, 4, 20, 33):
        (tmp_path / name).write_bytes(data[:size])
        assert feed._seconds_by_head(tmp_path / name, size) >= 0


def processes_below(parent, name):
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            above = (place / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(above) == parent and name in (place / "cmdline").read_text():
                found.append(int(place.name))
    return found


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))
