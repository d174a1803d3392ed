"""Export and import."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import warnings
import zipfile

import numpy as np
import pytest
from affekt.cache import (
    Cache,
    InputError,
    Manifest,
)
from affekt.cache.care.import_export import export_space, import_space

from tests.support.cache_toy import make_clips


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
    with pytest.raises(InputError, match="already exists"):
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
    silent = Manifest.from_rows([{"id": "c1", "path": "c1.wav"}])
    with pytest.raises(InputError, match=r"text of 1 clip .*fill in .*`modality='audio'`"):
        import_space(cache, {"c1": np.ones(3)}, silent, "x", "text")
    with pytest.raises(InputError, match=r"\(1, 3\) of clip 'c1', \(1, 4\) of clip 'c2'"):
        import_space(cache, {"c1": np.ones(3), "c2": np.ones(4)}, clips, "x")
    with pytest.raises(InputError, match=r"expected numbers"):
        import_space(cache, {"c1": np.array(["a"])}, clips, "x")
    np.save(tmp_path / "c1.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not an array of numbers"):
        import_space(cache, tmp_path, clips, "x")
    far = Manifest.from_rows([{"id": "far", "path": "far.wav"}], root=clips.root)
    with pytest.raises(InputError, match="not available"):
        import_space(cache, {"far": np.ones(3)}, far, "x")


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_import_refuses_what_cannot_be_stored(two, value):
    cache, clips, _, _ = two
    before = cache.spaces()
    with pytest.raises(InputError, match="clip 'c2': NaN, infinity"):
        import_space(cache, {"c1": np.ones(3), "c2": np.array([1, value, 1])}, clips, "x")
    assert cache.spaces() == before


def two_texts(a: str = "good", b: str = "bad") -> Manifest:
    return Manifest.from_rows([{"id": "a", "text": a}, {"id": "b", "text": b}])


def test_what_import_cannot_read_is_said_with_the_remedy(cache, tmp_path):
    np.save(tmp_path / "all.npy", np.ones((2, 3)))
    with pytest.raises(InputError, match=r"np\.savez\('all\.npz', ids="):
        import_space(cache, tmp_path / "all.npy", two_texts(), "x")
    np.savez(tmp_path / "all.npz", X=np.ones((2, 3)))
    with pytest.raises(InputError, match=r"ids are a, b; .*npz are X\. .* an array ids next to an"):
        import_space(cache, tmp_path / "all.npz", two_texts(), "x")
    (tmp_path / "all.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"dict of tensors: np\.savez\('all\.npz', \*\*\{id: one"):
        import_space(cache, tmp_path / "all.pt", two_texts(), "x")
    (tmp_path / "pt").mkdir()
    (tmp_path / "pt" / "a.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"no .npy among its 1 file \(a\.pt\).*torch\.load"):
        import_space(cache, tmp_path / "pt", two_texts(), "x")


def test_several_sources_are_one_space(two, tmp_path):
    cache, clips, _, _ = two
    np.savez(tmp_path / "train.npz", ids=np.array(["c1", "c2"]), embeddings=np.ones((2, 3)))
    np.savez(tmp_path / "test.npz", c3=np.zeros(3))
    both = [tmp_path / "train.npz", tmp_path / "test.npz"]
    space, absent = import_space(cache, both, clips.select(["c1", "c2", "c3", "c4"]), "both")
    assert (len(space), absent) == (3, ["c4"])
    whole = {"c1": np.ones(3), "c2": np.ones(3), "c3": np.zeros(3)}
    assert import_space(cache, whole, clips, "both")[0] == space
    with pytest.raises(InputError, match=r"clip 'c3' is in .*test\.npz and in the mapping; keep"):
        import_space(cache, [both[1], {"c3": np.ones(3)}], clips, "both")


def test_ids_of_a_table_are_in_the_column_that_the_manifest_has_them_from(cache, tmp_path):
    (tmp_path / "clips.csv").write_text("utt,text\na,good\nb,bad\n")
    clips = Manifest.read(tmp_path / "clips.csv")
    (tmp_path / "x.csv").write_text("utt,f0,f1\nb,1,2\na,3,4\n")
    space, absent = import_space(cache, tmp_path / "x.csv", clips, "x")
    assert absent == []
    assert cache.read(space, clips, 0).tolist() == [[3, 4], [1, 2]]
    (tmp_path / "x.csv").write_text("name,f0\nb,1\n")
    with pytest.raises(InputError, match="no column id or utt; it has name, f0; name the column"):
        import_space(cache, tmp_path / "x.csv", clips, "x")


def test_ids_that_are_paths_are_found_in_a_column_of_paths(cache, tmp_path):
    (tmp_path / "clips.csv").write_text("file,transcript\na.wav,good\nb.wav,bad\n")
    clips = Manifest.read(tmp_path / "clips.csv")
    (tmp_path / "x.csv").write_text("file,f0\nb.wav,1\na.wav,3\n")
    space, _ = import_space(cache, tmp_path / "x.csv", clips, "x", "text")
    assert cache.read(space, clips, 0).tolist() == [[3], [1]]


def test_import_refuses_one_content_with_two_values(cache):
    same = two_texts("good", "good")
    with pytest.raises(InputError, match="clips 'a' and 'b' have the same text but different"):
        import_space(cache, {"a": np.ones(3), "b": np.zeros(3)}, same, "x")
    assert not cache.path.exists()
    for b in (np.ones(3), np.ones(3) + 1e-6):  # the last digits are those of a batch
        space, _ = import_space(cache, {"a": np.ones(3), "b": b}, same, "x")
        assert len(space) == 1
        assert space.read_clips(same, [0]).tolist() == [[[1.0] * 3]] * 2


def test_import_again_with_a_manifest_that_means_other_clips(cache):
    values = {"a": np.ones(3), "b": np.zeros(3)}
    space, _ = import_space(cache, values, two_texts(), "x")
    with pytest.raises(
        InputError, match=r"clip 'a': its text was imported into x-.* different values"
    ):
        import_space(cache, values, two_texts("bad", "good"), "x")
    np.testing.assert_array_equal(cache.read(space, two_texts(), 0)[:, 0], [1, 0])


def csv_file(folder, text: str):
    (folder / "x.csv").write_text(text)
    return folder / "x.csv"


def npz_file(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


def frame(_folder, *columns: str):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame([["a", 1.0], ["a", 9.0], ["b", 2.0]], columns=columns)


def npz_with_members(folder, *names: str):
    with zipfile.ZipFile(folder / "x.npz", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that appears twice
        for name in names:
            image = io.BytesIO()
            np.save(image, np.ones(3))
            file.writestr(name, image.getvalue() if name.endswith(".npy") else b"hello")
    return folder / "x.npz"


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])
    return path


def npy_called(folder, name: str, array=None):
    """A file of one array, or of several, whatever its name says."""
    with (folder / name).open("wb") as stream:
        np.savez(stream, x=np.ones(3)) if array is None else np.save(stream, array)
    return folder / name if name.endswith(".npz") else folder


def npy_that_claims_much(folder):
    head = b'{"descr": "<f4", "fortran_order": False, "shape": (99999999999999,), }'
    (folder / "a.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + head.ljust(117) + b"\n")
    return folder


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda f: csv_file(f, "id,v\na,1\na,9\nb,2\n"), "id a appears more than once"),
        (
            lambda f: npz_file(f, ids=["a", "a"], embeddings=np.eye(2)),
            "id a appears more than once",
        ),
        (lambda f: frame(f, "id", "v"), "id a appears more than once"),
        (lambda f: frame(f, "id", "id"), "column id appears more than once"),
        (lambda f: npz_with_members(f, "a.npy", "a.npy"), "array a appears more than once"),
        (lambda f: cut(npz_file(f, a=np.ones(3))), "x.npz: not an array of numbers"),
        (lambda f: npy_called(f, "x.npz", np.ones(3)), "x.npz: holds one array"),
        (lambda f: npz_with_members(f, "a", "b"), "x.npz: its entry 'a' is not an array"),
        (lambda f: npy_called(f, "a.npy"), r"a.npy: holds several arrays"),
        (npy_that_claims_much, "a.npy: not an array of numbers"),
        (lambda f: npz_file(f, ids=[b"\xff"], embeddings=np.ones((1, 3))), "not UTF-8"),
        (lambda f: npz_file(f, ids=[["a", "b"]], embeddings=np.ones((1, 3))), r"ids is .*\(1, 2\)"),
        (lambda f: npz_file(f, ids=[1.5], embeddings=np.ones((1, 3))), "ids is .* float64"),
        (lambda f: npz_file(f, ids=["a"], embeddings=np.float32(3)), r"x.npz: .*shape \(\) for 1"),
        (lambda f: csv_file(f, "id\na\nb\n"), "x.csv: only a column id"),
        (
            lambda f: csv_file(f, "id,v\na,1\nb,x\n"),
            "x.csv: column v has values that are not numbers: 'x' of the clip 'b'",
        ),
        (
            lambda f: csv_file(f, 'id,v\na,"[1, 2]"\nb,[1 2]\n'),
            r"x.csv: column v has values that are not numbers: '\[1 2\]' of the clip 'b'",
        ),
        (
            lambda f: npz_file(f, ids=np.array(["a"], object), embeddings=np.ones((1, 3))),
            "save ids as text",
        ),
        (lambda _: {"a": [[1, 2], [3]]}, "clip 'a': not an array of numbers"),
        (lambda _: {"a": np.ma.array([1.0, 2.0], mask=[False, True])}, "clip 'a': .* masked"),
        (lambda _: 5, "the source is 5, expected a path"),
    ],
)
def test_import_says_what_is_wrong_with_a_source(cache, tmp_path, make, problem):
    with pytest.raises(InputError, match=problem):
        import_space(cache, make(tmp_path), two_texts(), "x")
    assert not cache.path.exists()


def test_import_of_a_column_of_lists(cache, tmp_path):
    pandas = pytest.importorskip("pandas")
    rng, clips = np.random.default_rng(0), two_texts()
    for layers in (1, 3):
        vectors = rng.standard_normal((2, layers, 4)).astype(np.float32)
        lists = [vector[0] if layers == 1 else vector.tolist() for vector in vectors]
        frame = pandas.DataFrame({"id": clips.ids, "embedding": lists})
        frame.to_parquet(tmp_path / "x.parquet")
        frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True, double_precision=15)
        for source in (tmp_path / "x.parquet", tmp_path / "x.jsonl", frame):
            space, gone = import_space(cache, source, clips, f"of-{layers}-{type(source).__name__}")
            assert not gone
            np.testing.assert_array_equal(cache.read(space, clips), vectors)
    space, gone = import_space(cache, frame.assign(embedding=[lists[0], None]), clips, "one")
    assert gone == clips.ids[1:]


def test_import_of_an_id_too_long_for_the_name_of_a_file(cache, tmp_path):
    np.save(tmp_path / "b.npy", np.ones(3))
    clips = Manifest.from_rows([{"id": "a" * 252, "text": "good"}, {"id": "b", "text": "bad"}])
    assert import_space(cache, tmp_path, clips, "x")[1] == ["a" * 252]


def test_import_records_the_file_that_it_read(cache, tmp_path, monkeypatch):
    """One that takes its place right afterwards, alike in size and time, is another clip."""
    for name, data in (("a.wav", b"OLD!"), ("new", b"NEW!")):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (1e9, 1e9))
    clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}], root=tmp_path)
    create = Cache.create

    def create_late(self, *args):
        (tmp_path / "new").replace(tmp_path / "a.wav")
        return create(self, *args)

    monkeypatch.setattr(Cache, "create", create_late)
    import_space(cache, {"a": np.ones(3)}, clips, "x")
    again = Cache(cache.path)
    assert again.digests(clips, "audio") == again.digests(clips, "audio", rehash=True)
    assert again.missing("x", clips) == ["a"]


def test_import_does_not_trust_the_time_of_a_file_that_was_just_written(
    cache, tmp_path, monkeypatch
):
    """However long the import takes: it may have changed again within its time stamp."""
    (tmp_path / "a.wav").write_bytes(b"OLD!")
    clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}], root=tmp_path)
    create = Cache.create

    def create_slowly(self, *args):
        now = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: now + 10**11)
        return create(self, *args)

    monkeypatch.setattr(Cache, "create", create_slowly)
    import_space(cache, {"a": np.ones(3)}, clips, "x")
    line = json.loads(next((cache.path / "clips").iterdir()).read_text())
    assert line["mtime_ns"] == 0


@pytest.mark.parametrize("layers", [[], np.array(0), "0", 1.5])
def test_export_of_no_layers(two, tmp_path, layers):
    _, clips, audio, _ = two
    with pytest.raises(InputError, match="`layers` is"):
        export_space(audio, clips, tmp_path / "x.csv", layers)
    assert not list(tmp_path.glob("*x.csv*"))


def test_export_says_where_it_cannot_write(two, tmp_path):
    _, clips, audio, _ = two
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        export_space(audio, clips, tmp_path / "no" / "x.csv")


def test_what_a_killed_export_left_is_removed_by_the_next(two, tmp_path):
    _, clips, audio, _ = two
    for name in ("x", "x.npz"):
        out = tmp_path / name
        kill = "import os, sys, pathlib; from affekt.cache import Cache, Manifest;"
        kill += "from affekt.cache.care import import_export as exchange;"
        kill += "c, m = Cache(sys.argv[1]), Manifest.read(sys.argv[2]);"
        kill += "pathlib.Path.rename = lambda *_: os.kill(os.getpid(), 9);"
        kill += "exchange.export_space(c.space('audio'), m, pathlib.Path(sys.argv[3]))"
        table = clips.write(clips.root / "clips.csv")
        command = [sys.executable, "-c", kill, audio.cache.path, table, out]
        assert subprocess.run([str(part) for part in command]).returncode == -9
        assert [path.name for path in tmp_path.glob(f".{name}.*")]
        (tmp_path / f".{name}.elsewhere-1-12345678").touch()  # of another host: it may be at work
        export_space(audio, clips, out)
        left = {path.name for path in tmp_path.glob(f".{name}.*")}
        assert left == {f".{name}.elsewhere-1-12345678"}


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", ids=np.array(["a"]), embeddings=np.zeros((1, 20 << 20)))
    with pytest.raises(InputError, match="not an array of numbers: it unpacks to 160 MiB"):
        import_space(Cache(tmp_path / "c"), tmp_path / "x.npz", make_clips(2), "theirs")
