"""Calibration: NLL falls, temperature keeps every winner, unknown names are refused."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.data.predictions import Predictions
from affekt.classify.ensembles.calibration import CALIBRATORS, Temperature, calibrator
from affekt.classify.ensembles.combining import combine_all
from affekt.classify.ensembles.fixed_rules import MeanEnsemble
from affekt.classify.metrics import measures as metrics

LABELS = ["a", "b", "c"]


def overconfident(n=2000, sharpness=4.0, seed=0):
    """Predictions whose logits are `sharpness` times what they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 1.5
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(3, p=row) for row in proba])
    sharp = np.exp(sharpness * (logits - logits.max(axis=1, keepdims=True)))
    sharp /= sharp.sum(axis=1, keepdims=True)
    return Predictions([f"c{i}" for i in range(n)], LABELS, sharp), truth


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 3.5])  # 4 is the most that is taken
def test_temperature_finds_the_true_one_and_keeps_every_winner(sharpness):
    predictions, truth = overconfident(sharpness=sharpness)
    fitted = Temperature().fit(predictions, [LABELS[code] for code in truth])
    assert fitted.temperature_ == pytest.approx(sharpness, rel=0.1)
    calm = fitted.apply(predictions)
    assert calm.codes.tolist() == predictions.codes.tolist()
    assert metrics.ece(truth, calm.proba) < 0.5 * metrics.ece(truth, predictions.proba)


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_nll_falls_on_other_clips(name):
    dev, dev_truth = overconfident(seed=1)
    test, truth = overconfident(seed=2)
    fitted = calibrator(name).fit(dev, [LABELS[code] for code in dev_truth])
    assert metrics.nll(truth, fitted.apply(test).proba) < metrics.nll(truth, test.proba)
    assert fitted.describe()


def test_one_overconfident_member_no_longer_outshouts_the_others():
    good, truth = overconfident(sharpness=0.7, seed=3)
    rng = np.random.default_rng(0)
    loud = Predictions(good.ids, LABELS, np.eye(3)[rng.integers(0, 3, 2000)] * 0.997 + 0.001)
    names = [LABELS[code] for code in truth]
    plain = MeanEnsemble().combine({"good": good, "loud": loud})
    calm = {
        name: Temperature().fit(p, names).apply(p)
        for name, p in {"good": good, "loud": loud}.items()
    }
    fused = MeanEnsemble().combine(calm)
    assert (fused.codes == truth).mean() > (plain.codes == truth).mean() + 0.1


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_a_class_absent_from_dev_and_hard_predictions_stay_distributions(name):
    hard = Predictions.one_hot("abcd", LABELS, ["a", "b", "a", "b"])
    fitted = calibrator(name).fit(hard, ["a", "b", "b", "a"])
    assert np.isfinite(fitted.apply(hard).proba).all()
    soft = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = fitted.apply(Predictions("ab", LABELS, soft)).proba
    assert found.sum(axis=1) == pytest.approx(1)
    if name != "temperature":  # which knows no classes
        assert found[:, 2] == pytest.approx(soft[:, 2])


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
@pytest.mark.parametrize(("speakers", "sharpness"), [(5, 1.0), (20, 1.0), (20, 2.5)])
def test_new_speakers_are_not_worse_off(name, speakers, sharpness):
    """Mean over draws; isotonic at full trust loses 0.1 and more with 20 speakers."""
    rng = np.random.default_rng(speakers)
    lost = []
    for _ in range(15):
        sides = []
        for count in (speakers, 40):
            groups, truth = np.repeat(range(count), 18), np.tile(np.arange(3), 6 * count)
            logits = rng.normal(size=(len(truth), 3)) + rng.normal(0, 0.5, (count, 3))[groups]
            logits[np.arange(len(truth)), truth] += 1.5
            proba = np.exp(1.2 * sharpness * (logits - logits.max(axis=1, keepdims=True)))
            proba /= proba.sum(axis=1, keepdims=True)
            ids = [str(i) for i in range(len(truth))]
            sides.append((Predictions(ids, LABELS, proba), truth, groups))
        (dev, dev_truth, groups), (test, truth, _) = sides
        fitted = calibrator(name).fit(dev, [LABELS[code] for code in dev_truth], groups)
        gain = metrics.nll(truth, fitted.apply(test).proba) - metrics.nll(truth, test.proba)
        lost.append(gain)
    assert np.mean(lost) < 0.01


def test_isotonic_is_mixed_with_what_was_before():
    steps = {"x.0": [0.0, 1.0], "y.0": [0.0, 1.0], "x.1": [0.0, 1.0], "y.1": [1.0, 1.0]}
    arrays = {name: np.array(one) for name, one in {**steps, "trust": [0.25]}.items()}
    fitted = calibrator("isotonic").set_state(2, arrays)
    [found] = fitted.apply(Predictions("a", LABELS[:2], [[0.5, 0.5]])).proba  # steps: 1/3, 2/3
    assert found == pytest.approx([0.25 / 3 + 0.75 / 2, 0.5 / 3 + 0.75 / 2])


@pytest.mark.parametrize("wrong", [{"x.1": [0.5, 0.2]}, {"y.1": [-0.1, 1.0]}, {"y.1": [0.0, 1.1]}])
def test_steps_that_no_fit_makes_are_refused(wrong):
    steps = {f"{axis}.{k}": [0.0, 1.0] for axis in "xy" for k in range(3)} | wrong
    with pytest.raises(InputError, match="out of order or outside 0 to 1"):
        calibrator("isotonic").set_state(3, {name: np.array(one) for name, one in steps.items()})


def test_an_unknown_calibration_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'isotonic'"):
        calibrator("isotonik")


def test_a_member_is_calibrated_once_for_all_strategies_and_as_for_one(monkeypatch):
    names, rules = ("a", "b", "c"), ("mean", "max", "weighted", "greedy")
    made = [overconfident(n=60, seed=seed)[0] for seed in range(6)]
    test, dev = dict(zip(names, made[:3], strict=True)), dict(zip(names, made[3:], strict=True))
    given = dev, overconfident(n=60)[1], np.arange(60) // 6
    fitted = []
    fit = Temperature.fit
    monkeypatch.setattr(Temperature, "fit", lambda *what: fitted.append(1) or fit(*what))
    alone = {rule: combine_all(test, [rule], *given, calibrate="temperature") for rule in rules}
    each = len(fitted) / len(rules)
    together = combine_all(test, rules, *given, calibrate="temperature")
    assert each == 3 * (1 + 5)  # all of dev, and what is outside of each fold
    assert len(fitted) == (len(rules) + 1) * each
    for rule in rules:
        np.testing.assert_array_equal(together[rule].test.proba, alone[rule][rule].test.proba)
        assert together[rule].describe() == alone[rule][rule].describe()
