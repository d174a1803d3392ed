"""Files that are not what they seem are refused by name, before a value is read."""

from __future__ import annotations

import io
import os

import h5py
import numpy as np
import pytest
from affekt.cache import Cache, DamagedError
from affekt.cache.care import pack, verify
from affekt.cache.errors import NewerError
from affekt.cache.rows.packed import packed_spaces
from affekt.cache.shards.safe_hdf5 import open_plain, set_text
from affekt.cache.shards.shard import open_shard

from tests.support.cache_toy import DIM, LAYERS, fill, make_clips, make_spec

ROWS = 6


@pytest.fixture
def shard(space):
    """A shard of a stranger, as its datasets and attributes."""
    fill(space, make_clips(ROWS))
    [path] = (space.folder / "shards").iterdir()
    with h5py.File(path) as file:
        fields = {name: file[name][()] for name in file}
        attributes = dict(file.attrs)
    path.unlink()
    return space, fields, attributes


def rebuild(shard, change) -> tuple:
    """Write the shard again with a change made to it."""
    space, fields, attributes = shard
    path = space.folder / "shards" / f"{'0' * 24}.h5"
    with h5py.File(path, "w", libver="v110") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, value in fields.items():
            chunks = (ROWS, 1, DIM) if name == "embeddings" else None
            file.create_dataset(name, data=value, chunks=chunks)
        change(file, path.parent.parent)
    return space, path


def replaced(name, **options):
    def change(file, folder):
        data = file[name][()]
        del file[name]
        file.create_dataset(name, **({"data": data} | options))

    return change


def external_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["embeddings"] = file["embeddings"][()]
    del file["embeddings"]
    file["embeddings"] = h5py.ExternalLink("../other.h5", "embeddings")


def soft_link(file, folder):
    file.move("key", "elsewhere")
    file["key"] = h5py.SoftLink("/elsewhere")


def external_storage(file, folder):
    secret = folder / "secret"
    secret.write_bytes(bytes(ROWS * LAYERS * DIM * 4))
    del file["embeddings"]
    file.create_dataset(
        "embeddings", (ROWS, LAYERS, DIM), "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
    )


def virtual(file, folder):
    layout = h5py.VirtualLayout((ROWS, LAYERS, DIM), "f4")
    layout[:] = h5py.VirtualSource("missing.h5", "x", (ROWS, LAYERS, DIM))
    del file["embeddings"]
    file.create_virtual_dataset("embeddings", layout)


def huge(file, folder):
    del file["embeddings"]
    file.create_dataset("embeddings", (10**7, LAYERS, DIM), "f4", chunks=(1000, 1, DIM))


def unknown_filter(file, folder):
    del file["embeddings"]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((ROWS, 1, DIM))
    plan.set_filter(32_001, h5py.h5z.FLAG_OPTIONAL, (1,))
    extent = h5py.h5s.create_simple((ROWS, LAYERS, DIM))
    h5py.h5d.create(file.id, b"embeddings", h5py.h5t.IEEE_F32LE, extent, plan)


def of_objects(file, folder):
    del file["id"]
    file.create_dataset("id", data=["x"] * ROWS, dtype=h5py.string_dtype())


def newer_spec():
    return make_spec().json().replace('"format":1', '"format":2')


def text_of_any_length(file, folder):
    file.attrs["spec"] = "x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "embeddings is a ExternalLink"),
        (soft_link, "key is a SoftLink"),
        (external_storage, "external storage"),
        (virtual, "virtual dataset"),
        (huge, "claims 960000000 bytes"),
        (unknown_filter, "has a filter"),
        (replaced("embeddings", compression="gzip"), "has a filter"),
        (replaced("embeddings", fletcher32=True), "has a filter"),
        (of_objects, "id has type object"),
        (replaced("frames", dtype="f4"), "frames has type float32"),
        (replaced("key", data=np.zeros(ROWS - 1, "S64")), r"key has shape \(5,\)"),
        (replaced("embeddings", data=np.zeros((ROWS, DIM), "f4")), "embeddings has shape"),
        (replaced("embeddings", data=np.zeros((ROWS, LAYERS, DIM), "f8")), "of a wrong type"),
        (replaced("embeddings", data=np.zeros((ROWS, LAYERS, DIM), "f2")), "of a wrong type"),
        (replaced("embeddings", data=np.zeros((ROWS, LAYERS, 1), "f4")), r"shape \(6, 3, 1\)"),
        (replaced("embeddings", data=np.zeros((ROWS, 1, DIM), "f4")), r"shape \(6, 1, 8\)"),
        (lambda file, _: set_text(file, "spec", make_spec("other").json()), "contains the spec"),
        (lambda file, _: set_text(file, "spec", "{"), "not a spec"),
        (lambda file, _: set_text(file, "spec", newer_spec()), "spec: format 2 is newer"),
        (lambda file, _: set_text(file, "provenance", "[1]"), "expected a JSON object"),
        (lambda file, _: set_text(file, "provenance", "[" * 9999), "provenance is not JSON"),
        (lambda file, _: file.__delitem__("checksum"), "checksum is missing"),
        (lambda file, _: file.attrs.__delitem__("format"), "format is missing"),
        (lambda file, _: file.attrs.__setitem__("format", "1"), "attribute format has type object"),
        (lambda file, _: file.attrs.__setitem__("format", np.arange(9)), "expected one of fixed"),
        (lambda file, _: file.attrs.__setitem__("format", 2), "format 2 is newer than 1"),
        (lambda file, _: file.attrs.__setitem__("format", 0), "of format 0, expected"),
        (lambda file, _: file.attrs.__setitem__("kind", np.bytes_("x")), "is 'x' of format 1"),
        (lambda file, _: file.attrs.__setitem__("spec_key", np.bytes_("f" * 64)), "belongs to the"),
        (lambda file, _: file.create_group("embeddings2"), None),
    ],
)  # fmt: skip
def test_refused_by_name(shard, change, message):
    space, path = rebuild(shard, change)
    if message is None:
        assert len(open_shard(path, space.key).rows) == ROWS
        return
    with pytest.raises(DamagedError, match=message):
        open_shard(path, space.key)
    clips = make_clips(ROWS)
    fresh = Cache(space.cache.path)
    assert fresh.missing("toy", clips) == clips.ids  # its rows count as missing
    assert path.name in fresh.space("toy").index.damaged
    assert not verify(fresh).ok


def test_text_attributes_of_variable_length_are_not_read(shard):
    space, path = rebuild(shard, lambda file, _: file.attrs.__setitem__("provenance", "{}"))
    with pytest.raises(DamagedError, match="provenance has type object"):
        open_shard(path, space.key)


def test_a_newer_shard_or_canary_is_refused_as_newer(shard):
    """By an error of its own, so that repair does not set it aside."""
    space, path = rebuild(shard, lambda file, _: file.attrs.__setitem__("format", 2))
    with pytest.raises(NewerError, match="format 2 is newer than 1: update affekt"):
        open_shard(path, space.key)
    space.set_canary(np.ones((1, LAYERS, DIM)))
    for name, value, error in [("format", 2, NewerError), ("kind", np.bytes_("x"), DamagedError)]:
        with h5py.File(space.folder / "canary.h5", "r+") as file:
            kept = file.attrs[name]
            file.attrs[name] = value
        with pytest.raises(error):
            space.canary()
        with h5py.File(space.folder / "canary.h5", "r+") as file:
            file.attrs[name] = kept


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_named_like_a_shard(space):
    clips = make_clips(2)
    fill(space, clips)
    shards = space.folder / "shards"
    os.mkfifo(shards / f"{'0' * 24}.h5")
    (shards / f"{'1' * 24}.h5").symlink_to("/dev/zero")
    [real] = set(shards.glob("*.h5")) - {shards / f"{i * 24}.h5" for i in "01"}
    elsewhere = real.rename(space.folder / "elsewhere.h5")
    real.symlink_to(elsewhere)
    fresh = Cache(space.cache.path)
    assert fresh.missing("toy", clips) == []  # a link to a regular file is one
    damaged = fresh.space("toy").index.damaged
    assert all("not a regular file" in damaged[f"{i * 24}.h5"] for i in "01")


@pytest.mark.parametrize("junk", [b"", b"x" * 4096, b"\x89HDF\r\n\x1a\n" + b"\0" * 600])
def test_files_of_junk_are_reported_or_ignored(space, junk, tmp_path):
    fill(space, make_clips(2))
    (space.folder / "shards" / f"{'0' * 24}.h5").write_bytes(junk)
    fresh = Cache(space.cache.path)
    assert fresh.missing("toy", make_clips(3)) == ["clip-2"]
    packed = tmp_path / "packed.h5"
    packed.write_bytes(junk)
    with pytest.raises(DamagedError):
        packed_spaces(packed)


def test_packed_spaces_that_are_links(space, tmp_path):
    fill(space, make_clips(2))
    out = pack(space.cache, tmp_path / "packed.h5")
    with h5py.File(out, "r+") as file:
        file["link"] = h5py.SoftLink(f"/{space.name}")
    with pytest.raises(DamagedError, match="link is a link, refused"):
        Cache(out).spaces()
    with h5py.File(out, "r+") as file:
        del file["link"]
        file["link"] = h5py.ExternalLink("x.h5", "/y")
    with pytest.raises(DamagedError, match="link is a link, refused"):
        Cache(out).spaces()


def test_shards_and_packed_files_hold_nothing_of_variable_length(space, tmp_path):
    fill(space, make_clips(3), canary=lambda: np.ones((1, LAYERS, DIM)))
    packed = pack(space.cache, tmp_path / "packed.h5", make_clips(3).with_columns(label="ü"))
    files = [*(space.folder / "shards").iterdir(), space.folder / "canary.h5", packed]
    seen = 0

    def look(name, item):
        nonlocal seen
        types = [item.dtype] if isinstance(item, h5py.Dataset) else []
        types += [item.attrs.get_id(a).dtype for a in item.attrs]
        assert not any(dtype.hasobject for dtype in types), name
        if isinstance(item, h5py.Dataset):
            assert item.id.get_create_plist().get_nfilters() == 0
        seen += len(types)

    for path in files:
        with h5py.File(path) as file:
            look("/", file)
            file.visititems(look)
    assert seen > 30


def test_a_shard_does_not_depend_on_how_h5py_is_configured(space):
    """The image is the same in memory and on disk: what is hashed is what is written."""
    fill(space, make_clips(3))
    [path] = (space.folder / "shards").iterdir()
    with h5py.File(io.BytesIO(path.read_bytes())) as file:
        assert file["embeddings"].shape == (3, LAYERS, DIM)


def test_a_file_merged_away_while_it_is_opened_is_missing_and_not_damaged(tmp_path, monkeypatch):
    path = tmp_path / "shard.h5"
    path.write_bytes(b"")

    def merged_away(*args, **options):
        path.unlink()
        raise OSError("can't retrieve stat info for file")

    monkeypatch.setattr(h5py, "File", merged_away)
    with pytest.raises(FileNotFoundError), open_plain(path):
        pass
