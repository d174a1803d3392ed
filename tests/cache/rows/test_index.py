"""The index of a space: its memo is never trusted, and it follows the folder under way."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from affekt.cache import Cache
from affekt.cache.identity.content_digests import hex_bytes
from affekt.cache.rows.index import Index, Table

from tests.support.cache_toy import expected, fill, make_clips


def hex_keys(space, name):
    return [key.decode() for key in space.index.rows(name).key.tolist()]


def test_keys_that_begin_alike_are_told_apart():
    a, b, c = ("ab" * 8 + end * 48 for end in "123")
    table = Table.of({"0.h5": hex_bytes([c, a]), "1.h5": hex_bytes([a])})
    shard, row = table.find([a, b, c])
    assert (shard.tolist(), row.tolist()) == ([0, -1, 0], [1, -1, 0])


def test_the_index_memo_is_used_and_never_trusted(cache, space):
    clips = make_clips(40)
    fill(space, clips, rows=2)
    memo = space.folder / "index.npz"
    assert memo.exists()
    opened = []
    from affekt.cache.rows import index

    original = index.open_shard
    index.open_shard = lambda *a: (opened.append(a), original(*a))[1]
    try:
        assert len(Cache(cache.path).space("toy")) == 40
        assert not opened
        for spoilt in (b"", b"junk", memo.read_bytes()[:500], bytes(len(memo.read_bytes()))):
            memo.write_bytes(spoilt)
            fresh = Cache(cache.path)
            np.testing.assert_array_equal(fresh.read("toy", clips), expected(space, clips))
            assert len(opened) >= 20
    finally:
        index.open_shard = original


def test_a_wrong_memo_cannot_make_a_value_wrong(cache, space):
    clips = make_clips(40)
    fill(space, clips, rows=2)
    memo = space.folder / "index.npz"
    with np.load(memo) as file:
        fields = dict(file)
    fields["key"] = np.roll(fields["key"], 1, axis=0)
    np.savez(memo, **fields)
    np.testing.assert_array_equal(Cache(cache.path).read("toy", clips), expected(space, clips))
    np.savez(memo, **fields | {"rows": np.roll(fields["rows"] + np.arange(20) % 2 * 2 - 1, 1)})
    np.testing.assert_array_equal(Cache(cache.path).read("toy", clips), expected(space, clips))
    assert len(Cache(cache.path).space("toy").layer(0)) == 40


def test_no_bit_of_the_index_memo_matters(cache, space, monkeypatch):
    fill(space, make_clips(16), rows=2)
    memo = space.folder / "index.npz"
    good = memo.read_bytes()
    monkeypatch.setattr(Index, "_read", lambda *_: None)  # what is known is from the memo
    whole = Index(space.folder, space.key).refresh().table.raw
    assert len(whole) == 16
    for position in [*range(0, 150), *range(len(good) - 400, len(good))]:
        for bit in (0, 3):
            spoilt = bytearray(good)
            spoilt[position] ^= 1 << bit
            memo.write_bytes(spoilt)
            found = Index(space.folder, space.key).refresh().table.raw
            assert not len(found) or np.array_equal(found, whole)


@pytest.mark.parametrize("bomb", ["compressed", "claimed", "sparse"])
def test_a_memo_that_is_larger_than_its_shards_is_not_read(cache, space, bomb):
    clips = make_clips(16)
    fill(space, clips, rows=2)
    memo = space.folder / "index.npz"
    with np.load(memo) as file:
        fields = dict(file)
    if bomb == "compressed":
        fields |= {"rows": np.full(8, 10**5), "key": np.zeros((8 * 10**5, 32), np.uint8)}
        np.savez_compressed(memo, **fields)
    elif bomb == "claimed":
        memo.write_bytes(memo.read_bytes().replace(b"(16, 32)", b"(1<<40,)"))
    else:
        os.truncate(memo, 1 << 40)
    np.testing.assert_array_equal(Cache(cache.path).read("toy", clips), expected(space, clips))


def test_threads_may_read_while_others_look_at_the_folder(space):
    fill(space, make_clips(4), rows=1)
    index = Cache(space.cache.path).space("toy").index
    first, *others = index.shards
    index.vectors(first)
    threads = []

    class Opened(dict):
        """Another thread opens a shard while this is iterated over."""

        def __iter__(self):
            for name in super().__iter__():
                threads.append(threading.Thread(target=index.vectors, args=(others.pop(),)))
                threads[-1].start()
                threads[-1].join(0.2)
                yield name

    index._vectors = Opened(index._vectors)
    index.refresh()
    for thread in threads:
        thread.join()
    assert threads
    assert len(index._vectors) == 1 + len(threads)


def test_a_shard_stored_while_another_thread_lists_the_folder_stays_known(space, monkeypatch):
    fill(space, make_clips(2))
    index, listed = space.index, os.scandir
    threads = []

    def slow(path):
        monkeypatch.setattr(os, "scandir", listed)
        found = list(listed(path))
        threads.append(threading.Thread(target=index.add, args=("0" * 24, keys)))
        threads[-1].start()
        threads[-1].join(0.2)
        return found

    keys = np.zeros((1, 32), np.uint8)
    monkeypatch.setattr(os, "scandir", slow)
    index.refresh()
    threads[0].join()
    assert "0" * 24 in index.shards


def test_reading_goes_on_while_shards_are_merged(cache, space, monkeypatch):
    clips = make_clips(60)
    fill(space, clips.select(range(40)), rows=20)
    size = min(path.stat().st_size for path in (space.folder / "shards").iterdir())
    fill(space, clips.select(range(40, 60)), rows=1)
    reader = Cache(cache.path).space("toy")
    keys = reader.row_keys()
    space.compact(small=size)
    values = reader.layer(1)
    assert reader.row_keys() == keys  # the order stays, although the rows have moved
    assert [key for path in reader.index.shards for key in hex_keys(reader, path)] != keys
    np.testing.assert_array_equal(values, reader.read(keys, [1])[0][:, 0])


@pytest.mark.parametrize("what", ["summary", "provenance"])
def test_a_shard_merged_away_between_two_looks(cache, space, monkeypatch, what):
    fill(space, make_clips(4), rows=1)
    reader = Cache(cache.path).space("toy")
    wanted = getattr(reader, what)()
    refresh = reader.index.refresh

    def then_merged():
        found = refresh()
        shards = list(found.shards)
        monkeypatch.setattr(reader.index, "refresh", refresh)
        space.compact()
        return SimpleNamespace(table=found.table, shards=shards)

    monkeypatch.setattr(reader.index, "refresh", then_merged)
    if what == "summary":
        assert reader.summary()["rows"] == wanted["rows"]
    else:
        reader.provenance()  # of what is there
