"""The batched solver against scikit-learn, one fit after another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affekt.classify import LogisticHead
from affekt.classify.probing import logistic_batch
from affekt.classify.probing.device import solver as device_solver
from affekt.classify.probing.device.rows import DeviceRows
from affekt.classify.probing.device.solver import DeviceProblems
from affekt.classify.probing.layer_rows import Rows
from affekt.classify.probing.logistic_batch import Problems, predict, solve
from affekt.extract.encoders.hardware.exactness import exact_arithmetic
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from tests.support.gpu import CUDA

VALUES = (1e-4, 1e-2, 1.0, 10.0)
WAYS = ["processor", "torch", CUDA]


def data(n, dim, classes, signal, seed=0):
    """Features with a falling spectrum, as embeddings have; labels of unequal size."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    X = rng.standard_normal((n, dim)) + signal * rng.standard_normal((classes, dim))[y]
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    X = (X * np.arange(1, dim + 1) ** -0.7) @ turn
    X = 3 + X * rng.uniform(0.5, 5, dim)
    return X.astype(np.float32), y, rng.integers(0, 3, n)


def objective(W, b, X, y, C, weights):
    """What scikit-learn minimises, in float64; of two classes with one vector."""
    Z = X.astype(float) @ W.T + b
    top = Z.max(axis=1)
    loss = np.log(np.exp(Z - top[:, None]).sum(axis=1)) + top - Z[np.arange(len(y)), y]
    ridge = ((W[1] - W[0]) ** 2).sum() if len(W) == 2 else (W**2).sum()
    return (loss * weights[y]).sum() + ridge / (2 * C)


def solved(way, X, y, cells, problems, scale):
    """Weights, guesses in the order of clips, and mean and deviation of the columns."""
    found = np.empty((len(problems), len(X)), int)
    if way == "processor":
        with Rows(X.__getitem__, y, cells, scale=True) as rows:
            if scale:
                shrink = np.array([rows.ratios(mask) for mask in problems.masks])
                problems = replace(problems, shrink=shrink)
            else:
                problems = replace(problems, units=rows.deviation.astype(np.float32))
            W = solve(rows, problems)
            found[:, rows.order] = predict(rows, W, problems)
            if not scale:
                W = W / np.append(rows.deviation, 1)
            return W, found, rows.mean, rows.deviation
    device = "cpu" if way == "torch" else way
    other = X[::-1]  # a layer beside it must not matter
    read = (values.__getitem__ for values in (other, X))
    with exact_arithmetic():
        rows = DeviceRows(read, y, cells, layers=2, dim=X.shape[1], device=device, scale=scale)
        both = DeviceProblems.of([problems, problems], rows, own_scale=scale)
        W = device_solver.solve(rows, both)
        found[:, rows.order] = device_solver.predict(rows, W, both)[len(problems) :].cpu()
    own = (rows.mean[1], rows.deviation[1])
    return W[len(problems) :].cpu().numpy(), found, *(one.cpu().numpy() for one in own)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize(
    ("n", "dim", "classes", "signal"),
    [(300, 40, 4, 0.3), (300, 40, 4, 1.2), (120, 300, 3, 0.3), (240, 30, 2, 0.5)],
    ids=["weak", "separable", "wide", "binary"],
)
def test_objectives_are_scikit_learns(n, dim, classes, signal, balanced, scale, way):
    X, y, cells = data(n, dim, classes, signal)
    masks = np.array([cell != np.arange(3) for cell in range(3)])
    at, value = (a.ravel() for a in np.meshgrid(range(3), VALUES, indexing="ij"))
    counts = np.array([np.bincount(y[cells != cell], minlength=classes) for cell in range(3)])
    weights = counts.sum(1, keepdims=True) / (classes * counts) if balanced else counts * 0 + 1.0
    problems = Problems(masks[at], value, weights[at].astype(np.float32))
    W, found, centre, deviation = solved(way, X, y, cells, problems, scale)
    for k, (fold, C) in enumerate(zip(at, value, strict=True)):
        train = cells != fold
        own = X[train].astype(float)
        if scale:
            scaler = StandardScaler().fit(own)
            own, held = scaler.transform(own), scaler.transform(X[~train].astype(float))
            # ours stand for columns divided by the deviation of the fold
            moved = (scaler.mean_ - centre) / np.sqrt(scaler.var_)
        else:
            held, moved = X[~train].astype(float), -centre
        slopes = W[k, :, :-1].astype(float)
        intercept = W[k, :, -1] + slopes @ moved
        oracle = LogisticRegression(
            C=C, tol=1e-6, max_iter=20_000, class_weight="balanced" if balanced else None
        ).fit(own, y[train])
        theirs, their_b = oracle.coef_, oracle.intercept_
        if classes == 2:
            theirs, their_b = np.array([-theirs[0], theirs[0]]) / 2, np.array([-1, 1]) * their_b / 2
        lost = objective(slopes, intercept, own, y[train], C, weights[fold])
        least = objective(theirs, their_b, own, y[train], C, weights[fold])
        assert lost <= least * (1 + 1e-5)
        guess = found[k]
        assert (guess[train] == -1).all()
        proba = np.sort(oracle.predict_proba(held), axis=1)
        sure = proba[:, -1] - proba[:, -2] > 0.1
        assert (guess[~train] == oracle.predict(held))[sure].all(), (fold, C)
    assert deviation.shape == (dim,)


@pytest.mark.parametrize("dim", [30, 300])
def test_columns_of_very_different_sizes(dim):
    """Half of them are 1e4 times larger; the heads' solver, in float64, comes to the same."""
    rng = np.random.default_rng(0)
    X, y, cells = data(300, dim, 3, 0.3)
    size = np.where(rng.permutation(dim) % 2, 1e4, 1.0)
    X = (X * size).astype(np.float32)
    masks = np.tile([[True, True, False]], (len(VALUES), 1))
    problems = Problems(masks, np.array(VALUES), np.ones((len(VALUES), 3), np.float32))
    W, _, centre, _ = solved("processor", X, y, cells, problems, scale=False)
    train = cells != 2
    own, true = X[train].astype(float), y[train]
    head = LogisticHead(class_weight=None, tol=1e-9)
    for k, C in enumerate(VALUES):
        slopes = W[k, :, :-1].astype(float)
        lost = objective(slopes, W[k, :, -1] - slopes @ centre, own, true, C, np.ones(3))
        best = clone(head).set_params(C=C).fit(own, true)
        least = objective(best.coef_, best.intercept_, own, true, C, np.ones(3))
        assert lost == pytest.approx(least, rel=1e-4)


def test_weights_are_extrapolated_in_log_C():
    """Exactly, where they are a polynomial of log C."""
    C = np.array([0.01, 0.1, 3.0, 20.0])
    W = np.stack([np.full((2, 3), 1 - 2 * t + t * t) for t in np.log(C)]).astype(np.float32)
    found = logistic_batch._extrapolated(W, C, np.array([3]), np.array([[0, 1, 2]]))
    assert np.allclose(found, W[3], rtol=1e-5)


def test_extrapolated_weights_save_steps(monkeypatch):
    X, y, cells = data(200, 20, 3, 0.5)
    C, passes = np.logspace(-3, 1, 9), []
    problems = Problems(np.ones((9, 3), bool), C, np.ones((9, 3), np.float32))
    measured = logistic_batch._objective
    monkeypatch.setattr(
        logistic_batch, "_objective", lambda *given: passes.append(0) or measured(*given)
    )
    with Rows(X.__getitem__, y, cells) as rows:
        solve(rows, problems)
        extrapolated = len(passes)
        monkeypatch.setattr(
            logistic_batch, "_extrapolated", lambda W, C, at, known: W[known[:, -1]]
        )
        solve(rows, problems)
    assert 1.2 * extrapolated < len(passes) - extrapolated


@pytest.mark.parametrize("guess", [0.0, 1e3, 1e15])
def test_a_bad_guess_costs_steps_and_nothing_else(guess, monkeypatch):
    """Problems in any order, not every C for every set of rows."""
    X, y, cells = data(200, 20, 3, 0.5)
    masks = np.array([[True, True, False], [True, False, True]])
    at, C = np.array([1, 0, 0, 1, 0, 0]), np.array([1.0, 10.0, 1e-3, 0.1, 0.1, 1.0])
    problems = Problems(masks[at], C, np.ones((6, 3), np.float32))
    rng = np.random.default_rng(0)
    with Rows(X.__getitem__, y, cells) as rows:
        alone = [solve(rows, problems.take(np.array([k])))[0] for k in range(6)]
        if guess:
            bad = lambda W, C, at, known: guess * rng.standard_normal((len(at), *W.shape[1:]))  # noqa: E731
            monkeypatch.setattr(logistic_batch, "_extrapolated", bad)
        together = solve(rows, problems)
        for k, pair in enumerate(zip(together, alone, strict=True)):
            train = masks[at[k]][cells]
            lost, least = (
                objective(
                    W[:, :-1].astype(float),
                    W[:, -1] - W[:, :-1].astype(float) @ rows.mean,
                    X[train],
                    y[train],
                    C[k],
                    np.ones(3),
                )
                for W in pair
            )
            assert lost == pytest.approx(least, rel=1e-5)


def test_a_class_weight_is_that_of_scikit_learn():
    y = np.array([0, 0, 0, 1])
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=y)
    assert np.allclose(4 / (2 * np.bincount(y)), expected)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    n=st.integers(2, 60),
    cells=st.integers(1, 6),
    scale=st.booleans(),
    seed=st.integers(0, 100),
)
def test_rows_are_the_same_from_a_file(n, cells, scale, seed):
    """Bit for bit, in the order of cells; cells of -1 are left out."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5)).astype(np.float32) * 7 + 100
    own = rng.integers(-1, cells, n)
    own[0] = 0
    y = rng.integers(0, 3, n)
    with (
        Rows(X.__getitem__, y, own, scale=scale) as one,
        Rows(X.__getitem__, y, own, scale=scale, in_memory=0) as other,
    ):
        assert other._file is not None
        a, b = list(one.blocks()), list(other.blocks())
        assert sum(len(block[2]) for block in a) == (own >= 0).sum()
        for (_, cells_a, X_a, y_a), (_, cells_b, X_b, y_b) in zip(a, b, strict=True):
            assert np.array_equal(X_a, X_b)
            assert np.array_equal(cells_a, cells_b)
            assert np.array_equal(y_a, y_b)
        used = X[one.order].astype(float)
        deviation = np.where(used.std(axis=0) > 1e-6, used.std(axis=0), 1) if scale else 1
        expected = (used - used.mean(axis=0)) / deviation
        if not scale or len(used) > 1:
            assert np.allclose(np.concatenate([X[:, :-1] for _, _, X, _ in a]), expected, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_column_that_is_constant_in_train_says_nothing(way):
    """As with a StandardScaler, whatever it is in the clips that are held out."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    cells = np.repeat([0, 1, 2], 20)
    X = rng.standard_normal((60, 3)).astype(np.float32)
    X[:, 0] += y
    other = X.copy()
    X[:, 2], other[:, 2] = 5, np.where(cells == 0, 5 + 1000 * y, 5)
    masks = np.array([[False, True, True]])
    found = []
    for values in (X, other):
        problems = Problems(masks, np.array([1.0]), np.ones((1, 2), np.float32))
        found.append(solved(way, values, y, cells, problems, scale=True)[1])
    assert np.array_equal(*found)
