"""Numbers instead of classes, and several label sets at once."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.heads import LogisticHead, MLPHead, MultiTaskHead, RegressionHead, RidgeHead
from affekt.classify.metrics.measures import ccc
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score

QUICK = {"max_epochs": 30, "learning_rate": 1e-2, "random_state": 0, "n_threads": 1}


def dimensions(rows=200):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 6))
    arousal = 4 + 1.5 * X[:, 0] + 0.3 * rng.standard_normal(rows)
    valence = 2 - 0.5 * X[:, 1] * X[:, 2]
    return X, np.stack([arousal, valence], axis=1)


@pytest.mark.parametrize("loss", ["ccc", "mse"])
def test_dimensions_are_predicted_on_their_scale(loss):
    X, y = dimensions()
    head = RegressionHead(**QUICK, loss=loss, dropout=0.0).fit(X[:150], y[:150])
    found = head.predict(X[150:])
    assert found.shape == (50, 2)
    assert ccc(y[150:, 0], found[:, 0]) > 0.9
    one = RegressionHead(**QUICK, loss=loss).fit(X, y[:, 0])
    assert one.predict(X).shape == (200,)
    again = RegressionHead.from_state(*head.get_state())
    assert np.array_equal(again.predict(X), head.predict(X))


def test_the_epoch_with_the_best_dev_ccc_is_kept():
    X, y = dimensions()
    head = RegressionHead(**QUICK).fit(X[:150], y[:150, 0], X_dev=X[150:], y_dev=y[150:, 0])
    best = max(row["dev_ccc"] for row in head.history_)
    assert ccc(y[150:, 0], head.predict(X[150:])) == pytest.approx(best, abs=1e-5)


def test_what_is_not_annotated_does_not_count():
    X, y = dimensions()
    y[::2, 1] = np.nan
    head = RegressionHead(**QUICK, dropout=0.0).fit(X, y, X_dev=X, y_dev=y)
    assert np.isfinite(head.predict(X)).all()
    np.testing.assert_allclose(head.mean_, np.nanmean(y, axis=0))
    with pytest.raises(InputError, match="no values that count"):
        RegressionHead().fit(X, np.full_like(y, np.nan))
    with pytest.raises(InputError, match="belong together"):
        RegressionHead().fit(X, y, X_dev=X)
    with pytest.raises(InputError, match="y_dev has 1 dimensions"):
        RegressionHead().fit(X, y, X_dev=X, y_dev=y[:, 0])


def tasks(rows=240):
    rng = np.random.default_rng(0)
    emotion = np.array(["anger", "fear", "joy"])[rng.integers(0, 3, rows)].astype(object)
    X = rng.standard_normal((rows, 5)) + 2.5 * (
        emotion[:, None] == np.array(["anger", "joy", "anger", "joy", "fear"])
    )
    valence = np.where(emotion == "joy", "positive", "negative").astype(object)
    return X, np.stack([emotion, valence], axis=1)


def test_both_tasks_are_learnt_where_labels_are_missing():
    X, y = tasks()
    train, test = y[:160].copy(), y[160:]
    train[::2, 0] = None
    train[1::4, 1] = ""
    head = MultiTaskHead(**QUICK).fit(X[:160], train, X_dev=X[160:], y_dev=test)
    assert [labels.tolist() for labels in head.classes_] == [
        ["anger", "fear", "joy"],
        ["negative", "positive"],
    ]
    assert ((head.predict(X[160:]) == test).mean(axis=0) > 0.85).all()
    emotion, valence = head.predict_proba(X)
    assert emotion.shape == (240, 3)
    assert valence.shape == (240, 2)
    assert {"dev_uar", "dev_uar_0", "dev_uar_1"} <= set(head.history_[0])
    again = MultiTaskHead.from_state(*head.get_state())
    assert np.array_equal(again.predict(X), head.predict(X))


def test_a_task_of_weight_zero_changes_nothing_of_the_other():
    X, y = tasks()
    other = y.copy()
    other[:, 1] = np.random.default_rng(1).permutation(other[:, 1])
    head = MultiTaskHead(**QUICK | {"max_epochs": 3}, task_weights=(1.0, 0.0))
    first = clone(head).fit(X, y).predict_proba(X)[0]
    second = clone(head).fit(X, other).predict_proba(X)[0]
    assert np.array_equal(first, second)


def test_one_task_is_a_plain_classifier():
    X, y = tasks()
    label = y[:, 0].astype(str)
    one = MultiTaskHead(**QUICK | {"max_epochs": 3}, label_smoothing=0.1).fit(X, label)
    plain = MLPHead(**QUICK | {"max_epochs": 3}, label_smoothing=0.1, n_members=1).fit(X, label)
    np.testing.assert_allclose(one.predict_proba(X), plain.predict_proba(X), atol=1e-6)


def test_wrong_tasks_are_refused():
    X, y = tasks()
    with pytest.raises(InputError, match="expected 2 numbers"):
        MultiTaskHead(task_weights=(1.0,)).fit(X, y)
    with pytest.raises(InputError, match="task 1 of y has no labels"):
        MultiTaskHead().fit(X, np.stack([y[:, 0], np.full(240, None)], axis=1))
    with pytest.raises(InputError, match="y_dev has 1 tasks"):
        MultiTaskHead().fit(X, y, X_dev=X, y_dev=y[:, 0])


@pytest.mark.parametrize("head", [RidgeHead(), RegressionHead(**QUICK)])
def test_scores_of_numbers_leave_out_what_is_not_annotated(head):
    X, y = dimensions()
    head = clone(head).fit(X, y)
    assert head.score(X, y) == pytest.approx(r2_score(y, head.predict(X)))
    gaps = y.copy()
    gaps[::2, 1] = np.nan
    arousal, valence = head.predict(X).T
    each = r2_score(y[:, 0], arousal), r2_score(y[1::2, 1], valence[1::2])
    assert head.score(X, gaps) == pytest.approx(np.mean(each))
    assert np.isfinite(cross_val_score(clone(head), X, gaps, cv=2)).all()
    with pytest.raises(InputError, match="no ratings"):
        head.score(X, np.full_like(y, np.nan))


@pytest.mark.parametrize("gap", [None, np.nan, "", "NA"])
def test_every_kind_of_missing_label_is_missing(gap):
    X, y = tasks()
    gap = pytest.importorskip("pandas").NA if gap == "NA" else gap
    rows = [[gap, b] if i % 3 == 0 else [a, b] for i, (a, b) in enumerate(y.tolist())]
    head = MultiTaskHead(**QUICK).fit(X, rows, X_dev=X, y_dev=rows)
    assert [len(labels) for labels in head.classes_] == [3, 2]
    right = head.predict(X) == y
    expected = np.mean([right[np.arange(240) % 3 > 0, 0].mean(), right[:, 1].mean()])
    assert head.score(X, rows) == pytest.approx(expected)
    with pytest.raises(InputError, match="has no labels"):
        head.score(X, [[gap, "positive"]] * len(X))


def test_columns_of_a_frame_of_votes_are_found_by_their_names():
    pandas = pytest.importorskip("pandas")
    X, _ = dimensions()
    votes = np.random.default_rng(0).multinomial(5, [0.2, 0.3, 0.5], size=200)
    frame = pandas.DataFrame(votes, columns=["joy", "anger", "fear"])
    sorted_names = ["anger", "fear", "joy"]
    expected = LogisticHead().fit(X, votes[:, [1, 2, 0]], classes=sorted_names)
    for names in (sorted_names, ["joy", "anger", "fear"]):
        found = LogisticHead().fit(X, frame, classes=names)
        assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))
    dev = frame[["fear", "joy", "anger"]]
    head = MLPHead(**QUICK).fit(X, frame, classes=sorted_names, X_dev=X, y_dev=dev)
    same = MLPHead(**QUICK).fit(X, frame, classes=sorted_names, X_dev=X, y_dev=frame)
    assert head.history_[-1]["dev_uar"] == same.history_[-1]["dev_uar"]
