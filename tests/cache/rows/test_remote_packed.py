"""A packed cache in object storage reads as the file does, by requests for what is asked for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from affekt.cache import Cache, DamagedError, InputError, Manifest
from affekt.cache.care import import_space, pack

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
CLIPS, LAYERS, DIM = 60, 5, 4096
ADDRESS = "memory://affekt-remote/packed.h5"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    clips = Manifest.from_rows([{"id": f"c{n}", "text": f"text {n}"} for n in range(CLIPS)])
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal((LAYERS, DIM)) for name in clips.ids}
    cache = Cache(folder / "my.cache")
    import_space(cache, values, clips, "toy")
    path = pack(cache, folder / "packed.h5")
    files = fsspec.filesystem("memory")
    files.pipe_file("/affekt-remote/packed.h5", path.read_bytes())
    yield clips, path
    files.rm("/affekt-remote", recursive=True)


def test_what_is_read_is_what_the_file_holds(packed):
    clips, path = packed
    local, remote = Cache(path), Cache(ADDRESS)
    [space] = remote.spaces()
    name = local.spaces()[0].name
    assert (space.name, len(space), remote.readonly) == (name, CLIPS, True)
    some = clips.select([7, 3, 40])
    np.testing.assert_array_equal(remote.read(name, some), local.read(name, some))
    np.testing.assert_array_equal(space.layer(2), local.space(name).layer(2))
    assert space.row_keys() == local.space(name).row_keys()
    assert space.summary() == local.space(name).summary()
    again = copy.deepcopy(space)
    np.testing.assert_array_equal(again.layer(-1), space.layer(-1))
    with pytest.raises(InputError, match="only a local file can be mapped"):
        space.memory_map(0)
    by_file = Cache(path.as_uri())
    np.testing.assert_array_equal(by_file.space(name).layer(2), space.layer(2))


def test_a_layer_costs_a_layer(packed, monkeypatch):
    clips, path = packed
    space = Cache(ADDRESS).spaces()[0]
    space.index  # noqa: B018 - opened before the bytes are counted
    asked = []
    kind = type(fsspec.filesystem("memory"))
    whole = kind.cat_file
    monkeypatch.setattr(
        kind, "cat_file",
        lambda self, name, start=None, end=None, **options: (
            asked.append(end - start), whole(self, name, start=start, end=end, **options)
        )[1],
    )  # fmt: skip
    space.read_clips(clips, [1])
    assert sum(asked) < 1.1 * path.stat().st_size / LAYERS


def test_damage_and_what_is_not_there(packed):
    clips, path = packed
    image = bytearray(path.read_bytes())
    image[len(image) // 2] ^= 1
    files = fsspec.filesystem("memory")
    files.pipe_file("/affekt-remote/damaged.h5", bytes(image))
    cache = Cache("memory://affekt-remote/damaged.h5")
    with pytest.raises(DamagedError):
        cache.read(cache.spaces()[0], clips)
    with pytest.raises(InputError, match=r"none\.h5 is not a file"):
        Cache("memory://affekt-remote/none.h5")
    with pytest.raises(InputError, match="nosuch"):
        Cache("nosuch://bucket/packed.h5")


def test_packing_into_an_address(packed):
    clips, path = packed
    cache = Cache(path)
    address = "memory://affekt-remote/again.h5"
    pack(cache, address)
    name = cache.spaces()[0].name
    found = Cache(address)
    np.testing.assert_array_equal(found.read(name, clips), cache.read(name, clips))
    with pytest.raises(InputError, match="already exists"):
        pack(cache, address)
    pack(cache, address, overwrite=True)
    fsspec.filesystem("memory").pipe_file("/affekt-remote/theirs.txt", b"a letter")
    with pytest.raises(InputError, match="already exists"):
        pack(cache, "memory://affekt-remote/theirs.txt", overwrite=True)
