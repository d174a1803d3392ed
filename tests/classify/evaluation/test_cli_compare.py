"""The command `affekt compare`, called as a person calls it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.cache.files.file_locks import locked
from affekt.cache.manifest import Manifest
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.splitting.schemes import splits
from affekt.classify.data.splitting.split_file import read_split_file
from affekt.classify.evaluation.cli_compare import compare
from affekt.classify.evaluation.comparison import Comparison
from affekt.classify.evaluation.reports.latex import tables
from click.testing import CliRunner

LABELS = ("anger", "joy", "neutral")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "text": "-", "label": LABELS[rng.integers(3)], "speaker": f"s{i % 15}"}
        for i in range(150)
    ]
    clips = Manifest.from_rows(rows)
    clips.write(tmp_path / "clips.csv")
    [split] = splits(clips)
    split.write(tmp_path / "split.csv")
    for name, skill in (("speech", 2.0), ("text", 0.5)):
        for part in ("test", "dev"):
            table = split.parts[part]
            codes = [LABELS.index(label) for label in table["label"]]
            scores = rng.normal(size=(len(table), 3)) + skill * np.eye(3)[codes]
            proba = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            (tmp_path / name).mkdir(exist_ok=True)
            target = tmp_path / name / ("pred.csv" if part == "test" else "dev.csv")
            Predictions(table.ids, LABELS, proba).write(target)
    return tmp_path


def call(*args, code=0):
    result = CliRunner().invoke(compare, [str(arg) for arg in args])
    if code == 2:
        assert isinstance(result.exception, InputError), result
        return str(result.exception)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout


def test_clips_that_the_task_leaves_out_are_counted_on_the_terminal(tmp_path):
    raw = ["happiness", "sadness", "neutral"] * 10 + ["surprise", "surprise"]
    rows = [{"id": f"c{i}", "text": "-", "label": label} for i, label in enumerate(raw)]
    Manifest.from_rows(rows).write(tmp_path / "clips.csv")
    lines = [f"c{i},{('positive', 'negative', 'neutral')[i % 3]}" for i in range(30)]
    (tmp_path / "a.csv").write_text("id,label\n" + "\n".join(lines), encoding="utf-8")
    args = [str(tmp_path / "a.csv"), "--truth", str(tmp_path / "clips.csv"), "--task", "valence"]
    for more in ([], ["--common"]):
        done = CliRunner().invoke(compare, [*args, *more])
        assert done.exit_code == 0, done.output
        assert "2 clips are left out by the task: surprise 2\n" in done.stderr
        assert "did not answer" not in done.stderr


def test_the_whole_way(folder):
    text = call(
        folder / "speech" / "pred.csv",
        folder / "text" / "pred.csv",
        "--truth",
        folder / "clips.csv",
        "--split",
        folder / "split.csv",
        "--dev",
        folder / "speech" / "dev.csv",  # named by its folder, as pred.csv is
        "--dev",
        f"text={folder / 'text' / 'dev.csv'}",
        "--strategies",
        "mean,max,stacking",
        "--calibrate",
        "temperature",
        "--resamples",
        100,
        "--latex",
        "-o",
        folder / "out",
    )
    assert "stacking" in text
    assert "* chosen on dev" in text
    data = json.loads((folder / "out" / "comparison.json").read_text())
    assert data["chosen"] in data["systems"]
    assert "audit" in data
    assert (folder / "out" / "tables.tex").read_text().startswith("% needs")
    drawn = {path.suffix for path in (folder / "out" / "figures").glob("systems.*")}
    assert drawn == {".png", ".svg"}


@pytest.mark.parametrize(("strategies", "more"), [("none", False), ("mean,max", True)])
def test_what_can_be_shown_stands_under_the_table(folder, strategies, more):
    files = [folder / name / "pred.csv" for name in ("speech", "text")]
    split = ["--truth", folder / "clips.csv", "--split", folder / "split.csv"]
    text = call(*files, *split, "--strategies", strategies, "--resamples", 100, "-o", folder / "o")
    pairs = json.loads((folder / "o" / "comparison.json").read_text())["pairs"]
    shown = [f"- {pair['sentence']}" for pair in pairs[:3]]
    shown += ["- and 3 more, in the report (-o)"] * more
    assert text.splitlines()[-len(shown) :] == shown


def test_json_goes_to_stdout(folder):
    with (folder / "split.csv").open() as file:
        test = [row["id"] for row in csv.DictReader(file) if row["split"] == "test"]
    Manifest.read(folder / "clips.csv").select(test).write(folder / "test.csv")
    out = call(
        f"a={folder / 'speech' / 'pred.csv'}",
        "--truth",
        folder / "test.csv",
        "--resamples",
        50,
        "--json",
    )
    assert set(json.loads(out)["systems"]) == {"a"}


def test_a_value_in_another_unicode_form_is_the_same_value(folder):
    clips = Manifest.read(folder / "clips.csv")
    given = Predictions.read(folder / "speech" / "pred.csv")
    names = ["M\u00fcller" if clip in given.ids else "Otto" for clip in clips.ids]
    clips.with_columns(dataset=names).write(folder / "named.csv")
    words = [
        folder / "speech" / "pred.csv",
        "--truth",
        folder / "named.csv",
        "--strategies",
        "none",
    ]
    out = call(*words, "--where", "dataset=Mu\u0308ller", "--resamples", 50)
    assert f"{len(given)} test clips" in out


def test_counts_of_ITST_print_intervals_exact_p_and_the_sentence():
    counts = {"mean": 225, "MarIA": 224, "BETO": 221, "BERTIN": 214, "max": 211}
    args = [arg for name, n in counts.items() for arg in ("--counts", f"{name}={n}")]
    text = call(*args, "--of", 300)
    assert "mean    225 of 300  0.750 [0.697, 0.798]" in text
    assert "mean and MarIA: no difference can be shown: 225 vs 224 of 300, p = 1.0" in text
    assert "225 vs 221 of 300, p at least 0.125" in text
    assert json.loads(call(*args, "--of", 300, "--json"))["pairs"][0]["p_range"] == [1.0, 1.0]


def test_answers_without_probabilities_or_for_some_clips_only(folder):
    clips = Manifest.read(folder / "clips.csv")
    rng = np.random.default_rng(1)
    labels = [rng.choice([label, "joy"]) for label in clips["label"]]
    Predictions(clips.ids, LABELS, rng.dirichlet([1, 1, 1], 150)).write(folder / "soft.csv")
    rows = [f"{clip},{label}" for clip, label in zip(clips.ids, labels, strict=True)]
    (folder / "llm.csv").write_text("\n".join(["id,label", *rows[:120]]))
    args = [folder / "soft.csv", folder / "llm.csv", "--truth", folder / "clips.csv"]
    call(*args, code=2)
    data = json.loads(call(*args, "--common", "--resamples", 100, "--json"))
    recalls = [
        np.mean([labels[i] == label for i in range(120) if clips["label"][i] == label])
        for label in LABELS
    ]
    assert data["test"]["clips"] == 120
    assert data["systems"]["llm"]["test"]["uar"]["value"] == pytest.approx(np.mean(recalls))
    assert data["warnings"][0].startswith("30 of 150 test clips are not compared, since llm (30)")
    assert any("llm predicted labels without probabilities" in text for text in data["warnings"])
    (folder / "llm.csv").write_text("\n".join(["id,label", *rows[:149], "c149,no idea"]))
    said = call(*args, code=2)
    assert "'c149' has the label 'no idea'; expected one of anger, joy, neutral" in said
    assert "--common" in said
    refused = [f"{row.split(',')[0]},sorry" for row in rows[120:140]]
    blank = [f"{row.split(',')[0]}," for row in rows[140:]]
    (folder / "llm.csv").write_text("\n".join(["id,label", *rows[:120], *refused, *blank]))
    assert "Also not known: 'sorry'" in call(*args, code=2)
    again = call(*args, "--common", "--rename", "sorry=", "--resamples", 100, "--json")
    assert json.loads(again)["systems"] == data["systems"]  # no answer, however it is written
    (folder / "llm.csv").write_text("id,prediction\nc0,joy\n")
    assert "Name the column of predicted labels label" in call(*args, code=2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to compare"),
        (["{f}/speech", "--truth", "{f}/clips.csv"], "pred.csv"),
        (["{f}/speech/pred.csv"], "--truth"),
        (["{f}/gone.csv", "--truth", "{f}/clips.csv"], "there is no such file"),
        (["{f}/speech/pred.csv", "--truth", "{f}/clips.csv"], "no row for"),
        (["{f}/speech/pred.csv", "--truth", "{f}/clips.csv", "--where", "speaker"], "NAME=VALUE"),
        (
            ["{f}/speech/pred.csv", "--truth", "{f}/clips.csv", "--where", "speaker=nobody"],
            "no clip has speaker 'nobody'",
        ),
        (["--counts", "a=1", "--counts", "b=2"], "--of"),
        (["--counts", "a=0", "--counts", "b=0", "--of", "0"], "--of is 0; expected a whole"),
        (["--counts", "a=1", "--counts", "a=2", "--of", "3"], "each name once"),
        (["--counts", "a=x", "--counts", "b=2", "--of", "3"], "expected a number"),
        (["{f}/speech/pred.csv", "{f}/speech/pred.csv", "--truth", "{f}/clips.csv"], "two members"),
        (
            [
                "{f}/speech/pred.csv",
                "--truth",
                "{f}/clips.csv",
                "--split",
                "{f}/split.csv",
                "--strategies",
                "stacking",
            ],
            "is fitted on dev",
        ),
    ],
)
def test_wrong_use_is_an_input_error(folder, args, message):
    assert message in call(*(arg.replace("{f}", str(folder)) for arg in args), code=2)


def test_split_files_that_contradict_themselves_are_refused(tmp_path):
    path = tmp_path / "split.csv"
    for rows, message in (
        ("id,split\na,train\na,test\n", "'a' is in train and in test"),
        ("id,split\na,train\nz,test\n", "1 ids are not in the manifest: z"),
        ("id,split\na,tset\n", "line 2: split is 'tset'"),
        ("id,part\na,test\n", "expected id and split"),
        ("id,split\n", "has no rows"),
        ("id,split,split\na,train,test\n", "column split appears twice"),
        ("id,split\na,train,b,test\n", "line 2: 4 fields, expected 2"),
    ):
        path.write_text(rows)
        with pytest.raises(InputError, match=message):
            read_split_file(path, ["a", "b"])
    path.write_text("id,split,fold\na,train,1\nb,test,1\na,test,2\nb,train,2\n")
    assert read_split_file(path, ["a", "b"])["2"] == {"a": "test", "b": "train"}


def test_two_values_of_one_column_are_alternatives(folder):
    options = ["--truth", folder / "clips.csv", "--resamples", "50", "--strategies", "none"]
    rows = Manifest.read(folder / "clips.csv")
    test = Predictions.read(folder / "speech" / "pred.csv").ids
    speakers = sorted(set(rows.select(test)["speaker"]))
    where = [text for name in speakers for text in ("--where", f"speaker={name}")]
    shown = call(folder / "speech" / "pred.csv", *options, *where)
    assert f"{len(test)} test clips, {len(speakers)} speakers" in shown
    # of a file that holds more clips, those that are asked for
    one = call(folder / "speech" / "pred.csv", *options, "--where", f"speaker={speakers[0]}")
    count = sum(rows.select(test)["speaker"] == speakers[0])
    assert f"{count} test clips, 1 speaker" in one
    said = call(folder / "speech" / "pred.csv", *options, "--where", "self=1", code=2)
    assert "no column 'self'" in said
    for option in ("--group", "--by"):
        said = call(folder / "speech" / "pred.csv", *options, *where, option, "speeker", code=2)
        assert "no column 'speeker'" in said
        assert "speaker" in said


def test_a_refused_comparison_leaves_no_folder(folder):
    wrong = (
        folder / "speech" / "pred.csv",
        "--truth",
        folder / "nothing.csv",
        "--task",
        "emotion6",
    )
    assert "there is no such file" in call(*wrong, "-o", folder / "new", code=2)
    assert not (folder / "new").exists()


def test_answers_of_a_language_model_are_read_and_what_to_doubt_is_printed(tmp_path):
    gold = ["JOY", "ANGER"] * 20
    rows = [f"T{number};{label};s{number % 8}" for number, label in enumerate(gold)]
    (tmp_path / "gold.csv").write_text("\n".join(["ID;Label;Speaker", *rows]), encoding="utf-8-sig")
    said = ["MIXED", *gold[1:]]
    rows = [f"T{number};{label}" for number, label in enumerate(said)]
    (tmp_path / "llm.csv").write_text("\n".join(["ID;Label", *rows]))
    given = (compare, [str(tmp_path / "llm.csv"), "--truth", str(tmp_path / "gold.csv")])
    done = CliRunner().invoke(*given)
    assert done.exit_code == 0, repr(done.exception)
    assert "llm     0.650" in done.stdout  # (0.95 + 1 + 0) / 3
    assert "warning: no test clip is MIXED: each label counts 0 in the means" in done.stderr
    wrong = call(tmp_path / "lm.csv", "--truth", tmp_path / "gold.csv", code=2)
    assert wrong == f"{tmp_path / 'lm.csv'}: there is no such file. Did you mean 'llm.csv'?"
    wrong = call(tmp_path / "ot", tmp_path, code=2)
    assert wrong == f"{tmp_path / 'ot'}: there is no such file or folder."
    (tmp_path / "gold.csv").write_text("id,truth\nT0,JOY\n")
    wrong = call(tmp_path / "llm.csv", "--truth", tmp_path / "gold.csv", code=2)
    assert "has no column label; it has id, truth" in wrong


def test_a_report_is_html_of_a_folder_that_is_there(folder):
    from affekt.classify.evaluation.reports.cli_report import report

    call(
        *(folder / name / "pred.csv" for name in ("speech", "text")),
        *("--truth", folder / "clips.csv", "--split", folder / "split.csv"),
        *("--resamples", 100, "-o", folder / "out", "--no-figures"),
    )
    for run, page, expected in (
        ("ou", "x.html", "ou does not exist; expected the folder"),
        ("ou", "x.html", "wrote. Did you mean 'out'?"),
        ("out", "x.pdf", "or in .tex for LaTeX tables. For PDF, print the page"),
    ):
        done = CliRunner().invoke(report, [str(folder / run), "-o", str(folder / page)])
        assert expected in str(done.exception)
        assert not (folder / page).exists()
    for name in ("x.html", "x.tex", "x.tex"):
        done = CliRunner().invoke(report, [str(folder / "out"), "-o", str(folder / name)])
        assert done.exit_code == 0, repr(done.exception)
    written = (folder / "x.tex").read_text()
    assert written == tables(Comparison.read(folder / "out").data)
    assert written.count(r"\begin{table}") == 2  # systems and pairs
    (folder / "x.tex").write_text("my paper")
    done = CliRunner().invoke(report, [str(folder / "out"), "-o", str(folder / "x.tex")])
    assert "this command did not write it" in str(done.exception)


def test_one_system_has_no_table_of_pairs(folder):
    call(folder / "speech" / "pred.csv", "--truth", folder / "clips.csv", "--split",
         folder / "split.csv", "--strategies", "none", "--latex", "-o", folder / "out",
         "--no-figures")  # fmt: skip
    assert (folder / "out" / "tables.tex").read_text().count(r"\begin{table}") == 1


def test_two_commands_never_write_into_one_folder_at_once(folder, monkeypatch):
    """Each file is written whole, and the files of two comparisons would be mixed."""
    refused = []

    def watched(self, place):
        with pytest.raises(InputError, match="is writing into the report") as done, locked(place):
            pass
        refused.append(done)
        return write(self, place)

    write = Comparison.write
    monkeypatch.setattr(Comparison, "write", watched)
    words = ["--truth", folder / "clips.csv", "--split", folder / "split.csv", "--resamples", 50]
    call(folder / "text" / "pred.csv", *words, "--no-figures", "-o", folder / "o")
    assert len(refused) == 1
    assert not (folder / "o" / ".lock").exists()
