"""`affekt cache sync`: what is new is copied, and nothing else happens to either side."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import AffektError, Cache, CanaryError, DamagedError, InputError
from affekt.cache.care import sync, verify
from affekt.classify.cli import main

from tests.support.cache_toy import fill, make_clips, make_spec

fsspec = pytest.importorskip("fsspec", reason="fsspec is an extra")


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the content of every file, and when it was written."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def clips():
    return make_clips(12)


@pytest.fixture
def source(tmp_path, clips):
    cache = Cache(tmp_path / "source")
    space = cache.create(make_spec())
    space.set_canary(np.ones((2, space.n_layers, space.dim), np.float32))
    for start in range(0, 12, 3):
        fill(space, clips.select(range(start, start + 3)))
    space.fail(None, "gone", "missing", "no file")
    shutil.rmtree(cache.tmp)  # a source is only read: nothing may be written there
    return Cache(cache.path, readonly=True)


@pytest.fixture(params=["folder", "file://", "memory://"])
def place(request, tmp_path):
    """Somewhere to sync to: a folder, or an address."""
    if request.param == "folder":
        return Cache(tmp_path / "target")
    if request.param == "file://":
        return f"file://{tmp_path}/bucket/target"
    return f"memory://{uuid.uuid4().hex}/target"


def back(place: Cache | str, tmp_path: Path) -> Cache:
    """Return what is there as a folder."""
    if isinstance(place, Cache):
        return Cache(place.path)
    there = Cache(tmp_path / f"back-{uuid.uuid4().hex}")
    sync(place, there)
    return there


def check(source: Cache, there: Cache, clips) -> None:
    [mine], [theirs] = source.spaces(), there.spaces()
    assert theirs.spec == mine.spec
    assert np.array_equal(source.read(mine, clips), there.read(theirs, clips))
    assert np.array_equal(mine.canary(), theirs.canary())
    assert [note["id"] for note in theirs.failures()] == ["gone"]
    assert verify(there).ok


def test_a_copy_is_whole_and_a_second_sync_copies_nothing(source, place, clips, tmp_path):
    before = state(source.path)
    done = sync(source, place)
    assert (done.copied, done.present) == (4, 0)
    assert done.bytes > 0
    check(source, back(place, tmp_path), clips)
    again = sync(source, place)
    assert (again.copied, again.present, again.bytes) == (0, 4, 0)
    assert state(source.path) == before  # it was only read


def test_only_what_is_new_is_copied(source, place, clips, tmp_path):
    sync(source, place)
    writable = Cache(source.path)
    more = make_clips(15).select(range(12, 15))
    fill(writable.spaces()[0], more)
    assert sync(source, place).copied == 1
    there = back(place, tmp_path)
    assert np.array_equal(
        there.read(there.spaces()[0], more), writable.read(writable.spaces()[0], more)
    )


def test_an_interrupted_sync_goes_on(source, place, clips, tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync(source, place, stop)
    done = sync(source, place)
    assert (done.copied, done.present) == (2, 2)
    check(source, back(place, tmp_path), clips)


def test_rows_that_were_merged_are_not_copied_again(source, tmp_path, clips):
    target = Cache(tmp_path / "target")
    sync(source, target)
    target.spaces()[0].compact()
    assert sync(source, target).copied == 0
    Cache(source.path).spaces()[0].compact()
    assert sync(Cache(source.path), target).copied == 0
    check(source, target, clips)


def test_a_sync_while_the_source_is_compacted(source, place, clips, tmp_path):
    again = []

    def compact(done, total):
        if done == 1:
            again.append(Cache(source.path).space("toy").compact())

    assert sync(source, place, compact).copied == 2
    assert again == [(4, 1)]
    check(source, back(place, tmp_path), clips)


def test_what_did_not_arrive_in_full_is_sent_again(source, clips, tmp_path):
    place = tmp_path / "bucket"
    address = f"file://{place}"
    sync(source, address)
    shard = next(place.rglob("shards/*.h5"))
    shard.write_bytes(shard.read_bytes()[:100])
    assert sync(source, address).copied == 1
    check(source, back(address, tmp_path), clips)


def test_damage_is_never_copied(source, place, tmp_path):
    shard = next(source.path.rglob("shards/*.h5"))
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(DamagedError, match="damaged"):
        sync(Cache(source.path), place)
    shard.write_bytes(good)
    sync(source, place)
    if isinstance(place, str) and place.startswith("file://"):
        far = Path(place.removeprefix("file://"))
        shard = next(far.rglob("shards/*.h5"))
        shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DamagedError, match="damaged"):
            sync(place, Cache(tmp_path / "back"))


def test_another_canary_is_refused(source, place):
    sync(source, place)
    other = Cache(source.path.parent / "other")
    space = other.create(make_spec())
    space.set_canary(np.full((2, space.n_layers, space.dim), 2, np.float32))
    with pytest.raises(CanaryError):
        sync(other, place)


def test_wrong_places_are_refused(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    address = f"file://{tmp_path}/mine"
    for target in (Cache(tmp_path / "mine"), address):
        with pytest.raises(InputError, match="holds files and is not a cache"):
            sync(source, target)
    with pytest.raises(InputError, match="no cache there"):
        sync(address, Cache(tmp_path / "new"))
    with pytest.raises(InputError, match="both URLs"):
        sync(address, address)
    with pytest.raises(InputError, match="nosuch"):
        sync(source, "nosuch://bucket/cache")
    with pytest.raises(AffektError, match="no such cache"):
        sync(Cache(tmp_path / "absent"), Cache(tmp_path / "new"))
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]  # noqa: PTH208


def test_the_command(source, tmp_path, capsys):
    for expected in (4, 0):
        with pytest.raises(SystemExit) as caught:
            main(["cache", "sync", str(source.path), f"file://{tmp_path}/there", "--json"])
        assert caught.value.code == 0
        assert json.loads(capsys.readouterr().out)["copied"] == expected
    with pytest.raises(SystemExit) as caught:
        main(["cache", "sync", str(tmp_path / "absent"), str(tmp_path / "x")])
    assert caught.value.code == 2
    assert "no such cache" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
