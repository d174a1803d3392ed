"""Diversity of members and of seeds, by hand, by simulation and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify.data.predictions import Predictions
from affekt.classify.evaluation.analyses.diversity import diversity, pair
from affekt.classify.evaluation.analyses.seed_variance import seed_spread
from sklearn.metrics import cohen_kappa_score


def test_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 1])
    a = np.array([0, 0, 1, 1, 1, 0])  # wrong at 2, 5
    b = np.array([0, 1, 1, 1, 0, 1])  # wrong at 1, 2, 4
    found = pair(truth, a, b)
    assert found["error_overlap"] == pytest.approx(1 / 4)
    # both right 2, both wrong 1, only a 2, only b 1
    assert found["q"] == pytest.approx((2 * 1 - 2 * 1) / (2 * 1 + 2 * 1))
    assert found["disagreement"] == pytest.approx(3 / 6)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


def test_kappa_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, a, b = rng.integers(0, 4, (3, 50))
        assert pair(truth, a, b)["kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


def test_perfect_members_have_no_overlap_to_measure():
    truth = np.array([0, 1])
    assert np.isnan(pair(truth, truth, truth)["error_overlap"])


def test_oracle_and_ablation():
    truth = np.array([0, 1, 0, 1])
    right = np.eye(2)[truth]
    members = {
        "good": Predictions("abcd", ["x", "y"], right * 0.8 + 0.1),
        "bad": Predictions("abcd", ["x", "y"], (1 - right) * 0.6 + 0.2),
    }
    found = diversity(members, truth)
    assert found["oracle"] == 1
    assert found["all_right"] == 0
    assert found["all_wrong"] == 0
    assert found["ablation"]["uar"] == 1
    assert found["ablation"]["without"]["good"] == -1
    assert found["ablation"]["without"]["bad"] == 0


def test_share_of_seeds_is_that_of_repeated_runs():
    """Seeds that err on different clips: what speakers and seeds move together counts once."""
    rng = np.random.default_rng(0)
    truth, speakers = np.tile([0, 1], 60), np.repeat(range(20), 6)
    scores, shares = [], []
    for run in range(150):
        ease = rng.uniform(0.5, 1, 20)[speakers]
        right = rng.random((4, 120)) < ease
        scores.append(right.mean(axis=1))
        if run < 60:
            answers = np.where(right, truth, 1 - truth)
            ids = [str(i) for i in range(120)]
            runs = {
                str(s): Predictions(ids, ["x", "y"], np.eye(2)[a]) for s, a in enumerate(answers)
            }
            shares.append(seed_spread(runs, truth, speakers, n_resamples=200)["share"])
    within = np.var(scores, axis=1, ddof=1).mean()
    assert np.mean(shares) == pytest.approx(within / np.var(scores), abs=0.06)
