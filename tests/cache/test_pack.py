"""pack writes one plain file that reads like the folder."""

from __future__ import annotations

import errno
import json
import shutil

import h5py
import numpy as np
import pytest
from affekt.cache import (
    Cache,
    DamagedError,
    InputError,
    Manifest,
    MissingError,
)
from cache_toy import DIM, LAYERS, make_spec, row_values
from damage import first_value, flip, shards


def test_a_packed_file_reads_like_the_folder(two, tmp_path):
    cache, clips, audio, text = two
    out = cache.pack(tmp_path / "all.h5")
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
    assert packed.verify().ok
    shutil.rmtree(clips.root)  # and without the audio, from the index of clips
    np.testing.assert_array_equal(Cache(out).read("audio-toy", some), cache.read(audio, some))


def test_a_packed_file_is_plain_hdf5_in_the_order_of_the_manifest(two, tmp_path):
    cache, clips, audio, text = two
    some = clips.select(["c9", "c4", "c3"])
    out = cache.pack(tmp_path / "some.h5", some)
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


def test_pack_refuses_before_it_writes(two, tmp_path):
    cache, clips, _, _ = two
    out = tmp_path / "out.h5"
    more = Manifest.from_rows([*clips, {"id": "new", "text": "new"}], root=clips.root)
    with pytest.raises(MissingError, match="new"):
        cache.pack(out, more, ["text-toy"])
    unseen = Manifest.from_rows([*clips, {"id": "far", "path": "far.wav"}], root=clips.root)
    with pytest.raises(MissingError, match="far"):  # nobody knows what it holds
        cache.pack(out, unseen, ["audio-toy"])
    assert not out.exists()
    cache.pack(out)
    with pytest.raises(InputError, match="is there already"):
        cache.pack(out)
    cache.pack(out, overwrite=True)
    packed = Cache(out)
    for act in (lambda: packed.create(make_spec("x")), packed.space("text").writer, packed.repair):
        with pytest.raises(InputError, match="packed and never changes"):
            act()
    assert sorted(path.name for path in tmp_path.glob("*out.h5*")) == ["out.h5"]


def test_C03_pack_with_too_little_room(two, tmp_path, monkeypatch):
    cache, *_ = two
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(OSError, match="make room") as caught:
        cache.pack(tmp_path / "out.h5")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.glob("*out.h5*"))


def test_every_byte_of_a_packed_file(two, tmp_path):
    cache, clips, _audio, text = two
    out = cache.pack(tmp_path / "out.h5", spaces=["text-toy"])
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
    packed = Cache(cache.pack(tmp_path / "out.h5", clips))
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
    packed = Cache(cache.pack(tmp_path / "out.h5", clips)).space("audio-toy")
    layer = packed.memory_map(1)
    assert isinstance(layer, np.memmap)
    np.testing.assert_array_equal(layer.astype(np.float32), cache.read(audio, clips, layers=1))
    with pytest.raises(ValueError, match="read-only"):
        layer[0] = 0
    with pytest.raises(InputError, match="pack"):
        audio.memory_map(1)
