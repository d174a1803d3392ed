"""What probabilities promise: conformal sets, and the error of calibration that chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify.evaluation.analyses.conformal import ConformalSets
from affekt.classify.metrics import measures as metrics


def test_conformal_sets_hold_for_new_speakers():
    """Speakers differ in ease: thresholds by clips would hold less than promised."""
    rng = np.random.default_rng(0)

    def draw(n_speakers):
        ease = rng.normal(1.2, 1.0, n_speakers).repeat(12)
        truth = rng.integers(0, 3, len(ease))
        scores = rng.normal(size=(len(ease), 3))
        scores[np.arange(len(ease)), truth] += ease
        powers = np.exp(1.5 * scores)
        return truth, powers / powers.sum(axis=1, keepdims=True), np.arange(n_speakers).repeat(12)

    held, by_clips = [], []
    for _ in range(60):
        truth, proba, speakers = draw(10)
        new, new_proba, _ = draw(40)
        for found, given in ((held, speakers), (by_clips, None)):
            sets = ConformalSets(0.8).fit(truth, proba, speakers=given).sets(new_proba)
            found.append(sets[np.arange(len(new)), new].mean())
            assert sets[np.arange(len(new)), new_proba.argmax(axis=1)].all()
    assert np.mean(held) >= 0.8
    assert np.quantile(held, 0.1) > np.quantile(by_clips, 0.1)
    few = ConformalSets(0.9).fit(*draw(5)[:2], speakers=draw(5)[2])
    assert not few.check(new, new_proba)["possible"]


def test_ece_noise_is_what_perfect_calibration_shows():
    rng = np.random.default_rng(0)
    shown, stated = [], []
    for _ in range(150):
        proba = rng.dirichlet([1, 1, 1], 90)
        truth = (proba.cumsum(axis=1)[:, :-1] < rng.random((90, 1))).sum(axis=1)
        shown.append(metrics.ece(truth, proba))
        stated.append(metrics.ece_noise(proba))
    assert np.mean(stated) == pytest.approx(np.mean(shown), rel=0.1)
