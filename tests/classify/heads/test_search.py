"""Search and seeds: the better setting is found, what is held out is never seen, n_jobs is free."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.heads import LogisticHead, MLPHead, RidgeHead
from affekt.classify.heads.search import group_folds, nested_search, search
from scipy.stats import loguniform
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def corpus(rows=120, width=5):
    rng = np.random.default_rng(0)
    y = np.array(["sad", "calm", "glad"])[rng.integers(0, 3, rows)]
    X = rng.standard_normal((rows, width)) * 10
    X[:, 0] += 15 * (y == "sad")
    X[:, 1] += 15 * (y == "glad")
    return X, y, np.arange(rows) % 12


def test_grid_equals_scikit_learns_on_the_same_folds():
    X, y, speaker = corpus()
    grid = {"C": [1e-6, 1e-3, 1.0]}
    found = search(LogisticHead(), grid, X, y, groups=speaker, n_folds=3)
    folds = group_folds(y, speaker, n_folds=3)
    plain = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticHead()),
        {"logistichead__C": grid["C"]}, scoring="balanced_accuracy", cv=folds,
    ).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    assert found.best_params_ == {"C": plain.best_params_["logistichead__C"]}


@pytest.mark.parametrize("strategy", ["grid", "random", "halving", "optuna"])
def test_every_strategy_prefers_what_learns(strategy):
    if strategy == "optuna":
        pytest.importorskip("optuna", reason="optuna is an extra: affekt[search]")
    X, y, speaker = corpus()
    base = MLPHead(hidden=(), max_epochs=9, input_dropout=0.0, random_state=0)
    settings = {"learning_rate": [1e-7, 3e-2]}
    found = search(base, settings, X, y, groups=speaker, strategy=strategy, n_iter=2, n_folds=2)
    assert found.best_params_ == {"learning_rate": 3e-2}
    assert found.predict_proba(X).shape == (120, 3)


def test_distributions_are_drawn_and_the_number_of_processes_does_not_matter():
    X, y, speaker = corpus()
    settings = {"C": loguniform(1e-4, 1.0)}
    options = {"groups": speaker, "strategy": "random", "n_iter": 3, "random_state": 1}
    one = search(LogisticHead(), settings, X, y, **options)
    two = search(LogisticHead(), settings, X, y, **options, n_jobs=2)
    assert one.best_params_ == two.best_params_
    scores = [found.cv_results_["mean_test_score"] for found in (one, two)]
    assert np.array_equal(*scores)


class Spy(LogisticHead):
    """Writes down on which clips it was fitted and of which it was asked (the last feature)."""

    log: ClassVar[list[tuple[str, frozenset[int]]]] = []

    def fit(self, X, y, *rest, **more):
        self.log.append(("fit", frozenset(X[:, -1].astype(int).tolist())))
        return super().fit(X, y, *rest, **more)

    def predict_proba(self, X):
        self.log.append(("predict", frozenset(X[:, -1].astype(int).tolist())))
        return super().predict_proba(X)


def test_the_outer_test_rows_are_never_touched_while_searching():
    X, y, speaker = corpus()
    X[:, -1] = np.arange(120)
    outer = group_folds(y, speaker, n_folds=3)
    Spy.log.clear()
    found = nested_search(
        Spy(), {"C": [1e-3, 1.0]}, X, y, groups=speaker, outer=outer, n_folds=2, scale=False
    )
    assert len(found.settings) == 3
    position = 0
    for train, test in outer:
        calls = []
        while True:
            calls.append(Spy.log[position])
            position += 1
            if calls[-1][1] == frozenset(test.tolist()):
                break
        touched = frozenset().union(*(rows for _, rows in calls[:-1]))
        assert not touched & frozenset(test.tolist())
        assert touched == frozenset(train.tolist())
        for kind, rows in calls[:-1]:  # and inside, no speaker is on both sides
            if kind == "fit" and len(rows) < len(train):
                held = frozenset(train.tolist()) - rows
                assert not {speaker[i] for i in rows} & {speaker[i] for i in held}
    uar = np.mean([(found.prediction[y == c] == c).mean() for c in np.unique(y)])
    assert found.uar == pytest.approx(uar)


def test_folds_of_ones_own_with_a_shared_speaker_are_refused():
    X, y, speaker = corpus()
    rows = np.arange(120)
    with pytest.raises(InputError, match="groups in both train and test"):
        nested_search(
            LogisticHead(), {"C": [1.0]}, X, y, groups=speaker, outer=[(rows[:60], rows[60:])]
        )
    with pytest.raises(InputError, match="same rows in train and test"):
        nested_search(LogisticHead(), {"C": [1.0]}, X, y, outer=[(rows[:70], rows[60:])])


def test_mistakes_are_found_before_any_work():
    X, y, _ = corpus()
    with pytest.raises(InputError, match="Did you mean 'halving'"):
        search(LogisticHead(), {"C": [1]}, X, y, strategy="halvng")
    with pytest.raises(InputError, match="Did you mean 'dropout'"):
        search(MLPHead(), {"droput": [0.1]}, X, y)
    with pytest.raises(InputError, match="settings is empty"):
        search(MLPHead(), {}, X, y)
    for head, target in ((RidgeHead(), X[:, 0]), (LogisticHead(), np.eye(3)[[0] * 120])):
        with pytest.raises(InputError, match="needs one label for each clip"):
            search(head, {"alpha" if head.name == "ridge" else "C": [1]}, X, target)
    with pytest.raises(InputError, match="at least two groups"):
        search(LogisticHead(), {"C": [1]}, X, y, groups=np.zeros(120))


def test_no_fold_is_empty_where_stratifying_few_groups_leaves_one_empty():
    groups = np.repeat([0, 0, 1, 1, 1, 2, 2, 3, 3], 20)
    y = np.repeat(["joy", "joy", "sad", "joy", "sad", "sad", "sad", "sad", "sad"], 20)
    folds = group_folds(y, groups)
    assert sorted(np.unique(groups[held]).tolist() for _, held in folds) == [[0], [1], [2], [3]]


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize(("groups", "units"), [(np.arange(20) // 2, "groups"), (None, "clips")])
def test_a_class_of_one_group_is_named_before_any_fit(groups, units):
    """Without the fold that holds it, the other class is alone."""
    y = np.array(["joy"] + ["sad"] * 19)
    with pytest.raises(InputError, match=rf"holds \['sad'\] only: joy is in too few {units}"):
        search(LogisticHead(), {"C": [1.0]}, np.zeros((20, 2)), y, groups=groups)
