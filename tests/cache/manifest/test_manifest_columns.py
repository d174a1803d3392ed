"""`affekt manifest`: which columns were read as what, which were not used, and given names."""

from __future__ import annotations

import json

import pytest
from affekt.cache import InputError, Manifest

from .test_manifest_command import call, sound


def test_a_table_says_which_column_was_taken_for_what(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("file,emo,spk,part\na.wav,joy,s1,x\nb.wav,sad,S1,x\na.wav,joy,s1,x\n")
    with pytest.raises(InputError, match="--dedupe"):
        call(table)
    done = call(table, "--dedupe", "--merge-speakers", "-o", tmp_path / "clips.csv")
    assert "label     from emo: joy 1, sad 1" in done.stdout
    assert "text      none: no text encoder" in done.stdout
    assert "none of 2 files is in" in done.stdout
    (tmp_path / "far.csv").write_text("path\n/no/a.wav\nC:\\b.wav\n~/c.wav\n")
    assert "none of 3 files is there\n" in call(tmp_path / "far.csv").stdout
    assert "none      language, split, dataset" in done.stdout
    assert done.stdout.splitlines()[-2] == "  part      x 2"
    assert list(Manifest.read(tmp_path / "clips.csv")["speaker"]) == ["s1", "s1"]
    summary = json.loads(call(table, "--dedupe", "--json").stdout)
    assert (summary["clips"], summary["columns"]["path"][:9]) == (2, "from file")


def test_ratings_in_place_of_labels_are_named(tmp_path):
    sound(tmp_path / "a.wav")
    table = tmp_path / "t.csv"
    table.write_text(
        "id,path,EmoAct,EmoVal\n" + "".join(f"{n},a.wav,{n}.5,{n}\n" for n in range(3))
    )
    said = call(table).stdout
    assert "none; EmoAct, EmoVal look like ratings of arousal, valence: affekt init makes" in said
    assert "which column is it" not in said
    table.write_text("id,path,EmoAct,label\n0,a.wav,1.5,x\n1,a.wav,2.5,x\n2,a.wav,3.5,y\n")
    assert "like ratings" not in call(table).stdout


def test_columns_that_were_not_used_are_named(tmp_path):
    table = tmp_path / "t.csv"
    sound(tmp_path / "a.wav")
    table.write_text("file,from,to,emotoin,age\na.wav,1,2,joy,30\nb.wav,1,2,sad,40\n")
    done = call(table)
    assert "column emotoin was kept as it is; is it the label? Name it label" in done.stderr
    assert "column from looks like a time and was not used" in done.stderr
    assert "of 2 files 1 are missing: b.wav" in done.stdout
    assert "label     none: no training and no scores" in done.stdout
    assert "age       30 1, 40 1" in done.stdout


def test_columns_are_read_under_names_that_were_given(tmp_path):
    table = tmp_path / "umfrage.csv"
    rows = (
        "Nr,Wer,Satz hier,Gefühl\n1,anna,das ist so gut,froh\n2,ben,das ist so schlecht,traurig\n"
    )
    table.write_text(rows, encoding="utf-8")
    wanted = {"id": "Nr", "speaker": "Wer", "text": "Satz hier", "label": "Gefu\u0308hl"}
    words = [word for ours, name in wanted.items() for word in ("--column", f"{ours}={name}")]
    shown = call(table, *words, "-o", tmp_path / "named.csv").output
    assert "text      from Satz hier, such as" in shown
    clips = Manifest.read(tmp_path / "named.csv")
    assert list(clips["label"]) == ["froh", "traurig"]
    assert (list(clips.ids), list(clips["speaker"])) == (["1", "2"], ["anna", "ben"])
    read = Manifest.read(table, columns=wanted)
    assert read.taken["text"] == ("Satz hier",)
    assert [list(read[name]) for name in wanted] == [list(clips[name]) for name in wanted]
    both = Manifest.read(table, columns={"text": "Satz hier", "label": "Wer", "speaker": "Wer"})
    assert list(both["label"]) == list(both["speaker"]) == ["anna", "ben"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "with --column 'text=Satz hier'"),
        (("--column", "text=Sats hier"), "no column 'Sats hier' to read as text; .*'Satz hier'"),
        (("--column", "text"), "expected NAME=VALUE"),
        (("--column", "text=Satz hier", "--column", "Nr=Wer"), "has a column Nr already"),
        (("--as", "folders", "--column", "text=Wer"), "--column is for one table"),
    ],
)
def test_columns_that_cannot_be_read_under_other_names(tmp_path, words, said):
    table = tmp_path / "umfrage.csv"
    table.write_text("Nr,Wer,Satz hier\n1,anna,das ist so gut\n", encoding="utf-8")
    with pytest.raises(InputError, match=said):
        call(table, *words)
    with pytest.raises(InputError, match="text is read from 2; expected the name of a column"):
        Manifest.read(table, columns={"text": 2})


def test_rows_of_several_annotators_are_noticed():
    rated = [
        {"text": f"text {row // 3}", "rater": f"R{row % 3}", "label": "joy"} for row in range(9)
    ]
    [note] = [one for one in Manifest.from_rows(rated).notes if "repeat" in one]
    assert note.startswith("6 of 9 rows repeat the text of another row")
    assert "affekt manifest TABLE --raters COLUMN -o clips.csv" in note
    others = [{"text": f"own {row}", "rater": "R0", "label": "joy"} for row in range(3)]
    few = Manifest.from_rows([*rated[:2], *others])  # one of five
    assert not [one for one in few.notes if "repeat" in one]
    named = [{"id": f"c{row}", **one} for row, one in enumerate(rated)]
    assert not [one for one in Manifest.from_rows(named).notes if "repeat" in one]
    unequal = [{"id": "a", "text": "t", "rater": rater} for rater in "AB"]
    with pytest.raises(InputError, match=r"\(rater differs\).* make one row of their answers"):
        Manifest.from_rows(unequal)
