"""A run has one result, whatever backend joblib trains its members, seeds, folds and repeats on."""

from __future__ import annotations

from pathlib import Path

import joblib
import pytest
from affekt.classify import run
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.heads.training.loop import DivergedError

from ...heads.test_search_backends import backend
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


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_every_backend_leaves_the_same_files(folder, backend):
    said: list[str] = []
    if backend == "dask":
        distributed = pytest.importorskip("distributed", reason="Dask is not installed")
        workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with distributed.Client(**workers), joblib.parallel_config("dask"):
            run(recipe(folder, backend, SETTINGS), n_jobs=1, progress=said.append)
    else:
        with joblib.parallel_config(backend, n_jobs=2):
            run(recipe(folder, backend, SETTINGS), n_jobs=1, progress=said.append)
    assert any(line.startswith("training 3 members in workers of ") for line in said)
    assert contents(folder / backend) == contents(folder / "alone")


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_folds_by_language_and_repeats(folder, name):
    """Of each backend the bits of one fit after another."""

    def trained(where: str) -> list[dict[str, bytes]]:
        found = []
        for number, split in enumerate(SPLITS):
            path = folder / f"{where}-{number}.yaml"
            text = FOLDS.format(split=split, report=f"{where}-{number}")
            path.write_text(text, encoding="utf-8")
            run(path, n_jobs=1)
            found.append(contents(folder / path.stem))
        return found

    with backend(name):
        found = trained(f"folds-{name}")
    assert [len(files) for files in found] == [3 + 2, 2 * 3]
    assert found == trained(f"folds-before-{name}")


def test_an_error_of_a_fit_is_the_error_of_the_run(folder):
    wild = "learning_rate: 1.0e+30, clip_norm: null"
    with (
        joblib.parallel_config("threading", n_jobs=2),
        pytest.raises(DivergedError, match="the training loss is"),
    ):
        run(recipe(folder, "wild", wild), n_jobs=1)
