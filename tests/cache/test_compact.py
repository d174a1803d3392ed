"""compact merges small shards, and loses nothing."""

from __future__ import annotations

import contextlib

import h5py
import numpy as np
import pytest
from affekt.cache import (
    Cache,
    row_key,
    text_digest,
)
from affekt.cache import compact as compaction
from cache_toy import expected, fill, make_clips, row_values
from damage import first_value, flip, shards


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
    assert cache.verify().ok
    assert space.compact() == (1, 1)


def test_compact_in_groups_with_twins_across_them(space):
    clips = make_clips(200)
    fill(space, clips, rows=10)
    again = Cache(space.cache.path).space("toy")
    with again.writer(rows=25) as writer:
        for clip in clips:
            key = row_key(space.key, "text", text_digest(clip.text))
            writer.add(key, clip.id, row_values(clip.text))
    from affekt.cache.compact import compact

    size = shards(space)[0].stat().st_size
    compact(space, target=5 * size)
    rows = sum(len(h5py.File(path)["key"]) for path in shards(space))
    assert rows == 200
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))


def test_compact_leaves_a_damaged_shard_alone(cache, space):
    clips = make_clips(30)
    fill(space, clips, rows=10)
    hurt = shards(space)[0]
    flip(hurt, first_value(hurt))
    assert Cache(cache.path).space("toy").compact() == (3, 3)
    assert hurt.exists()
    cache.repair()
    assert Cache(cache.path).space("toy").compact() == (2, 1)


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
    Cache(cache.path).repair()
    some = clips.select(range(5))
    np.testing.assert_array_equal(Cache(cache.path).read("toy", some), expected(space, some))


def test_C15_an_extract_ends_with_compaction_when_there_are_many(space):
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
