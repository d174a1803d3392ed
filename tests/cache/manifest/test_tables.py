"""Tables as people have them: quotation marks, separators, formats, names, ids."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import pytest
from affekt.cache import InputError, Manifest
from affekt.cache.manifest.speakers import merged, spellings
from hypothesis import HealthCheck, given, settings, strategies as st

MANY_FILES = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(folder: Path, text: str | bytes, name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str | bytes, name: str = "clips.csv", **options) -> Manifest:
    return Manifest.read(write(folder, text, name), **options)


# --- quotation marks


@pytest.mark.parametrize("delimiter", ["\t", "|"])
def test_a_mark_means_nothing_unless_the_cell_is_quoted_as_a_whole(tmp_path, delimiter):
    rows = [
        ["client_id", "path", "sentence", "up_votes"],
        ["1", "a.wav", '"Open quote here', "2"],
        ["2", "b.wav", "plain", "0"],
        ["3", "c.wav", 'ends here"', "2"],
        ["4", "d.wav", '"Hello" he said.', "2"],
        ["5", "e.wav", '"quoted, ""as a whole"""', "2"],
    ]
    clips = read(tmp_path, "".join(delimiter.join(row) + "\n" for row in rows), "clips.tsv")
    assert list(clips["text"]) == [
        *('"Open quote here', "plain", 'ends here"', '"Hello" he said.', 'quoted, "as a whole"'),
    ]
    assert clips.line(4) == 6


@pytest.mark.parametrize("text_last", [True, False])
def test_a_comma_table_in_which_a_cell_swallows_rows_is_refused(tmp_path, text_last):
    rows = [("a.wav", '"Open'), ("b.wav", "plain"), ("c.wav", 'closed"'), ("d.wav", "last")]
    header = ("path", "text") if text_last else ("text", "path")
    lines = [header, *(row if text_last else row[::-1] for row in rows)]
    message = r"line 2: a quotation mark opens here and closes in line 4"
    with pytest.raises(InputError, match=message):
        read(tmp_path, "".join(",".join(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    "table",
    [
        'id,text\na,"x\ny"\nb,z\n',
        'text,label\n"Hello\nworld",joy\n"Dear Sir,\nplease, come",sad\n',
        'id,text,label\na,"one\n\ntwo, three\nfour",joy\nb,z,sad\n',
        '"id","text"\n"a","x\nb,y"\n',
    ],
)
def test_texts_of_several_lines_are_read_by_the_rules(tmp_path, table):
    assert any("\n" in text for text in read(tmp_path, table)["text"])
    tabs = table.replace(", ", "; ").replace(",", "\t")
    assert any("\n" in text for text in read(tmp_path, tabs, "clips.tsv")["text"])


CELL = st.text(st.sampled_from('ab"\n\r\t,;| é'), max_size=8).filter(
    lambda text: unicodedata.is_normalized("NFC", text)
)


@MANY_FILES
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5), st.sampled_from(["csv", "tsv"]))
def test_what_is_written_reads_back_whatever_the_marks(tmp_path, cells, kind):
    rows = [{"id": f"{i}", "text": a, "note": b} for i, (a, b) in enumerate(cells)]
    rows[0]["text"] = rows[0]["text"] or "t"
    clips = Manifest.from_rows(rows)
    again = Manifest.read(clips.write(tmp_path / f"c.{kind}"))
    assert list(again) == list(clips)
    assert list(again["note"]) == list(clips["note"])


@MANY_FILES
@given(st.lists(st.text(st.sampled_from('ab"'), min_size=1, max_size=5), min_size=1, max_size=6))
def test_no_mark_in_a_tsv_loses_a_row(tmp_path, texts):
    table = "path\tsentence\n" + "".join(f"{i}.wav\t{text}\n" for i, text in enumerate(texts))
    clips = read(tmp_path, table, "clips.tsv")
    assert list(clips["path"]) == [f"{i}.wav" for i in range(len(texts))]


# --- separators, headers, formats

SAME = {
    "clips.csv": "id,path,label\n1,a.wav,joy\n",
    "clips.tsv": "id\tpath\tlabel\n1\ta.wav\tjoy\n",
    "clips.txt": "id\tpath\tlabel\n1\ta.wav\tjoy\n",
    "bars.csv": "id|path|label\n1|a.wav|joy\n",
    "excel.csv": "sep=;\nid;path;label\n1;a.wav;joy\n",
    "blank.csv": "\n\nid,path,label\n1,a.wav,joy\n",
    "spaces.csv": " id , path , label \n 1 , a.wav , joy \n",
    "ends.csv": "id;path;label;;\n1;a.wav;joy;;\n",
    "mark.csv": "id\tpath\tlabel\n1\ta.wav\tjoy\n".encode("utf-16"),
    "clips.jsonl": '{"id": "1", "path": "a.wav", "label": "joy"}\n',
    "list.json": '[{"id": "1", "path": "a.wav", "label": "joy"}]',
    "list.jsonl": '[\n{"id": "1", "path": "a.wav", "label": "joy"}\n]\n',
    "hub.jsonl": '{"id": "1", "audio": {"path": "a.wav", "bytes": null}, "label": "joy"}\n',
    "rest.csv": "id,path,label\n1,a.wav,joy\n,,\n,,\n",
    "under.json": '{"1": {"path": "a.wav", "label": "joy"}}',
    "data.json": '{"data": [{"id": "1", "path": "a.wav", "label": "joy"}]}',
    "nemo.jsonl": '{"key": "1", "audio_filepath": "a.wav", "emo": "joy"}\n',
    "packed.csv.gz": gzip.compress(b"id,path,label\n1,a.wav,joy\n", mtime=0),
}


@pytest.mark.parametrize("name", SAME)
def test_every_form_reads_the_same(tmp_path, name):
    clips = read(tmp_path, SAME[name], name)
    assert [(clip.id, clip.path, clip.label) for clip in clips] == [("1", "a.wav", "joy")]


def test_excel_and_parquet_read_the_same(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    book = openpyxl.Workbook()
    for row in (["id", "path", "label", "start"], [7, "a.wav", "joy", 0.5], ["x", "b.wav", None]):
        book.active.append(row)
    book.save(tmp_path / "clips.xlsx")
    names = {"info": {"features": {"label": {"names": ["sad", "joy"], "_type": "ClassLabel"}}}}
    columns = {"id": ["7", "x"], "path": ["a.wav", "b.wav"], "label": [1, -1], "start": [0.5, None]}
    table = arrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(names)})
    parquet.write_table(table, tmp_path / "clips.parquet")
    for name in ("clips.xlsx", "clips.parquet"):
        clips = Manifest.read(tmp_path / name)
        assert [(c.id, c.label, c.start) for c in clips] == [("7", "joy", 0.5), ("x", "", None)]


def test_json_lines_may_leave_names_out(tmp_path):
    lines = [{"id": f"{i}", "text": "t"} for i in range(1200)]
    lines[3]["speaker"], lines[1100]["dataset"] = "s", "d"
    clips = read(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "clips.jsonl")
    assert [i for i, speaker in enumerate(clips["speaker"]) if speaker] == [3]
    lines = (
        '{"id": "1", "text": "t", "text1": "a", "speaker": "s"}\n'
        '{"id": "2", "text": "t", "text2": "b", "speaker_age": 7}\n'
    )
    assert list(read(tmp_path, lines, "clips.jsonl")["speaker_age"]) == ["", "7"]
    assert [i for i, dataset in enumerate(clips["dataset"]) if dataset] == [1100]


def test_a_piped_recording(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(b"RIFF\0\0",))
    thread.start()
    with pytest.raises(InputError, match="Recordings are read from files, not from a pipe"):
        Manifest.read(pipe)
    thread.join()


def test_pipes(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(b"path\tlabel\na.wav\tjoy\n",))
    thread.start()
    assert Manifest.read(pipe).ids == ["a.wav"]
    thread.join()
    code = "from affekt.cache import Manifest; print(Manifest.read('-').ids)"
    done = subprocess.run(
        [sys.executable, "-c", code], input='{"path": "b.wav"}', capture_output=True, text=True
    )
    assert done.stdout == "['b.wav']\n", done.stderr


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "x.csv",
            "id,path,text\n1,a.wav\n",
            r"line 2: 2 fields, expected 3 .*text .separated by ','.$",
        ),
        ("x.csv", "id,path\n1,a.wav,\n", "ends in separators"),
        ("x.csv", "# mine\nid,path\n1,a.wav\n", "expected 1 as in the header in line 1: # mine"),
        ("x.csv", "id,path\n1,a\n".encode("utf-16-le"), "looks like UTF-16"),
        ("x.TextGrid", 'File type = "ooTextFile"\n', "Down to Table makes one"),
        ("x.rttm", "SPEAKER a 1 0.5 2.5 <NA> <NA> anna\n", "path, start, duration and speaker"),
        ("x.csv", b"fLaC" + bytes(90) + b"\xff\xf8" * 9, "not text, but begins with b'fLaC"),
        ("x.csv", 'id,path,start\n1,a.wav,"1,250"\n', r"write 1\.250"),
        ("x.csv", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("x.csv", b"PAR1\x00\x01\xff", r"content is that of a \.parquet file"),
        ("x.csv", "<!DOCTYPE html>\n<html>", "a web page"),
        ("x.csv", "<table><tr><td>id</td></tr></table>", "a web page"),
        ("x.csv", '[{"path": "a.wav"}]', r"name it \.jsonl, or \.json if"),
        ("x.tsv", '{"path": "a.wav"}\n{"path": "b.wav"}\n', r"JSON, not separated"),
        ("x.csv", b"\xd0\xcf\x11\xe0" + bytes(60), r"an old Excel file; save it as \.xlsx"),
        ("x.csv", "id,file\n3,a.wav\n3,b.wav\n", "rename the column: the paths are then the ids"),
        ("wav.scp", "u1 a.wav\n", r"affekt manifest .* -o clips\.csv"),
        ("x.csv", "path\n" + "d" * 300 + ".wav\n", "the path is the id.*add one"),
        ("x.csv", "file,ID\na.wav,\nb.wav,2\n", "column ID was taken as the id"),
        ("x.csv.gz", gzip.compress(b"id,text\n" * 99, mtime=0)[:-9], "not a whole gzip"),
        ("x.csv", "phat,label\na,joy\n", r"no column path or text.*Did you mean 'phat'"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(tmp_path, name, data, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, data, name)
    assert "dedupe=" not in str(error.value)


def test_bytes_are_never_shown(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    sound = [{"bytes": b"RIFFsecret", "path": "a.wav"}]
    parquet.write_table(arrow.table({"audio": sound, "label": ["joy"]}), tmp_path / "hub.parquet")
    with pytest.raises(InputError, match="--audio-dir") as error:
        Manifest.read(tmp_path / "hub.parquet")
    assert "secret" not in str(error.value)
    clips = Manifest.from_rows([{"id": "a", "text": "t", "label": b"secret"}])
    assert clips["label"][0] == "<6 bytes>"


# --- ids, labels, speakers


def test_labels_and_speakers_that_pandas_wrote_next_to_blank_cells(tmp_path):
    clips = read(tmp_path, "file,label,speaker,take\na,1.0,7.0,1.0\nb,,,\nc,-1.0,8.0,2.0\n")
    assert (list(clips["label"]), list(clips["speaker"])) == (["1", "", "-1"], ["7", "", "8"])
    assert list(clips["take"]) == ["1.0", "", "2.0"]
    clips = read(tmp_path, "file,label,speaker\na,1.0,\nb,0.5,s1\n")
    assert list(clips["label"]) == ["1.0", "0.5"]


def test_ids_are_unique_or_the_files(tmp_path):
    meld = "file,Utterance,Dialogue_ID,Utterance_ID\nd0_u0.wav,Hi,0,0\nd1_u0.wav,Oh,1,0\n"
    assert read(tmp_path, meld).ids == ["d0_u0.wav", "d1_u0.wav"]
    clips = read(tmp_path, "file,ID\nHC_A1.wav,34\nHC_A2.wav,34\n")
    assert clips.ids == ["HC_A1.wav", "HC_A2.wav"]
    assert list(clips["ID"]) == ["34", "34"]
    assert "column ID has repeated values" in clips.notes[0]
    assert read(tmp_path, "text,label\nI am sad,sad\nfine,joy\n").ids == ["1", "2"]
    assert read(tmp_path, "file,utt_id\na.wav,u1\nb.wav,u2\n").ids == ["u1", "u2"]


@pytest.mark.parametrize("name", ["id", "clip_id", "ID"])
def test_numbers_with_a_point_are_no_ids(name):
    with pytest.raises(InputError, match=rf"{name} is the number 1\.0"):
        Manifest.from_rows([{name: 1.0, "text": "t"}, {name: 2, "text": "t"}])
    assert Manifest.from_rows([{name: 1, "text": "t"}]).ids == ["1"]


def test_two_ways_to_write_a_letter_are_one(tmp_path):
    decomposed = unicodedata.normalize("NFD", "id,text,label,speaker,más\né,t,alegría,José,ü\n")
    clips = read(tmp_path, decomposed)
    assert (clips.ids, clips["label"][0], clips["speaker"][0]) == (["é"], "alegría", "José")
    assert "más" in clips
    assert clips.select([unicodedata.normalize("NFD", "é")]).ids == ["é"]


def test_speakers_that_differ_in_spelling_are_named_and_merged(tmp_path):
    clips = read(tmp_path, "id,text,speaker\n1,t,s1\n2,t,S01\n3,t,s1\n4,t,s2\n5,t,s10\n6,t, s2\n")
    assert "'s1' and 'S01'" in clips.notes[0]
    assert list(clips.merge_speakers()["speaker"]) == ["s1", "s1", "s1", "s2", "s10", "s2"]
    assert spellings(["s1", "s10", "s100", "a1b", "a10b", ""]) == []
    assert merged(["s1", "s1", "S1", "s1", "S1"], "aaabc") == ["s1", "s1", "s1", "s1", "S1"]


# --- paths of one's own


def test_a_table_of_ones_own_may_name_any_file(tmp_path):
    sound = tmp_path / "blobs" / "x"
    sound.parent.mkdir()
    sound.write_bytes(b"x")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link.wav").symlink_to(sound)
    table = f"path\n{sound}\n../blobs/x\nlink.wav\n"
    clips = read(inside, table)
    assert {clips.file(i) for i in range(3)} == {sound}
    with pytest.raises(InputError, match="is outside of the manifest's root"):
        read(inside, table, root=inside)
    linked = read(inside, "path\nlink.wav\n", root=inside)
    with pytest.raises(InputError, match="through a link"):
        linked.file(0)


def test_labels_need_no_audio(tmp_path):
    table = "id,label,path\n1,joy,https://x/a.wav\n"
    assert list(read(tmp_path, table, labels_only=True)["label"]) == ["joy"]
    assert read(tmp_path, "id,label\n1,joy\n", labels_only=True).ids == ["1"]
    with pytest.raises(InputError, match="no column path or text"):
        read(tmp_path, "id,label\n1,joy\n")
