"""Ensembles: ITST's rules by hand, order never matters, what does not fit is refused by name."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.data.predictions import Predictions
from affekt.classify.ensembles import subsets
from affekt.classify.ensembles.calibration import Temperature
from affekt.classify.ensembles.combining import combine_all
from affekt.classify.ensembles.fitted_rules import (
    STRATEGIES,
    GreedyEnsemble,
    StackingEnsemble,
    WeightedEnsemble,
    mixture_weights,
    strategy,
)
from affekt.classify.ensembles.fixed_rules import (
    MaxEnsemble,
    MeanEnsemble,
    VoteEnsemble,
    distribution,
)
from affekt.classify.ensembles.subsets import RULES, search
from affekt.classify.metrics import measures as metrics
from hypothesis import given, settings, strategies as st
from scipy import optimize

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness")


def draw(n_members=3, n=60, n_labels=3, seed=0, skill=2.0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_labels, n)
    labels = [f"l{k}" for k in range(n_labels)]
    members = {}
    for m in range(n_members):
        scores_ = rng.normal(size=(n, n_labels)) + skill * np.eye(n_labels)[truth] * rng.random()
        powers = np.exp(scores_)
        members[f"m{m}"] = Predictions(
            [f"c{i}" for i in range(n)], labels, powers / powers.sum(axis=1, keepdims=True)
        )
    return members, truth, [labels[code] for code in truth]


def test_the_rules_of_ITST_by_hand():
    text = Predictions(
        ["1", "2", "3"],
        EMOTIONS,
        [
            [0.05, 0.05, 0.40, 0.10, 0.30, 0.10],
            [0.10, 0.60, 0.05, 0.05, 0.10, 0.10],
            [0.30, 0.10, 0.10, 0.10, 0.30, 0.10],
        ],
    )
    audio = Predictions(
        ["1", "2", "3"],
        EMOTIONS,
        [
            [0.01, 0.02, 0.02, 0.05, 0.85, 0.05],
            [0.55, 0.15, 0.10, 0.05, 0.10, 0.05],
            [0.30, 0.10, 0.10, 0.10, 0.30, 0.10],
        ],
    )
    members = {"text": text, "audio": audio}
    mean, largest = MeanEnsemble(), MaxEnsemble()
    assert mean.scores(members)[0].round(12).tolist() == [0.03, 0.035, 0.21, 0.075, 0.575, 0.075]
    assert largest.scores(members)[0].tolist() == [0.05, 0.05, 0.40, 0.10, 0.85, 0.10]
    assert mean.combine(members).label == ["neutral", "disgust", "anger"]  # a tie: first label
    assert largest.combine(members).label == ["neutral", "disgust", "anger"]
    raw = largest.scores(members)
    assert np.allclose(
        largest.combine(members).proba, raw / raw.sum(axis=1, keepdims=True), atol=1e-15
    )


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_rows_columns_and_members_never_moves_a_digit(name, seed):
    members, _, truth = draw(seed=seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(60), rng.permutation(3)
    shuffled = {
        key: members[key]
        .select([members[key].ids[row] for row in rows])
        .reorder([members[key].labels[column] for column in columns])
        for key in sorted(members, reverse=True)
    }
    shuffled["m1"] = shuffled["m1"].align(members["m1"].ids)  # each member in its own order
    one = strategy(name).fit(members, truth).combine(members)
    first = next(iter(shuffled.values()))
    by_id = dict(zip(members["m0"].ids, truth, strict=True))
    two = strategy(name).fit(shuffled, [by_id[i] for i in first.ids]).combine(shuffled)
    back = two.reorder(one.labels).align(one.ids)
    if STRATEGIES[name].learns:
        assert np.allclose(back.proba, one.proba, atol=1e-6)
    else:
        assert back == one


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_normalising_keeps_the_winner(n_members, seed):
    members, _, _ = draw(n_members, 40, seed=seed)
    for name in RULES:
        rule = strategy(name)
        assert rule.scores(members).argmax(axis=1).tolist() == rule.combine(members).codes.tolist()


def test_normalising_keeps_a_winner_by_one_step():
    tight = np.array([[1.7, np.nextafter(1.7, 2), 0.2]])
    assert distribution(tight).argmax() == 1


def test_one_member_alone_is_itself():
    members, _, truth = draw(1)
    for name in sorted(STRATEGIES):
        rule = strategy(name).fit(members, truth)
        assert rule.combine(members).label == members["m0"].label or name == "stacking"


def test_another_label_order_is_aligned_by_name():
    members, _truth, _ = draw()
    turned = dict(members)
    turned["m1"] = members["m1"].reorder(["l2", "l0", "l1"])
    assert MeanEnsemble().combine(turned) == MeanEnsemble().combine(members)


def test_another_label_set_other_ids_and_missing_rows_are_refused():
    members, _, _ = draw()
    wrong = {**members, "m1": members["m1"].renamed({"l0": "x"})}
    with pytest.raises(InputError, match="missing: l0"):
        MeanEnsemble().combine(wrong)
    short = {**members, "m1": members["m1"].select(members["m1"].ids[1:])}
    with pytest.raises(InputError, match="no row for 'c0'"):
        MeanEnsemble().combine(short)
    with pytest.raises(InputError, match="without members"):
        MeanEnsemble().combine({})


@pytest.mark.parametrize("weights", [{"a": 0.0, "b": 0.0}, {"a": -1.0, "b": 2.0}, {"a": np.nan}])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InputError, match="not all 0"):
        WeightedEnsemble(weights)


@pytest.mark.parametrize("weights", [[0.5, np.nan], [1.0], np.array([0.5, 0.5], np.float32)])
def test_learnt_weights_that_no_fit_makes_are_refused(weights):
    with pytest.raises(InputError, match=r"expected finite float64 \(2,\)"):
        strategy("greedy").set_state(["a", "b"], 3, {"weights": np.asarray(weights)})


def test_given_weights_are_not_learnt():
    members, truth, _ = draw(2)
    rule = WeightedEnsemble({"m0": 3, "m1": 1})
    wanted = rule.combine(members).proba
    alone = combine_all(members, [rule])["weighted"]
    np.testing.assert_array_equal(alone.test.proba, wanted)
    assert alone.learnt == {"weights": {"m0": 0.75, "m1": 0.25}}
    for groups in (np.arange(60), np.zeros(60, int)):
        every = combine_all(members, [rule, "mean"], members, truth, groups, subsets=True)
        found = every["weighted"]
        np.testing.assert_array_equal(found.dev_predictions.proba, wanted)
        assert "not_eligible" not in found.learnt


def test_a_penalty_below_zero_is_refused():
    for penalty in (-1, np.nan, np.inf):
        with pytest.raises(InputError, match=r"`penalty=.*`; expected a number of at least 0"):
            StackingEnsemble(penalty)


def test_weights_must_name_every_member():
    members, _, _ = draw(2)
    for weights, said in (({"m0": 1.0}, "each.$"), ({"m0": 1, "m11": 1}, "mean 'm1'")):
        with pytest.raises(InputError, match=f"one weight for .*{said}"):
            WeightedEnsemble(weights).combine(members)
    with pytest.raises(InputError, match="fit it on dev"):
        WeightedEnsemble().combine(members)


def test_vote_breaks_ties_by_the_mean_probability():
    a = Predictions(["1"], ["x", "y", "z"], [[0.50, 0.49, 0.01]])
    b = Predictions(["1"], ["x", "y", "z"], [[0.10, 0.90, 0.00]])
    assert VoteEnsemble().combine({"a": a, "b": b}).label == ["y"]


def test_learnt_weights_maximise_the_likelihood():
    members, truth, names = draw(4, 300, seed=3)
    stack = np.stack([members[m].proba for m in sorted(members)])
    found = mixture_weights(stack, truth)
    own = stack[:, np.arange(300), truth]

    def loss(free):
        weights = np.exp(free) / np.exp(free).sum()
        return -np.log(weights @ own).mean()

    best = optimize.minimize(loss, np.zeros(4), tol=1e-12)
    assert -np.log(found @ own).mean() == pytest.approx(best.fun, abs=1e-6)
    fitted = WeightedEnsemble().fit(members, names)
    assert fitted.describe()["weights"].keys() == members.keys()
    assert repr(fitted) == f"<WeightedEnsemble fitted on {', '.join(sorted(members))}>"
    assert repr([WeightedEnsemble(), MeanEnsemble()]) == (
        "[<WeightedEnsemble, not fitted>, <MeanEnsemble>]"
    )


def test_greedy_is_never_worse_than_its_best_member_on_dev():
    for seed in range(5):
        members, _truth, names = draw(5, 200, seed=seed)
        labels = members["m0"].labels
        rule = GreedyEnsemble().fit(members, names)
        mine = metrics.uar(names, rule.combine(members).label, labels)
        assert mine >= max(metrics.uar(names, p.label, labels) for p in members.values())
        assert sum(rule.describe()["weights"].values()) == pytest.approx(1)


@pytest.mark.parametrize("rule", RULES)
def test_subsets_are_the_ensembles_of_the_same_name(rule):
    members, truth, _ = draw(4, 80, seed=2)
    hits = subsets._hits(members, truth, [rule], np.zeros(len(truth), np.int64))[rule]
    table = subsets._uar(hits[:, 0], np.bincount(truth, minlength=hits.shape[2]))
    names = sorted(members)
    for subset in range(1, 16):
        chosen = {name: members[name] for bit, name in enumerate(names) if subset >> bit & 1}
        codes = strategy(rule).combine(chosen).codes
        matrix = metrics.confusion_of_codes(truth, codes, 3)
        assert table[subset] == pytest.approx(metrics.summary(matrix)["uar"], abs=1e-12)


def test_search_prefers_fewer_members_at_a_tie():
    members, truth, _ = draw(1)
    twins = {"a": members["m0"], "b": members["m0"], "c": members["m0"]}
    assert all(found.members == ("a",) for found in search(twins, truth, RULES))
    many = {f"m{i}": members["m0"] for i in range(17)}
    with pytest.raises(InputError, match="Use the strategy 'greedy'"):
        search(many, truth)


def test_everything_is_fitted_on_dev_and_scored_out_of_fold():
    dev, truth, _ = draw(3, 90, seed=5)
    test, _, _ = draw(3, 50, seed=6)
    groups = np.arange(90) // 6
    every = combine_all(
        test, sorted(STRATEGIES), dev, truth, groups, calibrate="temperature", subsets=True
    )
    assert set(every) >= {*test, *STRATEGIES}
    for name in STRATEGIES:
        assert every[name].dev["uar"] > 0
        assert set(every[name].learnt["calibration"]) == set(test)
    again = combine_all(
        test, sorted(STRATEGIES), dev, truth, groups, calibrate="temperature", subsets=True
    )
    for name, item in every.items():
        assert again[name].test == item.test


def test_out_of_fold_scores_do_not_reward_learning_by_heart():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 60)
    ids = [f"c{i}" for i in range(60)]
    members = {f"m{m}": Predictions(ids, ["x", "y"], rng.dirichlet([1, 1], 60)) for m in range(30)}
    inside = GreedyEnsemble().fit(members, [["x", "y"][code] for code in truth])
    by_heart = metrics.uar(
        [["x", "y"][code] for code in truth], inside.combine(members).label, ["x", "y"]
    )
    found = combine_all(members, ["greedy"], members, truth, None)["greedy"].dev["uar"]
    assert by_heart > 0.7
    assert found < 0.65


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ["meen"]}, "Did you mean 'mean'"),
        ({"strategies": ["mean", "mean"]}, "expected each ensemble once"),
        ({"strategies": ["stacking"]}, "is fitted on dev"),
        ({"strategies": ["stacking", "greedy"]}, "are fitted on dev"),
        ({"strategies": ["mean"], "calibrate": "temperature"}, "is fitted on dev"),
        ({"strategies": ["mean"], "subsets": True}, "is fitted on dev"),
    ],
)
def test_wrong_wishes_are_refused(options, message):
    members, _, _ = draw()
    with pytest.raises(InputError, match=message):
        combine_all(members, **options)


def test_a_member_called_like_a_strategy_keeps_its_name_and_the_ensemble_gets_another():
    members, _, _ = draw()
    members = {**members, "mean": members["m0"]}
    combined = combine_all(members, ["mean"])
    assert list(combined) == [*members, "mean ensemble"]
    assert combined["mean"].strategy == ""
    assert combined["mean ensemble"].strategy == "mean"
    np.testing.assert_array_equal(combined["mean"].test.proba, members["m0"].proba)
    plain = strategy("mean").combine(members)
    np.testing.assert_array_equal(combined["mean ensemble"].test.proba, plain.proba)
    both = combine_all({**members, "mean ensemble": members["m1"]}, ["mean"])
    assert list(both)[-1] == "mean ensemble ensemble"


def test_all_pairs_of_strategies_are_distributions():
    members, _, truth = draw(4, 30)
    for name, other in itertools.product(sorted(STRATEGIES), repeat=2):
        one = strategy(name).fit(members, truth).combine(members)
        two = strategy(other).fit({"one": one, **members}, truth)
        assert len(two.combine({"one": one, **members})) == 30


@pytest.mark.parametrize("rule", [MeanEnsemble, WeightedEnsemble, StackingEnsemble])
def test_what_is_not_members_by_name_is_refused(rule):
    members, _, names = draw(2)
    several = list(members.values())
    for wrong, words in ((several, "type list"), ({"m0": [1]}, "'m0' is of type")):
        for ask in (rule().combine, rule().scores):
            with pytest.raises(InputError, match=words):
                ask(wrong)
    if rule is not MeanEnsemble:
        with pytest.raises(InputError, match="type list"):
            rule().fit(several, names)


@pytest.mark.parametrize("rule", [WeightedEnsemble, StackingEnsemble, GreedyEnsemble, Temperature])
def test_what_learns_needs_a_true_label_for_each_clip(rule):
    members, _, names = draw(2)
    learnt_from = members["m0"] if rule is Temperature else members
    with pytest.raises(InputError, match="2 true labels for"):
        rule().fit(learnt_from, names[:2])
