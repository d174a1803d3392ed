"""A search has one result, whatever joblib runs it on and however many workers there are."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
from affekt.cache.errors import AffektError
from affekt.classify import LogisticHead, MLPHead
from affekt.classify.heads.search import nested_search, search
from threadpoolctl import threadpool_info


def corpus() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.array(["joy", "fear", "calm"])[np.arange(90) % 3]
    X = rng.standard_normal((90, 24)) + (y == "joy")[:, None] * 0.7
    return X, y, np.arange(90) // 3 % 10


SEARCHES = {
    "grid": (LogisticHead(), {"C": [1e-3, 0.1, 10.0]}, {}),
    "random": (LogisticHead(), {"C": list(np.geomspace(1e-4, 10, 20))}, {"n_iter": 4}),
    "halving": (
        MLPHead(hidden=(8,), max_epochs=4, random_state=0),
        {"learning_rate": [1e-4, 1e-3, 1e-2]},
        {"n_iter": 3},
    ),
    "optuna": (LogisticHead(), {"C": [1e-3, 0.1, 10.0]}, {"n_iter": 3}),
}


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Let joblib run on two workers of a backend."""
    if name == "dask":
        distributed = pytest.importorskip("distributed", reason="Dask is not installed")
        workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
        with distributed.Client(**workers), joblib.parallel_config("dask"):
            yield
    elif name == "ray":
        ray = pytest.importorskip("ray", reason="Ray is not installed")
        from ray.util.joblib import register_ray

        folder = tempfile.mkdtemp(prefix="aray", dir="/tmp")
        try:
            ray.init(
                address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                object_store_memory=80 << 20, _temp_dir=folder,
            )  # fmt: skip
            register_ray()
            with joblib.parallel_config("ray", n_jobs=2), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's own
                yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
    else:
        with joblib.parallel_config(name, n_jobs=2):
            yield


def results(some: tuple[str, ...] = (*SEARCHES, "nested")) -> dict[str, list]:
    X, y, groups = corpus()
    found = {}
    for strategy, (head, settings, options) in SEARCHES.items():
        if strategy not in some:
            continue
        if strategy == "optuna":
            try:
                import optuna
            except ImportError:
                continue
            optuna.logging.set_verbosity(optuna.logging.WARNING)
        done = search(head, settings, X, y, groups=groups, strategy=strategy, n_folds=3, **options)
        found[strategy] = [
            done.best_params_,
            done.best_score_,
            np.asarray(done.cv_results_["mean_test_score"]).tolist(),
            done.predict_proba(X).tolist(),
        ]
    if "nested" not in some:
        return found
    head, settings, _ = SEARCHES["grid"]
    nested = nested_search(head, settings, X, y, groups=groups, outer_folds=3, n_folds=3)
    found["nested"] = [nested.fold_uar, nested.settings, nested.prediction.tolist()]
    return found


@pytest.fixture(scope="module")
def alone() -> dict[str, list]:
    return results()


@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("threading", (*SEARCHES, "nested")),
        ("loky", ("grid", "halving", "optuna")),
    ],
)
def test_every_backend_gives_the_same(name, some, alone):
    """On Dask and Ray: experiments/members/test_joblib_workers.py, beside runs."""
    with backend(name):
        assert results(some) == {key: alone[key] for key in some if key in alone}


class Counts(LogisticHead):
    """Notes how many threads linear algebra may use while it fits."""

    def fit(self, X, y, *args, **options):
        super().fit(X, y, *args, **options)
        self.threads_ = max(pool["num_threads"] for pool in threadpool_info())
        return self


def test_a_fit_has_one_thread():
    X, y, groups = corpus()
    found = search(Counts(), {"C": [0.1, 1.0]}, X, y, groups=groups, n_folds=2)
    assert found.best_estimator_.named_steps["head"].threads_ == 1


class InKilledWorker(LogisticHead):
    def fit(self, *arrays, **more):
        raise BrokenProcessPool("a worker process was unexpectedly terminated")


def test_a_killed_worker_ends_in_advice():
    X, y, groups = corpus()
    with pytest.raises(AffektError, match=r"a worker process ended.*n_jobs=1"):
        search(InKilledWorker(), {"C": [1.0]}, X, y, groups=groups)


def test_a_worker_may_stop_where_warnings_are_errors():
    """Raised in loky's own thread, the warning ends it, and the search waits without end."""
    X, y, groups = corpus()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(LogisticHead(), {"C": [1.0]}, X, y, groups=groups)
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("A worker stopped while some jobs were given to the executor")  # noqa: B028
    assert len(caught) == 1
