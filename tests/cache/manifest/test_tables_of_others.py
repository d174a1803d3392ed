"""Tables as people have them: read as they were meant, or refused with what to do."""

from __future__ import annotations

import gzip
import importlib
import os
import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import InputError, Manifest
from affekt.cache.commands.cli_manifest import manifest
from affekt.cache.manifest.tables.sources import _Unpacked
from click.testing import CliRunner


def read(folder: Path, data: str | bytes, name: str = "clips.csv") -> Manifest:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Manifest.read(path)


CUT = gzip.compress(bytes(range(99)) * 99, mtime=0)[:40] + b"xx" * 40
FORMS = {
    "lists.json": '{"file": ["a.wav", "b.wav"], "emotion": ["joy", "sad"]}',
    "pandas.json": '{"file": {"0": "a.wav", "7": "b.wav"}, "emotion": {"0": "joy", "7": "sad"}}',
    "split.json": '{"columns": ["file", "emotion"], "index": [0, 1],'
    ' "data": [["a.wav", "joy"], ["b.wav", "sad"]]}',
    "parts.json": '{"train": [{"file": "a.wav", "emotion": "joy"}],'
    ' "test": [{"file": "b.wav", "emotion": "sad"}]}',
    "beside.json": '{"version": 2, "rows": [{"file": "a.wav", "emotion": "joy"},'
    ' {"file": "b.wav", "emotion": "sad"}]}',
    "marks.csv": "\ufeff\ufefffile,emotion\na.wav,joy\nb.wav,sad\n",
    "utf32.csv": "\ufefffile,emotion\na.wav,joy\nb.wav,sad\n".encode("utf-32-le"),
    "names.csv": "File Name,Emotion-Label\na.wav,joy\nb.wav,sad\n",
    "camel.csv": "fileName;emotionLabel\na.wav;joy\nb.wav;sad\n",
    "viewer.json": '{"features": [{"name": "file"}], "rows": ['
    '{"row_idx": 0, "row": {"file": "a.wav", "emotion": "joy"}, "truncated_cells": []},'
    ' {"row_idx": 1, "row": {"file": "b.wav", "emotion": "sad"}, "truncated_cells": []}]}',
    "twice.csv": "Path,path,label\nx,a.wav,joy\ny,b.wav,sad\n",
    "index.csv": "Unnamed: 0,file,emotion\n,a.wav,joy\n,b.wav,sad\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_that_read_the_same(tmp_path, name):
    clips = read(tmp_path, FORMS[name], name)
    assert [(clip.path, clip.label) for clip in clips] == [("a.wav", "joy"), ("b.wav", "sad")]
    assert list(clips["split"]) == (["train", "test"] if name == "parts.json" else ["", ""])
    assert "Unnamed: 0" not in clips


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.csv", "Datei;B\na.wav;b.wav\n", "Did you mean 'Datei'. It has names of recordings"),
        (
            "x.csv",
            "comment,mood\nI am so very glad,joy\n",
            "'comment'. It has sentences: rename it text",
        ),
        ("x.csv", "a.wav,joy\nb.wav,sad\n", "looks like a clip: put names above it"),
        ("x.tsv", "I am so very glad that you came\tjoy\nOh\tsad\n", "looks like a clip"),
        ("x.csv", "Test1;MSP_1.wav\nTrain;MSP_2.wav\n", "looks like a clip"),
        ("x.txt", "file emotion\na.wav joy\n", "put commas, semicolons, tabs or bars"),
        ("x.csv", "file,take,\n,emotion,speaker\na.wav,joy,s\n", "a second row of the header"),
        ("x.csv", "file,emotion,\na.wav,joy\n", "the header ends in separators"),
        ("x.csv", '"file","emotion"\n"1","a.wav","joy"\n', "begin with their number"),
        ("x.csv", "# by me\nfile,emotion\na.wav,joy\n", "is the header a comment"),
        ("x.csv", "file,emotion\n# b is bad\n", "is it a comment"),
        ("x.csv", "file,rater,emotion\na.wav,1,joy\na.wav,2,sad\n", "several annotators"),
        (
            "x.csv",
            "file,from,to\na.wav,0:01,0:02\na.wav,0:02,0:03\n",
            "from looks like a time .*end",
        ),
        ("x.txt", "file start end word\na.wav 0 1 hi\n", "put commas, semicolons, tabs or bars"),
        ("x.csv", "file,segment\na.wav,0.5-1\na.wav,1-2\n", "segment looks .* into two columns"),
        (
            "x.tsv",
            "file\tBegin Time - SMPTE/PAL\na.wav\t00:00:01:10\na.wav\t00:00:02:12\n",
            "SMPTE/PAL looks like a time and was not used: '00:00:01:10'",
        ),
        ("x.csv", "L1|Ah, in|b, c\nL2|in|in\n", r"separated by '\|'\? If .* line sep=\|$"),
        ("x.csv", "L1|Ah|Ah\nL2|in|in\n", "Ah appears twice; rename one, or if this row is a clip"),
        ("x.eaf", "<?xml version='1.0'?>\n<ANNOTATION_DOCUMENT>", "XML.*; ELAN exports one"),
        ("x.csv", "<?xml version='1.0'?>\n<Workbook>", "XML, expected a table; if a spreadsheet"),
        ("x.csv", "<?xml version='1.0'?>\n<html>", "a web page"),
        ("x.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n", "columns path, start, end and text"),
        ("x.csv", "file,Beginn\na.wav,0\na.wav,1\n", "Beginn .* Name it start$"),
        ("x.csv", "file;emotion\na.wav;Ärger\n".encode("cp1252"), "this is 'Ärger': .*--encoding"),
        ("x.csv", "ścieżka;emotion\n".encode("cp1250"), r"cp1250, of Central Europe, 'ścieżka'\)"),
        ("x.csv.gz", CUT, "not a whole gzip"),
        ("x.csv", "path\nfile:///a%20b.wav\n", "is a URL; write '/a b.wav'"),
        ("x.csv", "path\n$DATA/a.wav\n", "variables are not expanded"),
        ("x.jsonl", '{"path": "a.wav", "label": "x", "label": "y"}\n', "'label' appears twice"),
        ("x.json", '[{"path": "a.wav", "path": "b.wav"}]', "'path' appears twice"),
        ("x.json", '{"columns": 1, "data": [["a"]]}', "expected a list of objects"),
        ("x.json", '{"columns": [1, {}], "data": [["a"]]}', "no column path or text"),
        ("x.json", '{"a.wav": "joy"}', "a list of objects, objects under their ids, or a list"),
        ("x.csv", "file,start,end\na.wav,0.0,16000.0\n", "seconds, milliseconds or samples"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(tmp_path, name, data, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, data, name)


def notes(folder: Path, data: str) -> str:
    return "\n".join(read(folder, data).notes)


def test_what_was_not_used_is_named(tmp_path):
    assert "phat was kept as it is; is it the path" in notes(tmp_path, "phat,text\na.wav,hi\n")
    assert "speker was kept as it is; is it the speaker" in notes(tmp_path, "file,speker\na,s\n")
    assert "Beginn was kept as it is; is it the start" in notes(tmp_path, "file,Beginn\na,1\n")
    assert "channels of a file are averaged" in notes(tmp_path, "file,Kanal\na,1\nb,2\n")
    for quiet in ("file,channel\na,1\nb,1\n", "file,channel\na,ard\nb,zdf\n", "text,ende\na,1\n"):
        assert "averaged" not in (said := notes(tmp_path, quiet))
        assert "is it the end" not in said
    for name in ("Patient", "Proband-ID", "user_id", "speaker_name", "ReaderName", "spkr"):
        said = notes(tmp_path, f"file,{name}\na,s\n")
        assert said.count(f"column {name} was kept as it is; is it the speaker? Name it") == 1
    assert "Sprecher" not in notes(tmp_path, "file,speaker,Sprecher\na,s,t\n")
    assert "the speaker is 'NA' in 2 of 3 rows" in notes(
        tmp_path, "file,speaker\na,NA\nb,s\nc,NA\n"
    )
    assert "the text is 'nan' in 1 of 2 rows" in notes(tmp_path, "id,text\na,nan\nb,nan and naan\n")
    assert "is it the label" in notes(tmp_path, "file,emotion_class\na,joy\n")
    for quiet in ("speaker_gender", "sentence_number", "class_weight", "actor_age"):
        assert quiet not in notes(tmp_path, f"file,{quiet}\na,1\n")
    assert "Geschlecht" not in notes(tmp_path, "file,Geschlecht\na,f\n")
    assert "column t0 looks like a time" in notes(tmp_path, "file,t0\na,1.5\n")
    assert "from" not in notes(tmp_path, "file,text,from\na,hi,Joey\n")
    assert "two columns" in notes(tmp_path, 'file,timestamp\na.wav,"[0.5, 1.5]"\n')
    assert "is longer than end" in notes(tmp_path, "file,end,duration\na.wav,3,9\n")
    assert "name it duration" in notes(tmp_path, "file,start,length\na,1.5,2\n")
    cut = "wav_file,start_time,end_time\na.wav,6.3,8.2\nb.wav,8.2,9\n"
    assert "if the files are already cut, rename these columns" in notes(tmp_path, cut)
    assert not notes(tmp_path, "file,start,end,emotion,speaker\na,0.5,1,joy,s1\nb,0,1,sad,s2\n")


def test_the_word_for_speaker_or_language_in_another_language_is_taken_and_said(tmp_path):
    for ours, name in [("speaker", "Sprecher"), ("speaker", "Hablante_ID"), ("language", "langue")]:
        clips = read(tmp_path, f"file,{name}\na,s\nb,t\n")
        assert list(clips[ours]) == ["s", "t"]
        assert list(clips.notes) == [f"column {name} was taken for the {ours}"]
    assert "speaker" in read(tmp_path, "file,Sprecher,Sprecher_Name\na,1,Ann\n")
    clips = read(tmp_path, "file,spk,Sprecher\na,s,t\n")
    assert (list(clips["speaker"]), list(clips["Sprecher"])) == (["s"], ["t"])
    said = notes(tmp_path, "file,Sprecher,Patient\na,doctor,p7\n")  # who speaks is a role here
    assert "column Sprecher was kept as it is; is it the speaker?" in said
    assert "column Patient was kept as it is; is it the speaker?" in said


@pytest.mark.parametrize("name", ["Clip", "id", "Datei", "recording"])
def test_one_column_of_recordings_is_the_path_and_said(tmp_path, name):
    clips = read(tmp_path, f"{name};emotion\nx/a.wav;joy\nb.MP3;sad\n")
    assert list(clips["path"]) == clips.ids == ["x/a.wav", "b.MP3"]
    [said] = clips.notes
    assert said == f"column {name} holds names of recordings and was taken for the path"
    with_text = notes(tmp_path, "recording,text\na.wav,hi\n")
    assert "holds names of recordings and was not used: is it the path" in with_text


def test_an_encoding_that_is_named_is_read(tmp_path):
    data = "file;emotion\na.wav;Ärger\nb.wav;Müdigkeit\n".encode("cp1252")
    (tmp_path / "x.csv").write_bytes(data)
    clips = Manifest.read(tmp_path / "x.csv", encoding="cp1252")
    assert list(clips["label"]) == ["Ärger", "Müdigkeit"]
    for wrong, message in (
        ("cp125", "no encoding is called"),
        ("hex", "no encoding"),
        ("utf-8", "cp1252"),
    ):
        with pytest.raises(InputError, match=message):
            Manifest.read(tmp_path / "x.csv", encoding=wrong)
    with pytest.raises(InputError, match="not shift_jis; save"):
        Manifest.read(tmp_path / "x.csv", encoding="shift_jis")


def test_the_command_that_the_error_names_makes_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_bytes("file;emotion\na.wav;Ärger\n".encode("cp1252"))
    with pytest.raises(InputError) as refused:
        Manifest.read("x.csv")
    command = re.search(r"affekt manifest (.* -o utf8.csv)", str(refused.value))
    assert command is not None
    made = CliRunner().invoke(manifest, shlex.split(command[1]))
    assert made.exit_code == 0, made.output
    assert list(Manifest.read("utf8.csv")["label"]) == ["Ärger"]


def test_a_whole_file_of_audformat_has_the_file_as_its_id(tmp_path):
    clips = read(tmp_path, "file,start,end\na.wav,0 days,NaT\nb.wav,1 days,NaT\n")
    assert clips.ids == ["a.wav", "b.wav#86400.0-"]


def test_speakers_of_two_data_sets_are_two(tmp_path):
    rows = "a,1,x\nb,01,y\nc,01,x\nd,1,y\ne,1,x\nf,s-1,y\ng,s_1,y\nh,s\u200b_1,y\n"
    clips = read(tmp_path, f"path,speaker,dataset\n{rows}")
    assert "'1' and '01'" in clips.notes[-1]
    assert "'s-1' and 's_1'" in clips.notes[-1]
    merged = list(clips.merge_speakers()["speaker"])
    assert merged == ["1", "01", "1", "01", "1", "s-1", "s-1", "s-1"]
    apart = read(tmp_path, "path,speaker,dataset\na,1,x\nb,01,y\n")
    assert not apart.notes
    assert list(apart.merge_speakers()["speaker"]) == ["1", "01"]


def test_home_is_found_in_a_table_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    clips = read(tmp_path, "path\n~/a.wav\n")
    assert clips.file(0) == (tmp_path / "home" / "a.wav").resolve()
    with pytest.raises(InputError, match="not inside the manifest's root: ~ is not expanded"):
        Manifest.read(tmp_path / "clips.csv", root=tmp_path)


def test_frames_with_a_column_twice():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["a.wav", "joy", "sad"]], columns=["file", "emotion", "emotion"])
    with pytest.raises(InputError, match="column emotion appears twice; rename one"):
        Manifest.from_frame(frame)
    with pytest.raises(InputError, match="DataFrame, expected a path; Manifest"):
        Manifest.read(frame)  # type: ignore[arg-type]


def test_the_sheet_that_was_read_is_named_where_it_holds_no_clips(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    for lines, words in (
        (["Study"], r"0 rows: .* \(read sheet Sheet; not read: clips\)"),
        (["Study", "2024"], r"no column path or text; .* \(read sheet Sheet; not read: clips\)"),
    ):
        book = openpyxl.Workbook()
        for line in lines:
            book.active.append([line])
        book.create_sheet("clips").append(["file", "label"])
        book.save(tmp_path / "t.xlsx")
        with pytest.raises(InputError, match=words):
            Manifest.read(tmp_path / "t.xlsx")


def test_sheets_and_merged_cells_of_a_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("clips")
    for row in (["file", "speaker"], ["a.wav", "s1"], ["b.wav", None]):
        sheet.append(row)
    book.create_sheet("more")
    book.save(tmp_path / "t.xlsx")
    clips = Manifest.read(tmp_path / "t.xlsx")
    assert (len(clips), clips.notes) == (2, ("read sheet clips; not read: Sheet, more",))
    sheet.merge_cells("B2:B3")
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="sheet clips: cells B2:B3 are merged"):
        Manifest.read(tmp_path / "t.xlsx")


def test_formulas_that_were_never_computed(tmp_path):
    """Other programs write them without a value, which would be a blank cell."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["id", "text", "label"], ["1", "a", '=CONCATENATE("jo","y")'], ["2", "b", "joy"]):
        book.active.append(row)
    path = tmp_path / "t.xlsx"
    book.save(path)
    with pytest.raises(InputError, match="sheet Sheet: cells C2 hold formulas that were never"):
        Manifest.read(path)
    for value, text in (("<v>joy</v>", "joy"), ("<v></v>", "")):  # as Excel stores their values
        with zipfile.ZipFile(path) as whole:
            parts = {name: whole.read(name) for name in whole.namelist()}
        sheet = "xl/worksheets/sheet1.xml"
        computed = parts[sheet].replace(b'<c r="C2">', b'<c r="C2" t="str">')
        parts[sheet] = computed.replace(b"<v />", value.encode())
        with zipfile.ZipFile(tmp_path / "saved.xlsx", "w") as saved:
            for name, data in parts.items():
                saved.writestr(name, data)
        assert list(Manifest.read(tmp_path / "saved.xlsx")["label"]) == [text, "joy"]


@pytest.mark.parametrize("made", ["csv.gz", "jsonl.gz", "xlsx", "parquet", "xlsx.gz", "parquet.gz"])
def test_a_table_that_unpacks_without_end_is_refused(tmp_path, made):
    packed = made in ("xlsx.gz", "parquet.gz")
    kind = made.removesuffix(".gz") if packed else made
    path = tmp_path / f"t.{kind}"
    if kind == "xlsx":
        pytest.importorskip("openpyxl")
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        rows = pyarrow.array(np.zeros(3_000_000, "i1"))
        same = pyarrow.DictionaryArray.from_arrays(rows, pyarrow.array(["a" * 10_000]))
        importlib.import_module("pyarrow.parquet").write_table(pyarrow.table({"id": same}), path)
    elif kind == "xlsx":
        importlib.import_module("openpyxl").Workbook().save(path)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as book:
            book.writestr("xl/worksheets/sheet2.xml", bytes(80 << 20))
    else:
        head = b"id,text\n" if kind == "csv.gz" else b'{"id": "a"}\n'
        path.write_bytes(gzip.compress(head + b"a" * (80 << 20), 1))
    if packed:
        data = path.read_bytes()
        path = tmp_path / f"t.{kind}.gz"
        path.write_bytes(gzip.compress(data))
    with pytest.raises(InputError, match=r"no real table|too much for a workbook|impossible"):
        Manifest.read(path)


@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
def test_a_table_behind_much_of_nothing_is_refused(tmp_path, kind):
    """The end of these files says where their tables are: what is packed is read to its end."""
    head = b"PK\x03\x04" if kind == "xlsx" else b"PAR1"
    path = tmp_path / f"t.{kind}.gz"
    path.write_bytes(gzip.compress(head + bytes(80 << 20), 1))
    pytest.importorskip("openpyxl" if kind == "xlsx" else "pyarrow")
    with pytest.raises(InputError, match="unpacks to more than 64 MiB, 100 times its size"):
        Manifest.read(path)
    with _Unpacked(path) as unpacked:
        with pytest.raises(InputError):
            unpacked.seek(0, os.SEEK_END)
        assert unpacked.tell() < 65 << 20  # not further


def test_a_sparse_table_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"id,text\n" + b"1,a\n" * 400)
        file.truncate(30 << 30)
    if path.stat().st_blocks > 1 << 20:
        pytest.skip("the file system has no sparse files")
    with pytest.raises(InputError, match="a sparse file: of 30720 MiB hardly any was written"):
        Manifest.read(path)


def test_json_under_the_names_of_files(tmp_path):
    rows = '{"a.wav": {"EmoClass": "N", "SpkrID": 9}, "b.wav": {"EmoClass": "H", "SpkrID": 7}}'
    clips = read(tmp_path, rows, "labels_consensus.json")
    assert [(c.path, c.label, c.speaker) for c in clips] == [
        ("a.wav", "N", "9"),
        ("b.wav", "H", "7"),
    ]
    nested = '{"id": "c", "recording": {"sources": [{"source": "a.wav"}]}}'
    with pytest.raises(InputError, match="Nested objects and lists are not read"):
        read(tmp_path, nested, "cuts.jsonl")


def test_a_column_is_noted_once(tmp_path):
    clips = read(tmp_path, "Datei,text\na.wav,hallo\n")
    [note] = [note for note in clips.notes if "Datei" in note]
    assert note == "column Datei was kept as it is; is it the path? Name it path"
