"""Words that no command can use: devices, halves of characters, settings, labels of old models."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import LogisticHead, Model, Predictions, Task, load_model
from affekt.classify.cli import COMMANDS, affekt
from affekt.classify.serving.output import is_output
from affekt.extract import Encoder, extract
from click.testing import CliRunner

LABELS = ["anger", "happiness", "neutral", "sadness"]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A folder with clips.csv, my.cache with the space ngram, and a model of it."""
    folder = tmp_path_factory.mktemp("words")
    rows = [
        {"id": str(i), "text": f"{LABELS[i % 4]} {i}", "label": LABELS[i % 4], "speaker": i // 4}
        for i in range(40)
    ]
    Manifest.from_rows(rows).write(folder / "clips.csv")
    clips = Manifest.read(folder / "clips.csv")
    space = extract(clips, Cache(folder / "my.cache"), Encoder("ngram"))
    model = Model(LogisticHead(), Task.from_labels(LABELS), space.features())
    model.fit(clips).save_pretrained(folder / "model")
    return folder


def said(*words: object) -> str:
    """Return the message with which a command refuses its input."""
    done = CliRunner().invoke(affekt, list(map(str, words)), standalone_mode=False)
    assert isinstance(done.exception, InputError), (done.exception, done.output)
    return str(done.exception)


def with_device() -> list[str]:
    context = click.Context(affekt)
    found = {name: affekt.get_command(context, name) for name in COMMANDS}
    return [n for n, c in found.items() if c and any("--device" in p.opts for p in c.params)]


def test_every_command_that_computes_takes_a_device():
    assert set(with_device()) == {
        "extract", "predict", "probe", "serve", "transcribe", "import-model",
    }  # fmt: skip


@pytest.mark.parametrize("name", with_device())
@pytest.mark.parametrize("device", ["2/1", "foo", "", "cpu:x", "cuda:999", "meta", "CPU"])
def test_a_device_is_refused_before_any_work(here, name, device):
    needed = {"extract": ["-c", here / "x", "-e", "ngram"], "import-model": ["-o", here / "m"]}
    needed["transcribe"] = ["-o", here / "t.csv"]
    words = [name, here / "clips.csv", *needed.get(name, []), "--device", device]
    assert f"device {device!r} cannot be used here" in said(*words)
    assert not (here / "x").exists()


def test_transcribe_refuses_a_dtype_that_is_none(here):
    words = ["transcribe", here / "clips.csv", "-o", here / "t.csv", "--dtype", "float13"]
    assert "expected one of float32" in said(*words)


TASK = 'labels: {{low: ["{0}", b], high: [c]}}\n'
PLACES = {
    "a label": '{"labels": {"l\\ud800": ["a"], "high": ["c"]}}',
    "a raw label": '{"labels": {"low": ["a\\ud800"], "high": ["c"]}}',
    "a corpus": '{"labels": {"low": ["a"], "high": ["c"]}, "corpora": {"x\\udfff": {"a": "low"}}}',
    "a name": '{"name": "\\ud800", "labels": {"low": ["a"], "high": ["c"]}}',
    "two in the wrong order": '{"labels": {"low": ["\\ude00\\ud83d"], "high": ["c"]}}',
}


@pytest.mark.parametrize("text", PLACES.values(), ids=PLACES)
def test_half_a_character_in_a_task_file(tmp_path, text):
    path = tmp_path / "task.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"task\.yaml:1: .* \(half a character"):
        Task.read(path)


def test_two_halves_in_a_task_file_are_one_character(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(json.dumps({"labels": {"\U0001f600": ["a"], "b": ["c"]}}))
    assert Task.read(path).labels == ("\U0001f600", "b")


def test_half_a_character_in_a_task_of_python():
    for spec in (
        {"labels": ["a", "b\ud800"]},
        {"labels": {"a": ["x\ud800"], "b": []}},
        {"labels": ["a", "b"], "leave_out": ["\ud800"]},
    ):
        with pytest.raises(InputError, match="half a character"):
            Task.from_spec(spec)
    with pytest.raises(InputError, match="half a character"):
        Task.from_labels(["a", "b\ud800"])


@pytest.mark.parametrize("column", ["id", "path", "text", "label", "speaker", "language", "mine"])
def test_half_a_character_in_a_table(tmp_path, column):
    row = {"id": "a", "text": "b", "label": "c"} | {column: "x\ud800"}
    path = tmp_path / "clips.jsonl"
    path.write_text(json.dumps({"id": "0", "text": "t"} | dict.fromkeys(row, "y")) + "\n")
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=r"clips\.jsonl line 2: .* \(half a character"):
        Manifest.read(path)


def test_half_a_character_in_a_model_and_in_a_recipe(here, tmp_path):
    config = (here / "model" / "config.json").read_text()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(config.replace('"anger"', '"anger\\ud800"'))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="half a character"):
        load_model(tmp_path / "model")
    (tmp_path / "r.yaml").write_text('members: {"a\\ud800": {}}\n')
    assert "half a character" in said("run", tmp_path / "r.yaml")


def test_an_id_that_no_file_can_hold_is_refused_where_it_is_written(tmp_path):
    predictions = Predictions(["a\ud800"], ["x", "y"], [[0, 1]])
    with pytest.raises(InputError, match="half a character"):
        predictions.write(tmp_path / "p.csv")
    assert list(tmp_path.iterdir()) == []


def train(here, *words: object) -> list[object]:
    common = ["--cache", here / "my.cache", "--space", "ngram", "--task", "emotion6"]
    return ["train", here / "clips.csv", *common, "-o", here / "new", *words]


def test_settings_that_are_wrong_input(here):
    assert "is not a YAML value" in said(*train(here, "--head", "logistic", "--set", "C={"))
    told = said(*train(here, "--head", "logistic", "--set", 'class_weight="\\ud800"'))
    assert "half a character" in told
    assert '--head is ""' in said(*train(here, "--head", ""))
    words = ["extract", here / "clips.csv", "-c", here / "x", "-e", "ngram", "--max-seconds", "inf"]
    assert "both finite" in said(*words)
    assert not (here / "x").exists()
    assert not (here / "new").exists()


def relabelled(model: Path, target: Path, old: str, new: str) -> Path:
    """Write a model as an earlier affekt saved it: with a label that a task may not have today."""
    config = json.loads((model / "config.json").read_text())
    task = config["task"]
    task["labels"] = [new if label == old else label for label in task["labels"]]
    task["map"] = {k: new if v == old else v for k, v in task["map"].items()}
    content = [task["labels"], task["map"], task["corpora"], task["values"], task["ignore_case"]]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    task["hash"] = hashlib.sha256(text.encode()).hexdigest()
    config["labels"] = [new if label == old else label for label in config["labels"]]
    classes = config["head"]["state"]["targets"]["values"]
    classes[:] = [new if label == old else label for label in classes]
    target.mkdir()
    (target / "config.json").write_text(json.dumps(config))
    (target / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    return target


@pytest.mark.parametrize("label", ["id", "label", " joy ", "joy\x1b[31m", "a\rb", "a,b;\tc\nd"])
def test_a_model_with_a_label_that_tasks_may_not_have_loads_and_predicts(here, tmp_path, label):
    with pytest.raises(InputError):
        Task.from_labels([label, "x"])
    old = "neutral" if label > "happiness" else "anger"  # so that the classes stay sorted
    place = relabelled(here / "model", tmp_path / "model", old, label)
    before, model = load_model(here / "model"), load_model(place)
    assert label in model.task.labels
    clips = Manifest.read(here / "clips.csv")
    cache = Cache(here / "my.cache")
    found = model.predict(clips, cache)
    assert np.array_equal(found.proba, before.predict(clips, cache).proba)
    model.save_pretrained(tmp_path / "again")  # and can be saved again
    assert load_model(tmp_path / "again").task == model.task

    common = ["predict", place, here / "clips.csv", "--cache", here / "my.cache", "-o"]
    if label in ("id", "label") or label != label.strip():
        assert "write .jsonl instead" in said(*common, tmp_path / "p.csv")
        assert not (tmp_path / "p.csv").exists()
    else:
        done = CliRunner().invoke(affekt, [*map(str, common), str(tmp_path / "p.csv")])
        assert done.exit_code == 0, done.output
        assert Predictions.read(tmp_path / "p.csv") == found
        assert is_output((tmp_path / "p.csv").read_bytes())
    done = CliRunner().invoke(affekt, [*map(str, common), str(tmp_path / "p.jsonl")])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().split("\n")[:-1]]
    assert [[row["scores"][name] for name in found.labels] for row in rows] == found.proba.tolist()


def test_bytes_on_the_command_line_that_are_no_text(here):
    """The system passes any bytes; Python makes halves of characters of them."""
    words = ["train", here / "clips.csv", "--cache", here / "my.cache", "--space", b"\xff\xfe"]
    words += ["--task", b"\xff", "--head", "logistic", "-o", here / "new"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "affekt.classify.cli", *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_break_in_a_name_begins_no_line_of_ours(here, tmp_path):
    """What looks like a line of affekt is one: ids, paths and speakers have none of their own."""
    broken = "{}\nFORGED"
    rows = [
        {"id": broken.format(i), "text": f"{LABELS[i % 4]} {i}", "label": LABELS[i % 4],
         "speaker": broken.format(i // 14), "dataset": broken.format("one")}
        for i in range(40)
    ]  # fmt: skip
    clips, gone = tmp_path / "clips.csv", tmp_path / "gone.csv"
    Manifest.from_rows(rows).write(clips)
    Manifest.from_rows([{**row, "path": f"{row['id']}.wav"} for row in rows[:3]]).write(gone)
    common = ["--cache", tmp_path / "c"]
    learn = ["--space", "ngram", "--task", "emotion6", "--head", "logistic", "--dev-size", 0.2]
    told = []
    for words in (
        ["manifest", gone, "-o", tmp_path / "read.csv"],
        ["extract", clips, *common, "--encoder", "ngram"],
        ["extract", gone, *common, "--encoder", "spectral"],
        ["train", clips, *common, *learn, "-o", tmp_path / "m"],
        ["predict", here / "model", clips, *common],
        ["predict", here / "model", gone],
    ):
        done = CliRunner().invoke(affekt, list(map(str, words)), standalone_mode=False)
        assert done.exception is None or isinstance(done.exception, InputError), words
        told.append(f"{done.output}{done.exception or ''}")
    assert not [line for text in told for line in text.split("\n") if line.startswith("FORGED")]
    assert sum(r"\nFORGED" in text for text in told) >= 4
