"""pack writes one plain file that reads like the folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from affekt.cache import (
    Cache,
    DamagedError,
    InputError,
    Manifest,
    MissingError,
    Spec,
)
from affekt.cache.care import pack, repair, verify
from affekt.cache.shards.safe_hdf5 import set_text
from affekt.cache.shards.shard import Rows

from tests.support.cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec, row_values
from tests.support.damage import first_value, flip, shards


def test_a_packed_file_reads_like_the_folder(two, tmp_path):
    cache, clips, audio, text = two
    out = pack(cache, tmp_path / "all.h5")
    packed = Cache(out)
    assert [space.name for space in packed.spaces()] == [audio.name, text.name]
    some = clips.select(["c7", "c1", "c7"])
    for name in ("audio-toy", "text-toy"):
        np.testing.assert_array_equal(packed.read(name, some), cache.read(name, some))
        assert packed.space(name).spec == cache.space(name).spec
    np.testing.assert_array_equal(
        packed.space("audio-toy").features([0, 1]).read(clips),
        audio.features([0, 1]).read(clips),
    )
    assert packed.missing("text-toy", clips) == [f"c{i}" for i in range(0, 20, 4)]
    assert verify(packed).ok
    shutil.rmtree(clips.root)  # and without the audio, from the index of clips
    np.testing.assert_array_equal(Cache(out).read("audio-toy", some), cache.read(audio, some))


def test_a_packed_file_is_plain_hdf5_in_the_order_of_the_manifest(two, tmp_path):
    cache, clips, audio, text = two
    some = clips.select(["c9", "c4", "c3"])
    out = pack(cache, tmp_path / "some.h5", some)
    with h5py.File(out) as file:
        group = file[audio.name]
        values = group["embeddings"]
        assert (values.shape, values.chunks, values.dtype) == ((LAYERS, 3, DIM), None, "float16")
        np.testing.assert_array_equal(
            values[()].astype(np.float32).transpose(1, 0, 2), cache.read(audio, some)
        )
        assert [v.decode() for v in group["id"]] == some.ids
        assert [v.decode() for v in group["label"]] == ["sad", "joy", "sad"]
        assert [v.decode() for v in group["speaker"]] == ["ü1"] * 3
        assert json.loads(group.attrs["spec"]) == audio.spec.fields
        assert [v.decode() for v in file[text.name]["id"]] == ["c9", "c3"]  # c4 has no text
        offset = values.id.get_offset()
        mapped = np.memmap(out, "float16", "r", offset, values.shape)
        np.testing.assert_array_equal(mapped, values[()])


@pytest.mark.parametrize("spaces", [None, ["text-toy"]])
def test_a_packed_file_of_some_clips_holds_nothing_of_the_others(two, tmp_path, spaces):
    cache, clips, *_ = two
    clips.file(18).rename(clips.root / "new.wav")  # the index knows it by its old path
    rows = [{"id": f"c{i}", "path": f"{i}.wav", "text": f"t{i}"} for i in (11, 18)]
    kept = Manifest.from_rows([rows[0], rows[1] | {"path": "new.wav"}], root=clips.root)
    packed = Cache(pack(cache, tmp_path / "kept.h5", kept, spaces))
    lines = [json.loads(line) for line in packed.clips.refresh().lines().splitlines()]
    found = [(line["id"], line["path"]) for line in lines]
    assert found == ([] if spaces else [("c11", "11.wav"), ("c18", "new.wav")])
    noted = [json.loads(line) for line in cache.clips.refresh().lines().splitlines()]
    assert [line for line in lines[:1] if line not in noted] == []  # with its size and times
    written = packed.path.read_bytes()
    everyones = cache.digests(clips, "audio")
    others = {digest for i, digest in enumerate(everyones) if i not in (11, 18)}
    assert not [digest for digest in others if digest.encode() in written]
    stored = {space.modality: space.read_clips(kept, [0]) for space in cache.spaces()}
    shutil.rmtree(clips.root)
    for space in Cache(packed.path).spaces():
        np.testing.assert_array_equal(space.read_clips(kept, [0]), stored[space.modality])


def test_pack_refuses_before_it_writes(two, tmp_path):
    cache, clips, _, _ = two
    out = tmp_path / "out.h5"
    more = Manifest.from_rows([*clips, {"id": "new", "text": "new"}], root=clips.root)
    with pytest.raises(MissingError, match="new"):
        pack(cache, out, more, ["text-toy"])
    unseen = Manifest.from_rows([*clips, {"id": "far", "path": "far.wav"}], root=clips.root)
    with pytest.raises(MissingError, match="far"):  # nobody knows what it holds
        pack(cache, out, unseen, ["audio-toy"])
    assert not out.exists()
    pack(cache, out)
    with pytest.raises(InputError, match="already exists"):
        pack(cache, out)
    pack(cache, out, overwrite=True)
    packed = Cache(out)
    for act in (
        lambda: packed.create(make_spec("x")),
        packed.space("text").writer,
        lambda: repair(packed),
    ):
        with pytest.raises(InputError, match="packed and never changes"):
            act()
    assert sorted(path.name for path in tmp_path.glob("*out.h5*")) == ["out.h5"]


def test_pack_with_too_little_room(two, tmp_path, monkeypatch):
    cache, *_ = two
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(OSError, match="free some space") as caught:
        pack(cache, tmp_path / "out.h5")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.glob("*out.h5*"))


def test_every_byte_of_a_packed_file(two, tmp_path):
    cache, clips, _audio, text = two
    out = pack(cache, tmp_path / "out.h5", spaces=["text-toy"])
    truth = out.read_bytes()
    some = clips.select(["c1", "c2", "c3"])
    rows = cache.read(text, some)
    used = sum(np.array(list(truth)) != 0)
    assert used < len(truth)
    found = 0
    for position in range(0, len(truth), 11):
        flip(out, position, position % 8)
        try:
            np.testing.assert_array_equal(Cache(out).read("text-toy", some), rows)
        except (DamagedError, MissingError, InputError):
            found += 1
        out.write_bytes(truth)
    assert found > 20


def test_a_whole_layer_in_the_order_of_the_files(two, tmp_path):
    cache, clips, audio, text = two
    packed = Cache(pack(cache, tmp_path / "out.h5", clips))
    for space in (audio, text, packed.space("audio-toy"), packed.space("text-toy")):
        keys = space.row_keys()
        assert len(keys) == len(set(keys)) == len(space)
        for layer in (0, -1):
            rows = space.read(keys, [layer % LAYERS], space.spec.store_dtype)[0][:, 0]
            np.testing.assert_array_equal(space.layer(layer), rows)
    order = cache.keys(audio, clips)
    assert packed.space("audio-toy").row_keys() == order  # as in the manifest
    with audio.writer() as writer:  # a twin counts once
        writer.add(order[0] or "", "c0", row_values("c0"))
    assert len(Cache(cache.path).space("audio-toy").layer(0)) == 20


def test_a_damaged_whole_layer(two):
    _, _, audio, _ = two
    flip(shards(audio)[0], first_value(shards(audio)[0]))
    with pytest.raises(DamagedError, match="1 rows are damaged"):
        audio.layer(0)
    assert len(audio.layer(1)) == 20  # only what is read is checked


def test_memory_map(two, tmp_path):
    cache, clips, audio, _ = two
    packed = Cache(pack(cache, tmp_path / "out.h5", clips)).space("audio-toy")
    layer = packed.memory_map(1)
    assert isinstance(layer, np.memmap)
    np.testing.assert_array_equal(layer.astype(np.float32), cache.read(audio, clips, layers=1))
    with pytest.raises(ValueError, match="read-only"):
        layer[0] = 0
    with pytest.raises(InputError, match="pack"):
        audio.memory_map(1)


def test_pack_never_leaves_out_a_damaged_shard(two, tmp_path):
    cache, clips, audio, _ = two
    hurt = shards(audio)[0]
    with h5py.File(hurt) as file:
        lost = [id_.decode() for id_ in file["id"]]
    hurt.write_bytes(b"nothing")
    for spaces in (None, ["audio-toy"]):
        with pytest.raises(DamagedError, match=f"{hurt.name}.*affekt cache repair"):
            pack(Cache(cache.path), tmp_path / "out.h5", spaces=spaces)
    assert not list(tmp_path.glob("*out.h5*"))
    cache = Cache(cache.path)
    some = clips.select([id_ for id_ in clips.ids if id_ not in lost])
    pack(cache, tmp_path / "out.h5", some)  # nobody asked for what is lost
    total = f"{len(lost)} of {len(clips)} clips are not stored"
    with pytest.raises(MissingError, match=total):
        pack(cache, tmp_path / "more.h5", clips, ["audio-toy"])


def test_pack_never_leaves_out_a_broken_space_or_damaged_clips(two, tmp_path):
    cache, _, audio, text = two
    segment = next((cache.path / "clips").iterdir())
    truth = segment.read_bytes()
    flip(segment, 30)
    with pytest.raises(DamagedError, match=f"{segment.name}.*affekt cache repair"):
        pack(Cache(cache.path), tmp_path / "out.h5")
    segment.write_bytes(truth)
    (audio.folder / "spec.json").write_text("{")
    with pytest.raises(DamagedError, match=r"audio-toy.*affekt cache repair"):
        pack(Cache(cache.path), tmp_path / "out.h5")
    assert not list(tmp_path.glob("*out.h5*"))
    pack(Cache(cache.path), tmp_path / "out.h5", spaces=[text.name])  # it was not asked for
    assert len(Cache(tmp_path / "out.h5").spaces()) == 1


def test_pack_while_the_cache_is_compacted(space, tmp_path, monkeypatch):
    clips = make_clips(40)
    fill(space, clips, rows=4)
    cache = Cache(space.cache.path)
    index = cache.space("toy").index
    rows, again = index.rows, []

    def rows_late(name):
        if not again:
            again.append(space.compact())
        return rows(name)

    monkeypatch.setattr(index, "rows", rows_late)
    packed = Cache(pack(cache, tmp_path / "out.h5"))
    assert again == [(10, 1)]
    np.testing.assert_array_equal(packed.read("toy", clips), expected(space, clips))


def test_pack_of_a_space_that_is_named_twice(two, tmp_path):
    cache, _, audio, _ = two
    out = pack(cache, tmp_path / "out.h5", spaces=[audio, "audio-toy"])
    assert [space.name for space in Cache(out).spaces()] == [audio.name]


def test_pack_of_a_packed_file(two, tmp_path):
    cache, clips, audio, _ = two
    again = Cache(pack(Cache(pack(cache, tmp_path / "out.h5")), tmp_path / "again.h5"))
    np.testing.assert_array_equal(again.read("audio-toy", clips), cache.read(audio, clips))


def test_pack_over_a_folder_is_refused_before_the_work(two, tmp_path):
    done = []
    with pytest.raises(InputError, match="is a folder; name a file"):
        pack(two[0], tmp_path, overwrite=True, progress=lambda *count: done.append(count))
    assert not done


def test_what_a_killed_pack_left_is_removed_by_the_next(two, tmp_path):
    cache, *_ = two
    out = tmp_path / "out.h5"
    kill = "import os, sys; from affekt.cache import Cache;"
    kill += "from affekt.cache.care import packing as p;"
    kill += "p._check = lambda *_: os.kill(os.getpid(), 9); p.pack(Cache(sys.argv[1]), sys.argv[2])"
    command = [sys.executable, "-c", kill, str(cache.path), str(out)]
    assert subprocess.run(command).returncode == -9
    [left] = tmp_path.glob(".out.h5.*")
    for pid in (os.getpid(), 1):  # of processes that live: they may be at work
        host, _, _ = left.name.rsplit("-", 2)
        (tmp_path / f"{host}-{pid}-12345678").touch()
    pack(cache, out)
    assert not left.exists()
    assert len(list(tmp_path.glob(".out.h5.*"))) == 2


def tampered(group: h5py.Group, what: str) -> str:
    """Change a packed space so that its own digests fit; return what is to be said."""
    if what == "key":
        key = group["key"][()]
        key[0] = b"z" * 64
        group["key"][...] = key
        columns = [group[name][()] for name in Rows.__dataclass_fields__]
        del group.attrs["rows_sha256"]
        set_text(group, "rows_sha256", Rows(*columns).digest())
        return "a key that is not 64 hex digits"
    if what == "spec":
        spec = json.loads(group.attrs["spec"]) | {"numerics_epoch": 2}
        del group.attrs["spec"]
        set_text(group, "spec", Spec(spec).json())
        return "its rows are of"
    label = group["label"][()]
    label[0] = b"joy" if label[0] == b"sad" else b"sad"
    group["label"][...] = label
    return "label.* damaged"


@pytest.mark.parametrize("what", ["key", "spec", "label"])
def test_a_packed_space_that_was_tampered_with(two, tmp_path, what):
    cache, clips, _, text = two
    some = clips.where(text=[f"t{i}" for i in range(20)])
    out = pack(cache, tmp_path / "out.h5", some, [text])
    with h5py.File(out, "r+") as file:
        problem = tampered(file[text.name], what)
    for act in (
        lambda: Cache(out).read("text-toy", some),
        lambda: Cache(out).space("t").row_keys(),
    ):
        with pytest.raises(DamagedError, match=problem):
            act()
    assert not verify(Cache(out)).ok


def test_a_packed_file_from_before_its_columns_had_a_digest(two, tmp_path):
    cache, clips, _, text = two
    some = clips.where(text=[f"t{i}" for i in range(20)])
    out = pack(cache, tmp_path / "out.h5", some, [text])
    with h5py.File(out, "r+") as file:
        del file[text.name].attrs["columns_sha256"]
    np.testing.assert_array_equal(Cache(out).read("text-toy", some), cache.read(text, some))
