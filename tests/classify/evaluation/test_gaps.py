"""Gaps between the values of a column: their size, and how seldom chance shows one."""

from __future__ import annotations

import numpy as np
from affekt.classify.evaluation.scores.gaps import gaps
from affekt.classify.metrics.mcnemar_and_holm import holm


def test_a_gap_is_the_difference_of_the_classes_that_both_sides_have():
    groups = np.repeat(np.arange(12), 4)
    values = np.where(groups % 2 == 0, "f", "m")
    truth = np.where(values == "f", np.tile([0, 1, 2, 0], 12), np.tile([0, 1, 0, 1], 12))
    guess = np.where((values == "m") & (truth == 1), 0, truth)
    guess = np.where(truth == 2, 0, guess)
    [row] = gaps(truth, guess, groups, values, 3, n_resamples=200)
    # only f has class 2, so it does not count; m gets every 0 and no 1
    assert (row["uar"], row["uar_rest"], row["difference"]) == (1.0, 0.5, 0.5)
    assert row["interval"][0] > 0.4
    few = np.where(groups < 4, "f", "m")
    [row] = gaps(truth, guess, groups, few, 3, n_resamples=200)
    assert np.isnan([row["p"], row["p_corrected"], *row["interval"]]).all()
    rare = np.where((truth == 1) & (values == "f") & (groups < 8), 0, truth)  # 1 from two of f
    [row] = gaps(rare, guess, groups, values, 3, n_resamples=200)
    assert np.isnan(row["p"])
    assert gaps(truth, guess, groups, np.full(48, "f"), 3) == []


def test_equal_genders_seldom_show_a_gap_and_unequal_ones_mostly():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 12)
    values = np.where(groups < 10, "f", "m")
    truth = np.tile([0, 1, 2], 96)
    shown, covered = {}, []
    for gap in (0.0, 0.3):
        rows = []
        for run in range(120):
            p = np.clip(rng.normal(0.6, 0.1, 24), 0, 1) + gap * (np.arange(24) < 10)
            guess = np.where(rng.random(288) < p[groups], truth, (truth + 1) % 3)
            options = {"n_resamples": 150, "random_state": run}
            rows += gaps(truth, guess, groups, values, 3, **options)
        shown[gap] = np.mean([row["p"] < 0.05 for row in rows])
        covered += [row["interval"][0] <= gap <= row["interval"][1] for row in rows]
    assert shown[0.0] <= 0.1
    assert shown[0.3] > 0.9
    assert np.mean(covered) > 0.9


def test_eight_values_that_make_no_difference_seldom_show_a_gap():
    """Holm over t of five speakers each raises a false alarm in 7 of 100 data sets here."""
    rng = np.random.default_rng(40)
    groups, truth = np.repeat(np.arange(40), 12), np.tile([0, 1, 2], 160)
    values = np.array(list("abcdefgh"))[groups % 8]
    found = {0.0: [], 0.35: []}
    for run in range(200):
        worse = 0.35 * (run % 4 == 3)
        p = np.clip(rng.normal(0.7, 0.12, 40) - worse * (np.arange(40) % 8 == 2), 0.05, 1)
        guess = np.where(rng.random(480) < p[groups], truth, (truth + 1) % 3)
        rows = gaps(truth, guess, groups, values, 3, n_resamples=200, random_state=run)
        assert all(row["p_corrected"] >= row["p"] for row in rows)
        found[worse].append({row["value"] for row in rows if row["p_corrected"] < 0.05})
    assert np.mean([len(names) > 0 for names in found[0.0]]) <= 0.06
    assert np.mean(["c" in names for names in found[0.35]]) > 0.4


def test_values_that_a_speaker_mixes_are_corrected_by_holm():
    rng = np.random.default_rng(0)
    groups, truth = np.repeat(np.arange(12), 12), np.tile([0, 1, 2], 48)
    values = np.array(list("abc"))[np.arange(144) // 3 % 3]
    guess = np.where(rng.random(144) < 0.6, truth, (truth + 1) % 3)
    rows = gaps(truth, guess, groups, values, 3, n_resamples=200)
    assert [row["p_corrected"] for row in rows] == holm([row["p"] for row in rows])
