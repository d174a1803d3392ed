"""Balanced epochs: equal counts overall and in every batch, every row in turn."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.heads import MLPHead
from affekt.classify.heads.training.sampling import balanced_order, batches, row_shares, strata
from hypothesis import given, settings, strategies as st

codes = st.lists(st.integers(0, 3), min_size=1, max_size=80).map(np.array)


@given(codes, st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_strata_come_equally_often_and_rows_in_turn(stratum, seed):
    order = balanced_order(stratum, np.random.default_rng(seed))
    assert len(order) == len(stratum)
    present = np.unique(stratum)
    counts = np.bincount(stratum[order], minlength=4)[present]
    assert counts.max() - counts.min() <= 1
    for code in present:  # no row is shown again before all of its stratum were
        shown = np.bincount(order, minlength=len(stratum))[stratum == code]
        assert shown.max() - shown.min() <= 1


@given(codes, st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_plain_epochs_show_every_row_once(stratum, batch_size, seed):
    found = list(batches(len(stratum), batch_size, None, np.random.default_rng(seed)))
    assert sorted(np.concatenate(found)) == list(range(len(stratum)))
    assert all(len(rows) == batch_size for rows in found[:-1])


def test_every_batch_is_balanced_over_languages():
    language = np.repeat([0, 1, 2], [500, 60, 40])
    rng = np.random.default_rng(0)
    for rows in list(batches(600, 30, language, rng))[:-1]:
        counts = np.bincount(language[rows], minlength=3)
        assert counts.min() >= 8
        assert counts.max() <= 12


def test_shares_are_the_average_of_many_epochs():
    stratum = np.repeat([0, 1], [15, 5])
    rng = np.random.default_rng(0)
    seen = sum(np.bincount(balanced_order(stratum, rng), minlength=20) for _ in range(300)) / 300
    np.testing.assert_allclose(seen, row_shares(stratum, 20), atol=0.1)


def test_what_the_strata_are():
    hard, groups = np.array([0, 0, 1, 1]), ["pol", "deu", "pol", "pol"]
    assert strata(None, hard, groups) is None
    assert strata("class", hard, None).tolist() == [0, 0, 1, 1]
    assert strata("group", hard, groups).tolist() == [1, 0, 1, 1]
    assert len(set(strata("class-and-group", hard, groups).tolist())) == 3
    with pytest.raises(InputError, match="expected one of class, group"):
        strata("language", hard, groups)
    with pytest.raises(InputError, match="one per row"):
        strata("group", hard, groups[:-1])


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weight": "balanced"},
        {"class_weight": {"rare": 9.0}},
        {"class_weight": None, "sampling": "class"},
        {"class_weight": None, "logit_adjustment": 1.0},
        {"class_weight": "balanced", "loss": "focal"},
    ],
)
def test_each_remedy_for_imbalance_finds_the_rare_class(settings):
    rng = np.random.default_rng(0)
    y = np.repeat(["common", "rare"], [270, 30])
    X = rng.standard_normal((300, 4)) + 1.0 * (y == "rare")[:, None]
    base = {"hidden": (), "input_dropout": 0.0, "max_epochs": 15, "learning_rate": 0.02}
    recalls = []
    for chosen in (settings, {"class_weight": None}):
        head = MLPHead(**base | chosen, random_state=0, n_threads=1).fit(X, y)
        recalls.append((head.predict(X)[y == "rare"] == "rare").mean())
    assert recalls[0] > 0.8
    assert recalls[0] > recalls[1] + 0.05


def test_balanced_sampling_and_balanced_weights_do_not_correct_twice():
    rng = np.random.default_rng(0)
    y = np.repeat(["common", "rare"], [90, 10])
    X = rng.standard_normal((100, 3))
    settings = {"sampling": "class", "max_epochs": 3, "random_state": 0, "n_threads": 1}
    found = [
        MLPHead(**settings, class_weight=rule).fit(X, y).predict_proba(X)
        for rule in ("balanced", None)
    ]
    np.testing.assert_allclose(*found, atol=1e-6)


def test_groups_are_cut_with_the_rows_of_weight_zero():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)), np.arange(30) % 2
    groups = np.repeat(["deu", "pol"], [20, 10])
    weight = np.ones(30)
    weight[:5] = 0
    settings = {"sampling": "group", "max_epochs": 2, "random_state": 0, "n_threads": 1}
    whole = MLPHead(**settings).fit(X, y, sample_weight=weight, groups=groups)
    cut = MLPHead(**settings).fit(X[5:], y[5:], groups=groups[5:])
    assert np.array_equal(whole.predict_proba(X), cut.predict_proba(X))
    with pytest.raises(InputError, match=r"groups has shape \(3,\)"):
        MLPHead(**settings).fit(X, y, groups=groups[:3])
