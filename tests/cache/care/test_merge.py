"""Caches merged into another one."""

from __future__ import annotations

import os

import numpy as np
import pytest
from affekt.cache import Cache, CanaryError, DamagedError
from affekt.cache.care import merge, verify

from tests.support.cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec
from tests.support.damage import first_value, flip, shards


def test_merge_of_parts_equals_the_whole(tmp_path):
    clips = make_clips(40)
    parts = []
    for i, chosen in enumerate((clips.select(range(25)), clips.select(range(15, 40)))):
        part = Cache(tmp_path / f"part{i}").create(make_spec())
        fill(part, chosen, rows=10, canary=lambda: np.ones((1, LAYERS, DIM)))
        part.fail(None, f"bad-{i}", "missing", "")
        parts.append(part.cache)
    out = Cache(tmp_path / "all")
    assert merge(parts, out) == 6
    assert merge(parts, out) == 0
    space = out.space("toy")
    np.testing.assert_array_equal(out.read(space, clips), expected(space, clips))
    assert len(space) == 40
    assert [note["id"] for note in space.failures()] == ["bad-0", "bad-1"]
    assert space.compact()[1] == 1
    assert verify(out).ok


def test_merge_refuses_other_canaries_and_damage(tmp_path):
    parts = []
    for i in range(2):
        part = Cache(tmp_path / f"part{i}").create(make_spec())
        fill(part, make_clips(3, i * 3), canary=lambda i=i: np.full((1, LAYERS, DIM), 1.0 + i))
        parts.append(part.cache)
    with pytest.raises(CanaryError):
        merge(parts, Cache(tmp_path / "all"))
    hurt = shards(parts[0].space("toy"))[0]
    flip(hurt, first_value(hurt))
    with pytest.raises(DamagedError, match="repair"):
        merge(parts[:1], Cache(tmp_path / "other"))


def damage_spec(cache):
    (cache.space("audio-toy").folder / "spec.json").write_text("{")
    return "audio-toy"


def damage_clips(cache):
    segment = next((cache.path / "clips").iterdir())
    flip(segment, 30)
    return segment.name


@pytest.mark.parametrize("damage", [damage_spec, damage_clips])
def test_merge_never_leaves_out_what_is_damaged(two, tmp_path, damage):
    cache, *_ = two
    name = damage(cache)
    for source in (cache, Cache(cache.path)):
        with pytest.raises(DamagedError, match=f"{name}.*affekt cache repair"):
            merge([source], Cache(tmp_path / "all"))
    assert not (tmp_path / "all").exists()


def test_merge_refuses_a_pipe(space, tmp_path):
    """To read one would wait for ever."""
    os.mkfifo(space.folder / "shards" / f"{'0' * 24}.h5")
    with pytest.raises(DamagedError, match="not a regular file"):
        merge([space.cache], Cache(tmp_path / "all"))


def test_merge_of_a_space_without_shards(space, tmp_path):
    (space.folder / "shards").rmdir()
    assert merge([space.cache], Cache(tmp_path / "all")) == 0
    assert len(Cache(tmp_path / "all").space("toy")) == 0


def test_merge_while_the_source_is_compacted(space, tmp_path):
    clips = make_clips(40)
    fill(space, clips, rows=4)
    again = []

    def compact(done, total):
        if done == 1:
            again.append(Cache(space.cache.path).space("toy").compact())

    out = Cache(tmp_path / "all")
    assert merge([space.cache], out, compact) == 2
    assert again == [(10, 1)]
    np.testing.assert_array_equal(out.read("toy", clips), expected(space, clips))
