"""Transfer matrix and learning curve, with a small real classifier on planted features."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.splitting.schemes import splits
from affekt.classify.data.task import Task
from affekt.classify.evaluation.analyses.learning_curve import learning_curve
from affekt.classify.evaluation.analyses.transfer import check_transfer, transfer
from affekt.classify.evaluation.reports.markdown.analysis_sections import transfer_section
from sklearn.linear_model import LogisticRegression

LABELS = ("a", "b")
TASK = Task.from_labels(LABELS)


class Planted:
    """Logistic regression on two columns of the manifest; notes whom it saw."""

    def fit(self, train, dev=None):
        self.voices = set(train["speaker"]) | (set(dev["speaker"]) if dev is not None else set())
        self.head = LogisticRegression().fit(features(train), list(train["label"]))
        return self

    def predict(self, clips):
        assert not self.voices & set(clips["speaker"])
        return Predictions(clips.ids, self.head.classes_, self.head.predict_proba(features(clips)))


def features(clips):
    return np.array([[float(x), float(y)] for x, y in zip(clips["x"], clips["y"], strict=True)])


def corpus(n_speakers=8, per=12, flip=("urd",)):
    """In `flip` languages the feature means the opposite."""
    rng = np.random.default_rng(0)
    rows = []
    for language in ("deu", "eng", "urd"):
        for speaker in range(n_speakers):
            for take in range(per):
                label = take % 2
                sign = -1 if language in flip else 1
                rows.append(
                    {
                        "id": f"{language}-{speaker}-{take}",
                        "text": "-",
                        "label": LABELS[label],
                        "speaker": f"{language}{speaker}",
                        "language": language,
                        "x": sign * (2 * label - 1) + 0.8 * rng.normal(),
                        "y": rng.normal(),
                    }
                )
    return Manifest.from_rows(rows)


def test_the_matrix_shows_what_transfers():
    found = transfer(Planted, corpus(), TASK, n_resamples=100)
    value = {
        (a, b): found["cells"][a][b]["uar"]["value"]
        for a in found["names"]
        for b in ["deu", "eng", "urd"]
    }
    assert min(value["deu", "deu"], value["deu", "eng"], value["eng", "deu"]) > 0.8
    assert value["urd", "urd"] > 0.8
    assert max(value["deu", "urd"], value["urd", "eng"]) < 0.2
    low, high = found["cells"]["deu"]["eng"]["uar"]["interval"]
    assert low <= value["deu", "eng"] <= high
    assert found["cells"]["deu"]["deu"]["clips"] == 96
    narrow = transfer(Planted, corpus(), TASK, n_resamples=100, level=0.5)
    assert low < narrow["cells"]["deu"]["eng"]["uar"]["interval"][0]


def test_a_speaker_of_both_languages_is_predicted_by_models_that_have_not_heard_them():
    clips = corpus()
    both = [name.replace("eng0", "deu0").replace("eng1", "DEU1") for name in clips["speaker"]]
    clips = clips.with_columns(speaker=both)
    found = transfer(Planted, clips, TASK, n_resamples=50)["cells"]  # `predict` checks the voices
    assert found["deu"]["eng"]["clips"] == found["eng"]["deu"]["clips"] == 96
    assert found["deu"]["eng"]["uar"]["value"] > 0.8
    everyone = clips.with_columns(speaker=[name[3:] for name in clips["speaker"]])
    assert transfer(Planted, everyone, TASK, n_resamples=50)["names"] == ["deu", "eng", "urd"]


def test_the_diagonal_is_wider_since_models_of_several_folds_predict_it():
    class Untrained(Planted):
        """Predicts the same, whatever it learnt from."""

        def fit(self, train, dev=None):
            super().fit(train, dev)
            self.head = LogisticRegression().fit([[-1, 0], [1, 0]], LABELS)

    found = transfer(Untrained, corpus(), TASK, n_resamples=200)["cells"]
    folds, one = (
        np.diff(np.arcsin(np.sqrt(found[here]["deu"]["uar"]["interval"])))
        for here in ("deu", "eng")
    )
    assert folds / one == pytest.approx(1.5**0.5, rel=0.02)  # 1 + 4 / 8 speakers


def test_clips_without_speakers_are_each_their_own():
    clips = corpus()
    alone = clips.with_columns(speaker=list(clips.ids))
    nameless = clips.with_columns(speaker=[""] * len(clips))
    assert transfer(Planted, nameless, TASK, n_resamples=50) == transfer(
        Planted, alone, TASK, n_resamples=50
    )
    some = clips.with_columns(speaker=["", *clips["speaker"][1:]])
    with pytest.raises(InputError, match="1 clip of deu without a speaker; expected one"):
        transfer(Planted, some, TASK)
    few = nameless.with_columns(language=["xyz", *nameless["language"][1:]])
    with pytest.raises(InputError, match="1 clip in xyz; expected at least 3 to train, tune"):
        check_transfer(few, TASK, "language")
    pairs = zip(nameless["language"], nameless["label"], strict=True)
    labels = ["a" if language == "deu" else label for language, label in pairs]
    with pytest.raises(InputError, match="all clips of deu are 'a'; expected at least two labels"):
        check_transfer(nameless.with_columns(label=labels), TASK, "language")


class OfThree(Planted):
    """Never answers the third label."""

    def predict(self, clips):
        found = super().predict(clips)
        return Predictions(clips.ids, "abc", np.pad(found.proba, ((0, 0), (0, 1))))


def test_a_label_that_no_clip_has_does_not_lower_a_score():
    found = transfer(OfThree, corpus(), Task.from_labels("abc"), n_resamples=50)
    plain = transfer(Planted, corpus(), TASK, n_resamples=50)
    for here, there in (("deu", "eng"), ("urd", "urd")):
        three, two = (one["cells"][here][there]["uar"] for one in (found, plain))
        assert three["value"] == pytest.approx(two["value"])
        assert three["interval"] == pytest.approx(two["interval"], abs=0.01)
    table = transfer_section(found).blocks[1]
    assert list(table.head) == ["", "deu (no c)", "eng (no c)", "urd (no c)"]


def test_one_language_or_too_few_speakers_are_refused():
    with pytest.raises(InputError, match="expected at least two"):
        transfer(Planted, corpus().where(language="deu"), TASK)
    with pytest.raises(InputError, match="2 speakers"):
        transfer(Planted, corpus(2), TASK)


def test_the_learning_curve_grows_by_whole_speakers():
    clips = corpus(12, flip=())
    [split] = splits(clips, "speaker")
    points = learning_curve(Planted, split, LABELS, n_resamples=50)
    assert [p["share"] for p in points] == [0.1, 0.25, 0.5, 1.0]
    assert [p["clips"] for p in points] == sorted(p["clips"] for p in points)
    assert points[-1]["clips"] == len(split.train)
    assert all(p["clips"] % 12 == 0 for p in points)
    assert points[-1]["uar"]["value"] > 0.8
    narrow = learning_curve(Planted, split, LABELS, shares=[1.0], n_resamples=50, level=0.5)
    assert points[-1]["uar"]["interval"][0] < narrow[0]["uar"]["interval"][0]


TOO_FEW = "groups with fewer than 5 rows in training"


def test_a_share_that_is_too_small_to_train_on_is_left_out():
    class Choosy(Planted):
        def fit(self, train, dev=None):
            if len(train) < least:
                raise InputError(TOO_FEW)
            return super().fit(train, dev)

    [split] = splits(corpus(12, flip=()), "speaker")
    least = len(split.train) // 2
    points = learning_curve(Choosy, split, LABELS, n_resamples=50)
    assert [p["share"] for p in points if "uar" in p] == [0.5, 1.0]
    assert [p["share"] for p in points if p.get("reason") == TOO_FEW] == [0.1, 0.25]
    least = len(split.train) + 1
    with pytest.raises(InputError, match="fewer than 5"):
        learning_curve(Choosy, split, LABELS, n_resamples=50)


def test_what_all_of_train_gives_is_not_computed_twice():
    clips, fits = corpus(12, flip=()), []

    class Counted(Planted):
        def fit(self, train, dev=None):
            fits.append(len(train))
            return super().fit(train, dev)

    [split] = splits(clips, "speaker")
    alone = learning_curve(Counted, split, LABELS, n_resamples=50)
    whole = Planted()
    whole.fit(split.train)
    known = whole.predict(split.test)
    fits.clear()
    assert learning_curve(Counted, split, LABELS, n_resamples=50, whole=known) == alone
    assert len(fits) == 9
    assert max(fits) < len(split.train)


def test_the_learning_curve_of_one_test_speaker_has_no_interval():
    clips = corpus(6, flip=())
    one = clips["speaker"] == clips["speaker"][0]
    split = SimpleNamespace(train=clips.select(~one), dev=[], test=clips.select(one))
    points = learning_curve(Planted, split, LABELS, shares=(1.0,), n_resamples=50)
    assert points[0]["uar"]["interval"] == [None, None]  # as JSON has it
