"""LDAHead against scikit-learn's LDA and its Ledoit-Wolf estimate."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.heads import LDAHead, LogisticHead
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression


def corpus(rows, width, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    mixing = rng.standard_normal((width, width)) / np.sqrt(width) + np.eye(width)
    return rng.standard_normal((rows, width)) @ mixing + y[:, None] * 0.7 + 3, y


@pytest.mark.parametrize(("rows", "width"), [(90, 7), (30, 60)])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("shrinkage", [0.05, 0.6, 1.0])
def test_equals_scikit_learn_at_a_given_shrinkage(rows, width, classes, shrinkage):
    X, y = corpus(rows, width, classes)  # balanced: its mean of class covariances is the pooled one
    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=shrinkage, priors=np.full(classes, 1 / classes)
    ).fit(X, y)
    ours = LDAHead(shrinkage).fit(X, y)
    new, _ = corpus(40, width, classes, seed=1)
    np.testing.assert_allclose(ours.predict_proba(new), theirs.predict_proba(new), atol=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(90, 7), (30, 60)])
def test_shrinkage_is_that_of_ledoit_and_wolf(rows, width):
    X, y = corpus(rows, width)
    inside = X - np.stack([X[y == k].mean(axis=0) for k in range(3)])[y]
    covariance, shrinkage = ledoit_wolf(inside, assume_centered=True)
    ours = LDAHead("auto").fit(X, y)
    assert ours.shrinkage_ == pytest.approx(shrinkage, rel=1e-10)
    means = np.stack([X[y == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(ours.coef_, np.linalg.solve(covariance, (means - X.mean(0)).T).T)


@pytest.mark.parametrize(("rows", "width"), [(60, 50), (30, 60)])
def test_by_default_the_prior_counts_as_one_clip_for_each_feature(rows, width):
    X, y = corpus(rows, width)
    means = np.stack([X[y == k].mean(axis=0) for k in range(3)])
    inside = X - means[y]
    scatter = inside.T @ inside
    prior = width * np.trace(scatter) / rows / width * np.eye(width)
    covariance = (scatter + prior) / (rows + width)
    ours = LDAHead().fit(X, y)
    assert ours.shrinkage_ == pytest.approx(width / (width + rows))
    np.testing.assert_allclose(ours.coef_, np.linalg.solve(covariance, (means - X.mean(0)).T).T)
    heavy = LDAHead().fit(X, y, np.full(rows, 2.0))  # a weight of 2 counts as two clips
    assert heavy.shrinkage_ == pytest.approx(max(0.4, width / (width + 2 * rows)))


def test_the_default_shrinks_by_at_least_two_fifths():
    X, y = corpus(90, 7)
    found, asked = LDAHead().fit(X, y), LDAHead(0.4).fit(X, y)
    assert found.shrinkage_ == 0.4
    np.testing.assert_allclose(found.coef_, asked.coef_)


def test_priors_are_equal_or_those_of_train():
    X, y = corpus(90, 5)
    keep = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y > 0)[:20]]
    X, y = X[keep], y[keep]
    equal, train = (LDAHead(priors=name).fit(X, y) for name in ("equal", "train"))
    shares = np.log(np.bincount(y) / len(y)) - np.log(1 / 3)
    np.testing.assert_allclose(train.intercept_ - equal.intercept_, shares)


def test_distributions_weigh_as_their_shares():
    X, y = corpus(30, 4)
    soft = np.eye(3)[y] * 0.8 + 0.2 / 3
    rows = LDAHead(0.2).fit(np.repeat(X, 3, axis=0), np.tile([0, 1, 2], 30), soft.ravel())
    np.testing.assert_allclose(
        LDAHead(0.2).fit(X, soft, classes=[0, 1, 2]).predict_proba(X), rows.predict_proba(X)
    )


def test_one_clip_per_class_and_settings_out_of_range():
    assert LDAHead().fit([[0.0, 1.0], [1.0, 0.0]], ["a", "b"]).predict([[0.9, 0.2]]) == ["b"]
    for wrong in ({"shrinkage": 1.5}, {"shrinkage": "lw"}, {"priors": "flat"}):
        with pytest.raises(InputError, match="expected"):
            LDAHead(**wrong).fit([[0.0], [1.0]], ["a", "b"])


def test_logistic_regression_is_as_strong_for_each_clip_however_many_there_are():
    X, y = corpus(90, 7)
    ours = LogisticHead().fit(X, y)
    assert pytest.approx(10 / 90) == ours.C_
    theirs = LogisticRegression(C=10 / 90, tol=1e-8, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
    twice = LogisticHead().fit(np.tile(X, (2, 1)), np.tile(y, 2))
    np.testing.assert_allclose(twice.coef_, ours.coef_, atol=1e-3)
    assert LogisticHead(C=0.5).fit(X, y).C_ == 0.5


def test_logistic_regression_learns_the_same_from_wide_features_and_from_two_copies_of_them():
    X, y = corpus(90, 300)
    once, twice = LogisticHead().fit(X, y), LogisticHead().fit(np.tile(X, (1, 2)), y)
    assert pytest.approx(10 / 90 * 256 / 300) == once.C_
    np.testing.assert_allclose(
        twice.predict_proba(np.tile(X, (1, 2))), once.predict_proba(X), atol=1e-3
    )
