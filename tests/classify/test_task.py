"""Tasks: label sets, synonyms, corpus maps, unknown labels."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.task import Task
from hypothesis import given
from hypothesis import strategies as st

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


def test_M10_unknown_labels_are_named_with_counts_lines_and_the_nearest(tmp_path):
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


def test_M10_blank_labels_are_an_error_or_counted():
    with pytest.raises(InputError, match=r"blank \(1 row"):
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
    ],
)
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
