"""The logistic head finds what scikit-learn finds, by whichever of its ways."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify import LogisticHead
from affekt.classify.heads.linear import curvature, kept_rows, logistic_solver
from affekt.classify.heads.training.rows_on_disk import RowsOnDisk
from scipy.special import log_expit, log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression


def corpus(clips, width, classes, seed=0):
    """Features with a few strong directions, and labels that follow some of them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((clips, width)) @ np.diag(np.geomspace(8, 0.2, width))
    logits = X @ rng.standard_normal((width, classes)) / 6 + np.arange(classes)
    y = np.array(list("acdb"))[(logits + rng.gumbel(size=logits.shape)).argmax(axis=1)]
    return X.astype(np.float32), y


def objective(head, X, y, weight, C):
    """Return what scikit-learn minimises, written out."""
    logits = X.astype(float) @ head.coef_.T + head.intercept_
    column = np.searchsorted(head.classes_, y)
    if logits.shape[1] == 1:
        logp = log_expit(np.where(column == 1, logits[:, 0], -logits[:, 0]))
    else:
        logp = log_softmax(logits, axis=1)[np.arange(len(y)), column]
    return -(weight * logp).sum() + (head.coef_**2).sum() / (2 * C)


@pytest.fixture(params=["float64", "float32", "disk", "disk without room"])
def way(request, monkeypatch):
    """Take one of the solver's ways; return what hands it the features."""
    monkeypatch.setattr(curvature, "SAMPLE", 100)
    monkeypatch.setattr(curvature, "SIDE", 25)
    monkeypatch.setattr(curvature, "FEWER", 80)
    monkeypatch.setattr(kept_rows, "BLOCK", 1000)
    if request.param != "float64":
        monkeypatch.setattr(logistic_solver, "FEW", 0)
    if request.param == "disk without room":

        def full(*args, **options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(kept_rows.tempfile, "TemporaryFile", full)
    if "disk" in request.param:
        return lambda X: RowsOnDisk(
            X.__getitem__, X.shape[1], np.random.default_rng(9).permutation(len(X))
        )
    return lambda X: X


@pytest.mark.parametrize("C", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize(("clips", "width", "classes"), [(400, 30, 3), (400, 30, 2), (60, 150, 4)])
def test_the_objective_is_scikit_learns_or_lower(way, C, clips, width, classes):
    X, y = corpus(clips, width, classes)
    ours = LogisticHead(C, class_weight=None, tol=1e-6).fit(way(X), y)
    theirs = LogisticRegression(C=C, tol=1e-6, max_iter=20_000).fit(X.astype(float), y)
    one = np.ones(len(y))
    assert objective(ours, X, y, one, C) <= objective(theirs, X, y, one, C) * (1 + 1e-7)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    assert ours.coef_.dtype == np.float64
    assert ours.n_iter_.shape == (1,)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0}, None])
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_classes_and_rows_and_features_that_are_not_scaled(way, class_weight, classes):
    X, y = corpus(300, 20, classes, seed=1)
    X = X * np.geomspace(0.1, 30, 20, dtype=np.float32)[::-1] + 100
    weight = np.random.default_rng(2).integers(0, 4, 300)
    ours = LogisticHead(0.1, class_weight=class_weight, tol=1e-7).fit(way(X), y, weight)
    counts = np.array([weight[y == one].sum() for one in ours.classes_])
    by_class = {
        "balanced": weight.sum() / (classes * counts),
        None: np.ones(classes),
    }.get(
        class_weight if isinstance(class_weight, str | None) else "",
        np.where(ours.classes_ == "a", 3.0, 1.0),
    )
    own = weight * by_class[np.searchsorted(ours.classes_, y)]
    oracle = LogisticRegression(C=0.1, tol=1e-7, solver="newton-cholesky")  # lbfgs gives up here
    theirs = oracle.fit(X.astype(float), y, own)
    assert objective(ours, X, y, own, 0.1) <= objective(theirs, X, y, own, 0.1) * (1 + 1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)


def test_a_tolerance_that_cannot_be_reached(way):
    """It ends where float64 has no more digits of the loss, without a warning."""
    X, y = corpus(300, 20, 3)
    head = LogisticHead(1.0, class_weight=None, tol=1e-10).fit(way(X), y)
    error = head.predict_proba(X) - (y[:, None] == head.classes_)
    gradient = error.T @ X / 300 + head.coef_ / 300
    assert max(np.abs(gradient).max(), np.abs(error.mean(axis=0)).max()) <= 1e-7


def test_one_result_and_a_warning_before_the_optimum(way):
    X, y = corpus(300, 20, 3)
    first, second = (LogisticHead(1.0).fit(way(X), y) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, second.coef_)
    with pytest.warns(ConvergenceWarning, match="after 2 iterations"):
        LogisticHead(1.0, max_iter=2).fit(way(X), y)


@pytest.mark.parametrize("factor", [1e-20, 1e3])
def test_any_unit_of_the_features(way, factor):
    X, y = corpus(100, 5, 3)
    plain = LogisticHead(1.0, tol=1e-9).fit(way(X), y)
    scaled = LogisticHead(1.0 / factor**2, tol=1e-9 * factor).fit(way(X.astype(float) * factor), y)
    np.testing.assert_allclose(scaled.coef_ * factor, plain.coef_, atol=1e-5)
