"""compact merges small shards, and loses nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
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
from affekt.cache.care import repair, verify
from affekt.cache.rows import compact as compaction
from affekt.cache.shards.safe_hdf5 import set_text

from tests.support.cache_toy import expected, fill, make_clips, make_spec, row_values
from tests.support.damage import first_value, flip, shards


def test_compact_keeps_every_row_and_drops_twins(cache, space):
    clips = make_clips(300)
    for start in range(0, 300, 30):
        fill(space, clips.select(range(start, start + 30)), rows=10)
    other = Cache(cache.path).space("toy")
    with other.writer() as writer:  # a second process computed some rows as well
        for clip in list(clips)[:50]:
            key = row_key(space.key, "text", text_digest(clip.text))
            writer.add(key, clip.id, row_values(clip.text), 3, 0.5)
    reader = Cache(cache.path).space("toy")
    np.testing.assert_array_equal(reader.cache.read(reader, clips), expected(space, clips))
    before, after = space.compact()
    assert (before, after) == (31, 1)
    [path] = shards(space)
    with h5py.File(path) as file:
        assert len(file["key"]) == 300
        assert set(file["frames"][()].tolist()) == {3}
    np.testing.assert_array_equal(reader.cache.read(reader, clips), expected(space, clips))
    assert verify(cache).ok
    assert space.compact() == (1, 1)


def test_compact_in_groups_with_twins_across_them(space):
    clips = make_clips(200)
    fill(space, clips, rows=10)
    again = Cache(space.cache.path).space("toy")
    with again.writer(rows=25) as writer:
        for clip in clips:
            key = row_key(space.key, "text", text_digest(clip.text))
            writer.add(key, clip.id, row_values(clip.text))
    from affekt.cache.rows.compact import compact

    size = shards(space)[0].stat().st_size
    compact(space, target=5 * size)
    rows = sum(len(h5py.File(path)["key"]) for path in shards(space))
    assert rows == 200
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))


def test_compact_removes_a_shard_of_nothing_but_twins(cache, space):
    clips = make_clips(100)
    fill(space, clips)
    [large] = shards(space)
    for clip in clips:  # of two shards with a row, the first by name keeps it
        with Cache(cache.path).space("toy").writer() as writer:
            key = row_key(space.key, "text", text_digest(clip.text))
            writer.add(key, clip.id, row_values(clip.text), 3, 0.5)
        [small] = {*shards(space)} - {large}
        if small > large:
            break
        small.unlink()
    assert space.compact(small=large.stat().st_size) == (2, 1)
    assert shards(space) == [large]
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))


def test_compact_leaves_a_damaged_shard_alone(cache, space):
    clips = make_clips(30)
    fill(space, clips, rows=10)
    hurt = shards(space)[0]
    flip(hurt, first_value(hurt))
    before = hurt.read_bytes()
    assert Cache(cache.path).space("toy").compact() == (3, 2)  # the two others became one
    assert hurt.read_bytes() == before
    repair(cache)
    fresh = Cache(cache.path).space("toy")
    assert fresh.compact() == (1, 1)
    left = clips.select([i for i in range(30) if clips.ids[i] not in fresh.missing(clips)])
    assert len(left) == 20
    np.testing.assert_array_equal(fresh.cache.read(fresh, left), expected(fresh, left))


@pytest.mark.parametrize("wrong", [{"store_dtype": "float16"}, {"dim": 1}, {"layers": 1}])
def test_compact_leaves_a_shard_of_another_shape_alone(cache, space, tmp_path, wrong):
    """One that names the right spec, sorts first, and would decide the type of the merged one."""
    clips = make_clips(8)
    fill(space, clips, rows=2)
    for start in range(100, 200, 2):
        other = Cache(tmp_path / f"other-{start}").create(make_spec(**wrong))
        fill(other, make_clips(2, start))
        [path] = shards(other)
        with h5py.File(path, "r+", libver="v110") as file:
            set_text(file, "spec_key", space.key)
            set_text(file, "spec", space.spec.json())
        liar = shards(space)[0].with_name(
            hashlib.sha256(path.read_bytes()).hexdigest()[:24] + ".h5"
        )
        if liar < shards(space)[0]:
            break
    shutil.copy(path, liar)
    fresh = Cache(cache.path)
    assert [finding.path.endswith(liar.name) for finding in verify(fresh).damage] == [True]
    assert fresh.space("toy").compact() == (4, 1)
    assert liar.exists()
    np.testing.assert_array_equal(Cache(cache.path).read("toy", clips), expected(space, clips))


def test_compact_reads_the_merged_shard_back_before_the_others_go(cache, space, monkeypatch):
    clips = make_clips(8)
    fill(space, clips, rows=2)
    made = compaction.shard_pieces

    def spoilt(*args):
        for number, piece in enumerate(made(*args)):
            data = bytearray(piece)
            data[0] ^= number == 1  # the first values
            yield memoryview(data)

    monkeypatch.setattr(compaction, "shard_pieces", spoilt)
    before = shards(space)
    with pytest.raises(DamagedError, match="nothing was removed"):
        space.compact()
    assert shards(space) == before
    assert len(list((cache.path / "quarantine").iterdir())) == 1
    np.testing.assert_array_equal(Cache(cache.path).read("toy", clips), expected(space, clips))


def test_compact_keeps_the_twin_of_a_row_whose_shard_repair_sets_aside(cache, space):
    """Its vectors are right, but bytes between them are not, so that its name is wrong."""
    for start in range(0, 20_000, 300):
        clips = make_clips(257, start)  # of two blocks, the last one not full
        some = clips.select(range(5))
        space = Cache(cache.path).create(make_spec(f"toy-{start}"))
        fill(space, clips, rows=257)
        [hurt] = shards(space)
        with Cache(cache.path).space(space).writer() as writer:
            for clip in some:
                key = row_key(space.key, "text", text_digest(clip.text))
                writer.add(key, clip.id, row_values(clip.text))
        if hurt == shards(space)[0]:
            break
    with h5py.File(hurt) as file:
        values = file["embeddings"]
        last = values.id.get_chunk_info(values.id.get_num_chunks() - 1)
    flip(hurt, last.byte_offset + last.size - 1)
    Cache(cache.path).space(space).compact(small=hurt.stat().st_size)
    repair(Cache(cache.path))
    np.testing.assert_array_equal(Cache(cache.path).read(space, some), expected(space, some))


def test_compact_drops_no_row_that_only_a_wrong_memo_calls_a_twin(cache, space):
    clips = make_clips(20)
    fill(space, clips, rows=2)
    memo = space.folder / "index.npz"
    with np.load(memo) as file:
        fields = dict(file)
    fields["key"][2:4] = fields["key"][:2]  # the second shard has the rows of the first, it says
    np.savez(memo, **fields)
    Cache(cache.path).space("toy").compact()
    np.testing.assert_array_equal(Cache(cache.path).read("toy", clips), expected(space, clips))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_compaction_from_others(space):
    with compaction._alone(space) as alone:
        assert alone
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with compaction._alone(space) as alone:
            assert alone
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_compact_while_another_one_merges_the_same_shards(space, monkeypatch):
    """As on a file system without locks: a shard goes after it was opened."""
    clips = make_clips(8)
    fill(space, clips, rows=2)
    opened = compaction.open_shard
    other = Cache(space.cache.path).space("toy")

    def too_late(path, key):
        shard = opened(path, key)
        monkeypatch.setattr(compaction, "open_shard", opened)
        compaction._merge(other, other.index.refresh().shards, {})
        return shard

    monkeypatch.setattr(compaction, "open_shard", too_late)
    space.compact()
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))


@pytest.mark.parametrize("seed", [0, 3, 6, 12, 18])  # the damaged shard comes last, second, first
def test_compact_keeps_the_twin_of_a_damaged_row(cache, space, seed):
    clips = make_clips(30, start=100 * seed)
    fill(space, clips, rows=30)
    [hurt] = shards(space)
    for _ in range(2):  # two more copies of five rows, in small shards
        with Cache(cache.path).space("toy").writer() as writer:
            for clip in list(clips)[:5]:
                key = row_key(space.key, "text", text_digest(clip.text))
                writer.add(key, clip.id, row_values(clip.text), 3, 0.5 * len(shards(space)))
    flip(hurt, first_value(hurt))
    before, after = Cache(cache.path).space("toy").compact(small=hurt.stat().st_size)
    assert before == 3
    assert after < 3  # one of the two small copies is enough
    repair(Cache(cache.path))
    some = clips.select(range(5))
    np.testing.assert_array_equal(Cache(cache.path).read("toy", some), expected(space, some))


def test_an_extract_ends_with_compaction_when_there_are_many(space):
    fill(space, make_clips(70), rows=1)
    assert len(shards(space)) == 1


def test_compact_waits_for_nobody(space):
    import fcntl

    fill(space, make_clips(4), rows=1)
    with (space.cache.path / "tmp" / f"compact-{space.name}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert space.compact() == (4, 4)
    assert space.compact() == (4, 1)


def test_compact_of_small_ones_leaves_the_others(space):
    clips = make_clips(60)
    fill(space, clips.select(range(40)), rows=20)
    large = shards(space)
    size = min(path.stat().st_size for path in large)
    fill(space, clips.select(range(40, 60)), rows=1)
    assert space.compact(small=size) == (22, 3)
    assert set(large) < set(shards(space))
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))


@pytest.mark.parametrize("seed", range(12))
def test_compactions_one_after_another_never_count_on_each_others_shards(space, monkeypatch, seed):
    """One looks at the folder, waits for its turn, and finds that another has merged meanwhile."""
    clips = make_clips(6, start=10 * seed)
    first, second = clips.select(range(2)), clips.select(range(2, 4))

    def store(some):
        with Cache(space.cache.path).space("toy").writer() as writer:
            for clip in some:
                key = row_key(space.key, "text", text_digest(clip.text))
                writer.add(key, clip.id, row_values(clip.text))

    store(first)
    store(second)
    other = Cache(space.cache.path).space("toy")
    names = list(other.index.refresh().shards)
    store(clips.select(clips.ids[:2] + clips.ids[4:]))  # the rows of `first` a second time
    alone = compaction._alone

    @contextlib.contextmanager
    def late(space):
        compaction._merge(other, names, {})  # begun before the twins were there
        with alone(space) as mine:
            yield mine

    monkeypatch.setattr(compaction, "_alone", late)
    space.compact()
    fresh = Cache(space.cache.path).space("toy")
    assert fresh.missing(clips) == []
    np.testing.assert_array_equal(fresh.cache.read(fresh, clips), expected(fresh, clips))
    assert sum(len(fresh.index.rows(name)) for name in fresh.index.refresh().shards) == len(clips)
