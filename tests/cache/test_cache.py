"""Rows that are stored are read, whole, in any order, and nothing else is."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from affekt.cache import (
    Cache,
    InputError,
    Manifest,
    MissingError,
    Spec,
    row_key,
    text_digest,
)
from affekt.cache.care import pack, verify

from tests.support.cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec, row_values


def test_reads_what_was_stored_in_any_order(cache, space):
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


def test_a_space_that_is_asked_for_by_its_encoders_folder(cache, space, tmp_path):
    family = space.name[:-9]
    for name, words in ((family, f"Did you mean '{family}'"), ("xlsr-53", "makes one")):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=words):
            cache.space(f"{tmp_path}/{name}")


def test_a_second_extract_stores_nothing(space):
    clips = make_clips(20)
    fill(space, clips)
    assert fill(space, clips) == []
    assert fill(space, make_clips(25)) == [f"clip-{i}" for i in range(20, 25)]


def test_same_content_under_two_ids_is_one_row(cache, space):
    twins = Manifest.from_rows(
        [{"id": "a", "text": "caf\u00e9"}, {"id": "b", "text": "cafe\u0301"}]
    )
    fill(space, twins)
    assert len(space) == 1
    rows = cache.read(space, twins)
    np.testing.assert_array_equal(rows[0], rows[1])


def test_missing_rows_are_named_with_the_command(cache, space, tmp_path):
    fill(space, make_clips(3))
    clips = make_clips(5)
    with pytest.raises(MissingError, match=r"2 of 5 clips .*clip-3, clip-4") as caught:
        cache.read(space, clips)
    call = f"extract(clips, Cache({str(cache.path)!r}), Encoder('toy'))"
    assert call in str(caught.value)  # no command reads what a program made
    clips.write(table := tmp_path / "clips.csv")
    command = f"affekt extract {table} --cache {cache.path} --encoder toy"
    with pytest.raises(MissingError, match=re.escape(command)):
        cache.read(space, type(clips).read(table))
    assert caught.value.ids == ["clip-3", "clip-4"]
    assert cache.missing(space, clips) == ["clip-3", "clip-4"]
    assert space.missing(clips) == ["clip-3", "clip-4"]


def test_the_remedy_for_missing_rows_can_be_followed(cache, space, tmp_path):
    from affekt.cache.care.import_export import import_space

    clips = make_clips(2)
    some = clips.select(["clip-0"])
    fill(space, some)
    theirs, _ = import_space(cache, {"clip-0": np.ones(2)}, some, "theirs")
    packed = Cache(pack(cache, tmp_path / "packed.h5"))
    messages = {}
    for name, where, which in (
        ("imported", cache, theirs),
        ("packed", packed, packed.space(space.name)),
        ("both", packed, packed.space(theirs.name)),
    ):
        with pytest.raises(MissingError, match="clip-1") as caught:
            where.read(which, clips)
        messages[name] = str(caught.value)
    assert f"affekt cache import {cache.path} SOURCE --manifest" in messages["imported"]
    assert "extract" not in messages["imported"] + messages["both"]
    assert "extract(clips, Cache('DIR'), Encoder('toy'))" in messages["packed"]
    assert "affekt cache import DIR" in messages["both"]
    assert "cache pack DIR OUT.h5" in messages["packed"]
    assert "cache pack DIR OUT.h5" in messages["both"]


def test_h5py_reads_a_shard_without_affekt(space):
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
    assert verify(cache).ok


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
    from affekt.cache.files import durable

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


def test_every_folder_that_is_made_is_flushed(tmp_path, monkeypatch):
    from affekt.cache.files import durable

    synced, sync = [], durable.sync_folder
    monkeypatch.setattr(durable, "sync_folder", lambda f: (synced.append(f), sync(f))[1])
    fill(Cache(tmp_path / "new" / "deep" / "my.cache").create(make_spec()), make_clips(1))
    assert {tmp_path, tmp_path / "new", tmp_path / "new" / "deep"} <= {*synced}
    assert tmp_path.parent not in synced


def test_a_cache_may_be_in_a_folder_that_cannot_be_listed(cache, space, monkeypatch):
    from affekt.cache.files import durable

    real = os.open

    def refuse(path, flags, *arguments, **options):
        if Path(path) == cache.path.parent:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(durable.os, "open", refuse)
    fill(space, make_clips(2))
    assert len(cache.create(make_spec("another"))) == 0
    with pytest.raises(PermissionError):  # its name might not outlast a crash
        Cache(cache.path.with_name("new.cache")).create(make_spec())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_file_system_that_cannot_flush_folders(cache, monkeypatch, number):
    from affekt.cache.files import durable

    real = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)):
            cache.create(make_spec())
    else:
        assert fill(cache.create(make_spec()), make_clips(2)) == ["clip-0", "clip-1"]
