"""export, import and merge."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import (
    Cache,
    CanaryError,
    DamagedError,
    InputError,
    Manifest,
)
from affekt.cache.exchange import export_space, import_space
from affekt.cache.merge import merge
from cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec
from damage import first_value, flip, shards


def test_export_and_import_keep_every_value(two, tmp_path):
    cache, clips, _audio, text = two
    some = clips.select(["c9", "c5", "c3"])
    truth = cache.read(text, some)
    export_space(text, some, tmp_path / "x.npz")
    export_space(text, some, tmp_path / "x.csv", -1)
    export_space(text, some, tmp_path / "x", [0, 2])
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["embeddings"], truth)
        assert file["ids"].tolist() == some.ids
    np.testing.assert_array_equal(np.load(tmp_path / "x" / "layer2.npy"), truth[:, 2])
    assert json.loads((tmp_path / "x" / "ids.json").read_text()) == some.ids
    for source, rows in ((tmp_path / "x.npz", truth), (tmp_path / "x.csv", truth[:, -1:])):
        space, absent = import_space(cache, source, some, "back", "text")
        assert absent == []
        np.testing.assert_array_equal(cache.read(space, some), rows)
        assert space.spec.fields["encoder"]["imported"] is True
        assert space.spec.fields["encoder"]["name"] == "imported/back"
    with pytest.raises(InputError, match="is there already"):
        export_space(text, some, tmp_path / "x.npz")


def test_import_of_a_folder_of_npy_and_of_a_frame(two, tmp_path):
    pandas = pytest.importorskip("pandas")
    cache, clips, _, _ = two
    folder = tmp_path / "npy"
    folder.mkdir()
    for i in range(0, 20, 2):
        np.save(folder / f"c{i}.npy", np.full(4, i, np.float64))
    space, absent = import_space(cache, folder, clips, "Theirs")
    assert len(space) == 10
    assert absent == [f"c{i}" for i in range(1, 20, 2)]
    np.testing.assert_array_equal(
        cache.read(space, clips.select(["c4"])), np.full((1, 1, 4), 4, np.float32)
    )
    assert import_space(cache, folder, clips, "Theirs")[0] == space
    frame = pandas.DataFrame({"id": ["c1", "c2"], "a": [1.5, 2.5], "b": [3, 4]})
    space, _ = import_space(cache, frame, clips.select(["c1", "c2"]), "frame")
    np.testing.assert_array_equal(cache.read(space, clips.select(["c2"]))[0, 0], [2.5, 4])


def test_import_refuses_what_it_cannot_place(two, tmp_path):
    cache, clips, _, _ = two
    with pytest.raises(InputError, match="no clip has values"):
        import_space(cache, {"other": np.ones(3)}, clips, "x")
    with pytest.raises(InputError, match="different shapes"):
        import_space(cache, {"c1": np.ones(3), "c2": np.ones(4)}, clips, "x")
    with pytest.raises(InputError, match=r"expected numbers"):
        import_space(cache, {"c1": np.array(["a"])}, clips, "x")
    np.save(tmp_path / "c1.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not an array of numbers"):
        import_space(cache, tmp_path, clips, "x")
    far = Manifest.from_rows([{"id": "far", "path": "far.wav"}], root=clips.root)
    with pytest.raises(InputError, match="not at hand"):
        import_space(cache, {"far": np.ones(3)}, far, "x")


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_import_refuses_what_cannot_be_stored(two, value):
    cache, clips, _, _ = two
    before = cache.spaces()
    with pytest.raises(InputError, match="clip 'c2': NaN, infinity"):
        import_space(cache, {"c1": np.ones(3), "c2": np.array([1, value, 1])}, clips, "x")
    assert cache.spaces() == before


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
    assert out.verify().ok


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
