"""A refusal names what was typed: an option of the command, not a parameter of Python."""

from __future__ import annotations

from typing import Any

import click
import pytest
from affekt.cache.errors import InputError
from affekt.classify.cli import affekt
from click.testing import CliRunner


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    labels = ("joy", "anger", "sadness")
    rows = [f"{i},hello {i},{labels[i % 3]},{i % 9 + 1},s{i % 4}\n" for i in range(24)]
    (folder / "clips.csv").write_text("".join(["id,text,label,arousal,speaker\n", *rows]))
    (folder / "task.yaml").write_text(
        "name: t\ntype: regression\ndimensions: {arousal: {range: [1, 9]}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["extract", "clips.csv", "--cache", "c", "--encoder", "ngram"]
        assert CliRunner().invoke(affekt, words).exit_code == 0
    return folder


PROBE = ["probe", "clips.csv", "--cache", "c", "--space", "ngram"]
LABELS, RATINGS = ["--task", "emotion6"], ["--task", "task.yaml"]
TRAIN = ["train", "clips.csv", "--cache", "c", "--space", "ngram", "--head", "logistic", "-o", "m"]
EXTRACT = ["extract", "clips.csv", "--cache", "new", "--encoder"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*PROBE, *LABELS, "--folds", "30"], "--folds 30, and there are 24 clips"),
        ([*PROBE, *LABELS, "--folds", "1"], "--folds 1; expected at least 2"),
        ([*PROBE, *LABELS], "take --folds of at most 4, or --split auto (or"),
        ([*PROBE, *RATINGS, "--C", "1"], "--C is given, and 't' is a"),
        ([*PROBE, *RATINGS, "--C", "1"], "expected numbers, as --alpha 1,10"),
        ([*PROBE, *RATINGS, "--alpha", "-1"], "--alpha is -1.0; expected"),
        ([*PROBE, *LABELS, "--scale", "maybe"], "--scale is 'maybe'; expected"),
        ([*TRAIN, *LABELS, "--dev-size", "1.5"], "--dev-size 1.5; expected a share"),
        ([*EXTRACT, "ngram", "--workers", "0"], "--workers 0, expected 1 or more"),
        ([*EXTRACT, "spectral", "--min-seconds", "9", "--max-seconds", "1"], "< --min-seconds <="),
    ],
)
def test_a_refusal_names_the_option(here, monkeypatch, words, said):
    monkeypatch.chdir(here)
    error = CliRunner().invoke(affekt, words).exception
    assert isinstance(error, InputError)
    assert said in str(error)


@pytest.mark.parametrize(
    ("command", "said", "expected"),
    [
        ("train", "say --split split.csv, or --where split=test", None),
        ("train", "test_size/a.wav is in split=train/test_size.csv, scale=1", None),
        ("run", "`n_splits=9`, set `dev_size=0.1`", None),
        ("compare", "`n_resamples` is 3; expected more", "--resamples is 3; expected more"),
        ("compare", "expected `dev` predictions", "expected --dev predictions"),
        ("compare", "or set `allow_overlap=True`", "or set --allow-overlap"),
        ("extract", "an address is for `engine='ray'`", "an address is for --engine ray"),
        ("extract", "`special_tokens` is for texts", "--no-special-tokens is for texts"),
        ("probe", "expected numbers, as `alpha=[1,10]`", "expected numbers, as --alpha 1,10"),
        ("serve", "`encoders='a [1]'`: no folder", "--encoder a [1]: no folder"),
        ("serve", "give `encoders=FOLDER`", "give --encoder FOLDER"),
    ],
)
def test_only_parameters_of_the_command_are_translated(command, said, expected):
    found: Any = affekt.get_command(click.Context(affekt), command)
    assert found.in_options(said) == (expected or said)


def test_the_same_value_twice_counts_once(here, monkeypatch):
    monkeypatch.chdir(here)
    again = ["--task", "emotion6", "--set", "C=1", "--set", "C=1", "--space", "ngram"]
    done = CliRunner().invoke(affekt, [*TRAIN, *again, "--task", "emotion6", "--dev-size", "0"])
    assert done.exit_code == 0, done.exception
