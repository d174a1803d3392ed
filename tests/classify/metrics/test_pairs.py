"""Tests of pairs of systems: max-T, the unseen speaker, and the difference that can be found."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from affekt.classify.evaluation.scores.pair_tests import family_of, pairs
from affekt.classify.metrics import detectable as detectable_
from affekt.classify.metrics.bootstrap import resample
from affekt.classify.metrics.detectable import detectable, groups_needed
from affekt.classify.metrics.max_t import max_t
from affekt.classify.metrics.mcnemar_and_holm import holm
from affekt.classify.metrics.unseen_speaker import unseen_speaker


def by_hand(differences):
    """Step-down max-T, one exchange and one step at a time."""
    scale = np.sqrt((differences**2).sum(axis=0))
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    drawn = np.abs(signs @ differences) / scale
    observed = np.abs(differences.sum(axis=0)) / scale
    order, corrected, running = np.argsort(-observed), np.empty(len(scale)), 0.0
    for step, pair in enumerate(order):
        left = drawn[:, order[step:]].max(axis=1)
        running = max(running, float((left >= observed[pair] - 1e-9).mean()))
        corrected[pair] = running
    return (drawn >= observed - 1e-9).mean(axis=0), corrected


def test_max_t_is_the_step_down_procedure():
    rng = np.random.default_rng(0)
    for _ in range(20):
        differences = rng.normal(size=(7, 5)) + rng.normal(size=5) + rng.normal(size=(7, 1))
        found = max_t(differences)
        p, corrected = by_hand(differences)
        assert found.exact
        assert found.p == pytest.approx(p)
        assert found.corrected == pytest.approx(corrected)
        assert (found.corrected >= found.p - 1e-12).all()


def test_many_groups_are_drawn_and_close_to_all_exchanges():
    differences = np.random.default_rng(3).normal(0.5, 1, (13, 3))
    exact, drawn = max_t(differences), max_t(differences, n_draws=4000)
    assert exact.exact
    assert not drawn.exact
    assert drawn.corrected == pytest.approx(exact.corrected, abs=0.03)


def test_six_speakers_show_a_perfect_system_where_holm_never_could():
    right = np.array([[1.0] * 6, [0.3, 0.4, 0.35, 0.3, 0.4, 0.3], [0.8] * 6, [0.7, 0.8] * 3]).T / 6
    differences = np.stack([right[:, 0] - right[:, k] for k in (1, 2, 3)], axis=1)
    found = max_t(differences)
    assert found.corrected[0] < 0.05
    assert holm(list(found.p))[0] >= 0.05


def test_equal_systems_are_seldom_called_different():
    """Four systems of correlated luck by speaker: at most 5 % of families, with room for luck."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        luck = rng.normal(size=(8, 4)) + 2 * rng.normal(size=(8, 1))
        alarms += max_t(luck[:, :1] - luck[:, 1:]).corrected.min() < 0.05
    assert alarms <= 26


@pytest.mark.parametrize("n_speakers", [8, 20])
def test_a_system_bad_for_a_rare_kind_of_speaker_is_seldom_called_better(n_speakers):
    """Equal UAR, but one is far worse for a fifth of the speakers, who differ in size."""
    rng = np.random.default_rng(n_speakers)
    exchanged, alarms = 0, 0
    for run in range(250):
        speakers = np.repeat(
            range(n_speakers), np.clip(rng.lognormal(3, 1, n_speakers).astype(int), 4, None)
        )
        erratic = np.where(rng.random(n_speakers) < 0.2, 0.4, 0.9)[speakers]
        truth = np.zeros(len(speakers), int)
        right = {"erratic": rng.random(len(truth)) < erratic, "even": rng.random(len(truth)) < 0.8}
        family = family_of(truth, right, speakers, 1, [("erratic", "even")])
        draws = {"n_draws": 1000, "random_state": run}
        exchanged += max_t(family.differences, **draws).p[0] < 0.05
        alarms += max_t(*family[:3], **draws).p[0] < 0.05
    assert exchanged > 20  # exchanges alone would raise too many
    assert alarms <= 17


def test_the_unseen_speaker_is_corrected_for_a_family_too():
    """By what the exchanges find times the comparisons made: 1 for one pair and for equal pairs."""
    rng = np.random.default_rng(0)
    differences = rng.normal(0.02, 0.02, (9, 3))
    differences[0] = -0.03
    worth = np.full(9, 1 / 9)
    least = unseen_speaker(differences, worth)
    exchanged, found = max_t(differences), max_t(differences, worth)
    cosines = np.array(
        [[a @ b / np.sqrt((a @ a) * (b @ b)) for a in differences.T] for b in differences.T]
    )
    made = 9 / (cosines**2).sum()
    assert 1.1 < made < 3
    more = np.minimum(exchanged.corrected / exchanged.p * made, 3)
    assert (more < 3).any()
    expected = np.maximum(exchanged.corrected, least * more)
    assert found.corrected == pytest.approx(np.minimum(expected, 1))
    assert (found.corrected > np.maximum(exchanged.corrected, least) + 1e-3).any()
    same = max_t(differences[:, [0, 0, 0]], worth)
    assert same.corrected == pytest.approx(same.p)
    assert same.p[0] == pytest.approx(max(least[0], exchanged.p[0]))


def test_a_family_with_an_erratic_system_raises_few_false_alarms():
    """One system of four fails a fifth of 8 speakers; all have equal UAR."""
    rng = np.random.default_rng(8)
    speakers = np.repeat(range(8), 20)
    truth = np.zeros(len(speakers), int)
    asked = [("0", "1"), ("0", "2"), ("0", "3")]
    alarms, exchanged = 0, 0
    for run in range(400):
        right = {name: rng.random(len(truth)) < 0.8 for name in "0123"}
        fails = np.where(rng.random(8) < 0.2, 0.4, 0.9)[speakers]
        right["0"] = rng.random(len(truth)) < fails
        family = family_of(truth, right, speakers, 1, asked)
        exchanged += max_t(family.differences, random_state=run).corrected.min() < 0.05
        alarms += max_t(*family[:3], random_state=run).corrected.min() < 0.05
    assert exchanged > 32
    assert alarms <= 28


@pytest.mark.parametrize(("clips", "equal"), [(1, False), (20, True)])
def test_systems_right_on_the_same_clips_are_equal_only_if_these_are_many(clips, equal):
    truth = np.tile(np.repeat([0, 1], clips), 20)
    speakers = np.repeat(range(20), 2 * clips)
    guesses = {"a": truth, "b": truth}
    drawn = resample(truth, guesses, speakers, 2, n_resamples=100)
    [row] = pairs(truth, guesses, speakers, drawn, 2, 0, 0.95)
    low, high = row["uar_difference_interval"]
    assert low < 0 < high
    assert ("are equal within 0.02" in row["sentence"]) is equal


@pytest.mark.parametrize("level", [0.6, 0.95])
def test_a_pair_counts_what_only_one_has_right(level):
    rng = np.random.default_rng(0)
    truth, speakers = np.tile([0, 0, 1, 1], 24), np.repeat(range(8), 12)
    a, b = (np.where(rng.random(96) < rate, truth, 1 - truth) for rate in (0.8, 0.65))
    drawn = resample(truth, {"a": a, "b": b}, speakers, 2, n_resamples=100)
    [row] = pairs(truth, {"a": a, "b": b}, speakers, drawn, 2, 0, level)
    right = np.array([a == truth, b == truth])
    of_speaker = [right[:, speakers == one].sum(axis=1) for one in range(8)]
    assert (row["right_a"], row["right_b"]) == tuple(right.sum(axis=1))
    assert row["only_a"] == (right[0] & ~right[1]).sum() > row["only_b"] > 0
    assert row["only_a"] - row["only_b"] == row["right_a"] - row["right_b"]
    assert row["groups_a_better"] == sum(x > y for x, y in of_speaker) > 0
    assert row["groups_b_better"] == sum(x < y for x, y in of_speaker) > 0
    assert row["different"] == (row["p_uar_corrected"] < 1 - level)
    assert 0.05 < row["p_uar_corrected"] < 0.4  # different at the lower level alone


def test_what_is_detectable_takes_the_better_system_from_each_pair():
    """All pairs of three: the difference of each is found as if its first system were better."""
    rng = np.random.default_rng(4)
    share = np.full(12, 1 / 12)
    spread = rng.normal(0, 0.1, (12, 3)) / 12  # of each system
    spread[3, 1] = spread[3, 0]  # one speaker is answered alike
    differences = spread[:, [0, 0, 1]] - spread[:, [1, 2, 2]]
    sets = {"n_sets": 60, "n_draws": 400}
    systems = np.array([[0, 1], [0, 2], [1, 2]])
    found = detectable(differences, share, systems=systems, **sets)
    turned = detectable(-differences, share, systems=systems[:, ::-1], **sets)
    assert turned == pytest.approx(found, rel=0.35)
    assert (found > 0.05).all()
    assert (found < 0.4).all()
    star = detectable(differences[:, :2], share, systems=systems[:2], **sets)
    assert star == pytest.approx(detectable(differences[:, :2], share, **sets))
    assert (star <= found[:2]).all()  # one comparison less


def test_the_nearer_to_one_the_less_can_speakers_differ():
    """From 0.5 to 0.7 the variance of a share falls from 0.25 to 0.21, of one of two systems."""
    less = detectable_._less_spread(np.array([0.5, 0.7]), 2)
    at = np.abs(detectable_.GAPS - 0.2).argmin()
    assert less[:, at] == pytest.approx(np.sqrt([(0.25 + 0.21) / 0.5, (0.21 + 0.09) / 0.42]))
    assert (np.isnan(less) == (np.array([[0.5], [0.7]]) + detectable_.GAPS >= 1)).all()


def test_groups_needed_are_the_fewest_for_which_every_difference_is_small_enough(monkeypatch):
    """Without a search for the differences themselves; a pair that is alike does not count."""
    sizes, found = (10, 20, 60, 200), []
    monkeypatch.setattr(detectable_, "SIZES", sizes)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        spread = rng.normal(0, rng.uniform(0.05, 0.4), (9, 3)) / 9
        family = spread[:, [0, 0]] - spread[:, [1, 2]] * [1, seed % 4 > 0], np.full(9, 1 / 9)
        if seed % 4 == 1:
            family[0][:, 1] = 0
        options = {"n_sets": 60, "n_draws": 400}
        whole = [detectable(*family, n_groups=size, **options) for size in sizes]
        fits = [np.nanmax(one) <= 0.1 for one in whole]
        expected = next((size for size, fit in zip(sizes, fits, strict=True) if fit), None)
        assert groups_needed(*family) == expected
        found.append(expected)
    assert len(set(found)) > 2


def test_unequal_speakers_weigh_by_what_their_clips_tell():
    """Two large speakers carry a difference: not shown, however alike the rest are."""
    worth = np.array([0.25, 0.25, *[0.5 / 8] * 8])
    within = (worth * 1e-4)[:, None]
    alike = 0.1 * worth[:, None]
    assert unseen_speaker(alike, worth, within)[0] < 0.02
    assert unseen_speaker(-alike, worth, within) == unseen_speaker(alike, worth, within)
    large = alike * np.array([1, 1, *[-1, -1, -1, 1] * 2])[:, None]
    assert large.sum() > 0.02
    assert unseen_speaker(large, worth, within)[0] > 0.2
    padded = np.vstack([alike, [[0.0]]]), np.append(worth, 0.0), np.vstack([within, [[0.0]]])
    assert unseen_speaker(*padded) == pytest.approx(unseen_speaker(alike, worth, within))
    both = np.stack([np.hstack([alike, large])] * 2)  # data sets, groups, pairs
    found = unseen_speaker(both, worth, within)
    assert found.shape == (2, 2)
    assert found[1, 1] == pytest.approx(unseen_speaker(large, worth, within)[0])
    assert unseen_speaker(0 * alike, worth, within).tolist() == [1.0]


def test_the_detectable_difference_is_found_in_8_of_10():
    rng = np.random.default_rng(2)
    share, sd = np.full(12, 1 / 12), 0.2
    chance = np.full((12, 2), 1e-4)
    promised = np.mean(
        [
            detectable(rng.normal(0, sd, (12, 2)) / 12, share, chance, n_sets=60, n_draws=400)
            for _ in range(12)
        ]
    )
    hits = 0
    for run in range(200):
        drawn = rng.normal(0, sd, (12, 2)) / 12
        drawn += promised / 12  # the first system of both pairs is better
        hits += max_t(drawn, share, chance, n_draws=1000, random_state=run).corrected[0] < 0.05
    assert 0.68 < hits / 200 < 0.92
    needed = groups_needed(rng.normal(0, sd, (12, 1)) / 12, share, difference=promised / 2)
    assert needed is not None
    assert needed > 12


def test_many_groups_are_simulated_in_little_memory_and_find_the_same(monkeypatch):
    """Without speakers each clip is a group: a matrix of groups by groups would be gigabytes."""
    rng = np.random.default_rng(0)
    differences = rng.choice([-1.0, 0.0, 1.0], (6_000, 1), p=[0.1, 0.75, 0.15]) / 6_000
    share = np.full(6_000, 1 / 6_000)
    tracemalloc.start()
    detectable(differences, share, n_sets=8, n_draws=100)
    max_t(differences, n_draws=1_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6
    few, share = differences[:700] * 6_000 / 700, share[:700] * 6_000 / 700
    [found] = detectable(few, share, n_sets=80, n_draws=200)
    monkeypatch.setattr(detectable_, "MOST_GROUPS", 700)
    assert found == pytest.approx(detectable(few, share, n_sets=80, n_draws=200)[0], abs=0.0051)
