"""A small form of benchmarks/torture/torture.py: what a crash, a fault or a bad disk may not do.

The work is done in memory where the system has a folder for that: a kill, a fault and a flipped
byte are the same there, and nobody waits for the disk. `make torture` uses the disk.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache

from tests.support.cache_toy import expected, fill, make_clips

SOURCE = Path(__file__).resolve().parents[3] / "benchmarks" / "torture" / "torture.py"
SPEC = importlib.util.spec_from_file_location("torture", SOURCE)
assert SPEC is not None
assert SPEC.loader is not None
torture = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(torture)

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # of threads of pytest's own
]


@pytest.fixture
def work():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def harmless(found) -> None:
    assert {name: found[name] for name in ("lost", "wrong", "stuck", "crashed", "twice")} == {
        "lost": 0, "wrong": 0, "stuck": 0, "crashed": 0, "twice": 0,
    }  # fmt: skip


@pytest.mark.parametrize("writers", [1, 2])
def test_kill_9_at_random(work, writers):
    found = torture.kills(work, 40, writers, seed=writers, size=24)
    harmless(found)
    assert found["kills"] >= 40


@pytest.mark.parametrize(
    ("attack", "step", "what", "least"),
    [
        (torture.moments, 11, "kills", 20),
        (torture.faults, 7, "faults", 20),
        (torture.compactions, 2, "kills", 5),
    ],
)
def test_kills_and_faults_at_calls_of_a_commit_or_a_compaction(work, attack, step, what, least):
    found = attack(work, step=step)
    harmless(found)
    assert found[what] > least


def test_a_failed_flush_is_not_tried_again(space, monkeypatch):
    from affekt.cache.files import durable

    calls = []

    def fsync(handle):
        calls.append(handle)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(durable.os, "fsync", fsync)
    tmp = space.cache.path / "tmp"
    with pytest.raises(OSError, match="I/O error"), durable.flushed([b"data"], tmp):
        pass
    assert len(calls) == 1
    assert not any((space.cache.path / "tmp").iterdir())


def test_short_writes_and_no_links(space, monkeypatch):
    from affekt.cache.files import durable

    write = os.write
    monkeypatch.setattr(durable.os, "write", lambda handle, data: write(handle, data[:1000]))
    monkeypatch.setattr(durable.os, "link", raises(errno.EPERM))  # a file system without links
    clips = make_clips(9)
    fill(space, clips, rows=3)
    np.testing.assert_array_equal(
        Cache(space.cache.path).read("toy", clips), expected(space, clips)
    )


def raises(number: int):
    def call(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.root
def test_disk_full(work):
    if not torture.can_mount(work):
        pytest.skip("needs root, to mount a small disk")
    found = torture.full_disk(work, sizes=(300,))
    harmless(found)
    assert found["full"] == 1


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_quota_and_read_only_folders(space, monkeypatch, number):
    clips = make_clips(6)
    fill(space, clips.select(range(3)))
    from affekt.cache.files import durable

    real = os.open

    def refuse(path, flags, *arguments, **options):
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(durable.os, "open", refuse)
    with pytest.raises(OSError, match=os.strerror(number)):
        fill(space, clips)
    reader = Cache(space.cache.path, readonly=True)
    some = clips.select(range(3))
    np.testing.assert_array_equal(reader.read("toy", some), expected(space, some))
    assert reader.missing("toy", clips) == clips.ids[3:]


@pytest.mark.root
def test_power_loss(work):
    if not torture.can_mount(work, loop=True):
        pytest.skip("needs root and a loop device")
    harmless(torture.power_loss(work, 3))


def test_every_byte_flipped_and_every_length(work):
    found = torture.flips(work)
    harmless(found)
    assert found["flips"] > 2000
    assert found["cuts"] == found["flips"] == found["cut_found"]
    assert found["opened_found"] > 50  # the values and checksums; the rest is not read again


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_many_processes_and_one_cache(work, processes):
    harmless(torture.crowd(work, processes, count=80))


def test_twenty_thousand_shards(space, monkeypatch):
    """Names of that many, over few files: what counts is that nothing is done for each of them."""
    clips = make_clips(20)
    fill(space, clips, rows=10)
    from affekt.cache.rows import index

    two = [index.open_shard(path, space.key) for path in (space.folder / "shards").iterdir()]
    for i in range(20_000):
        (space.folder / "shards" / f"{i:04x}{'0' * 20}.h5").touch()
    monkeypatch.setattr(index, "open_shard", lambda path, key: two[path.name < "1"])
    fresh = Cache(space.cache.path).space("toy")
    assert len(fresh) == 20
    fresh.close()
    monkeypatch.setattr(index, "open_shard", None)  # the memo answers
    assert len(Cache(space.cache.path).space("toy")) == 20
