"""Which system dev chooses, among how many, and what the report says of it."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.reports.markdown.choice_on_dev import how_chosen
from affekt.classify.evaluation.reports.markdown.clips_and_training import describe_run
from affekt.classify.evaluation.scores.dev_choice import candidates, choice, choose
from affekt.classify.metrics import measures as metrics

from .test_evaluation import LABELS, corpus


def test_the_choice_counts_candidates_and_how_often_dev_would_choose_it_again():
    rng = np.random.default_rng(0)
    truth, groups = np.tile([0, 1], 60), np.repeat(range(12), 10)
    guesses = {
        f"m{k}": np.where(rng.random(120) < 0.7, truth, 1 - truth) for k in range(10)
    }  # fmt: skip
    found = choice("m0", guesses, truth, groups, 2)
    everything = [choice(name, guesses, truth, groups, 2)["same"] for name in guesses]
    assert sum(everything) == pytest.approx(1)
    luck = 1.54 * np.sqrt(0.7 * 0.3 / 120)  # of the best of ten equal systems: normal quantiles
    assert found["optimism_if_equal"] == pytest.approx(luck, rel=0.25)
    assert 0.01 < found["optimism"] < found["optimism_if_equal"]
    table, proba = corpus(6)
    dev_table, dev = corpus(6, 4, "d")
    result = compare(
        proba, table, Task.from_labels(LABELS), strategies=["max", "vote"], dev=dev,
        dev_truth=dev_table, n_resamples=50,
    )  # fmt: skip
    text = result.report()
    assert "best of 4 candidates" in text
    assert "72 clips of 6 speakers" in text
    assert "is too high" in text
    first = text.split("| system |")[1].splitlines()[2]
    assert first.startswith(f"| **{result.chosen}** |")


def test_a_measure_that_is_lower_in_every_draw_makes_no_bias_of_the_best_negative():
    draws = np.random.default_rng(0).normal(0, 0.01, (3, 2000)) - 0.02
    values = np.array([0.4, 0.4, 0.39])
    scores = {f"m{k}": value + draws[k] for k, value in enumerate(values)}
    found = choose(None, None, scores, dict(zip(scores, values, strict=True)), 12)
    raw = values[:, None] + draws
    mean = raw.mean(axis=1)
    luck = raw.max(axis=0).mean() - mean[raw.argmax(axis=0)].mean()
    assert found["optimism"] == pytest.approx(luck * np.sqrt(12 / 11))
    assert found["optimism"] > 0.003


def test_folds_count_the_settings_among_which_each_of_them_chose():
    part = {"tried": [{}] * 4, "seeds": [{}] * 3}
    systems = {name: {"dev": {"uar": 0.5}, "learnt": {}} for name in ("lr", "mlp")}
    members = {"lr": {"parts": [part] * 5}, "mlp": {"parts": [{"tried": [{}]}] * 5}}
    found = candidates({"systems": systems, "run": {"members": members}})
    assert found == {"systems": 2, "subsets": 0, "settings": 3, "seeds": 2, "all": 7}


def test_the_only_system_is_not_called_the_best_of_many():
    table, proba = corpus(6)
    dev_table, dev = corpus(6, 4, "d")
    one = dict(list(proba.items())[:1])
    result = compare(
        one, table, Task.from_labels(LABELS), strategies=[], dev={name: dev[name] for name in one},
        dev_truth=dev_table, n_resamples=50,
    )  # fmt: skip
    text = result.report()
    assert "the only candidate. Its UAR on dev, 72 clips of 6 speakers" in text
    assert "too high" not in text.split("## ")[0]
    for words in ("Chosen on dev", "Order:", "* chosen"):
        assert words not in text + result.table()
    result.data["run"] = {"members": {"m": {"parts": [{"tried": [{}] * 4, "seeds": [{}] * 2}]}}}
    [text] = filter(None, how_chosen(result.data))
    assert text.startswith("It is the only system, with the best of 5 settings and seeds by UAR on")
    assert "drawn again" not in text


def equal_systems(n_speakers, better=0.0, seed=0):
    """Return guesses of nine systems that are right in 60 % of clips (m0 more often), and dev."""
    rng = np.random.default_rng(seed)
    truth, groups = np.tile([0, 1], 5 * n_speakers), np.repeat(range(n_speakers), 10)
    chance = {"mean": 0.6} | {f"m{k}": 0.6 + better * (k == 0) for k in range(8)}
    guesses = {
        name: np.where(rng.random(len(truth)) < p, truth, 1 - truth) for name, p in chance.items()
    }
    scored = {name: metrics.uar(truth, guess, [0, 1]) for name, guess in guesses.items()}
    return max(scored, key=scored.__getitem__), guesses, truth, groups, 2


def test_what_a_lead_over_the_mean_has_to_exceed_is_what_luck_gives():
    best, guesses, truth, groups, _ = equal_systems(5)
    found = choice(best, guesses, truth, groups, 2, mean="mean")
    rng, right = np.random.default_rng(9), {n: g == truth for n, g in guesses.items()}

    def leads(drawn):
        rows = np.concatenate([np.flatnonzero(groups == one) for one in drawn])
        each = [
            np.mean([right[name][rows][truth[rows] == label].mean() for label in (0, 1)])
            for name in guesses
        ]
        return np.array(each) - each[0]  # the mean is the first

    whole = leads(range(5))
    assert found["lead"] == pytest.approx(whole.max())
    luck = [(leads(rng.integers(0, 5, 5)) - whole).max() for _ in range(1000)]
    assert found["needed"] == pytest.approx(np.sqrt(5 / 4) * np.mean(luck), rel=0.1)


@pytest.mark.parametrize(("n_speakers", "at_least"), [(2, 0.5), (5, 0.3), (20, 0.0)])
def test_with_few_dev_speakers_the_mean_is_taken_unless_another_is_surely_better(
    n_speakers, at_least
):
    taken = []
    for seed in range(20):
        best, *dev = equal_systems(n_speakers, seed=seed)
        found = choice(best, *dev, mean="mean", random_state=seed)
        assert found["best"] == best or found["lead"] == 0
        assert bool(found["why"]) == (found["chosen"] != found["best"])
        taken.append(found["chosen"] == "mean")
        assert choice(best, *dev, random_state=seed)["chosen"] == best  # without a mean
    assert at_least <= np.mean(taken) < 1
    best, *dev = equal_systems(n_speakers, better=0.39)
    assert choice(best, *dev, mean="mean")["chosen"] == "m0"


def test_the_report_says_why_the_mean_was_taken_or_passed_over():
    table, proba = corpus(6)
    dev_table, dev = corpus(6, 4, "d")
    rng = np.random.default_rng(2)
    found = {}
    for name, right in (("alike", 0.96), ("apart", 0.1)):
        parts = []
        for clips, one in ((table, proba), (dev_table, dev)):
            codes = one["good"].codes
            other = rng.integers(0, 3, len(codes))
            guess = np.where(rng.random(len(codes)) < right, codes, other)
            near = Predictions(clips.ids, LABELS, np.eye(3)[guess])
            parts.append({"good": one["good"], "near": near, "third": one["bad"]})
        test, on_dev = parts
        found[name] = compare(
            test, table, Task.from_labels(LABELS), strategies=["mean"], dev=on_dev,
            dev_truth=dev_table, n_resamples=50,
        )  # fmt: skip
    taken, passed = found["alike"], found["apart"]
    assert (taken.chosen, taken.data["choice"]["best"]) == ("mean", "good")
    assert "**mean**, the mean of all members, since no lead" in taken.report()
    assert "good has the highest UAR on dev" in taken.report()
    assert "since no lead" in taken.table()
    assert passed.chosen == "good"
    assert "ahead of mean, the mean of all members" in passed.report()
    assert "no lead" not in passed.report()


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({0.01: 0.6, 0.1: 0.5, 1: 0.4}, "C 0.01 is the smallest value tried, and a smaller one"),
        ({1: 0.6, 0.01: 0.4, 0.1: 0.5}, "C 1 is the largest value tried, and a larger one"),
        ({0.01: 0.5, 0.1: 0.6, 1: 0.4}, ""),  # inside
        ({0.01: 0.6, 0.1: 0.6, 1: 0.4}, ""),  # its neighbour is as good
        ({0.01: 0.6, 0.1: 0.5}, ""),  # too few to say
        ({0: 0.6, 0.1: 0.5, 0.2: 0.4, 0.3: 0.3}, ""),  # nothing is smaller
    ],
)
def test_the_report_says_where_the_best_value_ends_the_list(scores, said):
    tried = [
        {"layers": {"text": -1}, "settings": {"C": value}, "dev_uar": score}
        for value, score in scores.items()
    ]
    part = {"chosen": max(tried, key=lambda one: one["dev_uar"]), "tried": tried}
    sizes = {"clips": 9}
    coverage = {"compared_on": sizes, "any_member": sizes, "members": {"lr": sizes}}
    run = {
        "coverage": coverage,
        "left_out": {},
        "quarantined": {},
        "members": {"lr": {"parts": [part]}},
    }
    [line] = describe_run(run, "clips.csv")[1].blocks[0]
    assert (said in line, "tried" in line) == (True, bool(said))
