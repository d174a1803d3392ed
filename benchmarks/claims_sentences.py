"""Measure sentences of a report: equal systems, doubts about labels, seeds, languages, raters.

python benchmarks/claims_sentences.py         # everything, four minutes; writes benchmarks/results
python benchmarks/claims_sentences.py equal   # or one of seeds, curve, crossed, languages, ...

The truth is known: the same draws, many times or of many speakers.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.votes import Votes
from affekt.classify.evaluation.analyses.conformal import ConformalSets
from affekt.classify.evaluation.analyses.seed_variance import seed_spread
from affekt.classify.evaluation.analyses.split_sanity import check_relation
from affekt.classify.evaluation.scores.pair_tests import discordant
from affekt.classify.evaluation.scores.scoring import mean_interval
from affekt.classify.evaluation.scores.verdicts import EQUAL, LEAST_FOR_EQUAL
from affekt.classify.evaluation.scores.vote_scores import compare_votes
from affekt.classify.metrics.bootstrap import resample, resample_crossed
from affekt.classify.metrics.measures import ece, ece_noise
from claims_dev import LABELS, measure, nearest, probabilities, share, uar, voices

RESULTS = Path(__file__).parent / "results" / "claims_sentences.json"


def clips(rng, n_speakers, each, ease=1.6, spread=0.7):
    """Return truth, speakers and scores of clips, as many of each label and speaker."""
    truth = np.tile(np.repeat(np.arange(3), each), n_speakers)
    speakers = np.repeat(np.arange(n_speakers), 3 * each)
    scores = rng.standard_normal((len(truth), 3))
    scores += spread * rng.standard_normal((n_speakers, 3))[speakers]
    scores[np.arange(len(truth)), truth] += (
        ease + spread * rng.standard_normal(n_speakers)[speakers]
    )
    return truth, speakers, scores


def equal(runs=300):
    """How often two systems are called equal within 0.02: equal ones, and others."""
    kinds = {"equal": (1, 0.0), "all clips": (1, 0.03), "a fifth of speakers": (0.2, 0.05)}
    for (kind, (part, gap)), n_speakers, each in product(
        kinds.items(), (5, 10, 15, 20, 50), (1, 10, 50)
    ):
        rng = np.random.default_rng([n_speakers, each])
        said, alike, within = 0, 0, 0
        for run in range(runs):
            truth, speakers, _ = clips(rng, n_speakers, each)
            right = {"a": rng.random(len(truth)) < (0.98 if each == 1 else 0.8)}
            drop = np.where(rng.random(n_speakers) < part, gap / part / 0.8, 0)[speakers]
            right["b"] = right["a"] & (rng.random(len(truth)) >= drop)
            again = rng.random(len(truth)) < 0.01  # answered anew
            right["b"] = np.where(again, rng.random(len(truth)) < 0.8, right["b"])
            guesses = {n: np.where(hit, truth, (truth + 1) % 3) for n, hit in right.items()}
            drawn = resample(truth, guesses, speakers, 3, n_resamples=200, random_state=run)
            floor = discordant(truth, right["a"], right["b"], 3)
            low, high = drawn.difference("a", "b", "uar", floor=floor)[2]
            said += max(-low, high) <= EQUAL and n_speakers >= LEAST_FOR_EQUAL
            same = bool((right["a"] == right["b"]).all())
            alike += same
            within += same or max(-low, high) <= EQUAL
        yield {
            "b_is_worse_on": kind, "by": gap, "speakers": n_speakers, "clips_of_each": 3 * each,
            "said_equal": round(said / runs, 3), "same_clips_right": round(alike / runs, 3),
            "within_or_same_clips": round(within / runs, 3),
        }  # fmt: skip


def seeds(runs=300):
    """The part of seeds in the variance of a run, as said, and over many test sets and seeds."""
    for n_speakers, main, own in product((10, 20), (0.0, 0.2), (0.2, 0.6)):
        rng = np.random.default_rng([n_speakers, int(10 * own)])
        scored, said, doubled = [], [], []
        for run in range(runs):
            truth, speakers, scores = clips(rng, n_speakers, 6)
            hit = np.arange(len(truth)), truth
            answers = []
            for _ in range(5):
                noise = rng.standard_normal(scores.shape)
                moved = scores + own * noise
                moved[hit] += main * rng.standard_normal()
                answers.append(moved.argmax(axis=1))
            scored.append([uar(truth, one) for one in answers])
            if run < 100:
                ids = [str(i) for i in range(len(truth))]
                found = seed_spread(
                    {str(i): Predictions(ids, LABELS, np.eye(3)[a]) for i, a in enumerate(answers)},
                    truth, speakers, n_resamples=200,
                )  # fmt: skip
                said.append(found["share"])
                both = found["sd"] ** 2, found["error_of_clips"] ** 2
                doubled.append(both[0] / sum(both))
        within = np.var(scored, axis=1, ddof=1).mean()
        yield {
            "speakers": n_speakers, "seeds_differ_by": main, "own_noise": own,
            "share": round(float(within / np.var(scored)), 3), "said": share(said),
            "by_error_of_one_run": share(doubled),
        }  # fmt: skip


def curve(runs=300):
    """From half of the training speakers to all: the true gain, and how often a curve rises."""
    for n_speakers, apart in product((4, 8, 16, 32), (0.3, 0.6)):
        rng = np.random.default_rng([n_speakers, int(10 * apart)])
        gains = []
        for _ in range(runs):
            values, truth, speakers = voices(rng, n_speakers + 10, apart)
            test, scored = speakers >= n_speakers, []
            for order in (
                *(rng.permutation(n_speakers)[: n_speakers // 2] for _ in range(3)),
                None,
            ):
                train = ~test if order is None else np.isin(speakers, order)
                scored.append(uar(truth[test], nearest(values, truth, train, test)))
            gains.append(scored[-1] - np.mean(scored[:-1]))
        yield {
            "train_speakers": n_speakers, "apart": apart, "gain": share(gains),
            "sd": round(float(np.std(gains)), 3), "rises": share(np.array(gains) > 0),
        }  # fmt: skip


def crossed(runs=300):
    """Speakers and sentences drawn anew: intervals of UAR and of a difference."""

    def draw(rng, n_speakers, n_sentences, by_speaker, by_sentence):
        shape = np.arange(n_speakers), np.arange(n_sentences), np.arange(3)
        speakers, sentences, truth = (x.ravel() for x in np.meshgrid(*shape, indexing="ij"))
        common = [rng.standard_normal((n, 3)) for n in (n_speakers, n_sentences)]
        guesses = []
        for gap in (0.0, 0.2):
            own = [(one + rng.standard_normal(one.shape)) / np.sqrt(2) for one in common]
            scores = rng.standard_normal((len(truth), 3))
            scores[np.arange(len(truth)), truth] += (
                1.2 + gap
                + by_speaker * own[0][speakers, truth] + by_sentence * own[1][sentences, truth]
            )  # fmt: skip
            guesses.append(scores.argmax(axis=1))
        return truth, speakers, sentences, guesses

    spreads = ((0.7, 0.7), (0.7, 0.0), (0.0, 0.7))
    for (n_speakers, n_sentences), spread in product(((5, 5), (10, 5), (20, 5), (20, 20)), spreads):
        rng = np.random.default_rng([n_speakers, n_sentences])
        goal = np.zeros(2)
        for _ in range(20):
            truth, _, _, guesses = draw(rng, 60, 60, *spread)
            scored = [uar(truth, one) for one in guesses]
            goal += np.array([scored[0], scored[1] - scored[0]]) / 20
        held = np.zeros(3)
        for run in range(runs):
            truth, speakers, sentences, guesses = draw(rng, n_speakers, n_sentences, *spread)
            given, options = dict(zip("ab", guesses, strict=True)), {"n_resamples": 200}
            both = resample_crossed(
                truth, given, speakers, sentences, 3, random_state=run, **options
            )
            alone = resample(truth, given, speakers, 3, random_state=run, **options)
            limits = both.interval("a", "uar"), both.difference("b", "a", "uar")[2]
            for at, (low, high) in enumerate((*limits, alone.interval("a", "uar"))):
                held[at] += low <= goal[at % 2] <= high
        yield {
            "speakers": n_speakers, "sentences": n_sentences, "they_differ_by": spread,
            **dict(zip(("uar", "difference", "uar_by_speakers_alone"),
                       (held / runs).round(3).tolist(), strict=True)),
        }  # fmt: skip


def another_language(runs=4000):
    """The interval of a mean over languages: holds their mean, seldom another language."""
    for count in (5, 7, 12, 20):
        drawn = np.random.default_rng(count).normal(0.6, 0.06, (runs, count + 1))
        low, high = np.array([mean_interval(one[:-1]) for one in drawn]).T
        yield {
            "languages": count, "mean": share((low <= 0.6) & (high >= 0.6)),
            "another": share((low <= drawn[:, -1]) & (drawn[:, -1] <= high)),
        }  # fmt: skip


def languages(runs=200):
    """Conformal sets of a large easy language and of small hard ones."""
    for small, promised in product(((4,), (4, 4, 4), (9,)), (0.8, 0.9)):
        rng = np.random.default_rng(len(small))
        held = []
        for _ in range(runs):
            settings = [(20, 2.4), *((n, 0.6) for n in small)]
            dev = [clips(rng, n, 4, ease) for n, ease in settings]
            names = [str(k) for k, one in enumerate(dev) for _ in one[0]]
            fitted = ConformalSets(promised).fit(
                np.concatenate([one[0] for one in dev]),
                probabilities(np.concatenate([one[2] for one in dev])),
                names,
                np.concatenate([one[1] + 100 * k for k, one in enumerate(dev)]),
            )
            row = []
            for k, (_, ease) in enumerate(settings):
                truth, _, scores = clips(rng, 20, 4, ease)
                sets = fitted.sets(probabilities(scores), [str(k)] * len(truth))
                row.append(sets[np.arange(len(truth)), truth].mean())
            held.append([row[0], np.mean(row[1:])])
        large, hard = np.mean(held, axis=0)
        yield {
            "promised": promised, "small_languages": small, "large": share(large),
            "small": share(hard), "promise_for_small": fitted.promise("1"),
        }  # fmt: skip


def doubts(runs=200):
    """Warnings of test labels that are right, and of labels that are permuted or swapped."""
    for n_speakers, spread, each in product((2, 5, 10, 20), (0.3, 0.7, 1.2), (6, 60)):
        rng = np.random.default_rng([n_speakers, each])
        found = {"right": 0, "right_by_clips": 0, "permuted": 0, "swapped": 0}
        for _ in range(runs):
            (dev, here, a), (test, there, b) = (
                clips(rng, n_speakers, each, 1.0, spread) for _ in "ab"
            )
            answers, guess = (x.argmax(axis=1) for x in (a, b))
            groups = {"dev_groups": here, "groups": there}
            labels = {"right": test, "permuted": rng.permutation(test)}
            labels["swapped"] = np.array([1, 0, 2])[test]
            for name, truth in labels.items():
                found[name] += bool(check_relation("x", dev, answers, truth, guess, 3, **groups))
            found["right_by_clips"] += bool(check_relation("x", dev, answers, test, guess, 3))
        yield {
            "speakers": n_speakers, "differ_by": spread, "clips_of_each": 3 * each,
            **{name: round(count / runs, 3) for name, count in found.items()},
        }  # fmt: skip


def raters(runs=300):
    """Brier score and divergences from votes: coverage over speakers."""
    for n_speakers, votes in product((5, 10, 20), (3, 10)):
        rng = np.random.default_rng([n_speakers, votes])

        def scored(count, rng=rng, votes=votes):
            speakers = np.repeat(np.arange(count), 20)
            said = rng.dirichlet(np.ones(3), len(speakers))
            scores = np.log(said) + 0.9 * rng.standard_normal((count, 3))[speakers]
            counts = rng.multinomial(votes, said).astype(float)
            ids = [str(i) for i in range(len(speakers))]
            made = {"": Predictions(ids, LABELS, probabilities(scores, 0.8))}
            return compare_votes(made, Votes(ids, tuple(LABELS), counts), speakers, 0.95)[
                "systems"
            ][""]

        many, held = [scored(3000) for _ in range(8)], dict.fromkeys(("brier", "kl", "jsd"), 0)
        goal = {name: np.mean([one[name]["value"] for one in many]) for name in held}
        for _ in range(runs):
            found = scored(n_speakers)
            for name in held:
                low, high = found[name]["interval"]
                held[name] += low <= goal[name] <= high
        yield {
            "speakers": n_speakers, "votes": votes,
            **{name: round(count / runs, 3) for name, count in held.items()},
        }  # fmt: skip


def ece_of_speakers(runs=300):
    """ECE of a system that is calibrated over all speakers, and what is called ECE by chance."""
    for n_speakers, each, spread in product((5, 20), (20, 100), (0.0, 0.8)):
        rng = np.random.default_rng([n_speakers, each])
        found, said = [], []
        for _ in range(runs):
            sure = rng.uniform(0.5, 1, (n_speakers, each))
            # odds that are right on average over speakers, whose logits differ by `spread`
            odds = np.log(sure / (1 - sure)) * np.sqrt(1 + 0.346 * spread**2)
            odds += spread * rng.standard_normal((n_speakers, 1))
            wrong = (rng.random(sure.shape) > 1 / (1 + np.exp(-odds))).ravel().astype(int)
            proba = np.stack([sure.ravel(), 1 - sure.ravel()], axis=1)
            found.append(ece(wrong, proba))
            said.append(ece_noise(proba))
        yield {
            "speakers": n_speakers, "clips_of_each": each, "differ_by": spread,
            "ece": share(found), "by_chance": share(said),
        }  # fmt: skip


if __name__ == "__main__":
    measure(
        {
            "equal": equal, "seeds": seeds, "curve": curve, "crossed": crossed,
            "another_language": another_language, "languages": languages, "doubts": doubts,
            "raters": raters, "ece": ece_of_speakers,
        },
        RESULTS,
    )  # fmt: skip
