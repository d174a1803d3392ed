"""Intervals of NLL, Brier and CCC: the same draws, measured clip by clip."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify.metrics import bootstrap_proba, measures as metrics
from affekt.classify.metrics.bootstrap import draws
from affekt.classify.metrics.bootstrap_proba import LIMITS, proba_intervals
from affekt.classify.metrics.intervals import interval
from hypothesis import given, settings, strategies as st

VALUES = np.array([-1.0, 0.0, 2.0])


def sample(seed: int, n_groups: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), rng.integers(2, 9, n_groups))
    truth = rng.integers(0, 3, len(groups))
    scores = np.exp(rng.normal(size=(len(groups), 3)) + 2 * np.eye(3)[truth])
    return truth, scores / scores.sum(axis=1, keepdims=True), groups


def measured(truth, proba):
    return {
        "nll": metrics.nll(truth, proba),
        "brier": metrics.brier(truth, proba),
        "ccc": metrics.ccc(VALUES[truth], proba @ VALUES),
    }


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_equals_measures_of_the_drawn_clips(seed):
    truth, proba, groups = sample(seed)
    found = proba_intervals(truth, {"a": proba}, groups, VALUES, n_resamples=40)["a"]
    members = [np.flatnonzero(groups == g) for g in range(9)]
    samples = []
    for counts in draws(np.ones(9, dtype=np.int64), 40, 0):
        for row in counts.astype(int):
            rows = np.concatenate([np.tile(members[g], k) for g, k in enumerate(row)])
            samples.append(measured(truth[rows], proba[rows]))
    sizes = np.bincount(groups)
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    for name, value in measured(truth, proba).items():
        drawn = np.array([one[name] for one in samples])
        floor = bootstrap_proba._floor(name, value, truth, proba)
        low, high = interval(value, drawn, effective, floor=floor)
        least, most = LIMITS[name]
        assert found[name] == pytest.approx((max(low, least), min(high, most)), abs=1e-9)


@pytest.mark.parametrize("name", LIMITS)
def test_the_floor_is_about_what_clips_drawn_alone_give(name):
    """Against a bootstrap over clips: the floor never replaces speakers that differ."""
    for seed in range(5):
        truth, proba, _ = sample(seed, 60)
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, len(truth), (400, len(truth)))
        error = np.std([measured(truth[one], proba[one])[name] for one in rows])
        floor = bootstrap_proba._floor(name, measured(truth, proba)[name], truth, proba)
        assert 0.3 * error < floor < 1.7 * error


def test_one_group_gives_no_interval():
    truth, proba, _ = sample(0)
    found = proba_intervals(truth, {"a": proba}, np.zeros(len(truth), int), n_resamples=5)
    assert set(found["a"]) == {"nll", "brier"}
    assert np.isnan(list(found["a"].values())).all()


def test_nll_is_covered():
    """The mean NLL of speakers who differ, by a thousand of them, stands in 93 to 97 of 100."""
    rng = np.random.default_rng(5)
    held = 0
    for run in range(400):
        ease = rng.normal(1.5, 0.5, 12)
        groups = np.repeat(np.arange(12), 15)
        margin = ease[groups] + rng.normal(size=180)
        proba = 1 / (1 + np.exp(-margin))
        found = proba_intervals(
            np.zeros(180, int),
            {"": np.stack([proba, 1 - proba], axis=1)},
            groups,
            n_resamples=200,
            random_state=run,
        )
        low, high = found[""]["nll"]
        held += low <= TRUE_NLL <= high
    assert 0.93 * 400 <= held <= 0.97 * 400 + 4


# the mean of log(1 + exp(-m)) for m ~ N(1.5, 0.5^2 + 1), by Gauss-Hermite quadrature
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
TRUE_NLL = float(np.log1p(np.exp(-(1.5 + np.sqrt(1.25) * _NODES))) @ _WEIGHTS / np.sqrt(2 * np.pi))
