"""verify, repair, compact, pack, export, import, merge, and their commands."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

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
    audio_digest,
    row_key,
    seen,
    text_digest,
)
from affekt.cache.cli import cache as commands
from affekt.cache.exchange import export_space, import_space
from affekt.cache.merge import merge
from cache_toy import DIM, LAYERS, expected, fill, make_clips, make_spec, row_values
from click.testing import CliRunner


def shards(space):
    return sorted((space.folder / "shards").iterdir())


def flip(path: Path, position: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def first_value(path: Path) -> int:
    with h5py.File(path) as file:
        return file["embeddings"].id.get_chunk_info(0).byte_offset


def run(*arguments, code: int = 0) -> str:
    result = CliRunner().invoke(commands, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


# verify and repair


def test_verify_counts_and_quick_trusts_what_has_not_changed(cache, space):
    fill(space, make_clips(10), rows=5)
    report = cache.verify()
    assert (report.ok, report.rows, report.shards, report.trusted) == (True, 10, 2, 0)
    assert cache.verify(quick=True).trusted == 2
    flip(shards(space)[0], -9)
    quick = cache.verify(quick=True)
    assert (quick.ok, quick.trusted, len(quick.damage)) == (False, 1, 1)
    assert cache.verify(quick=True).ok is False


def test_repair_moves_damage_aside_and_extract_restores_it(cache, space):
    clips = make_clips(12)
    fill(space, clips, rows=4)
    hurt = shards(space)[1]
    with h5py.File(hurt) as file:
        ids = [id_.decode() for id_ in file["id"]]
    flip(hurt, first_value(hurt) + 3)
    with pytest.raises(DamagedError, match=f"{hurt.name}.*affekt cache repair"):
        Cache(cache.path).read("toy", clips)
    intact = [id_ for id_ in clips.ids if id_ not in ids]
    assert len(Cache(cache.path).read("toy", clips.select(intact))) == 8
    done = cache.repair()
    assert done.moved == [f"spaces/{space.name}/shards/{hurt.name}"]
    assert done.ids == ids
    assert (cache.path / "quarantine" / hurt.name).exists()
    assert space.missing(clips) == ids
    fill(space, clips)
    np.testing.assert_array_equal(cache.read(space, clips), expected(space, clips))
    assert cache.verify().ok
    assert cache.repair().moved == []


def test_the_very_same_bytes_replace_a_damaged_shard_of_their_name(cache, space):
    clips = make_clips(4)
    fill(space, clips)
    [path] = shards(space)
    truth = path.read_bytes()
    flip(path, len(truth) // 2)
    shutil.rmtree(cache.path / "quarantine", ignore_errors=True)
    fresh = Cache(cache.path).space("toy")
    from affekt.cache.digests import hex_bytes

    keys = [row_key(space.key, "text", text_digest(text)) for text in clips["text"]]
    fresh.commit([truth], hex_bytes(keys))
    assert path.read_bytes() == truth
    assert (cache.path / "quarantine" / path.name).exists()


def test_a_shard_that_is_merged_away_while_its_twin_is_stored(space, monkeypatch):
    """Found by the torture: two writers, the same bytes, and a compaction between two calls."""
    from affekt.cache import space as module

    real, calls = module.put, []

    def put(beside, target):
        calls.append(target)
        return False if len(calls) == 1 else real(beside, target)

    monkeypatch.setattr(module, "put", put)
    fill(space, make_clips(2))
    assert len(calls) == 2
    assert len(Cache(space.cache.path).space("toy")) == 2


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_C08_repair_makes_spec_json_anew_from_a_shard(cache, space, damage):
    fill(space, make_clips(2))
    path = space.folder / "spec.json"
    truth = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(truth[:30] if damage == "truncated" else truth.replace(b"toy-1", b"toy-2"))
    done = Cache(cache.path).repair()
    assert done.rebuilt == [f"spaces/{space.name}/spec.json"]
    assert path.read_bytes() == truth
    assert len(Cache(cache.path).space("toy")) == 2


def test_repair_of_a_canary_and_of_an_empty_space(cache, space):
    fill(space, make_clips(1), canary=lambda: np.ones((1, LAYERS, DIM)))
    flip(space.folder / "canary.h5", -5)
    empty = cache.create(make_spec("empty"))
    (empty.folder / "spec.json").write_text("{")
    done = cache.repair()
    assert sorted(done.moved) == sorted(
        [f"spaces/{space.name}/canary.h5", f"spaces/{empty.name}/spec.json"]
    )
    assert cache.create(make_spec("empty")) == empty
    assert space.canary() is None


def test_C14_leftovers_are_ignored_and_cleaned_by_rule(cache, space):
    fill(space, make_clips(2))
    import socket
    import subprocess
    import sys

    tmp = cache.path / "tmp"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    gone = tmp / f"{socket.gethostname()}-{child.pid}-abc"
    alive = tmp / f"{socket.gethostname()}-{os.getpid()}-abc"
    elsewhere = tmp / "other.host-1-abc"
    ancient = tmp / "other.host-2-abc"
    for path in (gone, alive, elsewhere, ancient):
        path.write_bytes(b"half a shard")
    os.utime(ancient, (1, 1))
    report = cache.verify()
    assert report.ok
    assert {f.path for f in report.findings} == {f"tmp/{gone.name}", f"tmp/{ancient.name}"}
    assert sorted(cache.repair().removed) == sorted(f.path for f in report.findings)
    assert alive.exists()
    assert elsewhere.exists()


# compact


def test_compact_keeps_every_row_and_drops_twins(cache, space):
    clips = make_clips(300)
    for start in range(0, 300, 30):
        fill(space, clips.select(range(start, start + 30)), rows=10)
    other = Cache(cache.path).space("toy")
    with other.writer() as writer:  # a second process computed some rows as well
        for clip in list(clips)[:50]:
            key = row_key(space.key, "text", text_digest(clip.text))
            writer.add(key, clip.id, row_values(clip.text), 3, 0.5)
    reader = Cache(cache.path).space("toy")
    np.testing.assert_array_equal(reader.cache.read(reader, clips), expected(space, clips))
    before, after = space.compact()
    assert (before, after) == (31, 1)
    [path] = shards(space)
    with h5py.File(path) as file:
        assert len(file["key"]) == 300
        assert set(file["frames"][()].tolist()) == {3}
    np.testing.assert_array_equal(reader.cache.read(reader, clips), expected(space, clips))
    assert cache.verify().ok
    assert space.compact() == (1, 1)


def test_compact_in_groups_with_twins_across_them(space):
    clips = make_clips(200)
    fill(space, clips, rows=10)
    again = Cache(space.cache.path).space("toy")
    with again.writer(rows=25) as writer:
        for clip in clips:
            key = row_key(space.key, "text", text_digest(clip.text))
            writer.add(key, clip.id, row_values(clip.text))
    from affekt.cache.compact import compact

    size = shards(space)[0].stat().st_size
    compact(space, target=5 * size)
    rows = sum(len(h5py.File(path)["key"]) for path in shards(space))
    assert rows == 200
    np.testing.assert_array_equal(space.cache.read(space, clips), expected(space, clips))


def test_compact_leaves_a_damaged_shard_alone(cache, space):
    clips = make_clips(30)
    fill(space, clips, rows=10)
    hurt = shards(space)[0]
    flip(hurt, first_value(hurt))
    assert Cache(cache.path).space("toy").compact() == (3, 3)
    assert hurt.exists()
    cache.repair()
    assert Cache(cache.path).space("toy").compact() == (2, 1)


def test_C15_an_extract_ends_with_compaction_when_there_are_many(space):
    fill(space, make_clips(70), rows=1)
    assert len(shards(space)) == 1


def test_compact_waits_for_nobody(space):
    import fcntl

    fill(space, make_clips(4), rows=1)
    with (space.cache.path / "tmp" / f"compact-{space.name}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert space.compact() == (4, 4)
    assert space.compact() == (4, 1)


# pack


@pytest.fixture
def two(cache, tmp_path):
    """A cache with a space of audio and one of texts, the clips, and what is stored."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = []
    for i in range(20):
        (folder / f"{i}.wav").write_bytes(b"%d" % i)
        rows.append({"id": f"c{i}", "path": f"{i}.wav", "text": f"t{i}" if i % 4 else ""})
    clips = Manifest.from_rows(rows, root=folder).with_columns(
        label=["joy", "sad"] * 10, speaker=["ü1"] * 20
    )
    audio = cache.create(make_spec("audio-toy", modality="audio", store_dtype="float16"))
    text = cache.create(make_spec("text-toy"))
    with audio.writer(rows=6) as writer:
        for i, clip in enumerate(clips):
            digest = audio_digest(clips.file(i).read_bytes())
            writer.add(row_key(audio.key, "audio", digest), clip.id, row_values(clip.id))
    fill(text, clips.where(text=[f"t{i}" for i in range(20)]))
    cache.record(
        seen(clips, i, audio_digest(clips.file(i).read_bytes()), clips.file(i).stat())
        for i in range(20)
    )
    return cache, clips, audio, text


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


# export, import, merge


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


# The commands


def test_commands(two, tmp_path):
    cache, clips, audio, _text = two
    table = clips.write(clips.root / "clips.csv")
    listed = run("ls", cache.path)
    assert audio.name in listed
    assert "float16" in listed
    assert json.loads(run("ls", cache.path, "--json"))["spaces"][1]["rows"] == 15
    assert "store_dtype: float16" in run("show", cache.path, "audio")
    assert json.loads(run("show", cache.path, "--json"))[0]["key"] == audio.key
    assert "35 rows in" in run("verify", cache.path)
    assert "trusted unread" in run("verify", cache.path, "--quick")
    assert "4 shards before, 1 after" in run("compact", cache.path, audio.name)
    out = tmp_path / "packed.h5"
    assert "bytes" in run("pack", cache.path, out, "--manifest", table, "--space", "audio-toy")
    assert audio.name in run("ls", out)
    run(
        "export",
        cache.path,
        "audio-toy",
        tmp_path / "a.npz",
        "--manifest",
        table,
        "--layers",
        "0,-1",
    )
    run(
        "export",
        cache.path,
        "audio-toy",
        tmp_path / "b.npz",
        "--manifest",
        table,
        "--layers",
        "x",
        code=2,
    )
    assert "20 rows" in run(
        "import", tmp_path / "new", tmp_path / "a.npz", "--manifest", table, "--name", "theirs"
    )
    assert "shards copied" in run("merge", cache.path, tmp_path / "new", "-o", tmp_path / "merged")
    assert len(Cache(tmp_path / "merged").spaces()) == 3
    (tmp_path / "empty").mkdir()
    assert isinstance(
        CliRunner().invoke(commands, ["ls", str(tmp_path / "empty")]).exception, InputError
    )
    flip(shards(audio)[0], first_value(shards(audio)[0]))
    assert "damaged: spaces/audio-toy" in run("verify", cache.path, code=1)
    assert (
        json.loads(run("verify", cache.path, "--json", code=1).split("set the")[0])["ok"] is False
    )
    assert "20 rows to extract again" in run("repair", cache.path)
    assert "no damage" in run("verify", cache.path)
