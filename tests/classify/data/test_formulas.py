"""What leaves a machine: no formula for a spreadsheet, no folder of this machine."""

from __future__ import annotations

import csv
import json
import re

import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.rows.failures import without_folders
from affekt.classify import Predictions
from affekt.classify.data.escape import defused, restored
from affekt.classify.data.splitting.split import Split
from affekt.classify.data.splitting.split_file import _moved, read_split_file, write_split
from affekt.extract import Encoder, extract
from hypothesis import given, strategies as st

FORMULAS = [
    "=1+1",
    "@SUM(A1)",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "\tx=1",
    "'=1",
    "''@a",
    "-a",
    "+49 30",
]
PLAIN = ["a", "-5", "+1.5e3", "a=b", "'a", "''", "", "1-2", "é@x"]
MARKS = st.text(st.sampled_from("'=+-@\t\r1a.e "), max_size=6)


@given(MARKS)
def test_a_name_is_not_a_formula_and_reads_back_exactly(name):
    result = defused(name)
    assert restored(result) == name
    number = re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", result)
    assert number or result[:1] not in ("=", "+", "-", "@", "\t", "\r") or not result


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_defused(name):
    assert defused(name) == "'" + name


@pytest.mark.parametrize("name", PLAIN)
def test_other_names_stay(name):
    assert defused(name) == restored(name) == name


def test_predictions_with_formulas_read_back(tmp_path):
    labels = ["=evil", "-1", "'+x"]
    made = Predictions(FORMULAS, labels, [[0.2, 0.3, 0.5]] * len(FORMULAS))
    made.write(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [one for one in cells if one[:1] in "=+@\t" or re.match(r"-\D", one)]
    assert Predictions.read(tmp_path / "p.csv") == made
    assert Predictions.read(tmp_path / "p.csv", labels[::-1]).labels == tuple(labels[::-1])


def test_a_split_with_formulas_reads_back(tmp_path):
    rows = [{"id": name, "text": "t"} for name in FORMULAS]
    clips = Manifest.from_rows(rows)
    split = Split(
        clips.select([0, 1, 2]), clips.select([3, 4]), clips.select([5, 6, 7, 8]), "speaker"
    )
    split.write(tmp_path / "one.csv")
    write_split([split], tmp_path / "two.csv", tmp_path / "none.csv", lambda _: None)
    for path in (tmp_path / "one.csv", tmp_path / "two.csv"):
        assert not re.search(r"^\"?[=+@-]", path.read_text(), re.MULTILINE)
        [parts] = read_split_file(path, clips.ids).values()
        assert [parts[name] for name in FORMULAS] == ["train"] * 3 + ["dev"] * 2 + ["test"] * 4
    assert _moved(tmp_path / "two.csv", [(n, parts[n]) for n in FORMULAS]) == (0, len(FORMULAS))


@pytest.mark.parametrize(
    ("message", "result"),
    [
        ("no file /home/ann/a.wav", "no file a.wav"),
        ("no file /home/ann b/c d/a.wav: a part", "no file a.wav: a part"),
        ("no permission to read C:\\Users\\ann\\a.wav", "no permission to read a.wav"),
        ("cannot read '/x/y/a.wav': too long", "cannot read 'a.wav': too long"),
        ("there is audio/a.flac or ../b/a.wav", "there is audio/a.flac or ../b/a.wav"),
        ("200 samples at 16000 Hz", "200 samples at 16000 Hz"),
    ],
)
def test_a_message_without_folders(message, result):
    assert without_folders(message) == result


def test_notes_of_failures_hold_no_folder_of_this_machine(tmp_path):
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "folder.wav").mkdir()
    (tmp_path / "my data" / "bad.wav").write_bytes(b"no audio")
    names = ["folder.wav", "bad.wav", "absent.wav", str(tmp_path / "my data" / "gone.wav")]
    rows = [{"id": str(n), "path": name} for n, name in enumerate(names)]
    clips = Manifest.from_rows(rows, root=tmp_path / "my data", allow_outside=True)
    space = extract(clips, Cache(tmp_path / "c"), Encoder("spectral"), workers=1)
    notes = (space.folder / "failures.jsonl").read_text()
    assert len([json.loads(line) for line in notes.splitlines()]) == 4
    assert str(tmp_path) not in notes
    assert "my data" not in notes
    assert tmp_path.name not in notes
