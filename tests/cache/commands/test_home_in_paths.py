"""A shell leaves ~ alone after --cache=, and a folder of that name is one slip from rm -r ~."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from affekt.cache.commands.command import Command
from affekt.classify.cli import affekt
from click.testing import CliRunner


def test_no_command_makes_a_folder_of_that_name(tmp_path, monkeypatch):
    (home := tmp_path / "home").mkdir()
    (work := tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    rows = [f"{i},hello {i},{'joy' if i % 2 else 'anger'}\n" for i in range(24)]
    (work / "clips.csv").write_text("".join(["id,text,label\n", *rows]))
    run = CliRunner()
    for words in (
        ["extract", "clips.csv", "--cache=~/c", "--encoder", "ngram"],
        ["manifest", "clips.csv", "--output=~/m.csv"],
        ["init", "clips.csv", "--output=~/r.yaml"],
    ):
        done = run.invoke(affekt, words)
        assert done.exit_code == 0, done.output
    assert {"c", "m.csv", "r.yaml"} <= {one.name for one in home.iterdir()}
    assert [one.name for one in work.iterdir()] == ["clips.csv"]


@pytest.mark.parametrize("kind", [str, Path])
def test_text_paths_and_several_paths_and_what_is_there(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~x").touch()
    path = click.Path(path_type=kind)
    command = Command("a", params=[click.Argument(["places"], nargs=-1, type=path)])
    found = command.make_context("a", ["~/a", "b", "~x"]).params["places"]
    assert found == (kind(f"{tmp_path}/a"), kind("b"), kind("~x"))
