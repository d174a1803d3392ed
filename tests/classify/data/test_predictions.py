"""Predictions: rows are distributions, and joins go by id and label name."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.data.estimates import Estimates
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.serving.output import as_rows, write_output
from hypothesis import example, given, strategies as st

LABELS = ("anger", "joy", "neutral")


def some(n=5, seed=0):
    rng = np.random.default_rng(seed)
    return Predictions([f"c{i}" for i in range(n)], LABELS, rng.dirichlet(np.ones(3), n))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([0.5, 0.5, 0.1], "not summing to 1"),
        ([1.2, -0.2, 0.0], "negative"),
        ([float("nan"), 0.5, 0.5], "not finite"),
        ([float("inf"), 0.0, 0.0], "not finite"),
        ([0.0, 0.0, 0.0], "not summing to 1"),
    ],
)
def test_rows_that_are_no_distribution_are_named(row, reason):
    with pytest.raises(InputError, match=f"{reason} for 'b'"):
        Predictions(["a", "b"], LABELS, [[0.2, 0.3, 0.5], row])


def test_double_and_missing_rows_are_named():
    with pytest.raises(InputError, match="ids appear twice: 'a'"):
        Predictions(["a", "a"], LABELS, np.full((2, 3), 1 / 3))
    with pytest.raises(InputError, match="no row for 'x'"):
        some().align(["c0", "c1", "c2", "c3", "x"])
    with pytest.raises(InputError, match="unexpected rows: 'c4'"):
        some().align(["c0", "c1", "c2", "c3"])
    for theirs, said in (
        (["x/a.wav", "b.flac"], "folders or extensions"),
        (["A", "B"], "case"),
        ([" a", "b "], "blanks around them"),
    ):
        with pytest.raises(InputError, match=f"They differ only in {said}: write them as"):
            Predictions(theirs, LABELS, np.full((2, 3), 1 / 3)).align(["a", "b"])
    by_number = Predictions(["1", "2.0"], LABELS, np.full((2, 3), 1 / 3))
    for ids in (["001", "002"], ["1.0", "2"]):
        with pytest.raises(InputError, match="As numbers they are the same: read ids as text"):
            by_number.align(ids)
    with pytest.raises(InputError, match="appear twice"):
        some().align(["c0", "c1", "c2", "c3", "c4", "c4"])
    with pytest.raises(InputError, match="no row for 'x'"):
        some().select(["c0", "x"])


def test_other_label_sets_are_named():
    with pytest.raises(InputError, match="too many: joy; missing: happy"):
        some().reorder(["anger", "happy", "neutral"])
    assert some().renamed({"joy": "happy"}).reorder(["happy", "neutral", "anger"]).labels == (
        "happy",
        "neutral",
        "anger",
    )


@given(st.permutations(range(5)), st.permutations(LABELS))
def test_order_of_rows_and_columns_never_matters(rows, columns):
    one = some()
    other = one.select([one.ids[row] for row in rows]).reorder(columns)
    assert other.reorder(LABELS).align(one.ids) == one


@given(st.permutations(range(3)))
def test_rounded_rows_are_normalised_alike_in_any_column_order(columns):
    rough = np.array([[0.3334, 0.3333, 0.3336], [0.1, 0.2, 0.7004]])
    one = Predictions(["a", "b"], LABELS, rough)
    other = Predictions(["a", "b"], [LABELS[c] for c in columns], rough[:, columns])
    assert np.array_equal(other.reorder(LABELS).proba, one.proba)
    assert np.allclose(one.proba.sum(axis=1), 1, atol=1e-15)


def test_what_is_written_reads_back_bit_for_bit(tmp_path):
    one = some(50)
    one.write(tmp_path / "pred.csv")
    assert Predictions.read(tmp_path / "pred.csv") == one
    assert (tmp_path / "pred.csv").read_text().startswith("id,label,anger,joy,neutral\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "pred.csv"]


def test_a_file_made_elsewhere(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("\ufeffneutral,id,angry,joy\r\n0.2,a,0.5,0.3\r\n", encoding="utf-8")
    read = Predictions.read(path, LABELS, {"angry": "anger"})
    assert read.labels == LABELS
    assert read.proba.tolist() == [[0.5, 0.3, 0.2]]


def test_labels_alone_are_hard_predictions(tmp_path):
    path = tmp_path / "hard.csv"
    path.write_text("id,label\na,joy\nb,anger\n")
    read = Predictions.read(path, LABELS)
    assert read.hard
    assert read.label == ["joy", "anger"]
    with pytest.raises(InputError, match="expected one of no, yes"):
        Predictions.read(path, ["no", "yes"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected id,label"),
        ("name,anger\na,1\n", "expected id,label"),
        ("id,label,anger\n", "0 rows"),
        ("id\na\n", "only a column id"),
        ("id,anger,joy\na,0.5\n", "line 2 has 2 cells; expected 3"),
        ("id,anger,joy\na,0.5,half\n", "line 2, column 'joy': 'half'"),
        ("id,anger,joy\na,0.5,\n", "line 2, column 'joy': ''"),
        ("id,label,anger,joy\na,anger,0.4,0.6\n", "largest probability is that of 'joy'"),
        ("id,label,anger,joy\na,fear,0.4,0.6\n", "has the label 'fear'"),
        ("id,anger,anger\na,0.4,0.6\n", "anger appear twice"),
        ("id,anger,joy\na,0.4,nan\n", "not finite for 'a'"),
    ],
)
def test_a_wrong_file_says_where(tmp_path, text, message):
    path = tmp_path / "pred.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        Predictions.read(path)
    assert "pred.csv" in str(error.value)


def test_ids_with_commas_quotes_and_line_breaks(tmp_path):
    one = Predictions(['a,"b"', "c\nd", "=1"], ("x", "y"), [[1, 0], [0.5, 0.5], [0, 1]])
    one.write(tmp_path / "pred.csv")
    assert Predictions.read(tmp_path / "pred.csv") == one


def test_ties_go_to_the_first_label():
    assert Predictions(["a"], LABELS, [[0.2, 0.4, 0.4]]).label == ["joy"]


def test_probabilities_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        some().proba[0, 0] = 1


def test_files_of_other_programs_are_read_or_the_message_says_what_to_do(tmp_path):
    def read(text):
        (tmp_path / "pred.csv").write_text(text)
        return Predictions.read(tmp_path / "pred.csv")

    rounded = read("id,x,y,z\na,0.47,0.44,0.08\nb,0.33,0.33,0.33\n")
    assert rounded.proba.sum(axis=1) == pytest.approx([1, 1])
    assert rounded.proba[0, 0] == pytest.approx(0.47 / 0.99)
    assert read("id;x;y\na;0.25;0.75\n").proba.tolist() == [[0.25, 0.75]]
    assert read("id;x;y\na;0,25;0,75\nb;1;0\n").proba.tolist() == [[0.25, 0.75], [1, 0]]
    assert read("id;x;y\na;0,47;0,54\n").proba[0, 0] == pytest.approx(0.47 / 1.01)
    assert read("id;x;y\na;9,9E-01;1E-2\n").proba.tolist() == [[0.99, 0.01]]
    assert read("id,x,y\na,-1e-17,1.0\n").proba.tolist() == [[0.0, 1.0]]
    for text, message in (
        ("id,x,y\na,0.40,0.40\n", "divide each row by its sum"),  # rounding does not explain it
        ("id,x,y\na,39.5,60.5\n", "per cent: divide them by 100"),
        ("id,x,y\na,-0.93,1.93\n", "softmax"),
        (",id,x,y\n0,a,0.4,0.6\n", "index=False"),
        ("id,id,x,y\na,b,0.4,0.6\n", "id appear twice"),
        ("file,x,y\na,0.4,0.6\n", "Name the column of clip ids id"),
        (
            '{"id": "a", "label": "x"}\n',
            "line 1 is JSON, and not a line of affekt predict",
        ),
    ):
        with pytest.raises(InputError, match=message):
            read(text)


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(ANY, min_size=1, max_size=4, unique=True))
@example(["a\rb", "\r", 'q"x', "=1+1", "a,b", "a\r\nb", " s "])
def test_any_id_reads_back(ids):
    wanted = Predictions(ids, ["no", "yes"], [[0.25, 0.75]] * len(ids))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pred.csv")
        wanted.write(path)
        assert list(Predictions.read(path).ids) == list(wanted.ids)


def test_a_frame_of_probabilities_is_joined_by_its_names():
    pandas = pytest.importorskip("pandas")
    wanted = some()
    frame = pandas.DataFrame(wanted.proba, index=wanted.ids, columns=list(wanted.labels))
    other = frame.iloc[::-1, [2, 0, 1]]
    assert Predictions(wanted.ids, LABELS, other) == wanted
    plain = frame.set_axis(range(5), axis=0).set_axis(["x", "y", "z"], axis=1)
    assert Predictions(wanted.ids, LABELS, plain) == wanted


@pytest.mark.parametrize("top", [None, 1])
def test_lines_of_json_are_read_as_predict_writes_them(tmp_path, top):
    made = Predictions(["a\u2028b", "=c"], ["no", "yes"], [[0.25, 0.75], [0.9, 0.1]])
    path = tmp_path / "p.jsonl"
    write_output(path, made, as_rows(made, top, {"=c": {"text": "words"}}))
    if top:
        with pytest.raises(InputError, match="scores of no, line 1 of yes"):
            Predictions.read(path)
        return
    read = Predictions.read(path, labels=["yes", "nope"], rename={"no": "nope"})
    assert (read.ids, read.labels) == (made.ids, ("yes", "nope"))
    np.testing.assert_array_equal(read.proba, made.proba[:, ::-1])


def test_lines_of_json_of_numbers_are_read_as_predict_writes_them(tmp_path):
    made = Estimates(["a", "b"], ["arousal", "valence"], [[1.5, 4.0], [3.0, 2.5]])
    path = tmp_path / "p.jsonl"
    write_output(path, made, as_rows(made, None, {}))
    np.testing.assert_array_equal(Estimates.read(path, made.labels).proba, made.proba)


@pytest.mark.parametrize("proba", ["half", [[0.5, "b", 0.5]], [[0.5, 0.5], [1.0]]])
def test_probabilities_that_are_not_numbers_are_refused(proba):
    with pytest.raises(InputError, match=r"probabilities are not numbers.*\(clips, labels\)"):
        Predictions(["a"], LABELS, proba)


@pytest.mark.parametrize("table", ["p.csv", None, {"id": ["a"]}])
def test_what_is_not_a_frame_is_refused(table):
    with pytest.raises(InputError, match=r"expected a pandas DataFrame; Predictions\.read"):
        Predictions.from_frame(table)


TABLE = "id,anger,joy,neutral\na,0.5,0.25,0.25\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p.csv", TABLE.replace(",", "\t").encode()),
        ("p.csv", TABLE.replace(",", "|").encode()),
        ("p.csv", TABLE.encode("utf-16")),
        ("p.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
        ("p", TABLE.encode("utf-8-sig")),
    ],
)
def test_a_file_is_decoded_and_divided_as_a_table_of_clips_is(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert Predictions.read(tmp_path / name, LABELS).proba.tolist() == [[0.5, 0.25, 0.25]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("p.xlsx", b"PK\x03\x04" + bytes(9), "save the predictions as .csv"),
        ("p.csv", b"PAR1" + bytes(9), r"content is that of a \.parquet file"),
        ("p.npy", b"\x93NUMPY\x01\x00", "is not text"),
        (
            "p.csv",
            TABLE.replace("a,", "\xe4,", 2).encode("latin-1"),
            "not text in UTF-8.*save it as",
        ),
        ("p.csv", b"<!DOCTYPE html><html>", "a web page"),
    ],
)
def test_a_file_that_is_not_text_is_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        Predictions.read(tmp_path / name, LABELS)


@pytest.mark.parametrize("name", ["p.xlsx", "p.parquet", "p"])
def test_predictions_are_written_under_a_name_that_says_what_they_are(tmp_path, name):
    with pytest.raises(InputError, match=r"expected a name that ends in \.csv"):
        some().write(tmp_path / name)


def test_labels_that_are_not_a_list_are_refused(tmp_path):
    some().write(path := tmp_path / "p.csv")
    for wrong in (Task.named("valence"), "valence", 3):
        with pytest.raises(InputError, match=r"expected a list of labels, .*labels=task\.labels"):
            Predictions.read(path, wrong)
        with pytest.raises(InputError, match="expected a list of labels"):
            Predictions.from_frame(some(), wrong)
    with pytest.raises(InputError, match="expected a mapping"):
        Predictions.read(path, rename=["joy"])
