"""Stacking: the optimum, with classes that count equally, and what it cannot be applied to."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.data.predictions import Predictions
from affekt.classify.ensembles.fitted_rules import (
    StackingEnsemble,
    strategy,
)
from affekt.classify.ensembles.fixed_rules import (
    MeanEnsemble,
)
from affekt.classify.metrics import measures as metrics
from scipy import optimize
from scipy.special import softmax

from .test_ensemble import EMOTIONS, draw


def test_stacking_learns_to_ignore_noise():
    members, _truth, names = draw(2, 600, seed=1, skill=6)
    rng = np.random.default_rng(0)
    members["noise"] = Predictions(
        members["m0"].ids, members["m0"].labels, rng.dirichlet(np.ones(3) * 0.2, 600)
    )
    weights = strategy("stacking").fit(members, names).describe()["weights"]
    assert abs(weights["noise"]) < 0.1 < max(weights.values())


def test_stacking_takes_back_what_members_give_to_a_class():
    rng = np.random.default_rng(0)
    logits, given = rng.normal(0, 1.5, (4000, 3)), np.array([1.0, -0.5, -0.5])
    proba, said = softmax(logits, axis=1), softmax(logits + given, axis=1)
    names = [EMOTIONS[code] for code in (proba.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)]
    member = Predictions([str(row) for row in range(4000)], EMOTIONS[:3], said)
    rule = StackingEnsemble(penalty=1e-5).fit({"a": member, "b": member}, names)
    learnt = rule.describe()
    assert sum(learnt["weights"].values()) == pytest.approx(1, abs=0.05)
    assert learnt["offsets"] == pytest.approx(-given, abs=0.1)


@pytest.mark.parametrize("class_weight", ["balanced", None])
def test_stacking_is_the_optimum_that_scipy_finds_with_or_without_class_weights(class_weight):
    members, truth, names = draw(2, 200, seed=4, skill=1.5)
    rows = np.flatnonzero((truth == 0) | (np.arange(200) % 8 == 0))  # the first class is frequent
    ids = members["m0"].ids
    some = {name: one.select([ids[row] for row in rows]) for name, one in members.items()}
    codes = truth[rows]
    logs = np.log(np.stack([some[name].proba for name in ("m0", "m1")]))
    weight = 1 / np.bincount(codes)[codes] if class_weight else np.ones(len(rows))

    def loss(theta):
        proba = softmax(np.einsum("m,mnk->nk", theta[:2], logs) + theta[2:], axis=1)
        given = -np.log(proba[np.arange(len(rows)), codes])
        return np.average(given, weights=weight) + 0.005 * ((theta - start) ** 2).sum()

    start = np.array([0.5, 0.5, 0, 0, 0])
    expected = optimize.minimize(loss, start, method="Nelder-Mead", options={"maxiter": 20_000,
        "xatol": 1e-7, "fatol": 1e-12, "adaptive": True}).x  # fmt: skip
    rule = StackingEnsemble(class_weight=class_weight).fit(some, [names[row] for row in rows])
    assert [*rule.weights_, *rule.offsets_] == pytest.approx(expected, abs=2e-3)


def test_stacking_answers_rare_labels_unless_clips_count_equally():
    rng = np.random.default_rng(0)
    truth = (rng.random(1000) < 0.1).astype(int)
    score = np.where(truth == 1, 1.0, -1.0) + rng.normal(0, 1.5, 1000)  # of a balanced head
    member = Predictions([str(row) for row in range(1000)], ["common", "rare"],
                         softmax(np.c_[np.zeros(1000), score], axis=1))  # fmt: skip
    names = [("common", "rare")[code] for code in truth]
    uar = {}
    for class_weight in ("balanced", None):
        rule = StackingEnsemble(class_weight=class_weight).fit({"a": member, "b": member}, names)
        made = rule.combine({"a": member, "b": member})
        uar[class_weight] = metrics.uar(names, made.label, ["common", "rare"])
    assert uar["balanced"] > uar[None] + 0.1


def test_stacking_still_predicts_a_class_that_dev_does_not_have():
    members, truth, names = draw(3, 600, seed=1, skill=3)
    ids = members["m0"].ids
    seen = [row for row in range(300) if truth[row] != 2]
    dev = {name: one.select([ids[row] for row in seen]) for name, one in members.items()}
    test = {name: one.select(ids[300:]) for name, one in members.items()}
    rule = strategy("stacking").fit(dev, [names[row] for row in seen])
    right = {
        how.name: np.mean(how.combine(test).codes[truth[300:] == 2] == 2)
        for how in (rule, MeanEnsemble())
    }
    assert right["stacking"] > right["mean"] - 0.1


def test_stacking_is_not_applied_to_other_members_or_before_it_is_fitted():
    members, _, names = draw(2)
    other = {"m0": members["m0"], "x": members["m1"]}
    for rule, asked in (
        (StackingEnsemble().fit(members, names), other),
        (strategy("stacking"), members),
    ):
        with pytest.raises(InputError, match="fit it on dev with the same members"):
            rule.combine(asked)
