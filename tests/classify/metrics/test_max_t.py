"""The parts of the test between systems, against plain arithmetic and scipy's root finder."""

import numpy as np
import pytest
from affekt.classify.metrics import detectable as detectable_
from affekt.classify.metrics.max_t import comparisons, exchanges, max_t
from affekt.classify.metrics.unseen_speaker import scale_of_groups
from scipy.optimize import brentq


@pytest.mark.parametrize("n_pairs", [2, 9, 40])  # fewer and more pairs than groups
def test_comparisons_are_pairs_squared_over_squared_cosines(n_pairs):
    differences = np.random.default_rng(n_pairs).normal(size=(3, 9, n_pairs))
    differences[1, :, 0] = 0
    for one, found in zip(differences, comparisons(differences), strict=True):
        there = one[:, one.any(axis=0)]
        cosines = np.corrcoef(np.vstack([there, -there]).T)  # of mean 0, so the cosines
        assert found == pytest.approx(there.shape[1] ** 2 / (cosines**2).sum())


def test_the_spread_between_groups_is_that_of_paule_and_mandel():
    rng = np.random.default_rng(1)
    worth = rng.dirichlet(np.full(12, 2.0))[:, None]
    within = rng.uniform(0.5, 2, (12, 5)) * 1e-4 * worth
    differences = rng.normal(size=(4, 12, 5)) * np.linspace(0.001, 0.05, 5)
    found = scale_of_groups(differences, worth, within)
    for at in np.ndindex(4, 5):
        d, v = differences[at[0], :, at[1]], within[:, at[1]]
        excess = lambda between: (d**2 / (between * worth[:, 0] ** 2 + v)).sum() - 12  # noqa: E731, B023
        between = brentq(excess, 0, 1e6, xtol=1e-18) if excess(0) > 0 else 0.0
        expected = np.sqrt(between * worth[:, 0] ** 2 + v)
        assert found[at[0], :, at[1]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n_pairs", [6, 28])
def test_the_pairs_that_stay_are_summed_once(n_pairs):
    """What a world counts as comparisons is what `comparisons` finds of all its pairs."""
    n_systems = {6: 4, 28: 8}[n_pairs]
    systems = np.array([(a, b) for a in range(n_systems) for b in range(a + 1, n_systems)])
    drawn = np.random.default_rng(2).normal(0, 0.01, (5, 12, n_pairs))
    share = np.full(12, 1 / 12)
    turn = (systems[:, 0] == 1) * 1.0 - (systems[:, 1] == 1)
    sets = detectable_._Sets(drawn, share, exchanges(12, 50), None)
    world = detectable_._World(sets, np.ones((n_pairs, 1)), turn)
    made = comparisons(drawn + share[:, None] * turn * 0.07)
    assert world.comparisons(drawn[..., turn != 0] + share[:, None] * turn[turn != 0] * 0.07) == (
        pytest.approx(made)
    )


def test_a_world_finds_what_the_test_finds_in_each_of_its_sets():
    rng = np.random.default_rng(5)
    systems = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])
    turn = (systems[:, 0] == 1) * 1.0 - (systems[:, 1] == 1)
    drawn = rng.normal(0, 0.02, (40, 9, 6))
    drawn[..., turn == 0] -= drawn[..., turn == 0].mean(axis=1, keepdims=True)  # never the largest
    share, within = rng.dirichlet(np.full(9, 9.0)), np.full((9, 6), 1e-5)
    less = rng.uniform(0.7, 1, (6, 40))
    sets = detectable_._Sets(drawn, share, exchanges(9, 1000), within)
    world = detectable_._World(sets, less, turn)
    for at in (20, 30, 35):
        factor = np.where(turn == 0, 1, less[:, at])
        shifted = drawn * factor + share[:, None] * turn * detectable_.GAPS[at]
        corrected = np.array([max_t(one, share, within).corrected for one in shifted])[:, turn != 0]
        for level in (0.01, 0.05, 0.2):
            assert world.found(at, level) == pytest.approx((corrected < level).mean(axis=0))
