"""Abstaining and conformal sets: the curve by hand, coverage that holds in each language."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.evaluation.analyses.abstention import abstain, area, risk_coverage, threshold
from affekt.classify.evaluation.analyses.conformal import ConformalSets
from hypothesis import given, settings, strategies as st


def draw(n, seed, sharpness=2.0):
    rng = np.random.default_rng(seed)
    scores = sharpness * rng.normal(size=(n, 3))
    proba = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    truth = (proba.cumsum(axis=1)[:, :2] < rng.random((n, 1))).sum(axis=1)
    return truth, proba


def test_the_curve_by_hand():
    proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    truth = np.array([0, 1, 1, 0])
    coverage, risk = risk_coverage(truth, proba)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_equal_confidence_in_any_order_gives_one_curve(seed):
    rng = np.random.default_rng(seed)
    proba = np.array([[0.7, 0.3], [0.3, 0.7]])[rng.integers(0, 2, 40)]
    truth, rows = rng.integers(0, 2, 40), rng.permutation(40)
    assert area(truth, proba) == pytest.approx(area(truth[rows], proba[rows]), abs=1e-12)
    assert risk_coverage(truth, proba)[1] == pytest.approx((proba.argmax(1) != truth).mean())


def test_thresholds_chosen_on_dev_hold_on_test():
    dev, test = draw(4000, 0), draw(4000, 1)
    found = abstain(*test, *dev)
    for row in found["thresholds"]:
        assert row["accuracy"] == pytest.approx(row["accuracy_on_dev"], abs=0.03)
    coverages = [row["coverage"] for row in found["thresholds"]]
    assert coverages == sorted(coverages, reverse=True)
    risks = [point["risk"] for point in found["curve"]]
    assert risks == sorted(risks)


def test_a_threshold_that_nothing_reaches():
    proba = np.array([[0.9, 0.1], [0.8, 0.2]])
    assert threshold(np.array([1, 1]), proba, 0.5) == np.inf
    found = abstain(np.array([1, 1]), proba, np.array([1, 1]), proba)
    assert found["thresholds"][0]["coverage"] == 0
    with pytest.raises(InputError):
        threshold(np.array([1]), proba[:1], 1.5)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_conformal_coverage_holds_in_every_language(coverage):
    """Languages differ in how good the probabilities are; the promise holds in each."""
    held = {"deu": [], "eng": []}
    for seed in range(30):
        parts = []
        for n, offset in ((400, 0), (800, 1000)):
            (t1, p1), (t2, p2) = draw(n // 2, offset + seed), draw(n // 2, offset + seed + 500)
            p2 = p2[:, [1, 2, 0]] * 0.5 + p2 * 0.5  # english is worse
            parts.append((np.r_[t1, t2], np.r_[p1, p2], ["deu"] * (n // 2) + ["eng"] * (n // 2)))
        sets = ConformalSets(coverage).fit(*parts[0])
        checked = sets.check(*parts[1])
        for name in held:
            held[name].append(checked["by"][name]["coverage"])
    for values in held.values():
        assert coverage - 0.012 <= np.mean(values) <= coverage + 0.022


def test_small_hard_languages_share_a_threshold_of_their_own():
    """Beside a large easy one, that of all of dev would hold far less than promised for them."""
    held = []
    for seed in range(30):
        (easy, sure), (hard, unsure), (new, other) = (
            draw(n, 1000 * k + seed) for k, n in enumerate((400, 60, 400))
        )
        unsure, other = (p[:, [1, 2, 0]] * 0.5 + p * 0.5 for p in (unsure, other))
        names = ["deu"] * 400 + ["eng", "fra", "urd"] * 20
        sets = ConformalSets(0.8).fit(np.r_[easy, hard], np.r_[sure, unsure], names)
        assert set(sets.thresholds_) == {"", "deu"}
        assert [sets.promise(name) for name in ("deu", "urd", "ita")] == ["own", "shared", "none"]
        held.append(sets.sets(other, ["urd"] * 400)[np.arange(400), new].mean())
    assert 0.79 <= np.mean(held) <= 0.83


def test_small_languages_use_the_threshold_of_all():
    truth, proba = draw(100, 0)
    names = ["deu"] * 95 + ["urd"] * 5
    sets = ConformalSets(0.9).fit(truth, proba, names)
    assert set(sets.thresholds_) == {"", "deu"}
    checked = sets.check(truth, proba, names)
    assert checked["shared"] == checked["unpromised"] == ["urd"]


def test_too_few_clips_to_promise_give_all_labels():
    truth, proba = draw(5, 0)
    assert ConformalSets(0.9).fit(truth, proba).sets(proba).all()
    with pytest.raises(InputError):
        ConformalSets(1.0)
