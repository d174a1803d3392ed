"""Bootstrap: sums equal the plain way, intervals cover, absent classes, speed."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify.metrics import measures as metrics
from affekt.classify.metrics.bootstrap import draws, resample, resample_crossed
from affekt.classify.metrics.intervals import interval
from scipy.stats import binomtest


def test_resamples_are_those_of_clips_taken_one_by_one():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 9, 150)
    truth = rng.integers(0, 3, 150)
    guess = np.where(rng.random(150) < 0.6, truth, rng.integers(0, 3, 150))
    drawn = resample(truth, {"a": guess}, groups, 4, n_resamples=40, random_state=5, per_class=True)
    [counts] = draws(np.ones(9, dtype=int), 40, 5)
    for row, times in enumerate(counts):
        rows = np.concatenate(
            [np.repeat(np.flatnonzero(groups == g), int(n)) for g, n in enumerate(times)]
        )
        expected = metrics.summary(metrics.confusion_of_codes(truth[rows], guess[rows], 4))
        for measure in ("uar", "accuracy", "macro_f1", "weighted_f1"):
            assert drawn.values["a"][measure][row] == pytest.approx(expected[measure], abs=1e-6)
    assert np.isnan(drawn.values["a"]["recall 3"]).all()


def test_a_class_that_a_draw_misses_does_not_pull_the_mean_down():
    truth = np.array([0] * 20 + [1])
    groups = np.r_[np.repeat(np.arange(10), 2), 10]
    drawn = resample(truth, {"a": truth}, groups, 2, n_resamples=500)
    assert (drawn.values["a"]["uar"] == 1).all()
    half = resample(truth, {"a": truth}, groups, 4, n_resamples=500)
    assert (half.values["a"]["uar"] == 0.5).all()  # two of four classes are absent: they count 0
    assert (half.values["a"]["macro_f1"] == 0.5).all()
    low, high = half.interval("a", "uar")
    assert 0 <= low < 0.5 == high  # the absent ones leave no room above


def test_an_interval_never_has_zero_width_and_holds_the_value():
    """Ten of ten right: Clopper and Pearson say 0.69 to 1."""
    for n in (10, 20, 100):
        truth = np.arange(n) % 2
        for guess in (truth, 1 - truth, np.zeros(n, int)):
            drawn = resample(truth, {"a": guess}, np.arange(n), 2, n_resamples=100, per_class=True)
            for measure in ("uar", "accuracy", "macro_f1", "weighted_f1", "recall 0"):
                low, high = drawn.interval("a", measure)
                assert 0 <= low <= drawn.estimates["a"][measure] <= high <= 1
                assert high - low > 1 / n
        exact = binomtest(n, n).proportion_ci().low
        low, _ = resample(truth, {"a": truth}, np.arange(n), 2, n_resamples=100).interval(
            "a", "uar"
        )
        assert exact - 0.1 < low < 1
    rare = (np.arange(200) < 4).astype(int)  # which weighs as little in accuracy as it is rare
    low, _ = resample(rare, {"a": rare}, np.arange(200), 2, n_resamples=100).interval(
        "a", "accuracy"
    )
    assert low == pytest.approx(binomtest(200, 200).proportion_ci().low, abs=0.02)


def test_a_class_of_one_speaker_widens_the_interval_and_has_none_of_its_own():
    truth = np.r_[np.tile([0, 0, 1, 1], 10), [2] * 8]
    groups = np.r_[np.repeat(np.arange(10), 4), [0] * 8]
    rng = np.random.default_rng(0)
    guess = np.where(rng.random(48) < 0.75, truth, (truth + 1) % 3)
    drawn = resample(truth, {"a": guess}, groups, 3, n_resamples=400, per_class=True)
    assert np.isnan(drawn.interval("a", "recall 2")).all()
    assert drawn.few_groups() == {2: 1}
    spread = np.repeat(np.arange(10), 5)[: len(truth)]
    even = resample(truth, {"a": guess}, spread, 3, n_resamples=400)
    assert np.diff(drawn.interval("a", "uar"))[0] > np.diff(even.interval("a", "uar"))[0]
    assert drawn.effective_groups("uar") == pytest.approx(10)  # the class counts by itself
    hits, wrong = ((guess == 2) & (truth == 2)).sum(), ((guess == 2) & (truth != 2)).sum()
    f1 = [2 * (8 * recall) / (8 + 8 * recall + wrong) for recall in hits / 8 + np.array([0, 1e-6])]
    assert 0.3 < (slope := np.diff(f1)[0] / 1e-6) < 0.9
    of_recall, of_f1 = (drawn._floor("a", name)[1] for name in ("uar", "macro_f1"))
    assert of_f1 == pytest.approx(slope**2 * of_recall, rel=1e-4)


def test_the_spread_of_a_recall_between_groups_is_told_from_that_of_clips():
    ease = np.random.default_rng(0).beta(6, 3, (4000, 1))
    right = (np.random.default_rng(1).random((4000, 5)) < ease).ravel()
    for sizes, expected in ((5, 6 * 3 / (81 * 10)), (1, 0)):  # of the beta; of none
        groups = np.repeat(np.arange(20_000 // sizes), sizes)
        drawn = resample(np.zeros(20_000, int), {"a": 1 - right}, groups, 2, n_resamples=1)
        assert drawn._between("a") == pytest.approx(expected, rel=0.1, abs=0.001)


@pytest.mark.parametrize("n_groups", [1, 2, 4])
def test_fewer_than_five_groups_give_no_interval(n_groups):
    truth = np.tile([0, 1], 10)
    drawn = resample(truth, {"a": truth}, np.arange(20) % n_groups, 2, n_resamples=20)
    assert np.isnan(drawn.interval("a", "uar")).all()
    assert np.isnan(drawn.difference("a", "a", "uar")[2]).all()


def test_intervals_widen_with_fewer_groups():
    samples = np.random.default_rng(0).normal(size=5000)
    widths = [np.diff(interval(0.0, samples, n))[0] for n in (5, 10, 100, 10_000)]
    assert (np.diff(widths) < 0).all()


def test_one_seed_one_result_and_pairs_share_their_draws():
    rng = np.random.default_rng(0)
    truth, groups = rng.integers(0, 2, 200), rng.integers(0, 20, 200)
    guess = rng.integers(0, 2, 200)
    one = resample(truth, {"a": guess, "b": guess}, groups, 2, n_resamples=50)
    two = resample(truth, {"a": guess}, groups, 2, n_resamples=50)
    assert np.array_equal(one.values["a"]["uar"], two.values["a"]["uar"])
    assert one.difference("a", "b", "uar") == (0.0, 0.0, (0.0, 0.0))


def test_single_clips_of_few_kinds_are_pooled_without_changing_the_law():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 4000)
    guess = np.where(rng.random(4000) < 0.8, truth, 1 - truth)
    drawn = resample(truth, {"a": guess}, np.arange(4000), 2, n_resamples=4000)
    values = drawn.values["a"]["accuracy"]
    expected = np.sqrt((guess == truth).mean() * (guess != truth).mean() / 4000)
    assert values.std() == pytest.approx(expected, rel=0.06)
    assert drawn.groups == 4000


@pytest.mark.parametrize("n_speakers", [5, 12, 40])
def test_95_percent_intervals_cover(n_speakers):
    """A quick look at coverage; benchmarks/claims.py runs it in full."""
    rng = np.random.default_rng(1)
    size, covered, runs = 15, 0, 150
    for run in range(runs):
        ease = rng.beta(6, 3, n_speakers).repeat(size)  # speakers differ: mean 2/3
        truth = np.tile(np.arange(3), n_speakers * size // 3)
        right = rng.random(len(truth)) < ease
        guess = np.where(right, truth, (truth + rng.integers(1, 3, len(truth))) % 3)
        groups = np.arange(n_speakers).repeat(size)
        low, high = resample(
            truth, {"a": guess}, groups, 3, n_resamples=400, random_state=run
        ).interval("a", "uar")
        covered += low <= 2 / 3 <= high
    assert 0.88 <= covered / runs <= 1.0


def test_two_crossed_factors_cover_other_speakers_and_other_sentences():
    """Sentences differ more than speakers do: an interval over speakers alone is too narrow."""
    rng = np.random.default_rng(0)
    speakers, sentences = 12, 10
    groups = np.repeat(np.arange(speakers), sentences)
    second = np.tile(np.arange(sentences), speakers)
    truth = second % 2

    def chance(easy, hard):
        return np.clip(0.7 + 0.04 * easy[groups] + 0.15 * hard[second], 0, 1)

    many = [chance(*(rng.normal(size=n) for n in (speakers, sentences))) for _ in range(400)]
    value = float(np.mean(many))
    held = np.zeros(2)
    for run in range(150):
        p = chance(rng.normal(size=speakers), rng.normal(size=sentences))
        guess = {"a": np.where(rng.random(len(p)) < p, truth, 1 - truth)}
        options = {"n_resamples": 100, "random_state": run}
        drawn = (
            resample(truth, guess, groups, 2, **options),
            resample_crossed(truth, guess, groups, second, 2, **options),
        )
        held += [low <= value <= high for low, high in (one.interval("a", "uar") for one in drawn)]
    assert held[0] < 0.85 * 150
    assert held[1] > 0.9 * 150
    few = resample_crossed(truth, guess, groups, second % 4, 2, **options)
    assert np.isnan(few.interval("a", "uar")).all()
    assert np.isnan(few.difference("a", "a", "uar")[2]).all()
    clips = resample_crossed(truth, guess, groups, np.arange(len(truth)), 2, **options)
    low, high = clips.interval("a", "uar")  # single clips add nothing to speakers
    assert (low, high) == pytest.approx(drawn[0].interval("a", "uar"), abs=0.02)


def test_pooled_folds_are_wider_by_what_training_anew_adds():
    """One share of the variance more for four of the groups: sqrt(1.5) for eight."""
    rng = np.random.default_rng(0)
    truth, groups = np.tile([0, 1], 160), np.repeat(range(8), 40)
    guess = np.where(rng.random(320) < rng.uniform(0.4, 0.9, 8)[groups], truth, 1 - truth)
    fixed, pooled = (
        resample(truth, {"a": guess, "b": truth}, groups, 2, n_resamples=500, pooled=one)
        for one in (False, True)
    )
    [short, long] = (high - low for low, high in (d.interval("a", "uar") for d in (fixed, pooled)))
    assert long / short == pytest.approx(1.5**0.5, rel=0.02)
    error = fixed.difference("a", "b", "uar")[1]
    assert pooled.difference("a", "b", "uar")[1] == pytest.approx(1.5**0.5 * error)


def test_folds_by_speaker_cover_what_training_on_so_many_gives():
    """Nearest class means, six speakers in three folds; the truth is the mean over all draws."""
    rng = np.random.default_rng(1)
    truth, groups = np.tile(np.repeat([0, 1], 5), 6), np.repeat(range(6), 10)
    found = []
    for run in range(150):
        values = rng.normal(size=(60, 8)) + rng.normal(0, 0.8, (6, 2, 8))[groups, truth]
        values[:, 0] += 1.5 * truth
        guess = np.empty(60, int)
        for fold in range(3):
            out = groups % 3 == fold
            means = np.stack([values[~out & (truth == k)].mean(axis=0) for k in (0, 1)])
            guess[out] = ((values[out][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        drawn = [
            resample(
                truth, {"": guess}, groups, 2, n_resamples=100, random_state=run, pooled=pooled
            ).interval("", "uar")
            for pooled in (False, True)
        ]
        found.append([(guess == truth).mean(), *drawn[0], *drawn[1]])
    value, low, high, pooled_low, pooled_high = np.array(found).T
    held, pooled = (
        ((a <= value.mean()) & (value.mean() <= b)).mean()
        for a, b in ((low, high), (pooled_low, pooled_high))
    )
    assert held < 0.89 < pooled


def test_a_class_of_one_speaker_widens_f1_by_what_f1_can_move():
    """Many false alarms: F1 of the rare class hardly moves with its recall."""
    truth = np.r_[np.tile([0, 1], 200), [2] * 8]
    groups = np.r_[np.repeat(range(20), 20), [0] * 8]
    guess = truth.copy()
    guess[1:400:4] = 2
    drawn = resample(truth, {"a": guess}, groups, 3, n_resamples=500)
    (low, high), (f1_low, f1_high) = (drawn.interval("a", m) for m in ("uar", "macro_f1"))
    assert f1_high - f1_low < 0.8 * (high - low)


@pytest.mark.parametrize("n_groups", [2, 6, 97, 9000])
def test_draws_of_a_block_are_those_drawn_one_by_one(n_groups):
    rng, count = np.random.default_rng(3), 60
    alone = []
    for _ in range(count):
        alone.append(np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups))
    found = np.concatenate(list(draws(np.ones(n_groups, int), count, 3)))
    assert np.array_equal(found, alone)


def test_a_difference_covers_other_speakers_where_one_of_them_has_a_whole_class():
    """Speakers favour one system or the other in each class; the truth is no difference."""
    rng = np.random.default_rng(4)
    truth = np.r_[np.tile(np.repeat([0, 1], 10), 20), [2] * 10]
    groups = np.r_[np.repeat(np.arange(20), 20), [0] * 10]
    held, wide = 0, []
    for run in range(150):
        easy = 0.7 + np.array([1, -1])[:, None, None] * rng.normal(0, 0.12, (20, 3))
        right = rng.random((2, len(truth))) < easy[:, groups, truth]
        guesses = {name: np.where(r, truth, (truth + 1) % 3) for name, r in zip("ab", right)}  # noqa: B905
        drawn = resample(truth, guesses, groups, 3, n_resamples=100, random_state=run)
        _, error, (low, high) = drawn.difference("a", "b", "uar")
        held += low <= 0 <= high
        wide.append((high - low) / error)
    assert held >= 138  # of 150; without what is added for the class 66
    assert min(wide) > 4
    same = resample(truth, {"a": truth, "b": truth}, groups, 3, n_resamples=100)
    assert same.difference("a", "b", "uar")[2] == (0, 0)
