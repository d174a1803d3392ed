"""Labels as distributions: trained on by every head, read from manifests, scored by raters."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.cache.errors import InputError
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.votes import Votes, read_votes
from affekt.classify.evaluation.scores.vote_scores import compare_votes, score_votes
from affekt.classify.heads import HEADS, LogisticHead, MLPHead
from scipy.stats import entropy, t


def voted(rows=300):
    """Raters split in the proportion that one feature says."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 3))
    share = 1 / (1 + np.exp(-2 * X[:, 0]))
    votes = np.stack([share, 1 - share], axis=1)  # joy, fear: not sorted
    return X, votes, ("joy", "fear")


def test_one_hot_distributions_are_labels():
    X, votes, _ = voted(60)
    y = np.where(votes[:, 0] > 0.5, "joy", "fear")
    one_hot = (y[:, None] == np.array(["joy", "fear"])).astype(float) * 5  # five raters
    for head in (LogisticHead(), MLPHead(max_epochs=3, random_state=0, n_threads=1)):
        hard = head.fit(X, y).predict_proba(X)
        soft = head.fit(X, one_hot, classes=["joy", "fear"])
        assert soft.classes_.tolist() == ["fear", "joy"]
        np.testing.assert_allclose(soft.predict_proba(X), hard, atol=1e-7)


def test_logistic_finds_the_optimum_over_distributions():
    """Against a direct minimisation of the same objective."""
    from scipy.optimize import minimize

    X, votes, names = voted(80)
    head = LogisticHead(C=0.5, class_weight=None, tol=1e-8).fit(X, votes, classes=names)

    def objective(w):
        z = X @ w[:3] + w[3]
        loss = votes[:, 0] * np.logaddexp(0, -z) + votes[:, 1] * np.logaddexp(0, z)
        return 0.5 * loss.sum() + 0.5 * (w[:3] ** 2).sum()

    best = minimize(objective, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(head.coef_[0], best[:3], atol=1e-4)
    np.testing.assert_allclose(head.intercept_, best[3:], atol=1e-4)


def test_heads_learn_how_raters_split():
    X, votes, names = voted()
    for head in (
        LogisticHead(C=10, class_weight=None),
        MLPHead(
            hidden=(16,), label_smoothing=0.0, class_weight=None, dropout=0.0, input_dropout=0.0,
            max_epochs=30, learning_rate=5e-3, random_state=0, n_threads=1,
        ),
    ):  # fmt: skip
        head.fit(X, votes, classes=names, X_dev=X, y_dev=votes)
        proba = head.predict_proba(X)[:, ::-1]  # joy, fear
        assert np.abs(proba - votes).mean() < 0.06


def test_matrices_have_to_be_distributions_with_names():
    X, votes, names = voted(20)
    with pytest.raises(InputError, match=r"classes=\[name of each column\]"):
        MLPHead().fit(X, votes)
    with pytest.raises(InputError, match="one different name for each column"):
        MLPHead().fit(X, votes, classes=["joy", "joy"])
    with pytest.raises(InputError, match="y is 1-D"):
        MLPHead().fit(X, votes[:, 0] > 0.5, classes=names)
    votes[3] = 0
    with pytest.raises(InputError, match="first: row 3"):
        LogisticHead().fit(X, votes, classes=names)


def manifest(rows):
    return Manifest.from_rows([{"id": str(i), "text": "t", **row} for i, row in enumerate(rows)])


def test_votes_are_read_from_columns_and_from_json():
    columns = manifest(
        [{"votes:joy": "2", "votes:fear": "0"}, {"votes:joy": "", "votes:fear": "3"}]
    )
    text = manifest([{"label": '{"joy": 2}'}, {"label": '{"fear": 3}'}])
    for clips in (columns, text):
        votes = read_votes(clips)
        assert votes.classes == ("fear", "joy")
        assert votes.counts.tolist() == [[0, 2], [3, 0]]
    assert read_votes(text, ["joy", "fear", "anger"]).counts.tolist() == [[2, 0, 0], [0, 3, 0]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"label": "joy"}, "expected votes as JSON"),
        ({"label": '["joy"]'}, "expected votes as JSON"),
        ({"label": '{"joy": -1}'}, "-1 votes"),
        ({"label": '{"joy": "many"}'}, "'many' votes"),
        ({"label": '{"joy": NaN}'}, "nan votes"),
        ({"label": '{"joy": 0}'}, "1 clips have no vote"),
        ({"votes:joy": "x"}, "'x' votes"),
    ],
)
def test_wrong_votes_name_the_line(row, words):
    with pytest.raises(InputError, match=words):
        read_votes(manifest([row]))
    with pytest.raises(InputError, match="expected fear"):
        read_votes(manifest([{"label": '{"joy": 1}'}]), ["fear"])


def test_scores_against_raters_by_hand():
    counts = np.array([[3.0, 1.0, 0.0], [2.0, 2.0, 1.0], [0.0, 0.0, 4.0]])
    votes = Votes(["a", "b", "c"], ("x", "y", "z"), counts)
    proba = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]])
    scores = score_votes(proba, votes)
    assert scores["agreement"] == pytest.approx((0.75 + 0.4 + 0.0) / 3)
    assert scores["rater_agreement"] == pytest.approx((0.75 + 0.4 + 1.0) / 3)
    assert scores["split"] == pytest.approx(1 / 3)
    assert scores["agreement_split"] == pytest.approx(0.4)
    assert scores["agreement_clear"] == pytest.approx(0.375)
    assert scores["rater_entropy"] == pytest.approx(np.mean([entropy(row) for row in counts]))
    apart = [entropy(row, own) for row, own in zip(counts, proba, strict=True)]
    assert scores["cross_entropy"] == pytest.approx(scores["rater_entropy"] + np.mean(apart))
    perfect = score_votes(votes.shares, votes)
    assert perfect["cross_entropy"] == pytest.approx(perfect["rater_entropy"])
    with pytest.raises(InputError, match="expected"):
        score_votes(proba[:2], votes)


def test_intervals_against_raters_are_over_speakers():
    rng = np.random.default_rng(0)
    ids, speakers = [str(at) for at in range(30)], np.arange(30) % 5
    votes = Votes(ids, ("x", "y", "z"), rng.integers(0, 4, (30, 3)) + np.eye(3)[speakers % 3])
    proba = rng.dirichlet([1, 1, 1], 30)
    given = {"a": Predictions(ids[::-1], ("z", "y", "x"), proba[::-1, ::-1])}
    found = compare_votes(given, votes, speakers, 0.95)
    each = ((proba - votes.shares) ** 2).sum(axis=1)
    of_speakers = [each[speakers == one].mean() for one in range(5)]
    error = max(np.std(of_speakers, ddof=1) / 5**0.5, each.std() / 30**0.5)
    interval = found["systems"]["a"]["brier"]["interval"]
    assert interval == pytest.approx(t.interval(0.95, 4, each.mean(), error), rel=0.1)
    assert found["raters"]["votes"] == pytest.approx(votes.counts.sum() / 30)
    four = compare_votes(given, votes, np.minimum(speakers, 3), 0.95)
    assert four["systems"]["a"]["brier"]["interval"] == [None, None]


@pytest.mark.parametrize("kind", ["logistic", "lda", "mlp"])
def test_a_class_that_nobody_voted_for_is_left_out(kind):
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 90)
    X = rng.standard_normal((90, 4))
    X[np.arange(90), true] += 8
    votes = np.zeros((90, 4))
    votes[np.arange(90), np.array([0, 2, 3])[true]] = 5
    settings = {"max_epochs": 3, "hidden": (8,)} if kind == "mlp" else {}
    head = HEADS[kind](**settings, random_state=0).fit(
        X, votes, classes=["anger", "fear", "joy", "sad"]
    )
    assert head.classes_.tolist() == ["anger", "joy", "sad"]
    assert head.predict_proba(X).shape == (90, 3)
    if kind != "mlp":  # three epochs show the shapes only
        assert (head.predict(X) == np.array(["anger", "joy", "sad"])[true]).mean() > 0.95
    again = type(head).from_state(*head.get_state())
    assert again.predict(X).tolist() == head.predict(X).tolist()
