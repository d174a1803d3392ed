"""Where `affekt predict` writes: nothing is overwritten, nothing half written, nothing unsaid."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from affekt.cache import InputError
from affekt.classify.cli import main
from affekt.classify.data.predictions import Predictions
from affekt.classify.serving.output import as_rows, show
from affekt.extract.running import embedding as loop

from tests.support.small_models import predict, sound, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return write_models(tmp_path_factory.mktemp("outputs"))


def test_a_file_and_json_are_both_given(models, tmp_path):
    file = sound(tmp_path / "a.wav", 1.5)
    for name, wide in (("p.csv", ()), ("p.jsonl", ()), ("t.csv", (1,)), ("t.jsonl", (1,))):
        window = [word for seconds in wide for word in ("--window", seconds)]
        result = predict(models / "speech", file, *window, "-o", tmp_path / name, "--json")
        rows = json.loads(result.stdout)
        text = (tmp_path / name).read_text(encoding="utf-8")
        if name.endswith(".jsonl"):
            assert [json.loads(line) for line in text.splitlines()] == rows
            continue
        table = list(csv.DictReader(text.splitlines()))
        assert len(table) == len(rows) == (2 if wide else 1)
        assert ("start" in table[0]) == bool(wide)
        for one, row in zip(table, rows, strict=True):
            assert {label: float(one[label]) for label in row["scores"]} == row["scores"]


def test_the_columns_of_a_table_are_kept_in_its_order(models, tmp_path):
    sound(tmp_path / "a.wav", seed=1)
    sound(tmp_path / "b.wav", seed=2)
    given = tmp_path / "new.csv"
    given.write_text(
        'file,code,emotion,transcript,onset,offset\nb.wav,007,joy,"Oh, ""no""",0.25,0.75\n'
        "gone.wav,008,,x,0,1\na.wav,009,sad,y,0,0.5\n",
        encoding="utf-8",
    )
    plain = predict(models / "speech", given, "-o", tmp_path / "plain.csv")
    kept = tmp_path / "kept.csv"
    result = predict(models / "speech", given, "-o", kept, "--keep-columns")
    assert (plain.exit_code, result.exit_code) == (3, 3), result.output
    rows = list(csv.DictReader(kept.read_text("utf-8").splitlines()))
    own = list(csv.DictReader(given.read_text("utf-8").splitlines()))
    columns = ["label", "negative", "neutral", "positive"]
    assert list(rows[0]) == ["id", *own[0], *(f"predicted_{name}" for name in columns)]
    assert [{name: row[name] for name in own[0]} for row in rows] == own
    alone = csv.DictReader((tmp_path / "plain.csv").read_text("utf-8").splitlines())
    answers = {row["id"]: row for row in alone}
    for row in rows:
        answer = answers.get(row["id"], dict.fromkeys(columns, ""))
        assert [row[f"predicted_{name}"] for name in columns] == [answer[n] for n in columns]
    assert rows[1]["predicted_label"] == ""
    for words, said in (
        ((given, "-o", kept), "already exists; choose another name"),
        ((given,), "is for -o FILE.csv"),
        ((given, "-o", tmp_path / "x.jsonl"), "is for -o FILE.csv"),
        ((tmp_path / "a.wav", "-o", tmp_path / "x.csv"), "is for a table of clips"),
        ((kept, "-o", tmp_path / "x.csv"), "has the column predicted_label, which the"),
    ):
        refused = predict(models / "speech", *words, "--keep-columns")
        assert said in str(refused.exception), refused.output
        assert refused.output == ""  # before any work


def test_a_table_on_stdout_is_csv_whatever_the_names(capsys):
    names = [f'{number}, "so".wav' for number in range(21)]
    found = Predictions(names, ["joy, loud", "calm"], [[0.75, 0.25]] * 21)
    show(found, as_rows(found, None, {}))
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["id"] for row in rows] == names
    assert rows[0]["label"] == "joy, loud"
    assert float(rows[0]["joy, loud"]) == 0.75


#: outputs of an earlier call
YESTERDAY = {
    "p.csv": "id,label,no,yes\na,no,0.75,0.25\n",
    "p.jsonl": '{"id": "a", "label": "no", "score": 1.0, "scores": {"no": 1.0}}\n',
}


def test_nothing_predicted_is_an_empty_answer(models, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    for words in ([], ["--window", 1]):
        for name in ("p.csv", "p.jsonl"):
            (tmp_path / name).write_text(YESTERDAY[name])
            result = predict(
                *(models / "speech", tmp_path / "a.wav", *words, "-o", tmp_path / name, "--json")
            )
            assert result.exit_code == 3
            assert json.loads(result.stdout) == []
            lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
            assert [line[:2] for line in lines] == (["id"] if name == "p.csv" else [])
    figure = predict(
        *(models / "speech", tmp_path / "a.wav", "--window", 1, "--figure", tmp_path / "f.png")
    )
    assert "nothing was predicted" in figure.stderr


def test_no_input_is_written_over(models, tmp_path):
    file = sound(tmp_path / "a.wav")
    file.rename(tmp_path / "a.csv")
    (tmp_path / "clips.csv").write_text("id,path\na,a.csv\n", encoding="utf-8")
    (tmp_path / "other.csv").symlink_to("clips.csv")
    for output in ("clips.csv", "other.csv", "a.csv"):
        before = (tmp_path / output).read_bytes()
        result = predict(models / "speech", tmp_path / "clips.csv", "-o", tmp_path / output)
        assert isinstance(result.exception, InputError)
        assert "is the input" in str(result.exception)
        assert (tmp_path / output).read_bytes() == before


def test_a_place_where_nothing_can_be_written_is_found_before_any_work(models, tmp_path):
    file = sound(tmp_path / "a.wav")
    (tmp_path / "d.csv").mkdir()
    (tmp_path / "file").write_text("x")
    for option, place, said in (
        ("-o", "d.csv", "is a folder"),
        ("-o", "file/p.csv", "cannot be written"),
        ("--figure", "file/p.png", "cannot be written"),
        ("--figure", "p.xyz", "expected a name that ends in .png"),
        ("--figure", "p", "expected a name that ends in .png"),
    ):
        window = ("--window", 1) if option == "--figure" else ()
        words = (models / "speech", file, *window, option, tmp_path / place)
        result = predict(*words, "--cache", tmp_path / "c")
        assert isinstance(result.exception, InputError), result.output
        assert said in str(result.exception)
    assert not (tmp_path / "c").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_disk_that_fails_leaves_what_was_there(models, tmp_path, monkeypatch):
    def fail(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = sound(tmp_path / "a.wav")
    (tmp_path / "p.jsonl").write_text(YESTERDAY["p.jsonl"])
    monkeypatch.setattr(Path, "replace", fail)
    for words in (["p.csv"], ["p.jsonl"], ["t.csv", "--window", 1]):
        result = predict(models / "speech", file, "-o", *(tmp_path / words[0], *words[1:]))
        assert isinstance(result.exception, OSError)
    assert (tmp_path / "p.jsonl").read_text() == YESTERDAY["p.jsonl"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_figure_makes_its_folder_and_says_what_it_leaves_out(models, tmp_path):
    for n in range(13):
        sound(tmp_path / "wav" / f"{n}.wav", 0.3, seed=n)
    words = (models / "speech", tmp_path / "wav", "--window", 1)
    result = predict(*words, "--figure", tmp_path / "new" / "f.SVG", "-o", tmp_path / "t.csv")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new" / "f.SVG").read_bytes().startswith(b"<?xml")
    assert "of the first 12 of 13" in result.stderr


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "affekt.classify.cli", "predict", *map(str, words)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, env=env, timeout=60, check=False)


def test_a_name_that_stdout_cannot_spell_is_escaped(models, tmp_path):
    file = sound(tmp_path / "音.wav")
    result = run(models / "speech", file, PYTHONIOENCODING="latin-1")
    assert result.returncode == 0, result.stderr
    assert b"\\u97f3.wav" in result.stdout
    result = run(models / "speech", file, "--json", PYTHONIOENCODING="latin-1")
    assert json.loads(result.stdout)[0]["id"] == str(file)


@pytest.mark.parametrize("kept", [False, True])
def test_stopped_says_whether_something_was_kept(models, tmp_path, monkeypatch, capsys, kept):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "run_extraction", stop)
    words = ["predict", models / "speech", sound(tmp_path / "a.wav")]
    words += ["--cache", tmp_path / "c"] if kept else []
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 130
    result = capsys.readouterr().err
    assert ("is kept; run again" in result) == kept
    assert ("Nothing was kept" in result) == (not kept)
