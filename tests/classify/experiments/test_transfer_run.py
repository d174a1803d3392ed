"""The recipe key `transfer`: the matrix in the report, against scikit-learn on the same clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.cli import affekt
from affekt.classify.evaluation.reports.figure_folder import draw_changed
from affekt.classify.experiments.demo.corpus import write_corpus
from click.testing import CliRunner
from sklearn.metrics import recall_score

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
split: {scheme: group-kfold, n_splits: 3}
members:
  lr: {head: logistic, on: text}
transfer: language
report: out
compare: {n_resamples: 100}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    write_corpus(folder, voices=9, clips_per_voice=8)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    result = CliRunner().invoke(affekt, ["run", str(folder / "recipe.yaml")])
    assert result.exit_code == 0, result.output
    return folder


def test_the_matrix_of_a_run_is_what_training_and_testing_gives(finished):
    data = json.loads((finished / "out/comparison.json").read_text(encoding="utf-8"))
    found = data["transfer"]
    assert (found["member"], found["by"], found["names"]) == (
        "lr",
        "language",
        ["deu", "eng", "spa"],
    )
    task, cache = Task.named("valence"), Cache(finished / "my.cache")
    clips, _ = task.select(Manifest.read(finished / "clips.csv"))
    [space] = cache.spaces()
    for here in found["names"]:
        model = Model(LogisticHead(), task, space.features(layers=-1))
        model.fit(clips.where(language=here))
        for there in found["names"]:
            cell = found["cells"][here][there]
            own = clips.where(language=there)
            assert cell["clips"] == len(own)
            if there != here:
                guess = model.predict(own).label
                uar = recall_score(list(own["label"]), guess, labels=task.labels, average="macro")
                assert cell["uar"]["value"] == pytest.approx(uar)
    report = (finished / "out/report.md").read_text(encoding="utf-8")
    assert "## Transfer of lr by language" in report
    shown = f"{found['cells']['deu']['spa']['uar']['value']:.3f}"
    [row] = [line for line in report.splitlines() if line.startswith("| deu | ") and shown in line]
    assert row.count("|") == 5


def test_the_heat_map_is_drawn(finished):
    assert draw_changed(finished / "out") == []
    assert (finished / "out/figures/transfer.png").read_bytes().startswith(b"\x89PNG")
    assert "trained on" in (finished / "out/figures/transfer.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("transfer: dialect", "has no column 'dialect'"),
        ("transfer: dataset", "'synthetic' only; expected at least two"),
        ("transfer: split", "the column is blank or not there; expected at least two"),
        ("transfer: speaker", "1 speaker in .*; expected at least 3"),
        ("transfer: {by: language, member: mlp}", "transfer of the member 'mlp'"),
        ("transfer: {member: lr}", "transfer has no 'by'"),
    ],
)
def test_what_cannot_be_transferred_is_refused_before_any_work(finished, new, said):
    path = finished / "wrong.yaml"
    text = RECIPE.replace("transfer: language", new).replace("report: out", "report: none")
    path.write_text(text, encoding="utf-8")
    for words in (["run", "--check"], ["run"]):
        result = CliRunner().invoke(affekt, [*words, str(path)])
        assert isinstance(result.exception, InputError)
        with pytest.raises(InputError, match=said):
            raise result.exception
    assert not (finished / "none").exists()
