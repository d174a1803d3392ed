"""The program as people call it: wrong input, exit codes, signals, streams."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from affekt.cache import InputError, Manifest
from affekt.classify.cli import COMMANDS, affekt
from click.testing import CliRunner

from ..support.command_tree import every_command
from ..support.processes import started

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders:
  text: ngram
split: {scheme: speaker, test_size: 0.3, dev_size: 0.2}
members:
  lr: {head: logistic, on: text}
ensembles: [mean]
report: out
compare: {n_resamples: 200, learning_curve: false}
"""
LABELS = ["anger", "happiness", "neutral", "sadness"]


def call(*words, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "affekt.classify.cli", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    rows = [
        {
            "id": f"{i:03d}",
            "text": f"{LABELS[i % 4]} number {i}",
            "label": LABELS[i % 4],
            "speaker": f"s{i // 4 % 10}",
        }
        for i in range(120)
    ]
    Manifest.from_rows(rows).write(folder / "clips.csv")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture
def here(corpus, tmp_path) -> Path:
    return Path(shutil.copytree(corpus, tmp_path / "here"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


R, C = "recipe.yaml", "clips.csv"
#: what is wrong -> file, text there, text instead, words that the message has to hold
WRONG = {
    "missing manifest": (R, "clips.csv", "clops.csv", ["clops.csv", "recipe.yaml:1"]),
    "unknown column": (C, "id,text,", "idd,text,", ["clips.csv", "idd", "no column id"]),
    "unknown label": (C, ",anger,", ",angger,", ["clips.csv", "line 2", "1 row"]),
    "blank label": (C, ",anger,", ",,", ["clips.csv", "line 2", "blank"]),
    "duplicate id": (C, "\n001,", "\n000,", ["clips.csv", "line 3", "'000'"]),
    "unknown encoder": (R, "ngram", "ngrams", ["'ngrams'", "'ngram'", "recipe.yaml:5"]),
    "unknown task": (R, "valence", "valense", ["'valence'", "recipe.yaml:2"]),
    "unknown head": (R, "logistic", "logistik", ["'logistic'", "recipe.yaml:8", "mlp"]),
    "unknown setting": (R, "logistic", "logistic, Cs: 1", ["'Cs'", "recipe.yaml:8"]),
    "wrong setting": (R, "logistic", "logistic, C: -1", ["`C` is -1", "recipe.yaml:8"]),
    "unknown recipe key": (R, "report:", "reprot:", ["'report'", "recipe.yaml:10"]),
    "unknown ensemble": (R, "[mean]", "[maen]", ["'mean'", "recipe.yaml:9", "max"]),
    "unknown scheme": (R, ": speaker", ": speeker", ["recipe.yaml:6", "'speaker'"]),
    "layer not there": (R, "on: text", "on: text, layers: 3", ["recipe.yaml:8", "layer 3"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_answered_before_any_work(affekt, here, name, monkeypatch):
    monkeypatch.chdir(here)
    file, old, new, words = WRONG[name]
    change(here / file, old, new)
    code, out, err = affekt("run", "recipe.yaml")
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert sorted(path.name for path in here.iterdir()) == ["clips.csv", "recipe.yaml"]


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/passwd", "a/../../secret.wav"])
def test_a_path_that_leaves_the_root(affekt, here, path, monkeypatch):
    monkeypatch.chdir(here)
    change(here / "clips.csv", "id,text", "id,path,text")
    lines = (here / "clips.csv").read_text(encoding="utf-8").splitlines()
    body = [line.replace(",", f",{path if i == 4 else ''},", 1) for i, line in enumerate(lines[1:])]
    (here / "clips.csv").write_text("\n".join([lines[0], *body]), encoding="utf-8")
    change(here / "recipe.yaml", "manifest: clips.csv", "manifest: clips.csv\nroot: .")
    code, _, err = affekt("run", "recipe.yaml")
    assert code == 2, err
    assert "clips.csv line 6" in err
    assert "root" in err
    assert not (here / "my.cache").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "Did you mean 'run'?"),
        (["exctract"], "Did you mean 'extract'?"),
        (["run"], "Missing argument"),
        (["run", "recipe.yaml", "--jsn"], "--json"),
        (["run", "nothing.yaml"], "nothing.yaml: no such file"),
        (["train", "clips.csv", "--cache", "none", "--task", "valence", "--space", "x",
          "--head", "logistic", "-o", "m"], "there is no cache none"),
        (["demo", "--manifest", "none.csv"], "none.csv"),
    ],
)  # fmt: skip
def test_wrong_usage_has_exit_code_2_and_says_what_is_near(affekt, here, words, said, monkeypatch):
    monkeypatch.chdir(here)
    code, out, err = affekt(*words)
    assert (code, out) == (2, ""), err
    assert said in err
    assert "Traceback" not in err


def test_a_process_answers_wrong_input_alike(affekt, here, monkeypatch):
    monkeypatch.chdir(here)
    done = call("run", "nothing.yaml", cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == affekt("run", "nothing.yaml")


def test_data_goes_to_stdout_and_progress_to_stderr(here):
    done = call("run", "recipe.yaml", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["did"][0] == "embedded 120 clips with text"
    assert "training" in done.stderr


def test_every_command_can_be_imported_and_has_help():
    assert {words[0] for words, _ in every_command()} == set(COMMANDS)
    assert all(command.help for _, command in every_command())


def test_a_cache_has_one_short_name_in_every_command():
    options = [one for _, command in every_command() for one in command.params]
    assert {"-c" in one.opts for one in options if "--cache" in one.opts} == {True}
    assert {"--cache" in one.opts for one in options if "-c" in one.opts} == {True}


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=" ".join(words)) for words, command in every_command()]
)
def test_an_option_that_takes_one_value_is_not_given_two(command, monkeypatch):
    """Values are not looked at: the parser alone decides what is kept."""
    monkeypatch.setattr(click.Parameter, "handle_parse_result", lambda *given: (None, given[3]))
    for option in (one for one in command.params if isinstance(one, click.Option)):
        for name in option.opts:
            if option.is_flag:
                command.make_context("", [name, name])
                continue
            command.make_context("", [name, "a", option.opts[0], "a"])
            if option.multiple:
                command.make_context("", [name, "a", option.opts[0], "b"])
                continue
            with pytest.raises(InputError, match=r"^--.* was given 2 values: 'a', 'b'; expected"):
                command.make_context("", [name, "a", option.opts[0], "b"])


def test_help_is_shown_whatever_else_was_given():
    result = CliRunner().invoke(affekt, ["probe", "--space", "a", "--task=x", "--task=y", "--help"])
    assert result.exit_code == 0, result.output
    assert "--task" in result.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_its_exit_code_and_loses_nothing(here, number, code):
    """Several members train long enough for a signal to meet them."""
    members = "".join(f"  m{i}: {{head: logistic, on: text, C: 0.{i}1}}\n" for i in range(6))
    change(here / "recipe.yaml", "  lr: {head: logistic, on: text}\n", members)
    words = [sys.executable, "-m", "affekt.classify.cli", "run", "recipe.yaml"]
    with started(words, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as worker:
        while not (here / "out/members/m0/member.json").exists():
            assert worker.poll() is None, worker.communicate()[1]
            time.sleep(0.002)
        worker.send_signal(number)
        said = worker.communicate()[1]
    assert worker.returncode == code, said
    assert "Traceback" not in said
    assert not [path for path in (here / "out/members").iterdir() if path.name.endswith(".tmp")]
    again = call("run", "recipe.yaml", cwd=here)
    assert again.returncode == 0, again.stderr
    assert "m0: training" not in again.stderr


def test_half_a_training_is_never_kept(here):
    """A torch head answers Ctrl-C with its best epoch so far; a run must not take that for done."""
    change(
        here / "recipe.yaml",
        "lr: {head: logistic, on: text}",
        "net: {head: mlp, on: text, max_epochs: 100000, patience: 100000, hidden: [[8]]}",
    )
    code = (
        "from affekt.classify import cli; from affekt.classify.experiments.members import trainer; "
        "trainer.PAUSE = 0; cli.main(['run', 'recipe.yaml'])"
    )
    words = [sys.executable, "-c", code]
    with started(words, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        for line in worker.stderr:
            if "net: epoch" in line:
                break
        worker.send_signal(signal.SIGINT)
        worker.communicate()
    assert worker.returncode == 130
    assert list((here / "out").rglob("members/*")) == []


def test_umlauts_spaces_and_the_locale_C(here, tmp_path):
    place = tmp_path / "Überprüfung mit Leerzeichen"
    here.rename(place)
    (place / "clips.csv").rename(place / "Äußerungen.csv")
    change(place / "recipe.yaml", "clips.csv", "Äußerungen.csv")
    done = call("run", place / "recipe.yaml", cwd=tmp_path, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert (place / "out/report.md").is_file()


def test_a_reader_that_leaves_is_not_an_error(here):
    command = f"{sys.executable} -m affekt.classify.cli --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["extract"], ["train"], ["probe"], ["init"], ["demo"], ["predict"], ["compare"],
        ["transcribe"], ["manifest"], ["cache", "pack"], ["cache", "export"], ["cache", "import"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_that_reads_a_manifest_takes_a_root(words):
    assert "--root DIR" in CliRunner().invoke(affekt, [*words, "--help"]).output


def test_paths_of_a_table_of_ones_own_and_with_a_root(tmp_path, monkeypatch):
    """Absolute paths outside the table's folder, in extract, train and probe."""
    audio, here = tmp_path / "audio", tmp_path / "here"
    audio.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    rng = np.random.default_rng(0)
    lines = ["path,label,speaker"]
    for n in range(18):
        soundfile.write(audio / f"{n}.wav", rng.normal(0, 0.1, 8000), 16000)
        lines.append(f"{audio}/{n}.wav,{('anger', 'neutral', 'happiness')[n % 3]},s{n // 3}")
    Path("clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def done(command, *words):
        words = [command, "clips.csv", "--cache", "c", *words]
        return CliRunner().invoke(affekt, words, catch_exceptions=False)

    with pytest.raises(InputError, match="is outside of the manifest's root"):
        done("extract", "-e", "spectral", "--root", ".")
    with pytest.raises(InputError, match="has no column text; it has id, path, label, speaker"):
        done("extract", "-e", "ngram")
    for root in ([], ["--root", str(tmp_path)]):
        assert "18 clips" in done("extract", "-e", "spectral", *root).output
        common = ["--space", "spectral", "--task", "valence", *root]
        train = done(
            "train", "--head", "logistic", "--dev-size", "0.3", "-o", f"m{len(root)}", *common
        )
        assert "test UAR" in train.output
        assert "Chosen on inner folds" in done("probe", *common).output


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("train", "--random-state", "-1"),
        ("train", "--seeds", "0"),
        ("probe", "--n-jobs", "0"),
        ("probe", "--random-state", "4294967296"),
    ],
)
def test_numbers_out_of_range_are_refused_before_any_work(tmp_path, command, option, value):
    more = ["--head", "logistic", "-o", str(tmp_path / "m")] if command == "train" else []
    arguments = ["clips.csv", "--cache", "c", "--task", "valence", "--space", "s", *more]
    found = CliRunner().invoke(affekt, [command, *arguments, option, value])
    assert isinstance(found.exception, InputError)
    assert str(found.exception).startswith(f"{option} is {value}; expected")


def test_a_setting_that_is_given_twice_is_refused(here):
    call("extract", "clips.csv", "--cache", "my.cache", "--encoder", "ngram", cwd=here)
    done = call(
        *("train", "clips.csv", "--cache", "my.cache", "--space", "ngram", "--task", "emotion6"),
        *("--head", "logistic", "-o", "m", "--set", "C=1", "--set", "C=1", "--set", "C=2"),
        cwd=here,
    )
    assert done.returncode == 2
    assert "--set 'C=2'; expected NAME=VALUE, each name once" in done.stderr
