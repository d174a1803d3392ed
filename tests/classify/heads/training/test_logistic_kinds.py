"""The logistic head beside scikit-learn on data of many kinds: as low, in as few steps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.cache.errors import InputError
from affekt.classify import LogisticHead
from affekt.classify.heads.linear import curvature, logistic_solver
from affekt.extract.builtin.ngram import Ngram
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression


def drawn(clips, width, spread, signal, seed=0):
    """Features whose deviations fall from 1 to `spread`, mixed, and seven noisy labels."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((clips, width)) * np.geomspace(1, spread, width)
    logits = X @ rng.standard_normal((width, 7))
    logits *= signal / logits.std()
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    if width <= 200:
        X = X @ np.linalg.qr(rng.standard_normal((width, width)))[0]
    return X.astype(np.float32), y


def ngrams(shared):
    """Standardised n-grams of lines of MELD, in seven classes; some lines are there twice."""
    clips = Manifest.read(shared / "meld" / "manifest.csv")
    texts, labels = list(clips["text"])[:300], list(clips["label"])[:300]
    X = np.stack([one.values[0] for one in Ngram(dim=400).embed(texts)])
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
    return X.astype(np.float32), np.unique(labels, return_inverse=True)[1]


KINDS = {
    "separable": lambda: drawn(300, 60, 1, 20),
    "weak, over six decades": lambda: drawn(400, 80, 1e-6, 0.5),
    "correlated": lambda: drawn(250, 120, 1e-2, 5),
    "tall": lambda: drawn(2000, 20, 0.1, 1),
    "wide": lambda: drawn(60, 500, 0.01, 2),
}


@pytest.fixture(params=[*KINDS, "n-grams"])
def kind(request):
    """Return features and labels."""
    if request.param == "n-grams":
        return ngrams(request.getfixturevalue("shared_data"))
    return KINDS[request.param]()


@pytest.fixture(params=["whole", "sampled"])
def guess(request, monkeypatch):
    """Let the guess of the Hessian see all rows, or few; the rows be float64, or float32."""
    if request.param == "sampled":
        monkeypatch.setattr(curvature, "SAMPLE", 150)
        monkeypatch.setattr(curvature, "SIDE", 70)
        monkeypatch.setattr(curvature, "FEWER", 100)
        monkeypatch.setattr(logistic_solver, "FEWER", 1)
        monkeypatch.setattr(logistic_solver, "FEW", 0)


def objective(head, X, y, weight, C):
    """Return what scikit-learn minimises, written out."""
    logits = X.astype(float) @ head.coef_.T + head.intercept_
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    own = log_softmax(logits, axis=1)[np.arange(len(y)), y]
    return -(weight * own).sum() + (head.coef_**2).sum() / (2 * C)


def pair(X, y, C, **ours):
    """Return the objectives of the head and of scikit-learn, both fitted with balanced classes."""
    balanced = (len(y) / (len(np.unique(y)) * np.bincount(y)))[y]
    theirs = LogisticRegression(C=C, class_weight="balanced", max_iter=20_000, tol=ours["tol"])
    theirs.fit(X.astype(float), y)
    if ours.pop("as_many", False):
        ours["max_iter"] = int(1.5 * theirs.n_iter_[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = LogisticHead(C, **ours).fit(X, y)
    return tuple(objective(one, X, y, balanced, C) for one in (head, theirs))


@pytest.mark.usefixtures("guess")
@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_no_objective_above_scikit_learns_at_a_strict_tolerance(kind, classes, C):
    X, y = kind
    y = np.unique(y * classes // 7, return_inverse=True)[1]
    ours, theirs = pair(X, y, C, tol=1e-8)
    assert ours <= theirs * (1 + 1e-6)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_about_as_many_steps_as_scikit_learn_at_most_to_its_objective(kind, classes, C):
    X, y = kind
    y = np.unique(y * classes // 7, return_inverse=True)[1]
    ours, theirs = pair(X, y, C, tol=1e-4, as_many=True)
    assert ours <= theirs * (1 + 1e-5)


def test_a_stale_guess_is_made_anew(monkeypatch):
    X, y = KINDS["correlated"]()
    steps = LogisticHead(100.0).fit(X, y).n_iter_[0]
    monkeypatch.setattr(logistic_solver, "STALE", 0)
    assert steps < 0.7 * LogisticHead(100.0).fit(X, y).n_iter_[0]


@pytest.mark.parametrize("width", [300, 900])
def test_one_direction_may_be_far_larger_than_all_others(width, monkeypatch):
    """In float32 its guess of the Hessian is not positive definite: fits ended with an error."""
    monkeypatch.setattr(logistic_solver, "FEWER", 1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 1)) @ rng.standard_normal((1, width))
    X = (X + 1e-4 * rng.standard_normal(X.shape)).astype(np.float32)
    y = (X[:, 0] + rng.logistic(size=600) > 0).astype(int)
    ours, theirs = pair(X, y, 1e4, tol=1e-4)
    assert ours <= theirs * (1 + 1e-5)


def test_features_that_never_vary_are_learnt_with_hardly_a_penalty():
    head = LogisticHead(1e300).fit(np.ones((30, 3)), ["a", "b", "b"] * 10)
    np.testing.assert_allclose(head.predict_proba(np.ones((1, 3))), [[0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize(("row", "large"), [(0, 1e300), (1, 1e300), (1, 3e38)])
def test_numbers_that_overflow_are_refused(row, large, monkeypatch):
    """Row 0 is among those that the scale is taken from, row 1 is not."""
    monkeypatch.setattr(curvature, "SAMPLE", 10)
    monkeypatch.setattr(logistic_solver, "FEW", 0)
    X = np.linspace(0, 1e-3, 60)[:, None]
    X[row] = large
    with pytest.raises(InputError, match="too large"):
        LogisticHead(1.0).fit(X, ["a", "b"] * 30)
