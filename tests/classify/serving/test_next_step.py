"""What a run prints for new clips: a command that works with what was chosen."""

from __future__ import annotations

import json
import os
import shlex

import numpy as np
from affekt.cache import Cache, Manifest
from affekt.cache.care.import_export import import_space
from affekt.classify import Recipe
from affekt.classify.experiments.prepare import prepare
from affekt.classify.experiments.results.next_step import next_step

from tests.classify.experiments.test_run import affekt, edit, finished, project

__all__ = ["finished", "project"]


def test_the_next_step_says_what_new_clips_need(finished, project):
    done = affekt("run", "recipe.yaml", "--no-figures", "--n-jobs", 1, cwd=project)
    assert "New clips" not in done.stderr  # nothing was done
    expected = {
        "speech-lr": "New clips: affekt predict out FILE...",
        "text-lr": "New clips: affekt predict out --text WORDS, or a table with a column text",
        "mean": "New clips: affekt predict out FILE... --transcribe, or a table with a column "
        "text: mean needs audio and text. Without text: affekt predict out --system speech-lr "
        "FILE...",
        None: "New clips: affekt predict out --system NAME FILE...",
    }
    ready = prepare(Recipe.read(project / "recipe.yaml"))
    path = ready.recipe.report / "comparison.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for chosen, said in expected.items():
        path.write_text(json.dumps(data | {"chosen": chosen}), encoding="utf-8")
        assert next_step(ready).replace(str(project) + os.sep, "") == said
    only = {"chosen": None, "systems": {"speech-lr": data["systems"]["speech-lr"]}}
    path.write_text(json.dumps(data | only), encoding="utf-8")  # there is nothing to choose
    assert next_step(ready).replace(str(project) + os.sep, "") == expected["speech-lr"]
    [wav, *_] = sorted(project.rglob("*.wav"))
    assert affekt("predict", "out", wav, cwd=project).returncode == 0


def test_imported_vectors_predict_no_new_clips(project):
    clips = Manifest.read(project / "clips.csv")
    rng = np.random.default_rng(0)
    values = {clip: rng.normal(size=3) for clip in clips.ids}
    import_space(Cache(project / "my.cache"), values, clips, "theirs", modality="audio")
    edit(project, "text: ngram", "text: {space: theirs}")
    edit(project, "  speech-lr: {head: logistic, on: speech, C: [0.01, 0.1]}\n", "")
    edit(project, "  speech: spectral\n", "")
    done = affekt("run", "recipe.yaml", "--no-figures", "--n-jobs", 1, cwd=project)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("text-lr cannot predict new clips: the vectors of text were imported")
    command = said.partition("labelled or not: affekt ")[2].replace("TABLE", "clips.csv").split()
    assert affekt(*command, cwd=project).returncode == 0


def test_what_one_system_cannot_read_another_can(project):
    [wav, *_] = sorted(project.rglob("*.wav"))
    for given, kind, system in (
        ([wav], "text", "speech-lr"),
        (["--text", "what a day"], "audio", "text-lr"),
    ):
        done = affekt("predict", "out", "--system", "mean", *given, cwd=project)
        assert done.returncode == 3
        assert f"Without {kind}: --system {system}" in done.stderr.splitlines()
        done = affekt("predict", "out", "--system", system, *given, cwd=project)
        assert done.returncode == 0
        assert "Without" not in done.stderr
    done = affekt("predict", "out/members/text-lr/model", wav, cwd=project)
    assert done.returncode == 3
    assert "Without" not in done.stderr  # a model has no other systems


def test_names_with_blanks_are_quoted_as_a_shell_reads_them(project):
    edit(
        project,
        "  speech-lr: {head: logistic, on: speech, C: [0.01, 0.1]}",
        "  by voice: {head: lda, on: speech}",
    )
    done = affekt("run", "recipe.yaml", "--no-figures", "--n-jobs", 1, cwd=project)
    [wav, *_] = sorted(project.rglob("*.wav"))
    command = done.stderr.splitlines()[-1].partition("Without text: affekt ")[2]
    assert command == "predict out --system 'by voice' FILE..."
    words = shlex.split(command.replace("FILE...", str(wav)))
    assert affekt(*words, cwd=project).returncode == 0
    done = affekt("predict", "out", "--system", "mean", wav, cwd=project)
    assert "Without text: --system 'by voice'" in done.stderr.splitlines()
