"""Scaling by group: training statistics only, and transductive only by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.models.scalers.group_scaler import GroupScaler
from sklearn.preprocessing import StandardScaler


def corpus():
    rng = np.random.default_rng(0)
    group = np.repeat(["deu", "pol", "urd"], [20, 10, 15])
    X = rng.standard_normal((45, 4)) * [[1, 2, 3, 0]] + np.array([5, 9, 2, 4])
    return X + 3 * (group == "pol")[:, None], group


def test_each_group_is_scaled_as_scikit_learn_scales_it_alone():
    X, group = corpus()
    scaled = GroupScaler().fit(X, groups=group).transform(X, groups=group)
    for name in np.unique(group):
        rows = group == name
        np.testing.assert_allclose(scaled[rows], StandardScaler().fit_transform(X[rows]))


def test_no_statistic_of_the_test_rows_leaks():
    X, group = corpus()
    train = np.arange(45) % 2 == 0
    scaler = GroupScaler(min_rows=2).fit(X[train], groups=group[train])
    before = scaler.mean_.copy()
    alone = scaler.transform(X[~train][:1], groups=group[~train][:1])
    moved = X[~train].copy()
    moved[1:] += 1000
    together = scaler.transform(moved, groups=group[~train])
    np.testing.assert_array_equal(alone[0], together[0])
    np.testing.assert_array_equal(scaler.mean_, before)


def test_unknown_groups_are_an_error_unless_named():
    X, group = corpus()
    train = group != "urd"
    test, names = X[~train], group[~train]
    scaler = GroupScaler().fit(X[train], groups=group[train])
    with pytest.raises(InputError, match="1 groups were not in training: urd"):
        scaler.transform(test, groups=names)
    assert scaler.unknown(group) == ["urd"]
    own = GroupScaler(unseen="transductive").fit(X[train], groups=group[train])
    np.testing.assert_allclose(
        own.transform(test, groups=names), StandardScaler().fit_transform(test)
    )
    everything = GroupScaler(unseen="global").fit(X[train], groups=group[train])
    np.testing.assert_allclose(
        everything.transform(test, groups=names),
        StandardScaler().fit(X[train]).transform(test),
    )


def test_a_single_file_cannot_be_scaled_by_itself():
    X, group = corpus()
    scaler = GroupScaler(unseen="transductive").fit(X, groups=group)
    with pytest.raises(InputError, match=r"speaker-9 \(1\)"):
        scaler.transform(X[:1], groups=["speaker-9"])
    with pytest.raises(InputError, match="fewer than 5 rows in training"):
        GroupScaler().fit(X, groups=[*group[:-1], "lonely"])


def test_wrong_groups_and_words():
    X, group = corpus()
    with pytest.raises(InputError, match="groups is missing"):
        GroupScaler().fit(X)
    with pytest.raises(InputError, match="one per row"):
        GroupScaler().fit(X, groups=group[:3])
    with pytest.raises(InputError, match="Did you mean 'transductive'"):
        GroupScaler(unseen="transduction").fit(X, groups=group)


def test_missing_sides_do_not_count_and_stay_missing():
    X, group = corpus()
    hole = X.copy()
    hole[::3, 2:] = np.nan
    scaled = GroupScaler().fit(hole, groups=group).transform(hole, groups=group)
    assert np.array_equal(np.isnan(scaled), np.isnan(hole))
    for name in np.unique(group):
        rows = (group == name) & ~np.isnan(hole[:, 2])
        np.testing.assert_allclose(
            scaled[rows, 2], (X[rows, 2] - X[rows, 2].mean()) / X[rows, 2].std()
        )


def test_state_round_trip_and_refusals():
    X, group = corpus()
    scaler = GroupScaler(unseen="global").fit(X, groups=group)
    meta, arrays = scaler.get_state()
    again = GroupScaler.from_state(json.loads(json.dumps(meta)), arrays)
    assert np.array_equal(again.transform(X, groups=group), scaler.transform(X, groups=group))
    with pytest.raises(InputError, match="has shape"):
        GroupScaler.from_state(meta | {"groups": ["a"]}, arrays)
    with pytest.raises(InputError, match="unsorted"):
        GroupScaler.from_state(meta | {"groups": ["b", "a", "c"]}, arrays)
    with pytest.raises(InputError, match="not above 0"):
        GroupScaler.from_state(meta, arrays | {"scale": arrays["scale"] * 0})
