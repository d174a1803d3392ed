"""verify finds damage, and repair sets it aside."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import time

import h5py
import numpy as np
import pytest
from affekt.cache import (
    Cache,
    DamagedError,
    row_key,
    text_digest,
)
from affekt.cache.care import repair, repairing, verify

from tests.support.cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec
from tests.support.damage import first_value, flip, shards


def test_verify_counts_and_quick_trusts_what_has_not_changed(cache, space):
    fill(space, make_clips(10), rows=5)
    report = verify(cache)
    assert (report.ok, report.rows, report.shards, report.trusted) == (True, 10, 2, 0)
    assert verify(cache, quick=True).trusted == 2
    flip(shards(space)[0], -9)
    quick = verify(cache, quick=True)
    assert (quick.ok, quick.trusted, len(quick.damage)) == (False, 1, 1)
    assert verify(cache, quick=True).ok is False


def test_repair_moves_damage_aside_and_extract_restores_it(cache, space):
    clips = make_clips(12)
    fill(space, clips, rows=4)
    hurt = shards(space)[1]
    with h5py.File(hurt) as file:
        ids = [id_.decode() for id_ in file["id"]]
    flip(hurt, first_value(hurt) + 3)
    with pytest.raises(DamagedError, match=f"{hurt.name}.*affekt cache repair"):
        Cache(cache.path).read("toy", clips)
    intact = [id_ for id_ in clips.ids if id_ not in ids]
    assert len(Cache(cache.path).read("toy", clips.select(intact))) == 8
    done = repair(cache)
    assert done.moved == [f"spaces/{space.name}/shards/{hurt.name}"]
    assert done.ids == ids
    assert (cache.path / "quarantine" / hurt.name).exists()
    assert space.missing(clips) == ids
    fill(space, clips)
    np.testing.assert_array_equal(cache.read(space, clips), expected(space, clips))
    assert verify(cache).ok
    assert repair(cache).moved == []


def test_the_very_same_bytes_replace_a_damaged_shard_of_their_name(cache, space):
    clips = make_clips(4)
    fill(space, clips)
    [path] = shards(space)
    truth = path.read_bytes()
    flip(path, len(truth) // 2)
    shutil.rmtree(cache.path / "quarantine", ignore_errors=True)
    fresh = Cache(cache.path).space("toy")
    from affekt.cache.identity.content_digests import hex_bytes

    keys = [row_key(space.key, "text", text_digest(text)) for text in clips["text"]]
    fresh.commit([truth], hex_bytes(keys))
    assert path.read_bytes() == truth
    assert (cache.path / "quarantine" / path.name).exists()


def test_a_shard_that_is_merged_away_while_its_twin_is_stored(space, monkeypatch):
    """Found by the torture: two writers, the same bytes, and a compaction between two calls."""
    from affekt.cache.files import durable as module

    real, calls = module.put, []

    def put(beside, target):
        calls.append(target)
        return False if len(calls) == 1 else real(beside, target)

    monkeypatch.setattr(module, "put", put)
    fill(space, make_clips(2))
    assert len(calls) == 2
    assert len(Cache(space.cache.path).space("toy")) == 2


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_repair_makes_spec_json_anew_from_a_shard(cache, space, damage):
    fill(space, make_clips(2))
    path = space.folder / "spec.json"
    truth = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(truth[:30] if damage == "truncated" else truth.replace(b"toy-1", b"toy-2"))
    done = repair(Cache(cache.path))
    assert done.rebuilt == [f"spaces/{space.name}/spec.json"]
    assert path.read_bytes() == truth
    assert len(Cache(cache.path).space("toy")) == 2


def test_repair_of_a_canary_and_of_an_empty_space(cache, space):
    fill(space, make_clips(1), canary=lambda: np.ones((1, LAYERS, DIM)))
    flip(space.folder / "canary.h5", -5)
    empty = cache.create(make_spec("empty"))
    (empty.folder / "spec.json").write_text("{")
    done = repair(cache)
    assert sorted(done.moved) == sorted(
        [f"spaces/{space.name}/canary.h5", f"spaces/{empty.name}/spec.json"]
    )
    assert cache.create(make_spec("empty")) == empty
    assert space.canary() is None


def test_leftovers_are_ignored_and_cleaned_by_rule(cache, space):
    fill(space, make_clips(2))
    import socket
    import subprocess
    import sys

    tmp = cache.path / "tmp"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    gone = tmp / f"{socket.gethostname()}-{child.pid}-{'a' * 32}"
    alive = tmp / f"{socket.gethostname()}-{os.getpid()}-{'a' * 32}"
    elsewhere = tmp / f"other.host-1-{'a' * 32}"
    ancient = tmp / f"other.host-2-{'a' * 32}"
    for path in (gone, alive, elsewhere, ancient):
        path.write_bytes(b"half a shard")
    os.utime(ancient, (1, 1))
    report = verify(cache)
    assert report.ok
    assert {f.path for f in report.findings} == {f"tmp/{gone.name}", f"tmp/{ancient.name}"}
    assert sorted(repair(cache).removed) == sorted(f.path for f in report.findings)
    assert alive.exists()
    assert elsewhere.exists()


def test_a_space_that_a_killed_process_had_only_begun_is_not_damage(cache, space, monkeypatch):
    """Killed between making the folders and ``spec.json``."""
    fill(space, make_clips(2))

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("affekt.cache.cache.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.create(make_spec("begun"))
    (cache.path / "spaces" / ".ipynb_checkpoints").mkdir()
    fresh = Cache(cache.path)
    assert fresh.broken() == {}
    assert fresh.spaces() == [space]
    report = verify(fresh)
    assert report.ok
    assert len(report.findings) == 2
    assert all("ignored" in finding.problem for finding in report.findings)
    done = repair(fresh)
    assert (done.moved, done.rebuilt, done.hopeless) == ([], [], [])
    fill(fresh.create(make_spec("begun")), make_clips(2))
    assert len(Cache(cache.path).space("begun")) == 2


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
def test_only_regular_files_are_opened(cache, space, kind):
    clips = make_clips(2)
    fill(space, clips)
    path = space.folder / "shards" / f"{'a' * 24}.h5"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/nothing/here")
    where = f"spaces/{space.name}/shards/{path.name}"
    assert [finding.path for finding in verify(cache).damage] == [where]
    done = repair(cache)
    assert (done.moved, done.hopeless) == ([where], [])
    assert verify(Cache(cache.path)).ok
    np.testing.assert_array_equal(cache.read(space, clips), expected(space, clips))


def test_repair_leaves_a_shard_of_a_newer_format(cache, space):
    fill(space, make_clips(2))
    [path] = shards(space)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 2
    newer = path.with_name(f"{hashlib.sha256(path.read_bytes()).hexdigest()[:24]}.h5")
    path.rename(newer)
    fresh = Cache(cache.path)
    [finding] = verify(fresh).damage
    assert "update affekt" in finding.problem
    done = repair(fresh)
    assert (done.moved, newer.exists()) == ([], True)
    assert "not moved" in done.hopeless[0]
    assert "update affekt" in done.hopeless[0]


def test_repair_leaves_the_spec_of_a_newer_space_without_shards(cache, space):
    path = space.folder / "spec.json"
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    done = repair(Cache(cache.path))
    assert (done.moved, path.exists()) == ([], True)
    assert "update affekt" in done.hopeless[0]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_what_cannot_be_read_is_reported_and_left(cache, space, monkeypatch, number):
    fill(space, make_clips(2))
    [path] = shards(space)
    refuse(monkeypatch, path, number)
    [finding] = verify(cache).damage
    assert "cannot be read" in finding.problem
    assert os.strerror(number) in finding.problem
    done = repair(cache)
    assert (done.moved, path.exists()) == ([], True)
    assert os.strerror(number) in done.hopeless[0]


def test_a_canary_that_hdf5_cannot_open_is_reported_and_left(cache, space, monkeypatch):
    fill(space, make_clips(1), canary=lambda: np.ones((1, LAYERS, DIM)))
    path = space.folder / "canary.h5"
    real = h5py.File

    def opened(name, *arguments, **options):
        if os.fspath(name) == os.fspath(path):
            raise OSError(errno.EMFILE, f"Unable to synchronously open file ({name})")
        return real(name, *arguments, **options)

    monkeypatch.setattr(h5py, "File", opened)
    [finding] = verify(cache).damage
    assert os.strerror(errno.EMFILE) in finding.problem
    assert (repair(cache).moved, path.exists()) == ([], True)


def test_a_spec_that_cannot_be_read_costs_its_own_space_only(cache, space, monkeypatch):
    fine = cache.create(make_spec("fine"))
    refuse(monkeypatch, space.folder / "spec.json", errno.EACCES)
    fresh = Cache(cache.path)
    assert fresh.spaces() == [fine]
    with pytest.raises(PermissionError):
        fresh.space(space.name)
    done = repair(fresh)
    assert (done.moved, done.rebuilt) == ([], [])
    assert "Permission denied" in done.hopeless[0]


def refuse(monkeypatch, path, number):
    """Let one file not be opened."""
    real = io.open

    def opened(file, *arguments, **options):
        if os.fspath(file) == os.fspath(path):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return real(file, *arguments, **options)

    monkeypatch.setattr(io, "open", opened)


def test_quick_reads_a_shard_again_that_changed_while_it_was_checked(cache, space, monkeypatch):
    fill(space, make_clips(2))
    time.sleep(0.05)  # the clock of the file system is coarse
    from affekt.cache.care import verifying as module

    real = module.check_shard

    def check(path, spec_key):
        rows = real(path, spec_key)
        flip(path, first_value(path))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(module, "check_shard", check)
        assert verify(cache).ok
    assert not verify(cache, quick=True).ok


def test_the_memo_of_verify_leaves_nothing_behind_on_a_full_disk(cache, space, monkeypatch):
    fill(space, make_clips(2))

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        patch.setattr("pathlib.Path.replace", full)
        assert verify(cache).ok
    assert list((cache.path / "tmp").iterdir()) == []
    verify(cache)
    assert verify(cache, quick=True).trusted == 1


def test_of_two_repairs_at_once_one_is_first(cache, space, monkeypatch):
    fill(space, make_clips(4), rows=2)
    flip(shards(space)[0], -9)
    report = verify(cache)
    broken = space.folder / "spec.json"
    truth = broken.read_bytes()
    broken.write_text("{")
    first = repair(Cache(cache.path))
    assert len(first.moved) == 2
    monkeypatch.setattr(repairing, "verify", lambda *_, **__: report)  # both had seen the damage
    monkeypatch.setattr(cache, "broken", lambda: {space.name: "damaged"})
    done = repair(cache)
    assert (done.moved, done.ids, done.rebuilt, done.hopeless) == ([], [], [], [])
    assert broken.read_bytes() == truth
