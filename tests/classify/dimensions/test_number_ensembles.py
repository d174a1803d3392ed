"""Ensembles of numbers: each rule against an oracle, out of fold on dev, and served as fitted."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from affekt.cache import InputError, Manifest
from affekt.classify import Task, compare, load_model
from affekt.classify.cli import affekt
from affekt.classify.data.estimates import Estimates
from affekt.classify.ensembles.combining import combine_all
from affekt.classify.ensembles.fitted_rules import StackingEnsemble, WeightedEnsemble, strategy
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.metrics.concordance import mean_ccc
from click.testing import CliRunner
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression

NAMES = ("arousal", "valence")
RULES = ["mean", "median", "weighted", "stacking", "greedy"]


def made(seed: int = 0, clips: int = 80, members: int = 3, shift: float = 1.0):
    """Return members and ratings: each member is good at another dimension, and too narrow."""
    rng = np.random.default_rng(seed)
    ratings = rng.normal([4, 0], [1.5, 0.5], (clips, 2))
    ids = [f"c{number:03}" for number in range(clips)]
    found = {}
    for number in range(members):
        worse = np.array([1, 0.3]) * (1 + (np.arange(2) + number) % members)
        values = [4, 0] + 0.5 * (ratings - [4, 0] + rng.normal(0, worse, (clips, 2)))
        values += shift * number
        found["abcdefgh"[number]] = Estimates(ids, NAMES, values)
    return found, ratings


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_least_squared_error(seed):
    members, ratings = made(seed)
    ratings[::7, 1] = np.nan
    rule = strategy("weighted").fit(members, ratings)
    assert rule.weights_.min() >= 0
    np.testing.assert_allclose(rule.weights_.sum(axis=0), 1)
    for at in range(2):
        rated = np.isfinite(ratings[:, at])
        given = np.stack([members[name].values[rated, at] for name in "abc"], axis=1)

        def error(weights, given=given, truth=ratings[rated, at]):
            return ((given @ weights - truth) ** 2).mean()

        oracle = minimize(
            error,
            np.full(3, 1 / 3),
            method="SLSQP",
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert error(rule.weights_[:, at]) <= oracle.fun * (1 + 1e-9)
        np.testing.assert_allclose(rule.weights_[:, at], oracle.x, atol=1e-4)
        made_of = rule.combine(members).values[rated, at]
        np.testing.assert_allclose(made_of, given @ rule.weights_[:, at])


@pytest.mark.parametrize("seed", range(4))
def test_stacking_is_least_squares_with_the_mean_and_spread_of_the_ratings(seed):
    members, ratings = made(seed)
    ratings[::5, 0] = np.nan
    rule = StackingEnsemble(penalty=0).fit(members, ratings)
    found = rule.combine(members).values
    for at in range(2):
        rated = np.isfinite(ratings[:, at])
        given = np.stack([members[name].values[rated, at] for name in "abc"], axis=1)
        truth = ratings[rated, at]
        fitted = LinearRegression(positive=True).fit(given, truth).predict(given)
        wanted = truth.mean() + (fitted - fitted.mean()) / fitted.std() * truth.std()
        np.testing.assert_allclose(found[rated, at], wanted, rtol=1e-9)
        correlation = np.corrcoef(fitted, truth)[0, 1]
        assert mean_ccc(truth[:, None], found[rated, at][:, None]) == pytest.approx(correlation)
    pulled = StackingEnsemble(penalty=1e9).fit(members, ratings).weights_
    np.testing.assert_allclose(pulled, np.broadcast_to(pulled[0], pulled.shape), rtol=1e-6)


def test_it_learns_which_member_is_better_at_which_dimension():
    members, ratings = made(clips=400, members=2, shift=0)
    new, truth = made(seed=9, clips=400, members=2, shift=0)
    for name in ("weighted", "stacking"):
        weights = strategy(name).fit(members, ratings).weights_
        assert weights[0, 0] > weights[1, 0]
        assert weights[1, 1] > weights[0, 1]
    score = {
        name: mean_ccc(truth, strategy(name).fit(members, ratings).combine(new).values)
        for name in RULES
    }
    assert score["stacking"] > score["weighted"] > score["mean"]


@pytest.mark.parametrize("name", ["weighted", "stacking", "greedy"])
def test_ratings_that_say_nothing_leave_the_mean(name):
    members, ratings = made()
    for nothing in (np.full_like(ratings, np.nan), np.full_like(ratings, 3.0)):
        if name == "weighted" and np.isfinite(nothing).all():
            continue  # these can still be near to one member
        rule = strategy(name).fit(members, nothing)
        kept = ["a"] if name == "greedy" else ["a", "b", "c"]
        mean = np.mean([members[one].values for one in kept], axis=0)
        np.testing.assert_allclose(rule.combine(members).values, mean)


def test_members_against_the_ratings_are_not_made_louder():
    ratings = np.linspace(-1, 1, 40)[:, None]
    ids = [f"c{number}" for number in range(40)]
    members = {name: Estimates(ids, ["valence"], -0.1 * ratings) for name in "ab"}
    found = strategy("stacking").fit(members, ratings).combine(members)
    assert np.ptp(found.values) <= np.ptp(members["a"].values)


def test_what_is_constant_but_for_rounding_is_not_made_louder():
    rng = np.random.default_rng(0)
    ratings, ids = rng.normal(4, 1, (50, 1)), [f"c{number}" for number in range(50)]
    flat = [np.full((50, 1), 0.1), np.full((50, 1), 0.7), np.float32(3.3) + 0 * ratings]
    flat += [3.3 + 1e-7 * rng.normal(size=(50, 1))]
    named = {f"flat{at}": Estimates(ids, ["v"], values) for at, values in enumerate(flat)}
    rule = strategy("stacking").fit(named, ratings)
    np.testing.assert_allclose(rule.weights_, 0.25)
    np.testing.assert_allclose(rule.combine(named).values, ratings.mean(), rtol=1e-6)
    good = Estimates(ids, ["v"], 0.2 * ratings)
    rule = strategy("stacking").fit({**named, "good": good}, ratings)
    assert np.abs(rule.weights_[:4]).max() == 0
    np.testing.assert_allclose(rule.combine({**named, "good": good}).values, ratings)
    for n in (7, 10, 33):  # 0.1 has no exact mean
        some = {name: one.take(np.arange(n)) for name, one in named.items()}
        np.testing.assert_allclose(
            strategy("stacking").fit(some, np.full((n, 1), 0.1)).weights_, 0.25
        )


def test_a_spread_is_not_taken_from_a_few_clips():
    members, ratings = made()
    for few in (range(1, 5), range(2)):
        nothing = np.full_like(ratings, np.nan)
        nothing[few] = ratings[few]
        found = strategy("stacking").fit(members, nothing).combine(members).values
        np.testing.assert_allclose(found, strategy("mean").combine(members).values)


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_clips_members_and_dimensions_does_not_matter(name):
    members, ratings = made()
    wanted = strategy(name).fit(members, ratings).combine(members)
    order = np.random.default_rng(1).permutation(len(ratings))
    turned = {
        key: members[key].take(order).reorder(NAMES[::-1]) for key in sorted(members, reverse=True)
    }
    found = strategy(name).fit(turned, ratings[order][:, ::-1]).combine(turned)
    np.testing.assert_allclose(
        found.reorder(NAMES).align(wanted.ids).values, wanted.values, rtol=1e-9
    )


def test_medians_may_be_below_zero():
    ids, values = ["a"], (-3.0, -2.0, 5.0)
    members = {str(at): Estimates(ids, ["v"], [[value]]) for at, value in enumerate(values)}
    assert strategy("median").combine(members).values.tolist() == [[-2.0]]


def test_greedy_takes_what_raises_the_ccc():
    members, ratings = made()
    rule = strategy("greedy").fit(members, ratings)
    best = max(mean_ccc(ratings, one.values) for one in members.values())
    assert mean_ccc(ratings, rule.combine(members).values) >= best
    assert rule.describe()["weights"].keys() == members.keys()


def test_given_weights_need_no_dev():
    members, _ = made(members=2)
    found = WeightedEnsemble({"a": 3, "b": 1}).combine(members)
    wanted = 0.75 * members["a"].values + 0.25 * members["b"].values
    np.testing.assert_allclose(found.values, wanted)


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        (["joy"] * 80, "is not made of numbers; expected (80, 2), the ratings of each clip"),
        (np.zeros(80), "has the shape (80,); expected (80, 2)"),
        (np.zeros((79, 2)), "has the shape (79, 2); expected (80, 2)"),
    ],
)
@pytest.mark.parametrize("name", ["weighted", "stacking", "greedy"])
def test_what_is_not_the_ratings_is_refused(name, truth, said):
    with pytest.raises(InputError) as error:
        strategy(name).fit(made()[0], truth)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["weighted", "stacking", "greedy"])
def test_scores_on_dev_are_out_of_fold(name):
    dev, ratings = made(clips=60)
    test, _ = made(seed=1)
    groups = np.repeat([0, 1], 30)
    found = combine_all(test, [name], dev, ratings, groups)[name]
    wanted = np.empty_like(ratings)
    for inside in (groups == 0, groups == 1):
        rows, others = np.flatnonzero(inside), np.flatnonzero(~inside)
        rule = strategy(name).fit({n: one.take(others) for n, one in dev.items()}, ratings[others])
        wanted[rows] = rule.combine({n: one.take(rows) for n, one in dev.items()}).values
    np.testing.assert_allclose(found.dev_predictions.values, wanted)
    assert found.dev["ccc"] == pytest.approx(mean_ccc(ratings, wanted))
    whole = strategy(name).fit(dev, ratings).combine(test)
    np.testing.assert_allclose(found.test.values, whole.values)
    alone = combine_all(test, [name], dev, ratings, np.zeros(60, int))[name]
    assert "not_eligible" in alone.learnt
    assert not alone.dev


def test_of_several_folds_each_is_predicted_by_dev_clips_of_others():
    dev, ratings = made(clips=60)
    folds = [frozenset(dev["a"].ids[:30]), frozenset(dev["a"].ids[30:])]
    found = combine_all(dev, ["stacking"], dev, ratings, np.arange(60), folds=folds)["stacking"]
    for rows, others in ((slice(0, 30), range(30, 60)), (slice(30, 60), range(30))):
        learn = {name: one.take(np.array(others)) for name, one in dev.items()}
        rule = strategy("stacking").fit(learn, ratings[others])
        np.testing.assert_allclose(found.test.values[rows], rule.combine(dev).values[rows])


def test_what_cannot_be_chosen_is_said():
    dev, ratings = made(clips=30)
    rows = [
        {"id": name, "text": "t", "speaker": "s", "arousal": str(a), "valence": str(v)}
        for name, (a, v) in zip(dev["a"].ids, ratings, strict=True)
    ]
    clips = Manifest.from_rows(rows)
    spec = {"type": "regression", "dimensions": {name: {"range": [-9, 9]} for name in NAMES}}
    found = compare(
        *(dev, clips, Task.from_spec(spec)),
        strategies=["weighted"],
        dev=dev,
        dev_truth=clips,
        allow_overlap=True,
        n_resamples=20,
    )
    assert any("weighted could not be chosen" in said for said in found.data["warnings"])


def test_a_run_serves_what_it_scored(tmp_path):
    write_corpus(tmp_path, voices=6, clips_per_voice=4)
    with (tmp_path / "clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    scales = {"anger": (6, -0.7), "happiness": (5, 0.8), "sadness": (2, -0.6)}
    for row in rows:
        arousal, valence = scales.get(row["label"], (3, 0))
        row["arousal"] = f"{np.clip(arousal + rng.normal(0, 0.6), 1, 7):.2f}"
        row["valence"] = f"{np.clip(valence + rng.normal(0, 0.2), -1, 1):.2f}"
    with (tmp_path / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    spec = {
        "type": "regression",
        "dimensions": {"arousal": {"range": [1, 7]}, "valence": {"range": [-1, 1]}},
    }
    (tmp_path / "affect.yaml").write_text(json.dumps(spec), encoding="utf-8")
    recipe = {
        "manifest": "clips.csv",
        "task": "affect.yaml",
        "cache": "my.cache",
        "encoders": {"speech": "spectral", "text": "ngram"},
        "split": {"scheme": "speaker", "test_size": 0.34, "dev_size": 0.33},
        "members": {
            "speech": {"head": "ridge", "on": "speech"},
            "text": {"head": "ridge", "on": "text"},
            "both": {"head": "ridge", "on": ["speech", "text"]},
        },
        "ensembles": [*RULES, "stacking of speech + text"],
        "report": "out",
        "compare": {"n_resamples": 100},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    done = CliRunner().invoke(affekt, ["run", str(tmp_path / "recipe.yaml")])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    data = json.loads((tmp_path / "out/comparison.json").read_text(encoding="utf-8"))
    clips = Manifest.read(tmp_path / "clips.csv")
    for name in recipe["ensembles"]:
        entry = data["systems"][name]
        file = tmp_path / "out" / "ensembles" / name / "pred.csv"
        kept = Estimates.read(file, NAMES)
        served = load_model(tmp_path / "out", system=name).predict(clips.select(kept.ids))
        np.testing.assert_allclose(served.values, kept.values, atol=1e-5)
        truth = Task.from_spec(spec).ratings(clips.select(kept.ids))
        assert entry["test"]["ccc"]["value"] == pytest.approx(mean_ccc(truth, kept.values))
    card = CliRunner().invoke(
        affekt, ["card", str(tmp_path / "out"), "--system", "weighted"], catch_exceptions=False
    )
    weights = data["systems"]["weighted"]["learnt"]["weights"]
    arousal, valence = weights["speech"]
    assert f"arousal {arousal:.3f}, valence {valence:.3f}" in card.output
