"""Tasks: label sets, synonyms, corpus maps, unknown labels."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.data.task import Task
from hypothesis import given, strategies as st

NAMES = ["valence", "valence-vocametrix", "emotion6", "emotion7", "sentiment"]


def clips(labels, datasets=None):
    datasets = datasets or [""] * len(labels)
    return Manifest.from_rows(
        [
            {"id": f"c{i}", "text": "-", "label": label, "dataset": dataset}
            for i, (label, dataset) in enumerate(zip(labels, datasets, strict=True))
        ]
    )


def test_the_seeds_label_sets_and_their_order():
    assert Task.named("emotion6").labels == (
        "anger",
        "disgust",
        "fear",
        "joy",
        "neutral",
        "sadness",
    )
    assert Task.named("emotion7").labels == (
        "angry",
        "disgust",
        "fear",
        "happy",
        "neutral",
        "sad",
        "surprise",
    )
    assert Task.named("valence").labels == ("negative", "neutral", "positive")


@pytest.mark.parametrize(
    ("raw", "six", "seven", "valence"),
    [
        ("ira", "anger", "angry", "negative"),
        ("enojo", "anger", "angry", "negative"),
        ("angry", "anger", "angry", "negative"),
        ("ang", "anger", "angry", "negative"),
        ("alegría", "joy", "happy", "positive"),
        ("happiness", "joy", "happy", "positive"),
        ("miedo", "fear", "fear", "negative"),
        ("tristeza", "sadness", "sad", "negative"),
        ("sad", "sadness", "sad", "negative"),
        ("asco", "disgust", "disgust", "negative"),
        ("neutro", "neutral", "neutral", "neutral"),
        ("surprise", None, "surprise", None),
        ("calm", None, None, "neutral"),
        ("boredom", None, None, "negative"),
    ],
)
def test_one_raw_label_under_three_tasks(raw, six, seven, valence):
    found = [Task.named(name).label_of(raw) for name in ("emotion6", "emotion7", "valence")]
    assert found == [six, seven, valence]


def test_decomposed_letters_are_the_same_label():
    assert Task.named("emotion6").label_of("alegri\u0301a") == "joy"


def test_corpora_differ_in_what_a_label_means():
    task = Task.named("valence")
    assert task.label_of("calm", "ravdess") == "neutral"
    assert task.label_of("calm", "MESS") == "positive"
    assert task.label_of("surprise", "tess") == "positive"  # TESS says pleasant surprise
    assert task.label_of("surprise", "ravdess") is None
    assert Task.named("valence-vocametrix").label_of("surprise", "ravdess") == "positive"
    assert task.label_of("W", "emodb") == "negative"
    with pytest.raises(InputError):
        task.label_of("W")  # a code means something in its corpus only


@pytest.mark.parametrize("name", NAMES)
def test_task_labels_map_to_themselves_in_every_corpus(name):
    task = Task.named(name)
    for corpus in ["", *task.corpora]:
        assert all(task.label_of(label, corpus) == label for label in task.labels)


def test_every_hash_differs_and_holds(tmp_path):
    hashes = {Task.named(name).hash for name in NAMES}
    assert len(hashes) == len(NAMES)
    assert Task.named("valence").hash == Task.named("valence").hash


@pytest.mark.parametrize("name", NAMES)
def test_a_record_reads_back_and_a_changed_one_is_refused(name):
    task = Task.named(name)
    record = json.loads(json.dumps(task.record()))
    assert Task.from_record(record) == task
    record["map"]["anger"] = task.labels[-1]
    if name != "sentiment":
        with pytest.raises(InputError, match="changed"):
            Task.from_record(record)


def test_unknown_labels_are_named_with_counts_lines_and_the_nearest(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("id,text,label\na,-,anger\nb,-,hapiness\nc,-,hapiness\nd,-,Anger \n")
    with pytest.raises(InputError) as error:
        Task.named("valence").encode(Manifest.read(path))
    message = str(error.value)
    assert "'hapiness' (2 rows, first in line 3). Did you mean 'happiness'?" in message
    assert "'Anger" in message
    assert "Did you mean 'anger'?" in message
    assert "clips.csv" in message
    assert error.value.exit_code == 2


def test_blank_labels_are_an_error_or_counted():
    with pytest.raises(InputError, match=r"blank \(1 row[\s\S]* blank='drop'"):
        Task.named("valence").encode(clips(["anger", ""]))
    encoded = Task.named("valence").encode(clips(["anger", ""]), blank="drop")
    assert list(encoded.labels) == ["negative", None]
    assert encoded.dropped == {"": 1}


def test_select_counts_what_is_left_out_and_keeps_the_raw_label():
    kept, dropped = Task.named("valence").select(clips(["anger", "surprise", "happy", "surprise"]))
    assert dropped == {"surprise": 2}
    assert list(kept["label"]) == ["negative", "positive"]
    assert list(kept["raw_label"]) == ["anger", "happy"]
    again, none = Task.named("valence").select(kept)
    assert list(again["raw_label"]) == ["anger", "happy"]
    assert none == {}


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match="leaves out every one"):
        Task.named("valence").select(clips(["surprise"]))


def test_a_task_file(tmp_path):
    path = tmp_path / "arousal.yaml"
    path.write_text(
        "labels:\n  low: [sadness, calm]\n  high: [anger]\nvocabulary: [emotions]\n"
        "leave_out: [neutral]\ncorpora:\n  mine: {neutral: low}\n",
        encoding="utf-8",
    )
    task = Task.of(path)
    assert task.name == "arousal"
    assert task.label_of("ira") == "high"
    assert task.label_of("neutral") is None
    assert task.label_of("neu", "mine") == "low"


@pytest.mark.parametrize("name", ["valence", "valence-vocametrix", "emotion7"])
def test_labels_in_capitals_name_the_file_that_reads_them(tmp_path, name):
    raws = ["Angry", "happy", "Neutral", "SADNESS"]
    clips = Manifest.from_rows([{"text": raw, "label": raw} for raw in raws])
    with pytest.raises(InputError, match="does not know 3 labels") as refused:
        Task.named(name).encode(clips)
    said = str(refused.value)
    lines = re.findall(r"^  ([\w-]+: [\w-]+)$", said, re.MULTILINE)
    path = tmp_path / "any-case.yaml"
    assert path.name in said
    path.write_text("\n".join(lines), encoding="utf-8")  # as the message says
    plain = Task.named(name)
    lower = [plain.label_of(raw.casefold()) for raw in raws]
    assert list(Task.read(path).encode(clips).labels) == lower
    with pytest.raises(InputError, match="synonyms, leave_out or ignore_case") as refused:
        plain.encode(Manifest.from_rows([{"text": "-", "label": raw} for raw in ("Angry", "Wx")]))
    assert "any-case" not in str(refused.value)


def test_capitals_and_a_task_of_ones_own(tmp_path):
    path = tmp_path / "mood.yaml"
    path.write_text("labels: {up: [happy], down: [sad, Low, lOW]}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)it knows it: add the line.*to the file of the task"):
        Task.read(path).encode(Manifest.from_rows([{"text": "-", "label": "HAPPY"}]))
    path.write_text("labels: {up: [low], down: [Low]}\n", encoding="utf-8")  # case tells them apart
    with pytest.raises(InputError, match="Correct the manifest"):
        Task.read(path).encode(Manifest.from_rows([{"text": "-", "label": "LOW"}]))
    with pytest.raises(InputError, match=r"map them in the file of the task \(synonyms"):
        Task.read(path).encode(Manifest.from_rows([{"text": "-", "label": "bad"}]))


def test_german_nouns_are_capitalised_and_numbers_may_have_a_point():
    nouns = ["Freude", "Wut", "Überraschung", "Ekel", "Trauer", "Angst", "Ärger", "Langeweile"]
    task = Task.named("emotion7")
    assert [task.label_of(noun) for noun in nouns] == [
        task.label_of(noun.casefold()) for noun in nouns
    ]
    assert Task.from_labels(["0.0", "1.0"]).label_of("1") == "1.0"
    clips = Manifest.from_rows([{"text": "-", "label": value} for value in (True, False)])
    task = Task.from_labels([False, True])  # as a table writes them
    assert list(task.encode(clips).labels) == ["true", "false"]
    with pytest.raises(InputError, match=r"happy and 995 more; .*each once"):
        Task.from_labels(["happy", "sad"] * 500)


def test_a_task_file_extends_a_shipped_task(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: valence\nignore_case: true\nsynonyms: {happiness: chuffed}\n", encoding="utf-8"
    )
    task = Task.read(path)
    assert task.label_of(" Chuffed") == "positive"
    assert task.label_of("ANGRY") == "negative"
    assert task.label_of("calm", "mess") == "positive"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labls: [a, b]", "Did you mean 'labels'"),
        ("name: x", "no `labels`"),
        ("labels: [a]", "at least two"),
        ("labels: {a: [x], b: [x]}", "stands for both"),
        ("labels: [a, b]\ncorpora: {z: {q: c}}", "expected one of a, b"),
        ("- a\n- b", "expected a mapping"),
        ("labels: [a, b]\nvalues: {a: 1}", "`values`"),
        ("extends: valense", "expected one of"),
        ("labels: [a, b]\nvocabulary: [feelings]", "expected emotions or sentiments"),
        ("labels: [!!python/object/apply:os.system [true], b]", "the tag"),
        ("labels:\n  a: [x]\n  b: [y]\n  a: [z]\n", r"t\.yaml:4: 'a' appears twice"),
        ("labels: [a, b]\nleave_out: NA", r"t\.yaml:2: leave_out is 'NA'; expected a list: \[NA\]"),
        ("labels: ab", "expected a list"), ("labels: {a: null, b: []}", "quote it"),
        ("labels: &x [a, b]", "anchors"), ("labels: [a, b]\nvalues: {a: .nan, b: 2}", "finite"),
        ("labels: [a, b]\nvalues: {a: low, b: 2}", "expected a number"),
        ("labels: [a, b]\ncorpora: [x]", "expected a mapping"),
        ("labels: [a, b]\nsynonyms: [x]", "expected a mapping"),
        ("labels: [a, b]\nsynonyms: {x: a}", r"'x', which is not mapped to a label.*\{a: \[x\]\}"),
        ("labels: [a, 2020-13-45]", "quote it"),
        ("labels: [a, b]\nignore_case: 1", "true or false"),
        ("# " + "x" * 1_000_001, "expected a file under"),
    ],
)  # fmt: skip
def test_a_wrong_task_file_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "t.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Task.read(path)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'emotion6'"):
        Task.named("emotion66")


@given(st.permutations(["anger", "happy", "surprise", "calm"]))
def test_encoding_does_not_depend_on_the_order_of_rows(labels):
    encoded = Task.named("valence").encode(clips(labels))
    assert Counter(encoded.labels) == Counter(["negative", "positive", None, "neutral"])
    assert encoded.dropped == {"surprise": 1}


@pytest.mark.data
def test_every_shared_corpus_is_understood(shared_data):
    for folder in ("emodb", "nemo", "ravdess", "urdu", "meld", "emoevent_es"):
        manifest = Manifest.read(shared_data / folder / "manifest.csv")
        for name in ("valence", "emotion6", "emotion7"):
            kept, dropped = Task.named(name).select(manifest)
            assert len(kept) + sum(dropped.values()) == len(manifest)
    listed = Manifest.read(shared_data / "speech_valence.csv")
    mapped = Task.named("valence").select(listed.with_columns(label=list(listed["emotion"])))[0]
    assert list(mapped["label"]) == list(listed["label"])


def test_every_label_of_a_corpus_is_known_to_the_tasks():
    from affekt.cache.manifest.corpora.audio_names import CORPORA

    task = Task.named("valence")
    for corpus in CORPORA.values():
        for label in corpus.labels.values():
            task.label_of(label, corpus.name)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("labels: [no, yes]", ("no", "yes")), ("labels: [01, 02, 010]", ("01", "02", "010")),
        ("labels: [1:30, null]", ("1:30", "null")),
        ("labels: {on: [y, 1.0], off: []}", ("on", "off")),
        ("labels: [2020-01-01, 1e3, ~]", ("2020-01-01", "1e3", "~")),
    ],
)  # fmt: skip
def test_labels_are_what_is_written(tmp_path, text, labels):
    (tmp_path / "t.yaml").write_text(text)
    task = Task.read(tmp_path / "t.yaml")
    assert task.labels == labels
    assert [task.label_of(label) for label in labels] == list(labels)
    if "y" in task.map:
        assert (task.label_of("y"), task.label_of("1.0")) == ("on", "on")


@pytest.mark.parametrize(
    "spec",
    [
        {"labels": [False, True]}, {"labels": ["a", None]}, {"labels": "ab"},
        {"labels": [1.0, 2.0]},
        {"labels": ["a", "b"], "leave_out": "NA"}, {"labels": ["a", "b"], "values": {"a": True}},
        {"labels": ["a", "b"], "corpora": ["x"]}, {"labels": {"a": [True], "b": []}},
    ],
)  # fmt: skip
def test_a_mapping_with_what_yaml_made_of_a_label_is_refused(spec):
    with pytest.raises(InputError, match=r"quote it|expected"):
        Task.of(spec)


def test_a_list_of_labels_is_no_task_but_makes_one():
    task = Task("labels", ["a", "b"], {"a": "a", "b": "b"})
    assert task == Task.from_labels(["a", "b"]) == Task.from_record(task.record())
    with pytest.raises(InputError, match=r"type list; .* Task\.from_labels takes labels"):
        Task.of(["a", "b"])


def test_labels_zero_and_one_give_a_note():
    def encode(task, *labels, dataset=""):
        rows = [
            {"id": f"{i}", "text": "t", "label": label, "dataset": dataset}
            for i, label in enumerate(labels)
        ]
        return list(Task.of(task).encode(Manifest.from_rows(rows)).labels)

    for name in ("sentiment", "valence"):
        assert encode(name, "-1", "0", "1") == ["negative", "neutral", "positive"]
        assert encode(name, "-1.0", "0.0", "1.0") == ["negative", "neutral", "positive"]
        assert encode(name, "-1", "1") == ["negative", "positive"]
        with pytest.raises(InputError, match="hold 0 and no -1: is 0 neutral, or is it negative"):
            encode(name, "0", "1", "1")
        with pytest.raises(InputError, match="hold 0 and no -1: is 0 neutral, or is it negative"):
            encode(name, "0.0", "1.0")
    assert encode({"labels": {"low": ["1.0"], "high": ["1"]}}, "1.0", "1") == ["low", "high"]
    assert encode({"labels": {"negative": ["0"], "positive": ["1"]}}, "0", "1") == [
        "negative", "positive",
    ]  # fmt: skip
    mine = {"extends": "sentiment", "corpora": {"mine": {"0": "negative"}}}
    assert encode(mine, "0", "1", dataset="mine") == ["negative", "positive"]


def test_a_table_without_labels_says_which_columns_it_has():
    clips = Manifest.from_rows([{"id": "1", "text": "t", "lable": "joy"}])
    with pytest.raises(InputError, match=r"no column label; it has id, text, lable.*'lable'"):
        Task.named("valence").encode(clips)


@pytest.mark.parametrize("label", ["id", "label", " joy", "joy ", "a\nb", "a\x1b[31mb", " "])
def test_labels_that_a_prediction_file_cannot_hold_are_refused(label):
    with pytest.raises(InputError, match="label"):
        Task.from_labels([label, "other"])
