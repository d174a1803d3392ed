"""`affekt run --watch`: every save is answered, and Ctrl-C leaves everything whole."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from affekt.classify.cli import affekt
from affekt.classify.experiments.recipes.watch import Watched
from click.testing import CliRunner

from tests.support.processes import started

RECIPE = """\
manifest: clips.csv
task: task.yaml
encoders: {text: ngram}
split: {scheme: group-kfold, n_splits: 3}
group: speaker
members:
  lr: {head: logistic, on: text, C: 1}
  other: {head: logistic, on: text, C: 0.01}
ensembles: [mean]
compare: {n_resamples: 100, learning_curve: false, audit_audio: false}
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    rows = [
        f"{i},{('good nice', 'bad sad')[i % 2]} {i},{('up', 'down')[i % 2]},s{i // 8}"
        for i in range(48)
    ]
    (tmp_path / "clips.csv").write_text("\n".join(["id,text,label,speaker", *rows]) + "\n")
    (tmp_path / "task.yaml").write_text("labels: [up, down]\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def until_it_watches(process: subprocess.Popen[str]) -> str:
    """Return what was said until it waits again."""
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if line.startswith("Watching "):
            return said
    raise AssertionError(f"it ended: {said}")


def test_every_save_is_answered_until_ctrl_c(folder):
    words = [sys.executable, "-c", "from affekt.classify.cli import main; main()"]
    words += ["run", "--watch", "recipe.yaml"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        (folder / "stdout.txt").open("w") as out,
        started(words, cwd=folder, stdout=out, stderr=subprocess.PIPE, env=env) as process,
    ):
        first = until_it_watches(process)
        assert "fold 1: lr: training on 16 clips" in first
        assert "Watching clips.csv, recipe.yaml, task.yaml." in first
        (folder / "recipe.yaml").write_text(RECIPE.replace("C: 1}", "C: 5}"))
        second = until_it_watches(process)
        assert second.startswith("recipe.yaml changed\n")
        assert "lr: trained again, because its settings changed" in second
        assert "other: kept, because nothing it depends on has changed" in second
        (folder / "recipe.yaml").write_text(RECIPE.replace("head", "haed"))
        assert "affekt: recipe.yaml:" in until_it_watches(process)
        (folder / "recipe.yaml").write_text(RECIPE.replace("clips.csv", "x" * 5000))
        assert "File name too long" in until_it_watches(process)
        (folder / "recipe.yaml").write_text(RECIPE.replace("C: 1}", "C: 7}"))
        assert "trained again" in until_it_watches(process)
        (folder / "task.yaml").write_text("labels: {up: [], down: []}\nname: other\n")
        assert "task.yaml changed" in until_it_watches(process)
        text = (folder / "clips.csv").read_text().replace("good nice 0,", "good day 0,")
        (folder / "clips.csv").write_text(text)
        last = until_it_watches(process)
        assert "clips.csv changed" in last
        assert "embedding 1 of 48 clips" in last
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 130
        assert said.strip().startswith("Stopped.")
    assert (folder / "stdout.txt").read_text().count("Report: out/report.html") == 5
    compared = json.loads((folder / "out" / "comparison.json").read_text())
    assert set(compared["systems"]) == {"lr", "other", "mean"}
    again = CliRunner().invoke(affekt, ["run", str(folder / "recipe.yaml")])
    assert "Nothing to do" in again.stderr


def test_check_and_watch_exclude_each_other():
    result = CliRunner().invoke(affekt, ["run", "--check", "--watch", "recipe.yaml"])
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_a_save_during_a_run_and_one_in_two_steps(folder):
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:  # an editor writes the second half
            (folder / "recipe.yaml").write_text(RECIPE + "# more\n# and more\n")

    watched = Watched(folder / "recipe.yaml", sleep=sleep)
    watched.begin()
    (folder / "recipe.yaml").write_text(RECIPE + "# half\n")  # while it runs
    assert watched.wait() == [folder / "recipe.yaml"]
    assert len(looks) == 2  # not before it stays as it is
    watched.begin()
    (folder / "task.yaml").unlink()  # an editor that replaces files

    def back(seconds: float) -> None:
        if not (folder / "task.yaml").exists():
            (folder / "task.yaml").write_text("labels: [up, down]\nname: new\n")

    watched.sleep = back
    watched_files = watched.wait()
    assert watched_files == [folder / "task.yaml"]


def test_the_table_comes_before_the_tests_and_the_curves(folder, monkeypatch):
    from affekt.classify.evaluation.scores import pair_tests
    from affekt.classify.experiments.run import run

    events = []
    pairs = pair_tests.pairs
    monkeypatch.setattr(pair_tests, "pairs", lambda *row: events.append("pairs") or pairs(*row))

    path = folder / "recipe.yaml"
    text = RECIPE.replace("{scheme: group-kfold, n_splits: 3}", "{scheme: speaker}")
    path.write_text(text.replace("learning_curve: false", "learning_curve: lr"))
    tables = []

    def on_table(table: str) -> None:
        events.append("table")
        tables.append(table)

    outcome = run(path, on_table=on_table, progress=events.append)
    assert tables == [outcome.table]
    assert events.index("table") < events.index("pairs")
    assert events.index("table") < events.index("learning curve of lr")
    lines = outcome.table.splitlines()
    assert re.fullmatch(
        r"\w+: UAR \d\.\d{3} on dev, \d\.\d{3} on test; chance is 0\.500", lines[-1]
    )
    assert any(one.startswith("task task: up 24, down 24") for one in events)
    assert any(one.startswith("split speaker: train ") for one in events)
