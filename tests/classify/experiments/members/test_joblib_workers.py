"""A run has one result, whatever backend joblib trains its members, seeds, folds and repeats on.

So has a search: the clusters of Dask and Ray that are started here do both.
"""

from __future__ import annotations

from pathlib import Path

import joblib
import pytest
from affekt.classify import run
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.heads.training.loop import DivergedError

from ...heads.test_search_backends import backend, results
from .test_side_by_side import contents, recipe

FOLDS = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {{text: ngram}}
split: {split}
members:
  mlp: {{head: mlp, on: text, max_epochs: 1, batch_size: 64, hidden: [[4]]}}
compare: {{n_resamples: 100, learning_curve: false}}
report: {report}
"""
SPLITS = (
    "{scheme: leave-one-language-out, dev_size: 0.2}",
    "{scheme: speaker, test_size: 0.34, dev_size: 0.17, repeats: 2}",
)
SETTINGS = "max_epochs: 2, batch_size: 32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus, and a run that trained one fit after another."""
    folder = tmp_path_factory.mktemp("joblib")
    write_corpus(folder, voices=9, clips_per_voice=10)
    run(recipe(folder, "alone", SETTINGS), n_jobs=1)
    return folder


@pytest.fixture(scope="module")
def folds(folder) -> list[dict[str, bytes]]:
    """The files of folds by language and of repeats, one fit after another."""
    found = run_folds(folder, "folds")
    assert [len(files) for files in found] == [3 + 2, 2 * 3]
    return found


def run_folds(folder: Path, name: str, splits=SPLITS) -> list[dict[str, bytes]]:
    found = []
    for number, split in enumerate(splits):
        path = folder / f"{name}-{number}.yaml"
        path.write_text(FOLDS.format(split=split, report=path.stem), encoding="utf-8")
        run(path, n_jobs=1)
        found.append(contents(folder / path.stem))
    return found


@pytest.mark.parametrize("name", ["threading", "loky", "dask"])
def test_every_backend_leaves_the_same_files(folder, folds, name):
    said: list[str] = []
    with backend(name):
        run(recipe(folder, name, SETTINGS), n_jobs=1, progress=said.append)
        found = run_folds(folder, "folds-dask") if name == "dask" else folds
        searched = results(("grid", "halving")) if name == "dask" else {}
    assert any(line.startswith("training 3 members in workers of ") for line in said)
    assert contents(folder / name) == contents(folder / "alone")
    assert found == folds
    assert searched == results(tuple(searched))


def test_repeats_and_a_search_on_ray(folder, folds):
    """It starts its processes anew for each fold: those of Dask are folds by language too."""
    with backend("ray"):
        assert run_folds(folder, "folds-ray", SPLITS[1:]) == folds[1:]
        searched = results(("grid",))
    assert searched == results(("grid",))


def test_an_error_of_a_fit_is_the_error_of_the_run(folder):
    wild = "learning_rate: 1.0e+30, clip_norm: null"
    with (
        joblib.parallel_config("threading", n_jobs=2),
        pytest.raises(DivergedError, match="the training loss is"),
    ):
        run(recipe(folder, "wild", wild), n_jobs=1)
