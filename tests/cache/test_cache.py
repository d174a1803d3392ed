from __future__ import annotations

import hashlib
import os
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
    MissingError,
    Spec,
    SpecError,
    audio_digest,
    row_key,
    seen,
    text_digest,
)
from cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec, row_values
from hypothesis import given, settings
from hypothesis import strategies as st


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
        assert writer.add("0" * 64, "fine", good)
        assert not writer.add("1" * 64, "huge", good * 65_000)
        assert not writer.add("2" * 64, "nan", good * np.nan)
        assert not writer.add("3" * 64, "inf", good * np.inf)
        with pytest.raises(InputError, match=r"shape \(8,\), expected \(3, 8\)"):
            writer.add("4" * 64, "flat", good[0])
    assert writer.stored == ["fine"]
    assert writer.refused == [
        ("huge", "out_of_range"), ("nan", "non_finite_output"), ("inf", "non_finite_output"),
    ]  # fmt: skip
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


def test_spaces_are_found_by_name_prefix_key_and_spec(cache):
    a, b = cache.create(make_spec("toy-a")), cache.create(make_spec("toy-b"), name="Mine!")
    assert cache.create(make_spec("toy-a")) == a
    assert [space.name for space in cache.spaces()] == sorted([a.name, b.name])
    assert a.name == f"toy-a-mean-{a.key[:8]}"
    assert b.name == f"mine-{b.key[:8]}"
    for which in (a.name, "toy-a", a.key, a.key[:12], a.spec, a):
        assert cache.space(which) == a
    cache.create(make_spec("toy-aa"))
    with pytest.raises(InputError, match="beginning of"):
        cache.space("toy-a")
    with pytest.raises(InputError, match=r"no space 'toy-a-meen'.*Did you mean"):
        cache.space("toy-a-meen")


def test_C08_other_spec_shows_the_fields_that_differ(cache, space):
    other = make_spec(encoder={"name": "toy", "revision": "1" * 40}, store_dtype="float16")
    with pytest.raises(SpecError) as caught:
        cache.space(other)
    assert f"encoder.revision: '{'0' * 40}' here, '{'1' * 40}' there" in str(caught.value)
    assert "store_dtype: 'float32' here, 'float16' there" in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other", "nan", "twice"])
def test_C08_spec_json_missing_or_damaged(cache, space, damage):
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
    assert not fresh.verify().ok


def test_V05_a_newer_format_is_refused_by_number(cache, space):
    path = space.folder / "spec.json"
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    assert "format 2 is newer" in Cache(cache.path).broken()[space.name]
    [shard] = [space.folder / "shards" / f"{'0' * 24}.h5"]
    with h5py.File(shard, "w") as file:
        file.attrs["format"] = 2
    space.index.refresh()
    assert "format 2 is newer" in space.index.damaged[shard.name]


def test_C09_a_canary_that_moved_refuses_and_names_the_layers(cache, space):
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


def test_C04_readonly(cache, space):
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


def test_C07_a_shard_deleted_copied_or_foreign(cache, space, tmp_path):
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
    report = cache.verify()
    assert [finding.problem for finding in report.findings] == [
        report.damage[0].problem,
        "not a shard; ignored",
    ]
    assert "belongs to the spec" in report.damage[0].problem
    np.testing.assert_array_equal(cache.read("toy", clips), expected(space, clips))


def test_C10_same_key_with_other_values(cache, space):
    for value in (1, 2):
        with Cache(cache.path).space("toy").writer() as writer:
            writer.add("ab" * 32, "a", np.full((LAYERS, DIM), value))
    values = {
        float(Cache(cache.path).space("toy").read(["ab" * 32], [0])[0][0, 0, 0]) for _ in range(3)
    }
    first = sorted((space.folder / "shards").iterdir())[0]
    with h5py.File(first) as file:
        assert values == {float(file["embeddings"][0, 0, 0])}
    [finding] = cache.verify().findings
    assert "other values" in finding.problem
    assert not finding.damage
    assert len(space) == 1


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


def test_the_index_memo_is_used_and_never_trusted(cache, space):
    clips = make_clips(40)
    fill(space, clips, rows=2)
    memo = space.folder / "index.npz"
    assert memo.exists()
    opened = []
    from affekt.cache import index

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


def test_a_lying_memo_cannot_make_a_value_wrong(cache, space):
    clips = make_clips(40)
    fill(space, clips, rows=2)
    memo = space.folder / "index.npz"
    with np.load(memo) as file:
        fields = dict(file)
    fields["key"] = np.roll(fields["key"], 1, axis=0)
    np.savez(memo, **fields)
    with pytest.raises(DamagedError, match="40 rows are damaged"):
        Cache(cache.path).read("toy", clips)


# The index of clips


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    old = time.time() - 100
    for i in range(3):
        (folder / f"{i}.wav").write_bytes(b"audio %d" % i)
        os.utime(folder / f"{i}.wav", (old, old))
    rows = [{"id": f"c{i}", "path": f"{i}.wav"} for i in range(3)]
    rows.append({"id": "part", "path": "0.wav", "start": 0.5, "end": 1.0})
    return Manifest.from_rows(rows, root=folder)


def record(cache, clips):
    lines = []
    for i, clip in enumerate(clips):
        path = clips.file(i)
        status = path.stat()
        digest = audio_digest(path.read_bytes(), clip.start, clip.end)
        lines.append(seen(clips, i, digest, status))
    cache.record(lines)
    return [line.digest for line in lines]


def test_digests_come_from_files_memo_and_index(cache, audio, monkeypatch):
    fresh = cache.digests(audio, "audio")
    assert fresh[0] == hashlib.sha256(b"audio 0").hexdigest()
    assert fresh[3] == audio_digest(b"audio 0", 0.5, 1.0)
    assert cache.digests(audio, "audio", hash_files=False) == [None] * 4
    assert record(cache, audio) == fresh
    monkeypatch.setattr("affekt.cache.cache.audio_digest", None)  # nothing is hashed again
    assert Cache(cache.path).digests(audio, "audio", hash_files=False) == fresh
    shutil.rmtree(audio.root)
    assert Cache(cache.path).digests(audio, "audio") == fresh
    moved = Manifest.from_rows(list(audio), root=audio.root.parent / "elsewhere")
    assert Cache(cache.path).digests(moved, "audio") == fresh
    other = Manifest.from_rows([{"id": "c9", "path": "9.wav"}], root=audio.root)
    assert cache.digests(other, "audio") == [None]


def test_recording_twice_adds_nothing(cache, audio):
    record(cache, audio)
    record(Cache(cache.path), audio)
    assert len(list((cache.path / "clips").iterdir())) == 1


def test_C13_a_changed_file_is_never_taken_for_the_old_one(cache, audio):
    record(cache, audio)
    path = audio.file(0)
    before = path.stat()
    path.write_bytes(b"AUDIO 0")  # same size, and the time set back
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.digests(audio, "audio")[0] == hashlib.sha256(b"AUDIO 0").hexdigest()


def test_C13_a_file_that_was_just_written_vouches_for_nothing(cache, audio):
    path = audio.file(0)
    path.write_bytes(b"new")
    record(cache, audio)
    assert cache.digests(audio, "audio", hash_files=False)[0] is None
    future = time.time() + 9999  # the clock jumps back
    os.utime(path, (future, future))
    record(cache, audio)
    assert cache.digests(audio, "audio", hash_files=False)[0] is None


def test_C13_rehash_trusts_no_memo(cache, audio):
    truth = cache.digests(audio, "audio")
    path = audio.file(1)
    cache.record([seen(audio, 1, "0" * 64, path.stat())])
    assert cache.digests(audio, "audio")[1] == "0" * 64
    assert cache.digests(audio, "audio", rehash=True) == truth


def test_without_the_file_the_last_content_of_a_root_counts(cache, audio):
    record(cache, audio)
    audio.file(0).write_bytes(b"better")
    last = record(cache, audio)
    shutil.rmtree(audio.root)
    assert Cache(cache.path).digests(audio, "audio") == last


def test_without_the_file_two_roots_that_disagree_are_refused(cache, audio, tmp_path):
    record(cache, audio)
    other = tmp_path / "other"
    shutil.copytree(audio.root, other)
    (other / "0.wav").write_bytes(b"something else")
    clips = Manifest.from_rows(list(audio), root=other)
    record(cache, clips)
    shutil.rmtree(audio.root)
    shutil.rmtree(other)
    elsewhere = Manifest.from_rows(list(audio), root=tmp_path / "third")
    with pytest.raises(InputError, match="different contents under different roots"):
        cache.digests(elsewhere, "audio")
    assert cache.digests(elsewhere.select(["c1"]), "audio") == [
        hashlib.sha256(b"audio 1").hexdigest()
    ]
    assert cache.digests(audio, "audio")[0] == hashlib.sha256(b"audio 0").hexdigest()


def test_a_damaged_segment_is_not_used(cache, audio):
    record(cache, audio)
    [segment] = (cache.path / "clips").iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    fresh = Cache(cache.path)
    assert fresh.digests(audio, "audio", hash_files=False) == [None] * 4
    assert [finding.path for finding in fresh.verify().damage] == [f"clips/{segment.name}"]


# Keys and specs


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), min_size=2, max_size=8, unique=True))
def test_keys_differ_where_anything_differs(texts):
    digests = {text_digest(text) for text in texts}
    keys = {
        row_key(spec, kind, digest)
        for spec in ("a" * 64, "b" * 64) for kind in ("audio", "text") for digest in digests
    }  # fmt: skip
    assert len(keys) == 4 * len(digests)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(JSON, JSON)
def test_one_changed_field_changes_the_key(left, right):
    a, b = make_spec(input={"x": left}), make_spec(input={"x": right})
    same = left == right and repr(left) == repr(right)
    assert (a.key == b.key) == (a.json() == b.json())
    assert same <= (a.key == b.key)
    assert (a.diff(b) == []) == (a == b)
    assert Spec.from_json(a.json()) == a


def test_a_spec_says_what_is_wrong_with_it():
    for change, message in (
        ({"modality": "video"}, "one of audio, text"),
        ({"encoder": {}}, "with a name"),
        ({"layers": {"count": 0, "dim": 2}}, "count and dim"),
        ({"compute": {"tolerance": 0.5}}, r"compute\.tolerance is 0\.5.*write a float as text"),
        ({"format": 2}, "newer"),
        ({"store_dtype": "float64"}, "float16, float32"),
        ({"labels": ["a"]}, "expected 8 different names"),
        ({"pooling": None}, "pooling"),
        ({"input": {1: 2}}, "not text"),
    ):
        with pytest.raises(InputError, match=message):
            make_spec(**change)
    for text in ("[]", "{", '{"a": 1.5}', "[" * 100_000):
        with pytest.raises(InputError):
            Spec.from_json(text)
    assert True not in {type(x) for x in make_spec().fields.values()}
    assert make_spec(input={"x": True}).key != make_spec(input={"x": 1}).key
