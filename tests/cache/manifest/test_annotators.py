"""`affekt manifest --raters`: a table with a row for each rater and clip becomes one of clips."""

from __future__ import annotations

import json

import pandas
import pytest
from affekt.cache import InputError, Manifest
from affekt.cache.manifest.corpora.annotators import read_annotators
from affekt.classify.cli import affekt
from click.testing import CliRunner

from .test_manifest_command import call


def written(folder, text, name="answers.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_it_is_the_pivot_of_pandas(tmp_path):
    rows = [
        f"{clip},said {clip},{rater},{len(clip) + at},{'x' * at}"
        for at, rater in enumerate(("Zoe", "Ann", "Ben"))
        for clip in ("a", "bb", "ccc")
        if (clip, rater) != ("bb", "Ann")
    ]
    path = written(tmp_path, "\n".join(["utt,text,who,valence,comment", *rows]))
    found = read_annotators(path, "who")
    pivot = pandas.read_csv(path, dtype=str, keep_default_na=False).pivot(
        index=["utt", "text"], columns="who", values=["valence", "comment"]
    )
    numbers = {"Zoe": "R1", "Ann": "R2", "Ben": "R3"}
    for (name, who), values in pivot.items():
        assert list(found[f"{name}_{numbers[who]}"]) == list(values.fillna(""))
    assert list(found["text"]) == ["said a", "said bb", "said ccc"]
    assert found.notes[0].startswith("8 rows by 3 raters make 3 clips; one column for each rater")
    assert "R1 is Zoe, R2 is Ann, R3 is Ben" in found.notes[0]


def test_labels_become_columns_that_init_takes_as_votes(tmp_path):
    rows = [
        f"text {clip},{who},{['joy', 'fear', 'joy', 'sadness'][(clip + at // 2) % 4]}"
        for clip in range(40)
        for at, who in enumerate("pqr")
    ]
    path = written(tmp_path, "\n".join(["text,worker,emotion", *rows]))
    call(path, "--raters", "worker", "-o", tmp_path / "clips.csv")
    assert Manifest.read(tmp_path / "clips.csv").columns[1:] == (
        "text",
        "rater1",
        "rater2",
        "rater3",
    )
    done = CliRunner().invoke(
        affekt, ["init", str(tmp_path / "clips.csv"), "-o", str(tmp_path / "recipe.yaml")]
    )
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    recipe = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert "votes: " in recipe
    checked = CliRunner().invoke(affekt, ["run", "--check", str(tmp_path / "recipe.yaml")])
    assert checked.exit_code == 0, checked.output


def test_of_many_raters_the_answers_of_a_clip_are_numbered(tmp_path):
    rows = [
        f"c{clip},t{clip},worker {3 * clip + at},{at + 1}" for clip in range(9) for at in range(3)
    ]
    path = written(tmp_path, "\n".join(["id,text,worker,arousal", *rows]))
    found = read_annotators(path, "worker")
    columns = [list(found[f"arousal_R{number}"]) for number in (1, 2, 3)]
    assert columns == [["1"] * 9, ["2"] * 9, ["3"] * 9]
    assert "R1 is the first answer for each clip" in found.notes[0]


def test_paths_and_roots_are_as_of_any_table(tmp_path):
    (tmp_path / "deep").mkdir()
    path = written(tmp_path / "deep", "file,who,valence\n../a.wav,A,1\n../a.wav,B,2\n")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    call(path, "--raters", "who", "-o", tmp_path / "clips.csv")
    assert Manifest.read(tmp_path / "clips.csv").file(0) == tmp_path / "a.wav"
    with pytest.raises(InputError, match=r"outside|leave"):
        call(path, "--raters", "who", "--root", tmp_path / "deep")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,t,A,1\na,t,A,2", r"line 3: 'A' answered for this clip in line 2 already"),
        ("a,t,A,1\na,t,,2", r"line 3: who is blank; expected who answered"),
    ],
)
def test_rows_that_are_not_one_for_each_rater_and_clip(tmp_path, rows, said):
    with pytest.raises(InputError, match=said):
        read_annotators(written(tmp_path, "id,text,who,valence\n" + rows), "who")


def test_a_column_of_raters_that_is_not_there(tmp_path):
    path = written(tmp_path, "id,text,rater,valence\na,t,A,1\n")
    with pytest.raises(InputError, match=r"no column 'ratr' of the raters; .*Did you mean 'rater'"):
        read_annotators(path, "ratr")
    (tmp_path / "wav").mkdir()
    with pytest.raises(InputError, match="--raters is for one table"):
        call(tmp_path / "wav", "--raters", "rater", "--as", "folders")


def test_a_table_without_rows(tmp_path):
    path = written(tmp_path, "id,text,rater,valence\n")
    with pytest.raises(InputError, match="has 0 rows"):
        read_annotators(path, "rater")


def test_json_has_the_note_and_the_columns(tmp_path):
    path = written(tmp_path, "id,text,rater,valence\na,t,A,1\na,t,B,2\n")
    found = json.loads(call(path, "--raters", "rater", "--json").stdout)
    assert set(found["kept"]) == {"valence_R1", "valence_R2"}
