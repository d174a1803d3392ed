"""Tests: McNemar against scipy, ITST's published counts, Holm, permutation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.evaluation.scores import verdicts
from affekt.classify.metrics import mcnemar_and_holm as stats
from affekt.classify.metrics.max_t import max_t
from affekt.classify.metrics.unseen_speaker import unseen_speaker
from hypothesis import given, settings, strategies as st
from scipy.stats import binomtest, false_discovery_control


def permutation(parts, **draws):
    """Test every pair of systems as a family of its own: p, `(systems, systems)`."""
    first, second = np.triu_indices(parts.shape[1], 1)
    size = np.abs(parts).mean(axis=1)
    found = max_t(parts[:, first] - parts[:, second], size / size.sum(), **draws)
    p = np.ones((parts.shape[1], parts.shape[1]))
    p[first, second] = p[second, first] = found.p
    return p, found.exact


ITST = {"mean": 225, "MarIA": 224, "BETO": 221, "BERTIN": 214, "max": 211}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(only_a, only_b):
    p = stats.mcnemar(only_a, only_b)
    assert p == stats.mcnemar(only_b, only_a)
    if only_a + only_b:
        expected = binomtest(only_a, only_a + only_b, 0.5).pvalue
        assert p == pytest.approx(expected, rel=1e-9)
    else:
        assert p == 1


def test_the_published_counts_of_ITST():
    def smallest(a, b):
        return stats.mcnemar_range(ITST[a], ITST[b], 300)[0]

    assert smallest("mean", "MarIA") == 1.0
    assert smallest("mean", "BETO") == 0.125
    assert smallest("mean", "max") == pytest.approx(2**-13)
    assert stats.mcnemar_range(225, 224, 300) == (1.0, 1.0)
    assert verdicts.verdict_of_counts("mean", "MarIA", 225, 224, 300) == (
        "mean and MarIA: no difference can be shown: 225 vs 224 of 300, p = 1.0"
    )
    assert "no difference can be shown" in verdicts.verdict_of_counts("mean", "BETO", 225, 221, 300)
    assert "do not decide" in verdicts.verdict_of_counts("mean", "max", 225, 211, 300)
    # UMUTeam, English: concat 18 errors, audio 22 of 453
    assert stats.mcnemar_range(435, 431, 453)[0] == 0.125


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 25), st.data())
def test_the_range_of_p_holds_every_possible_overlap(n, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    low, high = stats.mcnemar_range(a, b, n)
    possible = []
    for both in range(max(0, a + b - n), min(a, b) + 1):
        possible.append(stats.mcnemar(a - both, b - both))
    assert low == pytest.approx(min(possible))
    assert high == pytest.approx(max(possible))


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(InputError):
        stats.mcnemar_range(5, 3, 4)
    with pytest.raises(InputError):
        stats.mcnemar(-1, 2)


def test_fewest_apart_is_the_edge_of_the_test():
    assert stats.fewest_apart() == 6
    for level in (0.01, 0.05, 0.2):
        apart = stats.fewest_apart(level)
        assert stats.mcnemar(apart, 0) < level <= stats.mcnemar(apart - 1, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_plain_and_bonferroni_and_keeps_the_order(p_values):
    adjusted = stats.holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert min(adjusted) >= min(false_discovery_control(p_values)) - 1e-9


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_permutation_with_few_groups_is_exact():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(8, 3))
    p, exact = permutation(parts)
    assert exact
    gap = parts[:, 0] - parts[:, 1]
    signs = np.array(list(itertools.product([1, -1], repeat=8)))
    expected = (np.abs(signs @ gap) >= abs(gap.sum()) - 1e-12).mean()
    worth = np.abs(parts).mean(axis=1)
    [unseen] = unseen_speaker(gap[:, None], worth / worth.sum())
    assert p[0, 1] == pytest.approx(max(expected, unseen))
    assert np.allclose(p, p.T)
    assert (np.diag(p) == 1).all()


def test_permutation_with_many_groups_draws_and_is_close():
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(12, 2))
    parts[:, 0] += 0.5
    exact, yes = permutation(parts)
    drawn, no = permutation(parts, n_draws=4000)
    assert yes
    assert not no
    assert drawn[0, 1] == pytest.approx(exact[0, 1], abs=0.03)
    assert drawn[0, 1] == permutation(parts, n_draws=4000)[0][0, 1]


def test_permutation_of_groups_is_level_where_mcnemar_is_not():
    """Two equal systems whose errors go by speaker: clips are not independent."""
    rng = np.random.default_rng(2)
    rejected = {"groups": 0, "clips": 0}
    for run in range(200):
        luck = rng.random((20, 2)).repeat(20, axis=0)
        right = rng.random((400, 2)) < luck
        only_a = int((right[:, 0] & ~right[:, 1]).sum())
        only_b = int((right[:, 1] & ~right[:, 0]).sum())
        rejected["clips"] += stats.mcnemar(only_a, only_b) < 0.05
        parts = right.reshape(20, 20, 2).sum(axis=1) / 400
        rejected["groups"] += permutation(parts, n_draws=400, random_state=run)[0][0, 1] < 0.05
    assert rejected["groups"] <= 22  # 5 % of 200, with room for luck
    assert rejected["clips"] > 60


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "1.0"), (0.125, "0.125"), (0.0312499, "0.0312"), (1e-7, "1e-07"), (0, "< ")],
)
def test_p_is_never_printed_as_zero(p, text):
    assert verdicts.p_text(p).startswith(text)


def test_equal_is_reported_only_where_the_interval_supports_it():
    row = {
        "a": "mean", "b": "lr", "uar_difference": 0.004, "groups": 40, "p_uar": 0.3,
        "p_uar_corrected": 0.5, "different": False, "groups_a_better": 9, "groups_b_better": 7,
        "right_a": 60, "right_b": 59, "clips": 100,
    }  # fmt: skip
    for span, words in (
        ([-0.012, 0.02], "equal within 0.02"),
        ([-0.012, 0.0201], "no difference can be shown"),
        ([-0.03, 0.01], "no difference can be shown"),
        ([math.nan, math.nan], "no difference can be shown"),
    ):
        assert words in verdicts.verdict_of_pair({**row, "uar_difference_interval": span})
    few = {**row, "groups": 14, "uar_difference_interval": [-0.001, 0.001]}
    assert "no difference can be shown" in verdicts.verdict_of_pair(few)
    found = verdicts.verdict_of_pair(
        {**row, "different": True, "uar_difference_interval": [0.001, 0.01]}
    )
    assert "mean is better than lr" in found
