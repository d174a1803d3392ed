"""What a run refuses before it embeds or trains, and `affekt run --check`."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import Cache, InputError
from affekt.classify import run
from affekt.classify.experiments.preview import preview
from affekt.extract import Encoder

WORDS = {"negative": "rain dark cry", "neutral": "table road chair", "positive": "sun laugh happy"}
RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}
members:
  lr: {head: logistic, on: text}
  lr2: {head: logistic, on: text, C: 1}
ensembles: [mean]
compare: {n_resamples: 200, learning_curve: false}
report: out
"""
SPLIT = "scheme: speaker, test_size: 0.3, dev_size: 0.2"
SEVENTEEN = "".join(f"  m{i}: {{head: logistic, on: text, C: {i + 1}}}\n" for i in range(16))


def write_clips(path: Path, rows=None) -> Path:
    rng = random.Random(0)
    rows = rows or [
        {
            "id": f"{speaker}-{label}-{j}",
            "text": " ".join(rng.choices(words.split(), k=5)) + f" {rng.randrange(10**6)}",
            "label": label,
            "speaker": f"spk{speaker}",
            "language": ("ita", "tur", "amh")[speaker % 3],
            "fold": "test" if speaker < 3 else "dev" if speaker < 5 else "train",
            "gender": "f" if speaker % 2 else "m",
            "emotion_again": label.upper(),
        }
        for speaker in range(9)
        for label, words in WORDS.items()
        for j in range(3)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    write_clips(tmp_path / "clips.csv")
    return tmp_path


def recipe(folder: Path, *changes: tuple[str, str]) -> Path:
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (SPLIT, "scheme: group-kfold, n_splits: 20", 5, "9 values of speaker for 20 folds"),
        (SPLIT, "scheme: column", 5, "no column 'split'"),
        (SPLIT, "scheme: column, column: fould", 5, "Did you mean 'fold'"),
        (SPLIT, "scheme: speaker, test_size: 30", 5, "`test_size=30"),
        (SPLIT, "scheme: speaker,\n  test_size: 30", 6, "`test_size=30`"),
        (SPLIT, "scheme: column,\n  column: fould", 6, "Did you mean 'fold'"),
        (SPLIT, "scheme: speaker, test_size: .nan", 5, "test_size is nan"),
        (SPLIT, "scheme: speaker, test_size: 0.6, dev_size: 0.5", 5, "leave something for train"),
        (SPLIT, "scheme: speaker, group: speaker", 5, "group has no effect with the scheme"),
        (SPLIT, "scheme: group-kfold, group: label", 5, "which is the label"),
        (SPLIT, "scheme: leave-one-corpus-out", 5, "no column 'dataset'"),
        ("report: out", "report: afile", 11, "is a file"),
        ("report: out", "report: afile/deep", 11, "is a file"),
        ("report: out", "report: my.cache/out", 11, "inside the cache"),
        ("report: out", "report: amodel", 11, "is a model"),
        ("report: out", "report: /", 11, "a folder of its own"),
        ("report: out", "report: ~/", 11, "a folder of its own"),
        ("cache: my.cache", "cache: afile/c", 3, "is a file"),
        ("[mean]", "[mean, mean]", 9, "combine the same members"),
        ("[mean]", "[maen]", 9, "Did you mean 'mean'"),
        ("  lr2:", f"  {'x' * 300}:", 8, "300 bytes"),
        ("  lr2:", "  'a\\tb':".replace("\\t", "\t"), 8, "control character"),
        ("  lr2:", '  "a\\eb":', 8, "control character"),
        ("  lr2:", "  a/b:", 8, "is not allowed in it"),
        ("  lr2:", "  LR:", 8, "the same folder"),
        ("  lr2:", "  nul:", 8, "Windows"),
        ("  lr2:", "  'lr2 ':", 8, "ends with"),
        ("dev_size: 0.2", "dev_size: 0", 8, "settings to choose from"),
        ("C: 1}", "class_weight: {positve: 2}}", 8, "Did you mean 'positive'"),
        ("C: 1}", "class_weight: {positive: -2}}", 8, "of at least 0"),
        ("C: 1}", "C: .inf}", 8, "finite"),
        ("C: 1}", "c: 1}", 8, "Did you mean 'C'"),
        ("C: 1}", "C: .nan}", 8, "`C` is nan"),
        ("C: 1}", "max_iter: 0}", 8, "max_iter"),
        ("C: 1}", "layers: 7}", 8, "layer"),
        ("C: 1}", "combine: mix}", 8, "cannot mix"),
        ("C: 1}", "scale: dataset}", 8, "81 of 81 clips have none"),
        ("head: logistic, on: text, C: 1", "head: concat, on: text", 8, "takes two encoders"),
        ("head: logistic, on: text, C: 1", "on: text, C: 1", 8, "has no head, so C"),
        ("head: logistic, on: text, C: 1", "on: text", 8, "is not a classifier"),
        ("on: text, C: 1", "on: [text, text]", 8, "twice"),
        ("200,", "200, subsets: true,", 22, "at most 16 members"),
        ("200,", "200, calibrate: temprature,", 10, "calibrate is 'temprature'"),
        ("learning_curve: false", "learning_curve: nobody", 10, "learning_curve of 'nobody'"),
        ("learning_curve: false", "by: [gendre]", 10, "Did you mean 'gender'"),
        ("learning_curve: false", "by: [label]", 10, "which is the label"),
        ("report: out", "group: speeker\nreport: out", 11, "Did you mean 'speaker'"),
        ("report: out", "group: label\nreport: out", 11, "which is the label"),
        ("report: out", "group: emotion_again\nreport: out", 11, "which is the label"),
        ("[mean]", "[mean, stacking]", 9, "stacking is fitted on dev"),
        ("200,", "200, calibrate: temperature,", 10, "is fitted on dev"),
        ("C: 1}", "C: 1e+300}", 8, "`C` is 1e+300; expected a finite number from 1e-12"),
        ("C: 1}", "class_weight: balancd}", 8, "Did you mean 'balanced'"),
        ("C: 1}", "random_state: 4294967296}", 8, "expected numbers below"),
        ("200,", "100000000,", 10, "at most 1000000"),
        ("report: out", "report: /proc/nowhere/out", 11, "cannot be written"),
        ("cache: my.cache", "cache: /proc/nowhere/c", 3, "cannot be written"),
        ("cache: my.cache", "cache: $NOT_SET_HERE/c", 3, "NOT_SET_HERE is not set"),
    ],
)
def test_what_cannot_work_is_refused_with_its_line_and_nothing_is_made(
    folder, old, new, line, words
):
    (folder / "afile").write_text("x")
    (folder / "amodel").mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / "amodel" / name).write_text("x")
    changes = [(old, new)]
    if "settings to choose" in words:
        changes.append(("C: 1}", "C: [0.1, 1]}"))
    if "16 members" in words:
        changes.append(("  lr2: {head: logistic, on: text, C: 1}\n", SEVENTEEN))
        line = 25
    if "is fitted on dev" in words:
        changes.append(("dev_size: 0.2", "dev_size: 0"))
    path = recipe(folder, *changes)
    before = sorted(folder.rglob("*"))
    for start in (preview, run):
        with pytest.raises(InputError) as error:
            start(path)
        result = "\n".join([str(error.value), *getattr(error.value, "__notes__", ())])
        assert words in result
        assert f"{path}:{line}" in result
    assert sorted(folder.rglob("*")) == before


def test_a_weight_of_a_label_that_train_lacks_is_refused(folder):
    rows = [row for row in read(folder / "clips.csv")
            if row["label"] != "positive" or row["fold"] == "test"]  # fmt: skip
    write_clips(folder / "clips.csv", rows)
    path = recipe(folder, (SPLIT, "scheme: column, column: fold"),
                  ("C: 1}", "class_weight: {positive: 2}}"))  # fmt: skip
    with pytest.raises(InputError, match=r"r\.yaml:8: .*'positive', of which train has no clip"):
        run(path)


def test_recordings_of_which_none_is_there_stop_a_run_before_any_work(folder):
    rows = [row | {"path": f"unmounted/{row['id']}.wav"} for row in read(folder / "clips.csv")]
    write_clips(folder / "clips.csv", rows)
    path = recipe(folder, ("{text: ngram}", "{text: ngram, speech: spectral}"),
                  ("on: text, C: 1", "on: speech"))  # fmt: skip
    for start in (preview, run):
        with pytest.raises(InputError, match=r"r\.yaml:1: none of 81 recordings is there"):
            start(path)
    assert not (folder / "my.cache").exists()


def test_what_was_not_read_of_the_table_is_said(folder):
    rows = [{**row, "patient": row["speaker"]} for row in read(folder / "clips.csv")]
    for row in rows:
        del row["speaker"]
    write_clips(folder / "clips.csv", rows)
    path = recipe(folder, ("scheme: speaker", "scheme: stratified"))
    note = "column patient was kept as it is; is it the speaker? Name it speaker"
    assert note in "".join(preview(path).notes)


def test_a_few_missing_recordings_are_named(folder):
    rows = read(folder / "clips.csv")
    (folder / "wav").mkdir()
    for row in rows[2:]:
        (folder / "wav" / f"{row['id']}.wav").write_bytes(b"")
    write_clips(folder / "clips.csv", [row | {"path": f"wav/{row['id']}.wav"} for row in rows])
    path = recipe(folder, ("{text: ngram}", "{text: ngram, speech: spectral}"),
                  ("on: text, C: 1", "on: speech"))  # fmt: skip
    gone = ", ".join(row["id"] for row in rows[:2])
    note = f"speech: 2 of 81 recordings are not there and will be left out: {gone}"
    assert note in preview(path).notes


def test_a_space_that_is_named_as_an_encoder_is_offered(folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cache = Cache(folder / "my.cache")
    space = cache.create(Encoder("ngram").spec, "own")
    with pytest.raises(InputError) as caught:
        preview(recipe(folder, ("text: ngram", "text: own")))
    assert f"the cache has this space: write {{space: {space.name}}}" in caught.value.__notes__


def test_a_check_counts_and_does_nothing_without_torch_or_scikit_learn(folder):
    path = recipe(folder, ("C: 1}", "class_weight: balanced}"))
    code = (
        "import sys\n"
        "from affekt.classify.cli import main\n"
        "sys.argv = ['affekt', 'run', '--check', '--json', sys.argv[1]]\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'sklearn', 'transformers') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    found, modules = done.stdout.splitlines()
    assert modules == "[]"
    result = json.loads(found)
    found_current = result["is_current"]
    assert result["encoders"]["text"] | {"seconds": 0} == {
        **{"clips": 81, "stored": 0, "failed": 0, "to_embed": 81, "seconds": 0}
    }
    [fold] = result["members"]["lr"]["folds"]
    assert fold["train"] + fold["dev"] + fold["test"] == 81
    assert {one.name for one in folder.iterdir()} == {"clips.csv", "r.yaml"}
    run(path)
    again = preview(path)
    assert again.encoders["text"]["stored"] == 81
    assert again.encoders["text"]["to_embed"] == 0
    assert again.is_current
    assert "Nothing to do" in again.text()
    assert not found_current
    split = read(folder / "out" / "split.csv")
    for part in ("train", "dev", "test"):
        assert sum(row["split"] == part for row in split) == fold[part]


def test_a_check_leaves_with_2_where_the_run_would_be_refused(folder):
    path = recipe(folder, (SPLIT, "scheme: speaker, test_size: 30"))
    done = subprocess.run(
        [sys.executable, "-m", "affekt.classify.cli", "run", "--check", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{path}:5: `test_size=30`" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "member",
    [
        "{head: mlp, on: text, hidden: [[9999999999999]]}",
        "{head: patch, on: text, hidden: 9999999999999}",
        "{head: patch, on: text, d_model: [64, 9999999999999]}",
        "{head: patch, on: text, patch_size: 9999999999999}",
        "{head: patch, on: text, feedforward: 9999999999999}",
    ],
)
def test_a_layer_that_no_memory_can_hold_is_refused_with_its_line(folder, member):
    path = recipe(folder, ("{head: logistic, on: text}", member))
    with pytest.raises(InputError, match=r"r\.yaml:7: .*9999999999999; expected .* to 16384"):
        preview(path)


def test_a_sparse_recording_is_named_and_no_work(folder):
    rows = read(folder / "clips.csv")
    for row in rows:
        row["path"] = f"{row['id']}.wav"
        soundfile.write(folder / row["path"], np.zeros(800), 16_000)
    with (folder / rows[4]["path"]).open("r+b") as file:
        file.truncate(30 << 30)
    write_clips(folder / "clips.csv", rows)
    member = ("lr2: {head: logistic, on: text", "lr2: {head: logistic, on: speech")
    both = ("{text: ngram}", "{text: ngram, speech: spectral}")
    result = preview(recipe(folder, both, member))
    assert result.encoders["speech"]["to_embed"] == 81
    name = rows[4]["id"]
    assert (
        f"speech: 1 of 81 recordings is too large, or sparse, and will be left out: {name}"
    ) in result.notes
    assert result.encoders["speech"]["seconds"] < 600  # by its size it is 11 days of speech


def without_text(folder: Path, keep) -> None:
    rows = read(folder / "clips.csv")
    write_clips(folder / "clips.csv", [row | ({} if keep(row) else {"text": ""}) for row in rows])


def test_a_member_sits_out_the_fold_of_a_language_that_it_cannot_read(folder):
    without_text(folder, lambda row: row["language"] != "amh")
    path = recipe(folder, (SPLIT, "scheme: leave-one-language-out, dev_size: 0"))
    said: list[str] = []
    outcome = run(path, progress=said.append)
    assert outcome.exit_code == 0
    assert "lr sits out 'amh': none of the 27 clips of test has what text needs" in said
    data = json.loads((folder / "out" / "comparison.json").read_text())
    assert set(data["run"]["sits_out"]) == {"lr", "lr2"}
    assert [part["fold"] for part in data["run"]["members"]["lr"]["parts"]] == ["ita", "tur"]
    assert data["test"]["clips"] == 54
    assert data["run"]["coverage"]["split"]["clips"] == 81
    report = (folder / "out" / "report.md").read_text()
    assert "**lr sits out 1 fold**" in report
    assert "27 of the 81 test clips of the split are not scored" in report
    assert preview(path).members["lr"]["sits_out"].keys() == {"amh"}


def test_a_run_says_that_dev_has_other_languages_than_test(folder):
    said: list[str] = []
    run(recipe(folder, (SPLIT, "scheme: leave-one-language-out")), progress=said.append)
    assert any("warning: test is of another language than train and dev" in text for text in said)


def test_a_fold_with_one_label_left_cannot_be_trained_on(folder):
    without_text(folder, lambda row: row["language"] == "ita" or row["label"] == "neutral")
    path = recipe(folder, (SPLIT, "scheme: leave-one-language-out, dev_size: 0"))
    found = preview(path).members["lr"]["sits_out"]
    assert found == {"ita": "all 18 train clips that it can use are 'neutral'"}


def test_a_member_without_clips_anywhere_is_refused(folder):
    without_text(folder, lambda row: row["speaker"] not in ("spk0", "spk1", "spk2"))
    path = recipe(folder, (SPLIT, "scheme: column, column: fold"))
    with pytest.raises(InputError, match=r"r\.yaml:7: member 'lr': none of the 27 clips of test"):
        run(path)
    assert not (folder / "my.cache").exists()


def test_test_clips_that_no_member_reads_are_counted(folder):
    without_text(folder, lambda row: not row["id"].endswith("-2"))
    said: list[str] = []
    run(recipe(folder), progress=said.append)
    assert "9 of 27 test clips are not scored: no member has its input for them" in said
    report = (folder / "out" / "report.md").read_text()
    assert "9 of the 27 test clips of the split are not scored" in report
    assert "Every member has all" not in report


def test_the_columns_that_a_recipe_names_are_part_of_the_run(folder):
    rows = read(folder / "clips.csv")
    write_clips(folder / "clips.csv", [row | {"said": row["id"][-1]} for row in rows])
    path = recipe(folder, (SPLIT, "scheme: column, column: fold"),
                  ("200,", "200, by: [gender], crossed: said,"))  # fmt: skip
    run(path)
    assert run(path).did == []
    rows = read(folder / "clips.csv")
    turned = {"test": "train", "dev": "dev", "train": "test"}
    write_clips(folder / "clips.csv", [row | {"fold": turned[row["fold"]]} for row in rows])
    assert run(path).did
    part = {row["id"]: row["fold"] for row in read(folder / "clips.csv")}
    assert {row["id"]: row["split"] for row in read(folder / "out" / "split.csv")} == part
    rows = read(folder / "clips.csv")
    for changed in (
        *({"gender": "f"}, {"gender": "f", "said": "1"}),
        {"gender": "f", "said": "1", "duration": "2.5"},
    ):
        write_clips(folder / "clips.csv", [row | changed for row in rows])
        assert run(path).did == ["compared members and ensembles"]


def test_a_home_folder_and_variables_are_written_out(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("WHERE", str(folder / "elsewhere"))
    path = recipe(folder, ("my.cache", "~/c"), ("report: out", "report: ${WHERE}/out"))
    run(path)
    assert (folder / "home" / "c" / "spaces").is_dir()
    assert (folder / "elsewhere" / "out" / "report.md").is_file()
    assert not [one for one in folder.iterdir() if one.name[0] in "~$"]
