"""Spaces: names, specs, the canary, failures, damage, features and the index."""

from __future__ import annotations

import pickle  # noqa: TID251 - to show that it works
import shutil
import time

import h5py
import numpy as np
import pytest
from affekt.cache import (
    Cache,
    CanaryError,
    DamagedError,
    InputError,
    Manifest,
    SpecError,
    row_key,
    text_digest,
)
from affekt.cache.care import pack, verify

from tests.support.cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec
from tests.support.damage import flip


def space_keys(space, clips):
    return [row_key(space.key, "text", text_digest(text)) for text in clips["text"]]


def test_spaces_are_found_by_name_prefix_key_and_spec(cache):
    a, b = cache.create(make_spec("toy-a")), cache.create(make_spec("toy-b"), name="Mine!")
    assert cache.create(make_spec("toy-a")) == a
    assert [space.name for space in cache.spaces()] == sorted([a.name, b.name])
    assert a.name == f"toy-a-mean-{a.key[:8]}"
    assert b.name == f"mine-{b.key[:8]}"
    for which in (a.name, "toy-a", a.key, a.key[:12], a.spec, a):
        assert cache.space(which) == a
    longer = cache.create(make_spec("toy-c"), name="mine-too")
    assert cache.space("mine") == b
    assert cache.space("mine-t") == longer
    cache.create(make_spec("toy-aa"))
    with pytest.raises(InputError, match="matches several spaces"):
        cache.space("toy-a")
    with pytest.raises(InputError, match=r"no space 'toy-a-meen'.*Did you mean"):
        cache.space("toy-a-meen")


def test_a_cache_that_is_not_there_is_named_with_the_nearest(tmp_path):
    (tmp_path / "my.cache").mkdir()
    with pytest.raises(InputError, match=r"no cache .*my\.cach\. Did you mean 'my.cache'"):
        Cache(tmp_path / "my.cach", readonly=True).space("toy")


def test_other_spec_shows_the_fields_that_differ(cache, space):
    other = make_spec(encoder={"name": "toy", "revision": "1" * 40}, store_dtype="float16")
    with pytest.raises(SpecError) as caught:
        cache.space(other)
    assert f"encoder.revision: '{'0' * 40}' here, '{'1' * 40}' there" in str(caught.value)
    assert "store_dtype: 'float32' here, 'float16' there" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, "pooling: 'mean' here, 'max' there"),
        ({"encoder": {"name": "toy2", "revision": "0" * 40}}, "encoder.name: 'toy' here"),
        ({"modality": "audio"}, "modality: 'text' here, 'audio' there"),
    ],
)
def test_whichever_field_differs_is_shown(cache, space, changes, message):
    with pytest.raises(SpecError) as caught:
        cache.space(space.spec.replace(**changes))
    assert message in str(caught.value)


def test_the_nearest_of_several_specs_is_explained(cache):
    cache.create(make_spec(dim=9, store_dtype="float16"), name="a")
    near = cache.create(make_spec(store_dtype="float16"), name="b")
    cache.create(make_spec(dim=9, store_dtype="float16", numerics_epoch=2), name="c")
    with pytest.raises(SpecError) as caught:
        cache.space(make_spec())
    assert near.name in str(caught.value)
    assert str(caught.value).endswith("\nstore_dtype: 'float16' here, 'float32' there")


def test_an_empty_name_of_a_space_is_refused(cache, space):
    with pytest.raises(InputError, match=f"the space name is empty; expected one of {space.name}"):
        cache.space("")


@pytest.mark.parametrize("damage", ["missing", "truncated", "other", "nan", "twice"])
def test_spec_json_missing_or_damaged(cache, space, damage):
    path = space.folder / "spec.json"
    text = path.read_text()
    fill(space, make_clips(2))
    fine = cache.create(make_spec("fine"))
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(
            {
                "truncated": text[:40],
                "other": make_spec("other").json(),
                "nan": text.replace('"format":1', '"format":NaN'),
                "twice": text.replace('"format":1', '"format":1,"format":1'),
            }[damage]
        )
    fresh = Cache(cache.path)
    assert fresh.spaces() == [fine]  # damage costs its own space only
    with pytest.raises(DamagedError, match="affekt cache repair"):
        fresh.space(space.name)
    assert not verify(fresh).ok


def test_a_newer_format_is_refused_by_number(cache, space):
    path = space.folder / "spec.json"
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    assert "format 2 is newer" in Cache(cache.path).broken()[space.name]
    [shard] = [space.folder / "shards" / f"{'0' * 24}.h5"]
    with h5py.File(shard, "w") as file:
        file.attrs["format"] = 2
    space.index.refresh()
    assert "format 2 is newer" in space.index.damaged[shard.name]


def test_a_canary_that_moved_refuses_and_names_the_layers(cache, space):
    canary = np.random.default_rng(0).standard_normal((2, LAYERS, DIM)).astype(np.float32)
    fill(space, make_clips(2), canary=lambda: canary)
    np.testing.assert_array_equal(space.canary(), canary)
    fill(space, make_clips(4), canary=lambda: canary * (1 + 1e-6))
    moved = canary.copy()
    moved[1, 2] *= 1.01
    before = space.keys()
    with pytest.raises(CanaryError, match=r"layer 2 by 0\.01") as caught:
        fill(space, make_clips(6), canary=lambda: moved)
    assert caught.value.layers == [2]
    with pytest.raises(CanaryError, match="shape"):
        fill(space, make_clips(6), canary=lambda: moved[:, :2])
    with pytest.raises(CanaryError):
        fill(space, make_clips(6), canary=lambda: moved * np.nan)
    assert space.keys() == before
    half = cache.create(make_spec("half", compute={"dtype": "float16"}))
    fill(half, make_clips(1), canary=lambda: canary)
    fill(half, make_clips(2), canary=lambda: canary * 1.005)


def test_failures_are_listed_until_the_clip_is_stored(space):
    clips = make_clips(2)
    key = space_keys(space, clips)[0]
    space.fail(key, "clip-0", "too_short", "12 samples")
    space.fail(None, "gone", "missing", "no file")
    space.fail(key, "clip-0", "silent", "twice")
    with (space.folder / "failures.jsonl").open("a") as stream:
        stream.write('{"key": "torn')
    assert [(n["id"], n["code"]) for n in space.failures()] == [
        ("clip-0", "silent"),
        ("gone", "missing"),
    ]
    fill(space, clips)
    assert [note["id"] for note in space.failures()] == ["gone"]


def test_readonly(cache, space):
    fill(space, make_clips(3))
    reader = Cache(cache.path, readonly=True)
    space = reader.space("toy")
    assert len(reader.read(space, make_clips(3))) == 3
    for act in (
        space.writer,
        lambda: reader.create(make_spec("new")),
        lambda: reader.record([]),
        lambda: space.fail(None, "a", "b", "c"),
    ):
        with pytest.raises(InputError, match="read-only"):
            act()


def test_a_shard_deleted_copied_or_foreign(cache, space, tmp_path):
    clips = make_clips(9)
    fill(space, clips, rows=3)
    shards = space.folder / "shards"
    gone = sorted(shards.iterdir())[0]
    gone.unlink()
    fresh = Cache(cache.path).space("toy")
    assert len(fresh.missing(clips)) == 3
    fill(fresh, clips)
    assert fresh.missing(clips) == []
    other = Cache(tmp_path / "other").create(make_spec("other"))
    fill(other, clips)
    [foreign] = (other.folder / "shards").iterdir()
    shutil.copy(foreign, shards)
    (shards / "notes.txt").write_text("mine")
    report = verify(cache)
    assert [finding.problem for finding in report.findings] == [
        report.damage[0].problem,
        "not a shard; ignored",
    ]
    assert "belongs to the spec" in report.damage[0].problem
    np.testing.assert_array_equal(cache.read("toy", clips), expected(space, clips))


def test_same_key_with_other_values(cache, space):
    for value in (1, 2):
        with Cache(cache.path).space("toy").writer() as writer:
            writer.add("ab" * 32, "a", np.full((LAYERS, DIM), value))
    values = {
        float(Cache(cache.path).space("toy").read(["ab" * 32], [0])[0][0, 0, 0]) for _ in range(3)
    }
    first = sorted((space.folder / "shards").iterdir())[0]
    with h5py.File(first) as file:
        assert values == {float(file["embeddings"][0, 0, 0])}
    [finding] = verify(cache).findings
    assert "different values" in finding.problem
    assert not finding.damage
    assert len(space) == 1


def test_the_same_rows_are_the_same_file_whenever_they_are_stored(tmp_path):
    """HDF5 would note the second in which it makes a dataset."""
    names = []
    for turn in ("now", "later"):
        space = Cache(tmp_path / turn).create(make_spec())
        values = np.ones((space.n_layers, space.dim), np.float32)
        with space.writer() as writer:
            writer.add("0" * 64, "clip", values)
        [shard] = (space.folder / "shards").iterdir()
        packed = pack(Cache(tmp_path / turn), tmp_path / f"{turn}.h5")
        names.append((shard.name, shard.read_bytes(), packed.read_bytes()))
        time.sleep(1.1)
    assert names[0] == names[1]


def test_a_cache_and_a_space_can_be_pickled(cache, space):
    clips = make_clips(4)
    fill(space, clips)
    cache.read(space, clips)
    copy = pickle.loads(pickle.dumps(space))
    np.testing.assert_array_equal(copy.cache.read(copy, clips), expected(space, clips))
    features = pickle.loads(pickle.dumps(space.features([0, -1])))
    assert features.read(clips).shape == (4, 2 * DIM)


def test_features(cache, space):
    clips = make_clips(4)
    fill(space, clips)
    rows = expected(space, clips)
    last = space.features()
    np.testing.assert_array_equal(last.read(clips), rows[:, -1])
    assert (last.width, last.n_layers, last.layers) == (DIM, 1, (LAYERS - 1,))
    mean = space.features("all", combine="mean")
    np.testing.assert_allclose(mean.read(clips), rows.mean(axis=1), rtol=1e-6)
    mix = space.features([0, 2], combine="mix")
    np.testing.assert_array_equal(mix.read(clips), rows[:, [0, 2]].reshape(4, -1))
    assert (mix.width, mix.n_layers) == (2 * DIM, 2)
    assert mix.describe() == {
        "space": space.name, "spec_key": space.key, "layers": [0, 2], "combine": "mix",
    }  # fmt: skip
    for wrong in (LAYERS, -LAYERS - 1, [0, 9], 1.5, "last", []):
        with pytest.raises(InputError):
            space.features(wrong)
    with pytest.raises(InputError, match="Did you mean 'mean'"):
        space.features(combine="meen")


def test_a_packed_content_that_two_clips_share_appears_twice(cache, space, tmp_path):
    texts = ["yes", "no", "yes", "well"]
    clips = Manifest.from_rows([{"id": f"c{i}", "text": text} for i, text in enumerate(texts)])
    fill(space, clips)
    assert len(space.row_keys()) == len(space.layer(0)) == len(space) == 3
    packed = Cache(pack(cache, tmp_path / "out.h5", clips)).space("toy")
    assert packed.row_keys() == space_keys(space, clips)
    np.testing.assert_array_equal(packed.layer(1), packed.memory_map(1))
    np.testing.assert_array_equal(packed.layer(1), expected(space, clips)[:, 1])
    assert len(packed) == 3


def test_a_damaged_packed_file_is_to_be_packed_again(cache, space, tmp_path):
    clips = make_clips(3)
    fill(space, clips)
    out = pack(cache, tmp_path / "out.h5")
    with h5py.File(out) as file:
        position = file[space.name]["embeddings"].id.get_offset()
    flip(out, position)
    with pytest.raises(DamagedError, match=r"Pack it again: affekt cache pack .*out\.h5"):
        Cache(out).read("toy", clips)


def test_read_only_as_floats_that_hold_the_values(cache, space):
    clips = make_clips(2)
    with space.writer() as writer:
        for key, value in zip(space_keys(space, clips), (1.0, 1e6), strict=True):
            writer.add(key, "a", np.full((LAYERS, DIM), value))
    for wrong in ("float99", "int32", "bool", "U4"):
        for read in (cache.read, lambda *_, dtype: space.layer(0, dtype)):
            with pytest.raises(InputError, match="expected 'float16', 'float32' or 'float64'"):
                read(space, clips, dtype=wrong)
    with pytest.raises(InputError, match="1 rows have values beyond the range of float16"):
        cache.read(space, clips, dtype="float16")
    with pytest.raises(InputError, match=r"beyond the range of float16.*as float32"):
        space.layer(0, "float16")
    assert (cache.read(space, clips.select([0]), dtype="float16") == 1).all()
    assert cache.read(space, clips, dtype="float64").max() == 1e6
    assert space.read([], [0], "float16")[0].shape == (0, 1, DIM)


def test_failures_that_are_damaged_are_left_out(space):
    key = "ab" * 32
    space.fail(key, "clip-0", "silent", "x")
    path = space.folder / "failures.jsonl"
    good = path.read_bytes()
    for old, new in [(b"ab", b"~b"), (b"ab", b"b"), (b'"silent"', b"5"), (b'"id"', b'"ie"')]:
        path.write_bytes(good + good.replace(b"clip-0", b"clip-1").replace(old, new, 1))
        assert [note["id"] for note in space.failures()] == ["clip-0"]
    path.write_bytes(b"[1]\n" + b"[" * 9999 + b"\n" + good)
    assert [note["id"] for note in space.failures()] == ["clip-0"]


def test_a_failure_noted_after_an_unfinished_one_is_not_lost(space):
    space.fail(None, "a", "empty", "x")
    path = space.folder / "failures.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": null, "id": "tor')
    space.fail(None, "b", "empty", "x")
    space.fail(None, "c", "empty", "x")
    assert [note["id"] for note in space.failures()] == ["a", "b", "c"]
