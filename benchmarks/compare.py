"""Measure what docs/guide/compare.md promises: speed, coverage of intervals, level of tests.

python benchmarks/compare.py            # everything, about five minutes on 2 cores
python benchmarks/compare.py speed      # only the timings
python benchmarks/compare.py coverage   # only the intervals
"""

from __future__ import annotations

import sys
import time

import numpy as np
from affekt.classify.data.predictions import Predictions
from affekt.classify.ensembles.strategy_names import strategy
from affekt.classify.ensembles.subsets import search
from affekt.classify.evaluation.analyses.conformal import ConformalSets
from affekt.classify.metrics.bootstrap import resample
from affekt.classify.metrics.measures import confusion_of_codes, summary
from affekt.classify.metrics.significance import mcnemar, permutation


def speed_bootstrap(n_systems=20, n_clips=20_000, n_labels=7):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, n_labels, n_clips)
    guesses = {
        f"s{i}": np.where(rng.random(n_clips) < 0.6, truth, rng.integers(0, n_labels, n_clips))
        for i in range(n_systems)
    }
    for n_speakers in (100, 1000, 5000, n_clips):
        groups = rng.integers(0, n_speakers, n_clips)
        if n_speakers == n_clips:  # no speakers are known
            groups = np.arange(n_clips)
        start = time.perf_counter()
        resample(truth, guesses, groups, n_labels)
        seconds = time.perf_counter() - start
        print(
            f"bootstrap: 10,000 resamples of {n_speakers} speakers, {n_systems} systems x "
            f"{n_clips} clips x {n_labels} labels: {seconds:.2f} s"
        )


def speed_subsets(n_members=11, n_clips=16_709):
    rng = np.random.default_rng(0)

    def draw(prefix):
        truth = rng.integers(0, 3, n_clips)
        ids = [f"{prefix}{i}" for i in range(n_clips)]
        found = {}
        for m in range(n_members):
            scores = np.exp(rng.normal(size=(n_clips, 3)) + np.eye(3)[truth] * (1 + m / 10))
            proba = scores / scores.sum(axis=1, keepdims=True)
            found[f"m{m:02}"] = Predictions(ids, ("negative", "neutral", "positive"), proba)
        return found, truth

    (dev, dev_truth), (test, truth) = draw("d"), draw("t")
    rules = ["mean", "max", "geometric", "vote", "rank"]
    start = time.perf_counter()
    for best in search(dev, dev_truth, rules):
        rule = strategy(best.strategy)
        codes = rule.combine({name: test[name] for name in best.members}).codes
        print(
            f"  {best.strategy}: {len(best.members)} members, dev UAR {best.uar:.4f}, test UAR "
            f"{summary(confusion_of_codes(truth, codes, 3))['uar']:.4f}"
        )
    seconds = time.perf_counter() - start
    print(
        f"subsets: {2**n_members - 1} subsets of {n_members} members x {len(rules)} strategies on "
        f"{n_clips} clips: {seconds:.1f} s"
    )


def coverage_of_intervals(runs=2000, n_resamples=300):
    """95 % intervals of UAR over speakers who differ in ease, overall and for each label."""
    rng = np.random.default_rng(1)
    for n_speakers in (4, 7, 10, 20, 40):
        for strong, weak in ((6, 3), (18, 2)):
            held = 0
            for run in range(runs):
                sizes = rng.integers(6, 25, n_speakers)
                groups = np.repeat(np.arange(n_speakers), sizes)
                ease = rng.beta(strong, weak, (n_speakers, 3))
                truth = rng.integers(0, 3, len(groups))
                right = rng.random(len(groups)) < ease[groups, truth]
                guess = np.where(right, truth, (truth + rng.integers(1, 3, len(truth))) % 3)
                drawn = resample(
                    truth, {"": guess}, groups, 3, n_resamples=n_resamples, random_state=run
                )
                low, high = drawn.interval("", "uar")
                held += low <= strong / (strong + weak) <= high
            print(
                f"coverage of 95 % intervals: {n_speakers} speakers, mean recall "
                f"{strong / (strong + weak):.2f}: {100 * held / runs:.1f} % of {runs} runs"
            )


def level_of_tests(runs=1000):
    """Two equal systems whose errors go by speaker: how often each test says 'different' at 5 %."""
    rng = np.random.default_rng(2)
    rejected = {"McNemar on clips": 0, "permutation of speakers": 0}
    for run in range(runs):
        luck = rng.random((20, 2)).repeat(20, axis=0)
        right = rng.random((400, 2)) < luck
        only = (right[:, 0] & ~right[:, 1]).sum(), (right[:, 1] & ~right[:, 0]).sum()
        rejected["McNemar on clips"] += mcnemar(*map(int, only)) < 0.05
        parts = right.reshape(20, 20, 2).sum(axis=1) / 400
        p, _ = permutation(parts, n_draws=1000, random_state=run)
        rejected["permutation of speakers"] += p[0, 1] < 0.05
    for name, count in rejected.items():
        print(f"false alarms at 5 %, errors by speaker: {name}: {100 * count / runs:.1f} %")


def coverage_of_sets(runs=200):
    rng = np.random.default_rng(3)
    for promised in (0.8, 0.9, 0.95):
        held = []
        for _ in range(runs):
            proba = rng.dirichlet([0.7] * 5, 1500)
            truth = (proba.cumsum(axis=1)[:, :-1] < rng.random((1500, 1))).sum(axis=1)
            sets = ConformalSets(promised).fit(truth[:500], proba[:500])
            held.append(sets.check(truth[500:], proba[500:])["all"]["coverage"])
        print(f"conformal sets: {100 * promised:g} % promised, {100 * np.mean(held):.1f} % held")


def main() -> None:
    asked = sys.argv[1:]
    if "speed" in asked or not asked:
        speed_bootstrap()
        speed_subsets()
    if "coverage" in asked or not asked:
        coverage_of_intervals()
    if not asked:
        level_of_tests()
        coverage_of_sets()


if __name__ == "__main__":
    main()
