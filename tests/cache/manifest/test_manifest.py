from __future__ import annotations

import json
import os
import pickle  # noqa: TID251 - to show that it works
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Clip, InputError, Manifest
from hypothesis import HealthCheck, given, settings, strategies as st


def write(folder: Path, text: str | bytes, name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_every_column_of_a_csv(tmp_path):
    path = write(
        tmp_path,
        "id,path,start,end,text,label,speaker,language,split,dataset,mood\n"
        "a,x/a.wav,0.5,2,hello,joy,s1,eng,train,d,blue\n"
        "b,b.wav,,,,,,,,,\n",
    )
    clips = Manifest.read(path)
    assert list(clips) == [
        Clip("a", "x/a.wav", 0.5, 2.0, "hello", "joy", "s1", "eng", "train", "d"),
        Clip("b", "b.wav"),
    ]
    assert list(clips["mood"]) == ["blue", ""]
    assert clips["start"].dtype == np.float64
    assert np.isnan(clips["start"][1])
    assert clips.file(0) == tmp_path.resolve() / "x" / "a.wav"
    assert (clips.line(1), clips.place(1)) == (3, f"{path} line 3")


def test_frame_and_parquet_read_the_same_as_csv(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = write(tmp_path, "id,path,start,label\n007,a.wav,1.5,NA\nx,b.wav,,joy\n")
    frame = pandas.DataFrame(
        {
            "id": ["007", "x"],
            "path": ["a.wav", "b.wav"],
            "start": [1.5, None],
            "label": ["NA", "joy"],
        }
    )
    frame.to_parquet(tmp_path / "clips.parquet")
    expected = Manifest.read(path)
    for clips in (
        Manifest.read(tmp_path / "clips.parquet"),
        Manifest.from_frame(frame, root=tmp_path),
    ):
        assert list(clips) == list(expected)
        assert clips.hash == expected.hash


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("file", "path"), ("file_name", "path"), ("filename", "path"), ("wav", "path"),
        ("audio", "path"), ("Path", "path"), ("emo", "label"), ("emotion", "label"),
        ("EMOTION", "label"), ("lang", "language"), ("spk", "speaker"), ("speaker_id", "speaker"),
        ("transcript", "text"), ("partition", "split"), ("corpus", "dataset"),
        ("tweet", "text"), ("Review", "text"), ("sentiment", "label"), ("polarity", "label"),
    ],
)  # fmt: skip
def test_columns_are_known_by_other_names(tmp_path, header, ours):
    value = "a.wav" if ours == "path" else "v"
    other = "text" if ours == "path" else "path"
    clips = Manifest.read(write(tmp_path, f"id,{header},{other}\na,{value},\nb,{value}2,q\n"))
    assert clips[ours][0] == value


def test_our_own_name_wins_and_two_aliases_are_refused(tmp_path):
    clips = Manifest.read(write(tmp_path, "id,path,file,text,utterance_id\na,p.wav,f.wav,t,u\n"))
    assert (clips["path"][0], clips["file"][0], clips.ids) == ("p.wav", "f.wav", ["a"])
    with pytest.raises(InputError, match="file and wav could all be the path"):
        Manifest.read(write(tmp_path, "id,file,wav\na,b,c\n"))


def test_times_under_other_names_count_only_if_they_are_seconds(tmp_path):
    clips = Manifest.read(write(tmp_path, "id,path,start_time,end_time\na,a.wav,1,2.5\n"))
    assert (clips.clip(0).start, clips.clip(0).end) == (1.0, 2.5)
    clips = Manifest.read(write(tmp_path, 'id,text,start_time\na,t,"0:16:16,059"\n'))
    assert clips.clip(0).start is None
    assert clips["start_time"][0] == "0:16:16,059"


def test_without_ids_the_path_is_the_id(tmp_path):
    clips = Manifest.read(write(tmp_path, "file,emotion\na.wav,joy\nb.wav,sad\n"))
    assert clips.ids == ["a.wav", "b.wav"]
    clips = Manifest.read(write(tmp_path, "file,start,end\na.wav,0,1\na.wav,1,2.5\nc.wav,,\n"))
    assert clips.ids == ["a.wav#0-1", "a.wav#1-2.5", "c.wav"]


def test_missing_unreadable_or_a_folder(tmp_path):
    write(tmp_path, "id,path\na,b\n", "clips.csv")
    with pytest.raises(InputError, match=r"no such file.*Did you mean 'clips\.csv'"):
        Manifest.read(tmp_path / "clip.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        Manifest.read(tmp_path / "folder.csv")
    with pytest.raises(InputError, match="expected a table"):
        Manifest.read(write(tmp_path, "x", "clips.xlsx"))


@pytest.mark.parametrize("text", ["", "id,path\n", "id,path\r\n\r\n"])
def test_empty_or_header_only(tmp_path, text):
    with pytest.raises(InputError, match="0 rows"):
        Manifest.read(write(tmp_path, text))


def test_column_missing_or_misspelt(tmp_path):
    with pytest.raises(InputError, match=r"no column path or text; it has id, pth.*'pth'"):
        Manifest.read(write(tmp_path, "id,pth\na,b\n"))
    with pytest.raises(InputError, match=r"no column id; it has idd, text.*'idd'"):
        Manifest.read(write(tmp_path, "idd,text\na,b\n"))
    assert Manifest.read(write(tmp_path, "idx,sentence\n7,b\n8,b\n")).ids == ["7", "8"]
    clips = Manifest.from_rows([{"id": "a", "text": "b"}])
    with pytest.raises(InputError, match=r"no column 'speeker'.*Did you mean 'speaker'"):
        clips["speeker"]


def test_duplicate_id_same_content(tmp_path):
    path = write(tmp_path, "id,path\na,x\nb,y\na,x\n")
    with pytest.raises(InputError, match=r"clips\.csv line 4: id 'a' repeats line 2"):
        Manifest.read(path)
    assert Manifest.read(path, dedupe=True).ids == ["a", "b"]


def test_duplicate_id_different_content(tmp_path):
    path = write(tmp_path, "id,path\na,x\na,y\n")
    for dedupe in (False, True):
        with pytest.raises(InputError, match=r"line 3: id 'a' was used in line 2 .*path differ"):
            Manifest.read(path, dedupe=dedupe)


@pytest.mark.parametrize("id_", ["a/b", "..", ".", "x\ny", "🙂", "007", "1", "1.0", " a ", "nan"])
def test_ids_are_exact_text(tmp_path, id_):
    clips = Manifest.from_rows([{"id": id_, "text": "t"}, {"id": "other", "text": "t"}])
    for name in ("clips.csv", "clips.tsv", "clips.jsonl"):
        assert Manifest.read(clips.write(tmp_path / name)).ids == [id_, "other"]


@pytest.mark.parametrize(
    ("id_", "message"),
    [("", "blank"), ("a\0b", "NUL"), ("x" * 256, "256 bytes"), ("ü" * 128, "256 bytes"),
     ("\ud800", "Unicode")],
)  # fmt: skip
def test_ids_that_cannot_be(id_, message):
    with pytest.raises(InputError, match=message):
        Manifest.from_rows([{"id": id_, "text": "t"}])
    assert Manifest.from_rows([{"id": "x" * 255, "text": "t"}]).ids == ["x" * 255]


def test_byte_order_mark_and_line_ends(tmp_path):
    text = "\ufeffid,path\r\na,b.wav\r\n\r\nc,d.wav\r\n"
    clips = Manifest.read(write(tmp_path, text))
    assert clips.columns == ("id", "path")
    assert [clips.line(i) for i in range(2)] == [2, 4]


def test_bad_bytes_name_the_line(tmp_path):
    path = write(tmp_path, b"id,text\na,ok\nb,caf\xe9\n")
    with pytest.raises(InputError, match=r"clips\.csv line 3: byte 0xe9 at column 6 is not UTF-8"):
        Manifest.read(path)


def test_mixed_separators_name_the_line(tmp_path):
    with pytest.raises(InputError, match="line 3: 1 field, expected 2"):
        Manifest.read(write(tmp_path, "id,path\na,b\nc;d\n"))
    with pytest.raises(InputError, match="quotation mark"):
        Manifest.read(write(tmp_path, 'id,path\na,b\nc,"d\n'))


def test_a_quoted_line_break_does_not_shift_the_lines(tmp_path):
    clips = Manifest.read(write(tmp_path, 'id,text\na,"x\ny"\nb,z\n'))
    assert list(clips["text"]) == ["x\ny", "z"]
    assert [clips.line(i) for i in range(2)] == [2, 4]


@pytest.mark.parametrize("written", ["/etc/passwd", "../x.wav", "a/../../x.wav", "C:\\x.wav"])
def test_paths_that_leave_the_root(tmp_path, written):
    path = write(tmp_path, f"id,path\na,{written}\n")
    with pytest.raises(
        InputError, match=r"clips\.csv line 2: path .* is outside of the manifest's"
    ):
        Manifest.read(path, root=tmp_path)
    assert len(Manifest.read(path, root=tmp_path, allow_outside=True)) == 1
    assert len(Manifest.read(path)) == 1  # a table of one's own may name any file


def test_addresses_links_pipes_devices(tmp_path):
    with pytest.raises(InputError, match="is a URL"):
        Manifest.from_rows([{"id": "a", "path": "https://x/y.wav"}], allow_outside=True)
    inside = tmp_path / "in"
    inside.mkdir()
    outside = write(tmp_path, b"x", "secret.wav")
    (inside / "link.wav").symlink_to(outside)
    (inside / "folder").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe.wav")
    (inside / "null.wav").symlink_to("/dev/null")
    (inside / "sub").mkdir()
    write(inside, b"x", "fine.wav")
    (inside / "near.wav").symlink_to(inside / "fine.wav")

    def file(name: str, **options) -> Path:
        rows = [{"id": "a", "path": name}]
        return Manifest.from_rows(rows, root=inside, **options).file(0)

    for name in ("link.wav", "folder/secret.wav"):
        with pytest.raises(InputError, match="leaves the root"):
            file(name)
        assert file(name, allow_outside=True) == outside.resolve()
    for name in ("pipe.wav", "sub"):  # who reads them says what is wrong with them
        assert file(name) == (inside / name).resolve()
    assert file("null.wav", allow_outside=True) == Path("/dev/null")
    assert file("near.wav") == (inside / "fine.wav").resolve()
    assert file("not-there.wav").name == "not-there.wav"


def test_times(tmp_path):
    with pytest.raises(InputError, match=r"line 2: start is 'abc', expected seconds"):
        Manifest.read(write(tmp_path, "id,path,start\na,b,abc\n"))
    clips = Manifest.read(write(tmp_path, "id,path,start,end\na,b,nan,inf\nc,d,-1,\n"))
    assert (clips.clip(0).start, clips.clip(0).end) == (-np.inf, -np.inf)  # for extract to refuse
    assert (clips.clip(1).start, clips.clip(1).end) == (-1.0, None)


def test_a_million_rows(tmp_path):
    path = tmp_path / "clips.csv"
    with path.open("w") as stream:
        stream.write("id,path,text,label,language,speaker,split,dataset\n")
        stream.writelines(
            f"clip{i:08d},wav/{i % 997}/{i:08d}.wav,some words {i},joy,eng,s{i % 500},train,big\n"
            for i in range(1_000_000)
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    clips = Manifest.read(path)
    seconds = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert len(clips) == 1_000_000
    assert clips.clip(999_999).speaker == "s499"
    assert seconds < 10
    assert grown < 800  # MB; the text itself is 90 MB


def test_one_row(tmp_path):
    assert len(Manifest.read(write(tmp_path, "id,text\na,b"))) == 1


def test_a_manifest_is_a_snapshot(tmp_path):
    path = write(tmp_path, "id,text\na,b\n")
    clips = Manifest.read(path)
    write(tmp_path, "id,text\nz,y\n")
    assert clips.ids == ["a"]


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "N/A", "NULL", "None", "null", "#N/A", "0"])
def test_words_that_readers_take_for_nothing(tmp_path, word):
    for name, text in (
        ("clips.csv", f"id,text,label\n{word},{word},{word}\nz,q,r\n"),
        ("clips.jsonl", json.dumps({"id": word, "text": word, "label": word}) + "\n"),
    ):
        clip = Manifest.read(write(tmp_path, text, name)).clip(0)
        assert (clip.id, clip.text, clip.label) == (word, word, word)


def test_jsonl_says_which_line_is_wrong(tmp_path):
    first = '{"id": "a", "text": "t"}\n'
    for second, message in (
        ("{oops\n", r"line 2: not JSON.*an object in each line.* in one piece is \.json"),
        ("[1]\n", "line 2: expected an object"),
        ('{"id": "b", "txt": "t"}\n', "line 2: name 'txt' is not in the first line.*'text'"),
    ):
        with pytest.raises(InputError, match=message):
            Manifest.read(write(tmp_path, first + second, "clips.jsonl"))


def test_select_where_and_columns():
    clips = Manifest.from_rows(
        [{"id": str(i), "text": f"t{i}", "speaker": f"s{i % 2}"} for i in range(5)]
    )
    assert clips.select(["3", "0", "3"]).ids == ["3", "0", "3"]
    assert clips.select([1, -1]).ids == ["1", "4"]
    assert clips.select(np.array([True, False, False, False, True])).ids == ["0", "4"]
    assert clips.select([]).ids == []
    assert clips.where(speaker="s1").ids == ["1", "3"]
    assert clips.where(speaker={"s0"}, id=["2", "3"]).ids == ["2"]
    assert list(clips.with_columns(fold=range(5), dataset="d")["fold"]) == list("01234")
    assert clips.where(speaker="s1").line(1) == 4
    for bad in (["9"], [5], [True], "1", [1.5], 0, slice(2)):
        with pytest.raises(InputError):
            clips.select(bad)
    for bad, named in (([-9, 0], "-9"), ([0, 5], "5")):
        with pytest.raises(InputError, match=f"position {named} is not among 5 clips"):
            clips.select(bad)
    with pytest.raises(InputError):
        clips.with_columns(fold=[1])
    with pytest.raises(InputError, match=r"no column 'gender'; it has id, text, speaker\.$"):
        clips["gender"]
    for key in (0, True, [0, 1], ["1"], [], np.ones((5, 1), bool)):
        with pytest.raises(InputError, match=r"clips\.select takes ids or positions"):
            clips[key]


def test_a_mask_that_names_its_ids_is_taken_by_them():
    pandas = pytest.importorskip("pandas")
    clips = Manifest.from_rows([{"id": i, "text": "t"} for i in (10, 11, 12)])
    for ids in ([12, 10, 11], ["12", "10", "11"]):
        for kind in ("bool", "boolean", "object"):
            mask = pandas.Series([True, False, False], index=ids, dtype=kind)
            assert clips[mask].ids == clips.select(mask).ids == ["12"]
    other = Manifest.from_rows([{"id": i, "text": "t"} for i in "201"])  # numbers without names
    assert other[pandas.Series([True, False, False])].ids == ["2"]
    mask = pandas.Series([True, None, False], dtype="boolean")  # in the order of the clips
    assert clips[mask.fillna(False)].ids == ["10"]
    with pytest.raises(InputError, match="1 values of the mask are not true or false"):
        clips[mask]


def test_values_given_from_python_are_those_of_a_table():
    pandas = pytest.importorskip("pandas")
    rows = [{"id": f"c{i}", "text": "t", "speaker": i % 3, "seen": i < 2} for i in range(4)]
    clips = Manifest.from_rows(rows)
    assert clips.where(speaker=1).ids == ["c1"]
    assert clips.where(speaker=(i for i in (0, 2)), seen=False).ids == ["c2", "c3"]
    more = clips.with_columns(
        mood=[None, np.nan, pandas.NA, "x"],
        rate={"c3": 3, "c0": 0.5, "c2": True, "c1": None},
        rank=pandas.Series([3, 2, 1, 0], index=["c3", "c2", "c1", "c0"]),
        place=pandas.Series([0, 1, 2, 3], index=[7, 5, 9, 8]),
    )
    assert list(more["mood"]) == ["", "", "", "x"]
    assert list(more["rate"]) == ["0.5", "", "true", "3"]
    assert list(more["rank"]) == list(more["place"]) == list("0123")
    assert more.where(mood=None).ids == ["c0", "c1", "c2"]
    with pytest.raises(InputError, match="no value for c3"):
        clips.with_columns(mood=dict.fromkeys(["c0", "c1", "c2"], "x"))


def test_hash_is_of_the_content_alone(tmp_path):
    rows = [{"id": "a", "path": "a.wav", "label": "x", "more": "1"}]
    clips = Manifest.from_rows(rows)
    assert clips.hash == Manifest.from_rows([rows[0] | {"more": "2"}], source="other").hash
    assert clips.hash == Manifest.read(clips.write(tmp_path / "c.csv")).hash
    assert clips.hash != Manifest.from_rows([rows[0] | {"label": "y"}]).hash
    assert clips.hash != Manifest.from_rows([rows[0] | {"start": 0}]).hash


def test_a_manifest_can_be_pickled():
    clips = Manifest.from_rows([{"id": "a", "path": "a.wav", "start": 1}])
    assert list(pickle.loads(pickle.dumps(clips))) == list(clips)


CELL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries({"id": CELL.filter(bool), "text": CELL, "label": CELL}),
        min_size=1, max_size=6, unique_by=lambda row: row["id"],
    )
)  # fmt: skip
def test_what_is_written_reads_back(tmp_path, rows):
    rows[0]["text"] = rows[0]["text"] or "t"
    clips = Manifest.from_rows(rows)
    for name in ("c.csv", "c.tsv", "c.jsonl"):
        assert list(Manifest.read(clips.write(tmp_path / name))) == list(clips)


def test_real_manifests(shared_data):
    speech = Manifest.read(shared_data / "speech_valence.csv")
    assert len(speech) == 1120
    assert all(speech.file(i).is_file() for i in range(0, len(speech), 50))
    for path in sorted(shared_data.glob("*/manifest.csv")):
        assert len(Manifest.read(path)) > 200
