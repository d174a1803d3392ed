"""A shell leaves ~ alone after --cache=, and a folder of that name is one slip from rm -r ~."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.commands.command import Command
from affekt.classify import Model, Predictions, Recipe, Task, load_model, splits
from affekt.classify.cli import affekt
from affekt.classify.heads import LogisticHead
from affekt.extract import Encoder, extract
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


def test_in_python_it_is_the_home_folder_too(tmp_path, monkeypatch):
    (home := tmp_path / "home").mkdir()
    (work := tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    clips = Manifest.from_rows(
        [{"id": f"{i}", "text": f"hi {i}", "label": ("joy", "anger")[i % 2]} for i in range(20)]
    )
    clips.write("~/clips.csv")
    assert Manifest.read("~/clips.csv", root="~").root == home
    Predictions(["a"], ["no", "yes"], [[0.25, 0.75]]).write("~/pred.csv")
    assert Predictions.read("~/pred.csv").ids == ["a"]
    [split] = splits(clips, "stratified")
    split.write("~/split.csv")
    assert splits(clips, file="~/split.csv")[0].test.ids == split.test.ids
    (home / "t.yaml").write_text("name: t\nlabels: [joy, anger]\n")
    assert Task.of("~/t.yaml") == Task.read(Path("~/t.yaml"))
    space = extract(clips, Cache("~/c"), Encoder("ngram"))
    assert Cache("~/c").path == home / "c"
    model = Model(LogisticHead(), "~/t.yaml", [space.features(layers=-1)]).fit(clips)
    model.save_pretrained("~/m")
    assert Model.from_pretrained("~/m").head_.classes_.tolist() == ["anger", "joy"]
    assert load_model("~/m").predict(text="hi").label[0] in ("joy", "anger")
    with pytest.raises(InputError, match=f"{home}/recipe.yaml"):
        Recipe.read("~/recipe.yaml")
    assert not list(work.iterdir())
