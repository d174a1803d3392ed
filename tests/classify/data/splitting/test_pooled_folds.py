"""Folds by speaker whose dev clips are joined: chosen from and learnt on as one split is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.classify import Predictions, Task, compare, splits
from affekt.classify.data.splitting.findings import split_warnings
from affekt.classify.ensembles.calibration import Temperature
from affekt.classify.ensembles.combining import combine_all
from affekt.classify.ensembles.fitted_rules import WeightedEnsemble
from affekt.classify.evaluation.analyses.abstention import threshold
from affekt.classify.evaluation.analyses.conformal import ConformalSets
from affekt.classify.experiments.run import run
from affekt.classify.metrics.measures import nll

WORDS = {"negative": "rain dark cry", "neutral": "table road chair", "positive": "sun laugh joy"}


def corpus(speakers=10, clips=6, languages=("deu",)):
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"{s}-{k}",
            "text": " ".join(rng.choice(WORDS[label].split(), 3)) + f" {s} {k}",
            "label": label,
            "speaker": f"s{s}",
            "language": languages[s % len(languages)],
        }
        for s in range(speakers)
        for k, label in enumerate([*WORDS] * (clips // 3))
    ]


def dev_ids(found):
    return [clip for split in found for clip in split.dev.ids]


def test_every_clip_is_dev_once_and_tested_once():
    clips = Manifest.from_rows(corpus())
    for scheme in ("group-kfold", "leave-one-speaker-out"):
        found = splits(clips, scheme)
        assert sorted(dev_ids(found)) == sorted(clips.ids)
        assert sorted(clip for split in found for clip in split.test.ids) == sorted(clips.ids)


def test_held_out_languages_have_dev_clips_of_others_and_none_twice():
    clips = Manifest.from_rows(corpus(18, languages=("deu", "pol", "urd")))
    found = splits(clips, "leave-one-language-out", dev_size=0.2)
    assert all(len(split.dev) for split in found)
    assert len(set(dev_ids(found))) == len(dev_ids(found))


@pytest.mark.parametrize("dev_size", [0.1, 0.2])
def test_held_out_languages_of_unknown_speakers_have_a_dev_too(dev_size):
    rows = corpus(20, languages=("cmn", "deu", "eng", "por", "spa"))
    clips = Manifest.from_rows([row | {"speaker": ""} for row in rows])
    found = splits(clips, "leave-one-language-out", dev_size=dev_size)
    assert all(len(split.dev) for split in found)
    assert len(set(dev_ids(found))) == len(dev_ids(found))


def test_auto_takes_folds_where_speakers_are_few():
    few, many = (Manifest.from_rows(corpus(n)) for n in (10, 30))
    assert [split.scheme for split in splits(few, "auto")] == ["group-kfold"] * 5
    assert [split.scheme for split in splits(many, "auto")] == ["speaker"]


def test_one_to_three_test_speakers_are_warned_of():
    [split] = splits(Manifest.from_rows(corpus(8)), "speaker")
    [warning] = [text for text in split.warnings if "too few" in text]
    assert "scheme: group-kfold" in warning


@pytest.mark.parametrize(
    ("calibrate", "fused"), [(None, None), ("temperature", None), (None, "temperature")]
)
def test_what_learns_predicts_a_fold_without_the_labels_of_that_fold(calibrate, fused):
    rng = np.random.default_rng(0)
    ids, labels = [f"c{row}" for row in range(60)], ("a", "b", "c")
    truth = rng.integers(0, 3, 60)
    fold = np.arange(60) % 3

    def guess(sharpness):
        proba = rng.dirichlet(np.ones(3), 60) + sharpness * np.eye(3)[truth]
        return Predictions(ids, labels, proba / proba.sum(axis=1, keepdims=True))

    dev, test = ({"x": guess(0.6), "y": guess(0.2)} for _ in range(2))
    folds = [frozenset(np.array(ids)[fold == number]) for number in range(3)]
    options = {"dev": dev, "truth": truth, "calibrate": calibrate, "calibrate_fused": fused}
    found = combine_all(test, ["weighted"], **options, folds=folds)["weighted"]
    for number in range(3):
        changed = truth.copy()
        changed[fold == number] = (truth[fold == number] + 1) % 3
        other = combine_all(test, ["weighted"], **{**options, "truth": changed}, folds=folds)
        rows = fold == number
        np.testing.assert_array_equal(other["weighted"].test.proba[rows], found.test.proba[rows])
        assert not np.array_equal(other["weighted"].test.proba[~rows], found.test.proba[~rows])
    if calibrate is fused is None:  # by hand
        keep = np.flatnonzero(fold != 0)
        rule = WeightedEnsemble().fit(
            {m: p.select([ids[row] for row in keep]) for m, p in dev.items()},
            [labels[truth[row]] for row in keep],
        )
        rows = [ids[row] for row in np.flatnonzero(fold == 0)]
        wanted = rule.combine({m: p.select(rows) for m, p in test.items()}).proba
        np.testing.assert_allclose(found.test.proba[fold == 0], wanted)


def test_a_dev_of_other_languages_than_test_is_reported():
    clips = Manifest.from_rows(corpus(9, languages=("deu", "eng", "spa")))

    def said(scheme):
        found = split_warnings(splits(clips, scheme, n_splits=3))
        return any("test is of another language than train and dev" in text for text in found)

    assert said("leave-one-language-out")
    assert not said("group-kfold")


def test_what_a_report_learns_from_dev_is_scored_on_clips_that_it_did_not_see():
    rng = np.random.default_rng(0)
    clips, labels = Manifest.from_rows(corpus(18)), list(WORDS)
    truth = np.array([labels.index(label) for label in clips["label"]])
    proba = [rng.dirichlet(np.ones(3), len(clips)) ** 3 + 0.2 * np.eye(3)[truth] for _ in "td"]
    test, dev = (
        Predictions(clips.ids, labels, one / one.sum(axis=1, keepdims=True)) for one in proba
    )
    folds = splits(clips, "group-kfold", n_splits=3)
    data = compare(
        *({"x": test}, clips, Task.from_labels(labels)),
        **{"strategies": [], "dev": {"x": dev}, "dev_truth": clips, "split": folds},
        **{"allow_overlap": True, "n_resamples": 100},
    ).data
    speakers = np.unique(clips["speaker"], return_inverse=True)[1]
    ids = np.array(clips.ids)
    calm, answered, sets = test.proba.copy(), np.zeros(len(clips), bool), np.zeros((len(clips), 3))
    for fold in folds:
        at = np.isin(ids, fold.test.ids)
        known = dev.select(list(ids[~at]))
        names = list(clips["label"][~at])
        temperature = Temperature().fit(known, names, speakers[~at])
        calm[at] = temperature.apply(test.select(list(ids[at]))).proba
        answered[at] = test.proba[at].max(axis=1) >= threshold(truth[~at], known.proba, 0.8)
        made = ConformalSets(0.8).fit(truth[~at], known.proba, None, speakers[~at])
        sets[at] = made.sets(test.proba[at])
    assert data["calibration"]["x"]["nll_calibrated"] == pytest.approx(nll(truth, calm))
    assert data["abstain"]["thresholds"][0]["coverage"] == pytest.approx(answered.mean())
    held = data["conformal"]["0.8"]["all"]["coverage"]
    assert held == pytest.approx(sets[np.arange(len(clips)), truth].mean())


def test_a_run_of_few_speakers_chooses_and_learns_over_its_folds(tmp_path):
    Manifest.from_rows(corpus(8)).write(tmp_path / "clips.csv")
    (tmp_path / "r.yaml").write_text(
        """manifest: clips.csv
task: valence
cache: my.cache
encoders: {text: ngram}
members:
  lr: {head: logistic, on: text, C: [0.01, 1]}
  lda: {head: lda, on: text}
ensembles: [mean, weighted]
compare: {n_resamples: 100, learning_curve: false}
report: out
"""
    )
    assert run(tmp_path / "r.yaml").exit_code == 0
    data = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert data["test"]["clips"] == data["dev"]["clips"] == 48
    assert data["chosen"] in data["systems"]
    assert data["systems"]["weighted"]["dev"]["uar"] > 0.5
    always = list(data["choice"]["apart"]["systems"]) == [data["chosen"]]
    assert always is not any("tested in other folds" in one for one in data["warnings"])


def test_what_is_chosen_apart_did_not_see_the_clips_it_is_scored_on():
    """Twelve systems that guess: the best of them is lucky on the clips that chose it."""
    rng = np.random.default_rng(0)
    clips, labels = Manifest.from_rows(corpus(12)), list(WORDS)
    truth = np.array([labels.index(label) for label in clips["label"]])
    guesses = {f"m{k:02d}": rng.integers(0, 3, len(clips)) for k in range(12)}
    members = {n: Predictions(clips.ids, labels, np.eye(3)[g]) for n, g in guesses.items()}
    folds = splits(clips, "group-kfold", n_splits=4)
    result = compare(
        *(members, clips, Task.from_labels(labels)),
        **{"strategies": [], "dev": members, "dev_truth": clips, "split": folds},
        **{"allow_overlap": True, "n_resamples": 100},
    )
    scored, names = np.zeros(len(clips), int), []
    for fold in folds:
        at = np.isin(np.array(clips.ids), fold.test.ids)
        right = {n: uar(truth[~at], guess[~at]) for n, guess in guesses.items()}
        names.append(max(right, key=right.__getitem__))
        scored[at] = guesses[names[-1]][at]
    apart = result.data["choice"]["apart"]
    assert apart["systems"] == {name: names.count(name) for name in dict.fromkeys(names)}
    assert apart["uar"]["value"] == pytest.approx(uar(truth, scored))
    lucky = result.data["systems"][result.chosen]["test"]["uar"]["value"]
    assert lucky > 0.4 > apart["uar"]["value"]  # chance is 1/3
    assert f"the UAR on test is {apart['uar']['value']:.3f}" in result.report()
    assert any(f"the UAR is {apart['uar']['value']:.3f}" in one for one in result.data["warnings"])


def uar(truth, guess):
    return np.mean([(guess[truth == code] == code).mean() for code in range(3)])


@pytest.mark.parametrize(("scheme", "wider"), [("group-kfold", 1.5), ("leave-one-language-out", 1)])
def test_a_table_by_language_is_wider_where_several_models_tested_a_language(scheme, wider):
    clips = Manifest.from_rows(corpus(16, languages=("deu", "eng")))
    labels, rng = list(WORDS), np.random.default_rng(0)
    proba = np.eye(3)[[labels.index(label) for label in clips["label"]]]
    proba[rng.random(len(proba)) < 0.4] = [0, 1, 0]
    given, task = {"x": Predictions(clips.ids, labels, proba)}, Task.from_labels(labels)

    def width(split):
        found = compare(given, clips, task, strategies=[], split=split, n_resamples=200)
        low, high = found.data["by"]["language"]["values"]["deu"]["systems"]["x"]["uar"]["interval"]
        # near the arcsine of the middle, where lengths are those of the standard error
        return np.diff(np.arcsin(np.sqrt([low, high])))[0]

    one, several = width(None), width(splits(clips, scheme, n_splits=4))
    assert several / one == pytest.approx(wider**0.5, rel=0.02)  # 1 + 4 / 8 speakers
