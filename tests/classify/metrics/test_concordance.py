"""Measures of numbers: their values, intervals and tests."""

from __future__ import annotations

from itertools import product

import audmetric
import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.classify import Task, compare
from affekt.classify.data.estimates import Estimates
from affekt.classify.metrics.concordance import (
    clip_sums,
    independent_errors,
    max_t_ccc,
    mean_ccc,
    measure,
    measures,
    shares_of_ccc,
)
from affekt.classify.metrics.max_t import allow_for_unseen
from scipy.stats import pearsonr

LIMITS = np.array([[1.0, 7.0], [-1.0, 1.0]])


def numbers(clips=60, groups=6, seed=0):
    """Ratings with some missing, and three systems: good, shifted, useless."""
    rng = np.random.default_rng(seed)
    truth = np.stack([rng.uniform(1, 7, clips), rng.uniform(-1, 1, clips)], axis=1)
    noise = rng.normal(size=(3, clips, 2)) * [0.8, 0.3]
    systems = {
        "good": truth + noise[0],
        "shifted": 0.5 * truth + [1.0, 0.3] + noise[1],
        "none": [4.0, 0.0] + noise[2],
    }
    truth[::7, 1] = np.nan
    return truth, systems, np.arange(clips) % groups


def test_measures_are_those_of_audmetric_scipy_and_numpy():
    truth, systems, groups = numbers()
    found = measure(truth, systems, groups, LIMITS, n_resamples=20)
    for name, values in systems.items():
        for at in range(2):
            known = np.isfinite(truth[:, at])
            x, y = truth[known, at], values[known, at]
            mine = {key: found.estimates[name][key][at] for key in ("ccc", "pearson", "error")}
            assert mine["ccc"] == pytest.approx(audmetric.concordance_cc(x, y), abs=1e-12)
            assert mine["pearson"] == pytest.approx(pearsonr(x, y).statistic, abs=1e-12)
            assert mine["error"] == pytest.approx(np.abs(x - y).mean(), abs=1e-12)
        mean = np.mean([found.estimates[name]["ccc"][at] for at in range(2)])
        assert found.estimates[name]["ccc"][-1] == pytest.approx(mean)
        assert mean_ccc(truth, values) == pytest.approx(mean)
    rated = np.bincount(groups, np.isfinite(truth).sum(axis=1))
    assert found.effective == pytest.approx(rated.sum() ** 2 / (rated**2).sum())


def test_a_constant_is_worth_nothing_and_a_perfect_system_one():
    truth = np.linspace(-1, 1, 12)[:, None]
    assert mean_ccc(truth, np.zeros((12, 1))) == 0
    assert mean_ccc(truth, truth) == 1
    assert mean_ccc(np.hstack([truth, truth * np.nan]), np.hstack([truth, truth])) == 1
    assert np.isnan(mean_ccc(np.full((3, 1), np.nan), np.zeros((3, 1))))


def test_resamples_draw_whole_groups():
    """Each sample is the CCC of clips whose groups come equally often, computed anew."""
    truth, systems, groups = numbers()
    found = measure(truth, systems, groups, LIMITS, n_resamples=40, random_state=3)
    rng = np.random.default_rng(3)
    for sample in found.samples["good"]["ccc"][:10]:
        drawn = rng.integers(0, 6, 6)
        rows = np.concatenate([np.flatnonzero(groups == group) for group in drawn])
        assert sample[-1] == pytest.approx(mean_ccc(truth[rows], systems["good"][rows]))
    assert found.difference("good", "good") == (0, (0, 0))  # both in the same draws


@pytest.mark.parametrize(("slope", "shift", "noise"), [(0.8, 0.0, 0.5), (1.0, 1.2, 0.3)])
def test_errors_of_independent_clips_are_the_spread_over_samples(slope, shift, noise):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 3000))  # 3000 samples
    values = slope * truth + shift + rng.normal(0, noise, truth.shape)
    sums = clip_sums(truth, values, np.zeros(3000)).sum(axis=0)
    found, errors = measures(sums), independent_errors(sums, np.ones(3000))
    for name in ("ccc", "pearson"):
        assert errors[name].mean() == pytest.approx(np.arctanh(found[name]).std(), rel=0.05)
    assert errors["error"].mean() == pytest.approx(found["error"].std(), rel=0.05)


def test_exchanges_are_those_of_brute_force():
    truth, systems, groups = numbers()
    found = measure(truth, systems, groups, LIMITS, n_resamples=20)
    pairs = [("good", "shifted"), ("good", "none"), ("shifted", "none")]
    test = max_t_ccc(found.sums, pairs)
    gaps = np.empty((64, 3))
    for row, signs in enumerate(product([1, -1], repeat=6)):
        swap = (np.array(signs) < 0)[groups][:, None]
        for at, (a, b) in enumerate(pairs):
            first = np.where(swap, systems[b], systems[a])
            second = np.where(swap, systems[a], systems[b])
            gaps[row, at] = mean_ccc(truth, first) - mean_ccc(truth, second)
    size = np.abs(gaps) / np.sqrt((gaps**2).mean(axis=0))
    p = (size >= size[0] - 1e-9).mean(axis=0)
    np.testing.assert_allclose(test.p, p)
    # single step: the largest of the family; step-down is never larger
    single = (size.max(axis=1)[:, None] >= size[0] - 1e-9).mean(axis=0)
    assert (test.corrected <= single + 1e-12).all()
    assert (test.corrected >= test.p - 1e-12).all()
    assert test.corrected[size[0].argmax()] == pytest.approx(single[size[0].argmax()])


def test_the_corrected_test_keeps_its_level():
    rng, false = np.random.default_rng(0), 0
    for _ in range(100):
        truth, groups = rng.normal(size=(80, 1)), np.repeat(range(8), 10)
        voice = rng.normal(0, 0.4, (3, 8, 1))[:, groups]
        made = 0.6 * truth + voice + rng.normal(0, 0.5, (3, 80, 1))
        systems = dict(zip("abc", made, strict=True))
        found = measure(truth, systems, groups, np.array([[-4, 4]]), n_resamples=2)
        pairs = [("a", "b"), ("a", "c"), ("b", "c")]
        false += max_t_ccc(found.sums, pairs).corrected.min() < 0.05
    assert false <= 11  # 5 % of 100 and three standard deviations


def test_a_system_that_fails_for_rare_speakers_is_no_more_often_called_better():
    """Both have the same CCC over all speakers, of whom some have far more clips than others."""
    rng, alarms = np.random.default_rng(0), np.zeros(2)
    for _ in range(100):
        sizes = np.clip(rng.lognormal(3, 1, 20).astype(int), 4, None)
        groups = np.repeat(range(20), sizes)
        truth, noise = rng.normal(0, 1.2, (2, len(groups), 1))
        failed = (rng.random(20) < 0.2)[groups][:, None]
        systems = {
            "erratic": np.where(failed, noise, 0.95 * truth + 0.29 * noise),
            "steady": 0.8 * truth + rng.normal(0, 0.812, truth.shape),
        }
        found = measure(truth, systems, groups, np.array([[-4, 4]]), n_resamples=2)
        pairs = [("erratic", "steady")]
        exchanged = max_t_ccc(found.sums, pairs, n_draws=400)
        both = allow_for_unseen(exchanged, *shares_of_ccc(found, pairs))
        alarms += [one.corrected[0] < 0.05 for one in (exchanged, both)]
    assert alarms[0] > 11 >= alarms[1]  # 5 % of 100 and three standard deviations


def test_what_clips_contribute_to_a_difference_adds_up():
    truth, systems, groups = numbers()
    found = measure(truth, systems, groups, LIMITS, n_resamples=2)
    differences, worth, within = shares_of_ccc(found, [("good", "none"), ("good", "good")])
    gap = mean_ccc(truth, systems["good"]) - mean_ccc(truth, systems["none"])
    assert differences.sum(axis=0) == pytest.approx([gap, 0], abs=0.02)
    good, none = (
        np.array([mean_ccc(np.delete(truth, at, 0), np.delete(one, at, 0)) for at in range(60)])
        for one in (systems["good"], systems["none"])
    )
    own = (60 * gap - 59 * (good - none)) / 60  # the pseudo-values of a jackknife
    assert differences[:, 0] == pytest.approx(np.bincount(groups, own))
    spread = np.mean([own[groups == group].var(ddof=1) for group in range(6)])
    assert within[:, 0] == pytest.approx(10 * spread)  # of the sum of 10 clips
    assert worth.sum() == pytest.approx(1)
    assert (within[:, 0] > 0).all()
    assert not within[:, 1].any()


def test_intervals_hold_the_true_value_and_have_a_width():
    big = np.random.default_rng(5)

    def drawn(rng, speakers, clips=12):
        groups = np.repeat(np.arange(speakers), clips)
        truth = rng.normal(size=(len(groups), 1))
        voice = rng.normal(0, 0.4, (speakers, 1))[groups]
        return truth, 0.6 * truth + voice + rng.normal(0, 0.5, truth.shape), groups

    true = mean_ccc(*drawn(big, 3000)[:2])
    hits = 0
    for seed in range(100):
        truth, values, groups = drawn(np.random.default_rng(seed), 10)
        found = measure(truth, {"a": values}, groups, np.array([[-4, 4]]), n_resamples=300)
        low, high = found.interval("a", "ccc")
        hits += low <= true <= high
        assert low < high <= 1
    assert hits >= 88
    few = measure(truth[:48], {"a": values[:48]}, groups[:48], np.array([[-4, 4]]), n_resamples=20)
    assert np.isnan(few.interval("a", "ccc")).all()  # four speakers


def test_intervals_of_dimensions_and_of_their_mean():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(300, 2))
    values = 0.7 * truth + rng.normal(0, 0.5, truth.shape)
    limits, alone = np.array([[-4, 4], [-4, 4]]), np.arange(300)
    found = measure(truth, {"a": values}, alone, limits, n_resamples=400)
    first, second, mean = (
        np.diff(np.arctanh(found.interval("a", "ccc", at)))[0] for at in (0, 1, -1)
    )
    assert mean == pytest.approx(np.hypot(first, second) / 2, rel=0.1)  # dimensions of their own
    truth[alone % 6 > 3, 1] = np.nan  # two of six speakers are not rated
    found = measure(truth, {"a": values}, alone % 6, limits, n_resamples=20)
    assert np.isfinite(found.interval("a", "ccc", 0)).all()
    for at in (1, -1):
        assert np.isnan(found.interval("a", "ccc", at)).all()


def test_where_folds_are_pooled_intervals_allow_for_training_anew():
    truth, systems, groups = numbers(clips=240, groups=8)
    values = {
        name: one + 2 * np.random.default_rng(seed).normal(size=(8, 2))[groups]
        for seed, (name, one) in enumerate(systems.items())
    }
    one, folds = (
        measure(truth, values, groups, LIMITS, n_resamples=200, pooled=pooled)
        for pooled in (False, True)
    )
    spans = [np.diff(np.arctanh(each.interval("good", "ccc"))) for each in (one, folds)]
    assert spans[1] / spans[0] == pytest.approx(np.sqrt(1 + 4 / 8))
    spans = [np.diff(each.difference("good", "none")[1]) for each in (one, folds)]
    assert spans[1] / spans[0] == pytest.approx(np.sqrt(1 + 4 / 8))


@pytest.mark.parametrize("speakers", [1, 12])
def test_a_comparison_allows_for_a_speaker_that_contradicts_and_says_so(speakers):
    rng = np.random.default_rng(0)
    spec = {"type": "regression", "dimensions": {"arousal": {"range": [-4, 4]}}}
    truth = rng.normal(0, 1, 60).clip(-4, 4)
    rows = [
        {"id": str(at), "text": "x", "speaker": f"s{at % speakers}", "arousal": value}
        for at, value in enumerate(truth)
    ]
    clips, task = Manifest.from_rows(rows), Task.from_spec(spec)
    systems = {"good": truth[:, None], "poor": rng.normal(0, 1, (60, 1))}
    members = {name: Estimates(clips.ids, ["arousal"], one) for name, one in systems.items()}
    result = compare(members, clips, task, strategies=[], n_resamples=20)
    [pair] = result.data["pairs"]
    if speakers == 1:
        assert pair["p_ccc"] is None
        return
    groups = np.arange(60) % speakers
    found = measure(truth[:, None], systems, groups, np.array([[-4, 4]]), n_resamples=2)
    exchanged, pairs = max_t_ccc(found.sums, [("good", "poor")]), [("good", "poor")]
    both = allow_for_unseen(exchanged, *shares_of_ccc(found, pairs))
    assert pair["p_ccc"] == pytest.approx(both.p[0])
    assert pair["p_ccc"] > exchanged.p[0]
    good, poor = (
        np.bincount(groups, np.abs(one[:, 0] - truth)) for one in (systems["good"], systems["poor"])
    )
    assert pair["groups_a_better"] == (good < poor).sum() == 12
    assert pair["groups_b_better"] == 0
    assert pair["different"]
    assert "p is never below that of a t test with one more, contradicting" in result.report()
