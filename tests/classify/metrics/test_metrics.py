"""Metrics against scikit-learn and audmetric, with absent classes, to 1e-12."""

from __future__ import annotations

import audmetric
import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.metrics import measures as metrics
from hypothesis import given, settings, strategies as st
from sklearn import metrics as oracle

LABELS = ["anger", "fear", "joy", "neutral", "sadness"]


def score(name, truth, guess, labels):
    return metrics.summary(metrics.confusion(truth, guess, labels))[name]


series = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


@settings(max_examples=60, deadline=None)
@given(series)
def test_scikit_learn_and_audmetric_agree_to_1e_12(pairs):
    truth, guess = map(list, zip(*pairs, strict=True))
    found = metrics.summary(metrics.confusion(truth, guess, LABELS))
    sklearn = {"labels": LABELS, "zero_division": 0}
    expected = {
        "uar": oracle.recall_score(truth, guess, average="macro", **sklearn),
        "accuracy": oracle.accuracy_score(truth, guess),
        "macro_f1": oracle.f1_score(truth, guess, average="macro", **sklearn),
        "weighted_f1": oracle.f1_score(truth, guess, average="weighted", **sklearn),
        "macro_precision": oracle.precision_score(truth, guess, average="macro", **sklearn),
        "weighted_precision": oracle.precision_score(truth, guess, average="weighted", **sklearn),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    present = sorted(set(truth))
    assert found["uar_present"] == pytest.approx(
        oracle.recall_score(truth, guess, labels=present, average="macro", zero_division=0),
        abs=1e-12,
    )
    with_all = {"labels": LABELS, "zero_division": 0}
    assert metrics.uar(truth, guess, LABELS) == pytest.approx(
        audmetric.unweighted_average_recall(truth, guess, **with_all), abs=1e-12
    )
    assert score("macro_f1", truth, guess, LABELS) == pytest.approx(
        audmetric.unweighted_average_fscore(truth, guess, **with_all), abs=1e-12
    )
    assert score("macro_precision", truth, guess, LABELS) == pytest.approx(
        audmetric.unweighted_average_precision(truth, guess, **with_all), abs=1e-12
    )
    assert score("accuracy", truth, guess, LABELS) == pytest.approx(
        audmetric.accuracy(truth, guess, labels=LABELS), abs=1e-12
    )
    assert metrics.confusion(truth, guess, LABELS).tolist() == (
        oracle.confusion_matrix(truth, guess, labels=LABELS).tolist()
    )


def test_a_class_absent_everywhere_counts_zero_and_is_listed():
    truth, guess = ["a", "b"], ["a", "b"]
    assert score("macro_f1", truth, guess, ["a", "b", "c"]) == pytest.approx(2 / 3)
    assert metrics.uar(truth, guess, ["a", "b", "c"]) == pytest.approx(2 / 3)
    assert metrics.absent(truth, ["a", "b", "c"]) == ["c"]


def test_one_class_only_and_one_clip():
    assert metrics.uar(["a"], ["b"], ["a", "b"]) == 0
    assert score("weighted_f1", ["a"], ["a"], ["a", "b"]) == 1
    with pytest.raises(InputError, match="no clips"):
        metrics.uar([], [], ["a", "b"])


def test_a_label_outside_the_set_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'joy'"):
        metrics.uar(["joyy"], ["joy"], LABELS)
    with pytest.raises(InputError, match="2 true labels and 1"):
        metrics.uar(["joy", "joy"], ["joy"], LABELS)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_probability_scores_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 30)
    proba = rng.dirichlet(np.ones(4), 30)
    assert metrics.nll(truth, proba) == pytest.approx(
        oracle.log_loss(truth, proba, labels=range(4)), abs=1e-12
    )
    assert metrics.brier(truth, proba) == pytest.approx(
        ((proba - np.eye(4)[truth]) ** 2).sum(axis=1).mean(), abs=1e-12
    )


def test_ece_by_hand():
    proba = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.45, 0.55]])
    truth = np.array([0, 1, 1, 1])
    # bins of 0.1: [0.9, 1] holds two clips, one right; [0.5, 0.6) one, right; [0.6, 0.7) one
    expected = (2 * abs(0.95 - 0.5) + abs(0.55 - 1) + abs(0.6 - 1)) / 4
    assert metrics.ece(truth, proba, bins=10) == pytest.approx(expected, abs=1e-12)


def test_the_noise_of_ece_is_the_ece_of_calibrated_systems():
    rng = np.random.default_rng(0)
    sure = rng.choice([0.55, 0.7, 0.72, 0.9], 400)  # two of them in one bin
    drawn = (rng.random((300, 400)) > sure).astype(int)
    proba = np.stack([sure, 1 - sure], axis=1)
    found = np.mean([metrics.ece(truth, proba) for truth in drawn])
    assert metrics.ece_noise(proba) == pytest.approx(found, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_ccc_agrees_with_audmetric(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=20), rng.normal(size=20)
    assert metrics.ccc(x, y) == pytest.approx(audmetric.concordance_cc(x, y), abs=1e-12)
    assert metrics.ccc(np.ones(3), np.ones(3)) == 0
