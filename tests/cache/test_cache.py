"""Rows that are stored are read, whole, in any order, and nothing else is."""

from __future__ import annotations

import hashlib
import shutil
import time

import h5py
import numpy as np
import pytest
from affekt.cache import (
    InputError,
    Manifest,
    MissingError,
    Spec,
    row_key,
    text_digest,
)
from cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec, row_values


def test_reads_what_was_stored_in_any_order_and_company(cache, space):
    clips = make_clips(50)
    assert fill(space, clips, rows=7) == clips.ids
    everything = expected(space, clips)
    np.testing.assert_array_equal(cache.read(space, clips), everything)
    some = clips.select(["clip-49", "clip-0", "clip-49", "clip-7"])
    np.testing.assert_array_equal(cache.read(space, some), everything[[49, 0, 49, 7]])
    np.testing.assert_array_equal(
        cache.read(space, some, layers=-1), everything[[49, 0, 49, 7], -1]
    )
    np.testing.assert_array_equal(
        cache.read(space, some, layers=[2, 0]), everything[[49, 0, 49, 7]][:, [2, 0]]
    )
    assert cache.read(space, clips.select([])).shape == (0, LAYERS, DIM)
    assert len(space) == 50


def test_a_second_extract_stores_nothing(space):
    clips = make_clips(20)
    fill(space, clips)
    assert fill(space, clips) == []
    assert fill(space, make_clips(25)) == [f"clip-{i}" for i in range(20, 25)]


def test_M06_same_content_under_two_ids_is_one_row(cache, space):
    twins = Manifest.from_rows(
        [{"id": "a", "text": "caf\u00e9"}, {"id": "b", "text": "cafe\u0301"}]
    )
    fill(space, twins)
    assert len(space) == 1
    rows = cache.read(space, twins)
    np.testing.assert_array_equal(rows[0], rows[1])


def test_missing_rows_are_named_with_the_command(cache, space):
    fill(space, make_clips(3))
    clips = make_clips(5)
    with pytest.raises(
        MissingError, match=r"2 of 5 clips .*clip-3, clip-4.*affekt extract"
    ) as caught:
        cache.read(space, clips)
    assert caught.value.ids == ["clip-3", "clip-4"]
    assert cache.missing(space, clips) == ["clip-3", "clip-4"]
    assert space.missing(clips) == ["clip-3", "clip-4"]


def test_h5py_reads_a_shard_without_us(space):
    clips = make_clips(9)
    fill(space, clips)
    [path] = (space.folder / "shards").iterdir()
    assert path.name == hashlib.sha256(path.read_bytes()).hexdigest()[:24] + ".h5"
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"][()], expected(space, clips))
        assert [id_.decode() for id_ in file["id"]] == clips.ids
        assert [key.decode() for key in file["key"]] == space_keys(space, clips)
        assert file["embeddings"].attrs["axes"] == b"row layer dim"
        assert Spec.from_json(file.attrs["spec"]) == space.spec


def space_keys(space, clips):
    return [row_key(space.key, "text", text_digest(text)) for text in clips["text"]]


@pytest.mark.parametrize("dim", [1, 3, 4, 6, 64])
@pytest.mark.parametrize("store_dtype", ["float32", "float16"])
def test_every_width_and_type(cache, dim, store_dtype):
    space = cache.create(make_spec(dim=dim, store_dtype=store_dtype))
    clips = make_clips(11)
    fill(space, clips, rows=4)
    np.testing.assert_array_equal(cache.read(space, clips), expected(space, clips))
    assert cache.read(space, clips, dtype=store_dtype).dtype == store_dtype
    assert cache.verify().ok


def test_a_shard_larger_than_a_block(cache):
    space = cache.create(make_spec(layers=2, dim=4))
    clips = make_clips(700)
    fill(space, clips, rows=1000)
    np.testing.assert_array_equal(cache.read(space, clips), expected(space, clips))
    some = np.random.default_rng(0).permutation(700)[:100]
    np.testing.assert_array_equal(
        cache.read(space, clips.select(some), layers=1), expected(space, clips)[some, 1]
    )


def test_rows_that_cannot_be_stored_are_refused_one_by_one(cache):
    space = cache.create(make_spec(store_dtype="float16"))
    good = np.ones((LAYERS, DIM), np.float32)
    with space.writer() as writer:
        writer.add("0" * 64, "fine", good)
        writer.add("1" * 64, "huge", good * 65_000)
        writer.add("2" * 64, "nan", good * np.nan)
        writer.add("3" * 64, "inf", good * np.inf, copy=False)
        with pytest.raises(InputError, match=r"shape \(8,\), expected \(3, 8\)"):
            writer.add("4" * 64, "flat", good[0])
    assert writer.stored == ["fine"]
    assert writer.refused == [
        ("1" * 64, "huge", "out_of_range"),
        ("2" * 64, "nan", "non_finite_output"),
        ("3" * 64, "inf", "non_finite_output"),
    ]
    assert [note["id"] for note in space.failures()] == ["huge", "nan", "inf"]


def test_a_writer_commits_by_rows_bytes_and_age(space):
    clips = make_clips(12)
    for options in ({"rows": 4}, {"nbytes": 4 * LAYERS * DIM * 4}, {"seconds": -1.0}):
        shutil.rmtree(space.folder / "shards")
        fill(space, clips, **options)
        count = len(list((space.folder / "shards").iterdir()))
        assert count == (12 if "seconds" in options else 3)


def test_stored_is_reported_only_when_durable(space, monkeypatch):
    reported, synced = [], []
    from affekt.cache import durable

    sync = durable.sync_folder
    monkeypatch.setattr(durable, "sync_folder", lambda f: (synced.append(f.name), sync(f))[1])
    with space.writer(
        rows=2, on_stored=lambda ids: reported.append((ids, synced.count("shards")))
    ) as w:
        for i, text in enumerate(["a", "b", "c"]):
            w.add(row_key(space.key, "text", text_digest(text)), text, row_values(text))
            assert len(w.stored) <= i
        before = synced.count("shards")
        assert w.commit() == ["a", "b", "c"]
    assert [ids for ids, _ in reported] == [["a", "b"], ["c"]]
    assert reported[-1][1] > before - 1


def test_an_interrupted_writer_keeps_what_it_has(space):
    def interrupted():
        with space.writer() as writer:
            writer.add("0" * 64, "a", np.ones((LAYERS, DIM)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert space.keys() == {"0" * 64}


def test_a_writer_copies_what_it_is_given_and_never_holds_more_than_a_shard_back(space):
    """The caller uses its array again at once; many small batches wait for a slow disk."""
    clips = make_clips(400)
    buffer = np.empty((LAYERS, DIM), np.float32)
    with space.writer(rows=50) as writer:
        commit = space.commit

        def slow(pieces, keys):
            time.sleep(0.05)
            return commit(pieces, keys)

        space.commit = slow
        for i, text in enumerate(clips["text"]):
            buffer[:] = row_values(text)
            writer.add(row_key(space.key, "text", text_digest(text)), clips.ids[i], buffer)
            assert i + 1 - len(writer.stored) <= 50 + 50 + 4 * 32
    assert writer.stored == clips.ids
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))
