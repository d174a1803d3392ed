"""scikit-learn's own contract checks on every head, and its tools around them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.classify.heads import (
    HEADS,
    ConcatFusionHead,
    CrossAttentionFusionHead,
    LDAHead,
    LogisticHead,
    MeanFusionHead,
    MLPHead,
    MultiTaskHead,
    PatchTransformerHead,
    RegressionHead,
    RidgeHead,
)
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

QUICK = {"max_epochs": 6, "batch_size": 16, "learning_rate": 1e-2, "n_threads": 1}
SMALL = {"dropout": 0.0, "n_members": 1} | QUICK
MLP = SMALL | {"hidden": (16,), "input_dropout": 0.0}
BLOCKS = SMALL | {"d_model": 16, "n_blocks": 1, "n_attention_heads": 2, "feedforward": 32}
CLASSIFIERS = [
    LogisticHead(),
    LDAHead(),
    MLPHead(**MLP),
    PatchTransformerHead(**BLOCKS, hidden=16),
    ConcatFusionHead(**MLP),
    MeanFusionHead(**MLP, dim=8),
    CrossAttentionFusionHead(**BLOCKS, hidden=16),
    MultiTaskHead(**MLP),
]
REGRESSORS = [RegressionHead(**MLP | {"max_epochs": 20}), RidgeHead()]

STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a weight of 2 and a row twice are the same loss, but not the same mini-batches"
    )
}


COPIES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "leaving one row out to choose the penalty leaves the copy of a row that is there twice"
    )
}


def expected_failures(head):
    if isinstance(head, RidgeHead):
        return COPIES
    return {} if isinstance(head, LogisticHead | LDAHead) else STOCHASTIC


@parametrize_with_checks([*CLASSIFIERS, *REGRESSORS], expected_failed_checks=expected_failures)
def test_estimator_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: head.name)
def test_at_least_sixty_checks_run(head):
    run = [check for _, check in estimator_checks_generator(head)]
    assert len(run) - len(expected_failures(head)) >= 60


def corpus(rows=72, width=6):
    """Three classes that a line tells apart, six speakers."""
    rng = np.random.default_rng(0)
    y = np.array(["sad", "calm", "glad"])[np.arange(rows) % 3]
    X = rng.standard_normal((rows, width)) + 2 * (y[:, None] == np.array(["sad", "glad"] * 3))
    return X, y, np.arange(rows) // 3 % 6


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: head.name)
def test_pipeline_cross_val_predict_and_calibration(head):
    X, y, speaker = corpus()
    head = clone(head).set_params(random_state=0)
    pipeline = make_pipeline(StandardScaler(), head)
    folds = list(GroupKFold(3).split(X, y, speaker))
    proba = cross_val_predict(pipeline, X, y, cv=folds, method="predict_proba")
    assert proba.shape == (72, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)
    # a head puts its columns in the order of its sorted classes
    assert (np.unique(y)[proba.argmax(axis=1)] == y).mean() > 0.7
    calibrated = CalibratedClassifierCV(pipeline, method="sigmoid", cv=folds).fit(X, y)
    assert calibrated.predict_proba(X).shape == (72, 3)


@pytest.mark.parametrize("name", HEADS)
def test_grid_search_over_a_setting(name):
    settings = {"logistic": {"C": [0.01, 1.0]}, "lda": {"shrinkage": [0.1, "auto"]}}
    setting = settings.get(name, {"learning_rate": [1e-3, 1e-2]})
    X, y, speaker = corpus(36)
    head = next(clone(head) for head in CLASSIFIERS if head.name == name)
    found = GridSearchCV(head, setting, cv=GroupKFold(2)).fit(X, y, groups=speaker)
    assert set(found.best_params_) == set(setting)


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: head.name)
def test_rows_do_not_depend_on_their_neighbours(head):
    X, y, _ = corpus()
    head = clone(head).set_params(random_state=0).fit(X, y)
    together = head.predict_proba(X)
    alone = np.vstack([head.predict_proba(row[None]) for row in X])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12)


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: head.name)
def test_one_class_only_is_refused_and_one_clip_per_class_is_enough(head):
    X, y, _ = corpus()
    with pytest.raises(ValueError, match="one class only"):
        clone(head).fit(X, np.full(len(y), "sad"))
    fitted = clone(head).fit(X[:3], y[:3])
    assert sorted(fitted.classes_) == ["calm", "glad", "sad"]


@pytest.mark.parametrize("head", CLASSIFIERS[2:], ids=lambda head: head.name)
def test_a_class_missing_in_train_or_dev_is_a_defined_score(head):
    X, y, _ = corpus()
    train = y != "calm"
    head = clone(head).fit(X[train], y[train], X_dev=X, y_dev=y)
    assert head.classes_.tolist() == ["glad", "sad"]
    # never right about the class it does not know: at most two thirds
    assert 0 < head.history_[-1]["dev_uar"] <= 2 / 3 + 1e-12
    head = clone(head).fit(X, y, X_dev=X[train], y_dev=y[train])
    assert len(head.classes_) == 3
    assert 0 < head.history_[-1]["dev_uar"] <= 1
    with pytest.raises(ValueError, match="no label of y"):
        clone(head).fit(X[train], y[train], X_dev=X[~train], y_dev=y[~train])


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: head.name)
def test_nan_constant_features_and_another_width(head):
    X, y, _ = corpus()
    X[:, 0] = 7.0  # constant: no harm
    fitted = clone(head).fit(X, y)
    assert np.isfinite(fitted.predict_proba(X)).all()
    with pytest.raises(ValueError, match=r"7 features, but .* is expecting 6"):
        fitted.predict(np.zeros((1, 7)))
    hole = X.copy()
    hole[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        clone(head).fit(hole, y)
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(hole)
    hole[3, 2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        fitted.predict(hole)


@pytest.mark.parametrize("head", CLASSIFIERS, ids=lambda head: head.name)
def test_one_seed_gives_one_result_bit_for_bit(head):
    X, y, _ = corpus()
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    twice = [clone(head).set_params(random_state=5).fit(X, y) for _ in range(2)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(*(fitted.predict_proba(X) for fitted in twice))
    first, second = (fitted.get_state()[1] for fitted in twice)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    if not isinstance(head, LogisticHead | LDAHead | RidgeHead):
        other = clone(head).set_params(random_state=6).fit(X, y)
        assert not np.array_equal(other.predict_proba(X), twice[0].predict_proba(X))


def test_threads_that_train_at_the_same_time_do_not_mix():
    from joblib import Parallel, delayed, parallel_config

    X, y, _ = corpus()
    heads = [MLPHead(**MLP | {"dropout": 0.5}, random_state=seed) for seed in (0, 1, 0, 1)]
    alone = [clone(head).fit(X, y).predict_proba(X) for head in heads[:2]]
    with parallel_config(backend="threading", n_jobs=4):
        fitted = Parallel()(delayed(head.fit)(X, y) for head in heads)
    for i, head in enumerate(fitted):
        assert np.array_equal(head.predict_proba(X), alone[i % 2])


@pytest.mark.parametrize("head", REGRESSORS, ids=lambda head: head.name)
def test_regressors_declare_several_dimensions(head):
    assert get_tags(head).target_tags.multi_output
