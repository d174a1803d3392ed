"""Speaker offsets against a model with random effects whose variances are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.models.scalers.speaker_scaler import SpeakerScaler


def corpus(speakers=60, clips=12, *, voice=2.0, effect=1.5, noise=1.0, mixed=True, seed=0):
    """Return X (clips, 3), labels, speakers; the third column is constant."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    label = np.tile(np.arange(clips) % 3, speakers) if mixed else speaker % 3
    offset = rng.normal(0, np.sqrt(voice), (speakers, 2))[speaker]
    X = offset + effect * (label - 1)[:, None] + rng.normal(0, np.sqrt(noise), (len(label), 2))
    X = np.c_[X, np.full(len(X), 7.3)]
    return X, label.astype(str), np.char.add("s", speaker.astype(str)), offset


def weights(scaler, clips):
    """Share of the mean that is taken away, of the two features that vary."""
    voice, labels, noise = scaler.voice_[:2], scaler.labels_[:2], scaler.noise_[:2]
    return voice / (voice + labels + noise / clips)


def test_the_variances_are_those_of_the_simulation():
    X, y, s, _ = corpus(400, 12)
    scaler = SpeakerScaler().fit(X, y, s)
    np.testing.assert_allclose(scaler.voice_[:2], 2.0, rtol=0.2)
    np.testing.assert_allclose(scaler.labels_, 0, atol=1e-9)  # each speaker has the same labels
    # within a speaker, labels spread too: noise 1 and the variance of -1.5, 0, 1.5 in 12 clips
    np.testing.assert_allclose(scaler.noise_[:2], 1.0 + 1.5**2 * 2 / 3 * 12 / 11, rtol=0.1)


def test_equals_the_formula_by_hand():
    X, y, s, _ = corpus(4, 3)
    scaler = SpeakerScaler().fit(X, y, s)
    new = np.array([[1.0, 2.0, 7.3], [3.0, 5.0, 7.3], [4.0, 0.0, 7.3]])
    found = scaler.transform(new, ["x", "x", ""])
    centred = new - scaler.mean_
    weight = np.r_[weights(scaler, 2), 0]
    wanted = centred.copy()
    wanted[:2] -= weight * centred[:2].mean(axis=0)
    np.testing.assert_allclose(found, wanted / scaler.scale_, atol=1e-12)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-12)  # a constant feature stays quiet


@pytest.mark.parametrize("clips", [1, 2, 5, 30])
def test_takes_away_more_than_no_scaling_and_less_wrongly_than_centring(clips):
    X, y, s, _ = corpus()
    scaler = SpeakerScaler().fit(X, y, s)
    rng = np.random.default_rng(1)
    offset = rng.normal(0, np.sqrt(2.0), (500, 1))
    label = rng.integers(0, 3, (500, clips)) - 1
    values = offset + 1.5 * label + rng.normal(size=(500, clips))
    rows = np.repeat(values.ravel()[:, None], 3, axis=1)
    names = np.repeat(np.arange(500), clips).astype(str)
    left = scaler.transform(rows, names)[:, 0] * scaler.scale_[0] + scaler.mean_[0]
    truth = (values - offset).ravel()
    error = ((left - truth) ** 2).mean()
    centred = (values - values.mean(axis=1, keepdims=True)).ravel() + scaler.mean_[0]
    assert error < ((values.ravel() - truth) ** 2).mean()
    assert error < ((centred - truth) ** 2).mean()


def test_where_speakers_differ_in_labels_alone_little_is_taken_away():
    X, y, s, _ = corpus(voice=0.05, mixed=False)
    scaler = SpeakerScaler().fit(X, y, s)
    assert (weights(scaler, 12) < 0.1).all()
    X, y, s, _ = corpus(voice=2.0)
    scaler = SpeakerScaler().fit(X, y, s)
    assert (weights(scaler, 12) > 0.8).all()


def test_the_order_of_rows_and_missing_numbers_do_not_matter():
    X, y, s, _ = corpus(8, 6)
    X[::5, 1] = np.nan
    scaler = SpeakerScaler().fit(X, y, s)
    order = np.random.default_rng(0).permutation(len(X))
    again = SpeakerScaler().fit(X[order], y[order], s[order])
    np.testing.assert_allclose(again.voice_, scaler.voice_, atol=1e-12)
    found = scaler.transform(X, s)
    np.testing.assert_allclose(scaler.transform(X[order], s[order]), found[order])
    assert np.array_equal(np.isnan(found), np.isnan(X))
    kept = ~np.isnan(X[:, 1])
    alone = SpeakerScaler().fit(X[kept][:, 1:2], y[kept], s[kept])
    assert alone.voice_[0] == pytest.approx(scaler.voice_[1])


def test_state_round_trip_and_refusals():
    X, y, s, _ = corpus(6, 4)
    scaler = SpeakerScaler().fit(X, y, s)
    meta, arrays = scaler.get_state()
    again = SpeakerScaler.from_state(json.loads(json.dumps(meta)), arrays)
    assert np.array_equal(again.transform(X, s), scaler.transform(X, s))
    for wrong, message in (
        ({"scale": arrays["scale"] * 0}, "not above 0"),
        ({"voice": arrays["voice"] - 100}, "below 0"),
        ({"noise": arrays["noise"][:1]}, "has shape"),
    ):
        with pytest.raises(InputError, match=message):
            SpeakerScaler.from_state(meta, arrays | wrong)
    with pytest.raises(InputError, match=r"two speakers or more.*scale: true"):
        SpeakerScaler().fit(X[:4], y[:4], s[:4])
    with pytest.raises(InputError, match="two speakers or more"):
        SpeakerScaler().fit(X, y, [""] * len(X))
