"""Measure what is learnt from dev, pooled folds and tables: coverage, calibration, gaps.

python benchmarks/claims_dev.py          # everything, two minutes; writes benchmarks/results
python benchmarks/claims_dev.py folds    # or one of languages, families, gaps, calibration, ...

Clips of speakers are those of `claims.draw`; folds train a classifier by nearest class means.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from affekt.classify.data.predictions import Predictions
from affekt.classify.ensembles.calibration import CALIBRATORS
from affekt.classify.ensembles.combining import combine_all
from affekt.classify.evaluation.analyses.abstention import threshold
from affekt.classify.evaluation.scores.dev_choice import choice
from affekt.classify.evaluation.scores.gaps import gaps
from affekt.classify.evaluation.scores.pair_tests import family_of
from affekt.classify.evaluation.scores.scoring import mean_interval
from affekt.classify.evaluation.stages import best_on_dev
from affekt.classify.experiments.results.repeats import spread
from affekt.classify.metrics.bootstrap import resample
from affekt.classify.metrics.max_t import max_t
from affekt.classify.metrics.measures import ece, ece_noise, nll
from claims import draw

RESULTS = Path(__file__).parent / "results" / "claims_dev.json"
LABELS = ["a", "b", "c"]
CLIPS, DIMENSIONS = 6, 12  # of each class and speaker


def probabilities(scores, scale=1.2):
    proba = np.exp(scale * (scores - scores.max(axis=1, keepdims=True)))
    return proba / proba.sum(axis=1, keepdims=True)


def voices(rng, n_speakers, apart):
    """Return embeddings of speakers who differ, overall and in each class."""
    truth = np.tile(np.repeat(np.arange(3), CLIPS), n_speakers)
    speakers = np.repeat(np.arange(n_speakers), 3 * CLIPS)
    values = rng.normal(size=(len(truth), DIMENSIONS))
    values += rng.normal(0, apart, (n_speakers, DIMENSIONS))[speakers]
    values += rng.normal(0, apart, (n_speakers, 3, DIMENSIONS))[speakers, truth]
    values[np.arange(len(truth)), truth] += 1.5
    return values, truth, speakers


def nearest(values, truth, trained, asked):
    means = np.stack([values[trained & (truth == k)].mean(axis=0) for k in range(3)])
    return ((values[asked][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def uar(truth, guess):
    return float(np.mean([(guess[truth == k] == k).mean() for k in range(3)]))


def folds(runs=300):
    """Five folds by speaker, pooled: is the UAR held that training on so many gives?"""
    for apart in (0.3, 0.6):
        for n_speakers in (6, 10, 20, 40):
            rng = np.random.default_rng([n_speakers, int(10 * apart)])
            found = []
            for run in range(runs):
                values, truth, speakers = voices(rng, n_speakers, apart)
                fold = rng.permutation(n_speakers)[speakers] % 5
                guess = np.empty(len(truth), int)
                for one in range(5):
                    guess[fold == one] = nearest(values, truth, fold != one, fold == one)
                limits = [
                    resample(
                        truth, {"": guess}, speakers, 3,
                        n_resamples=200, random_state=run, pooled=pooled,
                    ).interval("", "uar")
                    for pooled in (False, True)
                ]  # fmt: skip
                found.append([uar(truth, guess), *limits[0], *limits[1]])
            value, low, high, pooled_low, pooled_high = np.array(found).T
            goal = value.mean()
            yield {
                "speakers": n_speakers, "apart": apart,
                "covered": share((pooled_low <= goal) & (goal <= pooled_high)),
                "by_speakers_alone": share((low <= goal) & (goal <= high)),
            }  # fmt: skip


def languages(runs=1000):
    """Languages left out one by one: interval of their mean."""
    for apart in (0.4, 0.8):
        for count in (5, 7, 12, 20):
            rng = np.random.default_rng([count, int(10 * apart)])
            found = []
            for _ in range(runs):
                parts, means = [], []
                for _ in range(count):
                    values, truth, _ = voices(rng, 8, 0.4)
                    values += rng.normal(0, apart, DIMENSIONS)
                    values += rng.normal(0, apart, (3, DIMENSIONS))[truth]
                    parts.append(values)
                    means.append([values[truth == k].mean(axis=0) for k in range(3)])
                scored = []
                for out, values in enumerate(parts):
                    centre = np.delete(np.array(means), out, axis=0).mean(axis=0)
                    near = ((values[:, None] - centre) ** 2).sum(axis=2).argmin(axis=1)
                    scored.append(uar(truth, near))
                pooled, plain = (mean_interval(scored, pooled=p) for p in (True, False))
                found.append([np.mean(scored), *pooled, *plain])
            value, low, high, plain_low, plain_high = np.array(found).T
            goal = value.mean()
            yield {
                "languages": count, "apart": apart,
                "covered": share((low <= goal) & (goal <= high)),
                "by_languages_alone": share((plain_low <= goal) & (goal <= plain_high)),
            }  # fmt: skip


def repeats(runs=300):
    """Five repeats of a split by speaker: interval of the mean (Nadeau and Bengio)."""
    for n_speakers in (6, 10, 20, 40):
        rng = np.random.default_rng(n_speakers)
        out, found = round(0.3 * n_speakers), []
        for _ in range(runs):
            values, truth, speakers = voices(rng, n_speakers, 0.5)
            scored = []
            for _ in range(5):
                asked = rng.permutation(n_speakers)[speakers] < out
                scored.append(uar(truth[asked], nearest(values, truth, ~asked, asked)))
            result = spread(scored, out / (n_speakers - out))
            found.append([result["mean"], *result["interval"]])
        value, low, high = np.array(found).T
        held = (low <= value.mean()) & (value.mean() <= high)
        yield {"speakers": n_speakers, "covered": share(held)}


def families(runs=1000):
    """Several systems of equal accuracy, some of which (e) fail a fifth of the speakers."""
    for n_speakers in (8, 10, 12, 20):
        for kinds, first in (("es", True), ("esss", True), ("sess", True), ("ees", False)):
            rng = np.random.default_rng(n_speakers)
            speakers = np.repeat(range(n_speakers), 20)
            truth = np.zeros(len(speakers), int)
            names = [str(i) for i in range(len(kinds))]
            asked = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
            asked = [pair for pair in asked if pair[0] == "0" or not first]
            alarms = 0
            for run in range(runs):
                right = {}
                for name, kind in zip(names, kinds, strict=True):
                    fails = np.where(rng.random(n_speakers) < 0.2, 0.4, 0.9)[speakers]
                    right[name] = rng.random(len(truth)) < (fails if kind == "e" else 0.8)
                family = family_of(truth, right, speakers, 1, asked)
                test = max_t(*family[:3], n_draws=500, random_state=run)
                alarms += test.corrected.min() < 0.05
            yield {
                "speakers": n_speakers, "systems": kinds,
                "pairs": "first" if first else "all", "false_alarms": round(alarms / runs, 3),
            }  # fmt: skip


def differences_by_value(runs=600):
    """A column that makes no difference: how often a gap is called one."""
    for n_speakers, split in ((10, 2), (20, 2), (40, 2), (20, "5 against the rest"),
                              (40, "5 against the rest"), (20, 4), (40, 8)):  # fmt: skip
        for design in ("even", "uneven"):
            rng = np.random.default_rng(n_speakers)
            alarms = 0
            for run in range(runs):
                truth, speakers, [score] = draw(rng, n_speakers, 3, design, "high")
                code = speakers % split if isinstance(split, int) else (speakers < 5).astype(int)
                rows = gaps(
                    truth, score.argmax(axis=1), speakers, code.astype(str), 3,
                    n_resamples=250, random_state=run,
                )  # fmt: skip
                alarms += any(row["p_corrected"] < 0.05 for row in rows)
            yield {
                "design": design, "speakers": n_speakers, "values": split,
                "false_alarms": round(alarms / runs, 3),
            }  # fmt: skip


def calibration(runs=60):
    """NLL on forty new speakers, less that without calibration."""
    for spread_ in ("low", "high"):
        for n_speakers in (1, 2, 5, 20):
            for scale in (0.6, 1.2, 3):
                rng = np.random.default_rng([n_speakers, int(10 * scale)])
                before, change = [], {name: [] for name in CALIBRATORS}
                for _ in range(runs):
                    sides = []
                    for count in (n_speakers, 40):
                        truth, speakers, [score] = draw(rng, count, 3, "even", spread_)
                        ids = [str(i) for i in range(len(truth))]
                        made = Predictions(ids, LABELS, probabilities(score, scale))
                        sides.append((made, truth, speakers))
                    (dev, dev_truth, speakers), (test, truth, _) = sides
                    before.append(nll(truth, test.proba))
                    for name, kind in CALIBRATORS.items():
                        fitted = kind().fit(dev, [LABELS[k] for k in dev_truth], speakers)
                        change[name].append(nll(truth, fitted.apply(test).proba) - before[-1])
                yield {
                    "spread": spread_, "dev_speakers": n_speakers, "scale": scale,
                    "nll": round(float(np.mean(before)), 3),
                    **{name: round(float(np.mean(one)), 3) for name, one in change.items()},
                }  # fmt: skip


def ece_of_the_calibrated(runs=300):
    """ECE of a perfectly calibrated system, and what the report calls ECE by chance."""
    rng = np.random.default_rng(0)
    for clips in (30, 90, 200, 500, 2000):
        found, said = [], []
        for _ in range(runs):
            proba = rng.dirichlet(np.ones(3), clips)
            truth = (proba.cumsum(axis=1)[:, :-1] < rng.random((clips, 1))).sum(axis=1)
            found.append(ece(truth, proba))
        said = [ece_noise(rng.dirichlet(np.ones(3), clips)) for _ in range(20)]
        yield {
            "clips": clips, "ece": round(float(np.mean(found)), 3),
            "by_chance": round(float(np.mean(said)), 3),
        }  # fmt: skip


def thresholds(runs=200):
    """A threshold that reaches an accuracy on dev: what it reaches on new speakers."""
    for spread_ in ("low", "high"):
        for n_speakers in (5, 20, 60):
            rng = np.random.default_rng(n_speakers)
            for wanted in (0.8, 0.9):
                reached = []
                for _ in range(runs):
                    truth, _, [score] = draw(rng, n_speakers, 3, "even", spread_)
                    new, _, [other] = draw(rng, 40, 3, "even", spread_)
                    proba = probabilities(other)
                    sure = proba.max(axis=1) >= threshold(truth, probabilities(score), wanted)
                    if sure.any():
                        reached.append((proba.argmax(axis=1) == new)[sure].mean())
                yield {
                    "spread": spread_, "dev_speakers": n_speakers, "on_dev": wanted,
                    "reached": round(float(np.mean(reached)), 3),
                }  # fmt: skip


def chosen(runs=150):
    """The best of several equal systems on dev: how much too high, and what the report says."""
    for n_systems in (2, 5, 20):
        for n_speakers in (5, 20):
            rng = np.random.default_rng([n_systems, n_speakers])
            high, said, most, again, same = [], [], [], [], []
            for run in range(runs):
                bests = []
                for _ in range(2):  # another dev, then the one that is asked about
                    truth, speakers, systems = draw(
                        rng, n_speakers, 3, "even", "low", np.zeros(n_systems)
                    )
                    guesses = {str(i): s.argmax(axis=1) for i, s in enumerate(systems)}
                    scored = {name: uar(truth, guess) for name, guess in guesses.items()}
                    best = max(scored, key=scored.__getitem__)
                    bests.append(best)
                again.append(bests[0] == bests[1])
                high.append(scored[best] - np.mean(list(scored.values())))
                result = choice(best, guesses, truth, speakers, 3, random_state=run)
                said.append(result["optimism"])
                most.append(result["optimism_if_equal"])
                same.append(result["same"])
            yield {
                "systems": n_systems, "dev_speakers": n_speakers,
                "too_high_by": round(float(np.mean(high)), 3),
                "said": round(float(np.mean(said)), 3),
                "to": round(float(np.mean(most)), 3),
                "chosen_again": share(again), "first_in_draws": share(same),
            }  # fmt: skip


def choosing(runs=100):
    """UAR on sixty new speakers of what is chosen on dev, less that of the mean of all members."""
    rules = ["mean", "max", "geometric", "median", "vote", "weighted", "stacking", "greedy"]
    settings = [(m, s, n, 0.15) for m, s in ((3, False), (6, False), (6, True), (10, True))
                for n in (5, 20)]  # fmt: skip
    settings += [(6, True, n, skill) for n in (5, 20) for skill in (0.0, 0.5)]
    settings += [(4, False, n, 0.15) for n in (2, 3, 10)]
    for n_members, subsets, n_speakers, skill in settings:
        rng = np.random.default_rng([n_members, subsets, n_speakers, int(100 * skill)])
        gains = []
        for run in range(runs):
            gaps_ = rng.normal(-0.6, skill, n_members)
            sides = []
            for count in (n_speakers, 60):
                truth, speakers, systems = draw(rng, count, 3, "even", "low", gaps_)
                ids = [str(i) for i in range(len(truth))]
                made = [Predictions(ids, LABELS, probabilities(one)) for one in systems]
                sides.append(({f"m{i}": one for i, one in enumerate(made)}, truth, speakers))
            (dev, codes, speakers), (test, truth, _) = sides
            found = combine_all(test, rules, dev, codes, speakers, subsets=subsets)
            guesses = {name: one.dev_predictions.codes for name, one in found.items()}
            best = best_on_dev(found, "uar", "nll")
            result = choice(best, guesses, codes, speakers, 3, mean="mean", random_state=run)
            scored = [uar(truth, found[n].test.codes) for n in (best, result["chosen"], "mean")]
            gains.append([scored[0] - scored[2], scored[1] - scored[2], result["chosen"] == "mean"])
        best, chosen_, kept = np.mean(gains, axis=0)
        yield {
            "members": n_members, "subsets": subsets, "dev_speakers": n_speakers,
            "members_differ_by": skill, "best_on_dev": round(100 * best, 2),
            "chosen": round(100 * chosen_, 2),
            "se": round(100 * float(np.std([one[1] for one in gains])) / runs**0.5, 2),
            "mean_taken": round(kept, 2),
        }  # fmt: skip


def nearly_perfect(runs=300):
    """Recalls near 1 and near 0: coverage, and intervals of zero width."""
    for n_speakers, n_labels, clips, recall in (
        (6, 3, 5, 0.97), (10, 3, 5, 0.97), (6, 7, 3, 0.97), (20, 3, 3, 0.99), (10, 7, 3, 0.05),
    ):  # fmt: skip
        rng = np.random.default_rng([n_speakers, n_labels])
        held, zero = {"uar": 0, "recall 0": 0}, 0
        for run in range(runs):
            truth = np.tile(np.repeat(np.arange(n_labels), clips), n_speakers)
            speakers = np.repeat(np.arange(n_speakers), n_labels * clips)
            chance = rng.beta(30 * recall, 30 * (1 - recall), (n_speakers, n_labels))
            right = rng.random(len(truth)) < chance[speakers, truth]
            guess = np.where(right, truth, (truth + 1) % n_labels)
            drawn = resample(
                truth, {"": guess}, speakers, n_labels,
                n_resamples=200, random_state=run, per_class=True,
            )  # fmt: skip
            for name in held:
                low, high = drawn.interval("", name)
                held[name] += low <= recall <= high
                zero += high - low < 1e-9
        yield {
            "speakers": n_speakers, "labels": n_labels, "recall": recall, "zero_width": zero,
            **{name: round(n / runs, 3) for name, n in held.items()},
        }  # fmt: skip


def share(held):
    return round(float(np.mean(held)), 3)


def measure(jobs, results) -> None:
    """Run the jobs that the command names, or all; keep their rows with those of the others."""
    kept = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    for name in sys.argv[1:] or list(jobs):
        start, rows = time.process_time(), []
        for row in jobs[name]():
            rows.append(row)
            print(name, row, flush=True)
        kept[name] = {"cpu_seconds": round(time.process_time() - start), "rows": rows}
        results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    jobs = {
        "folds": folds, "languages": languages, "repeats": repeats, "families": families,
        "gaps": differences_by_value, "calibration": calibration, "ece": ece_of_the_calibrated,
        "thresholds": thresholds, "chosen": chosen, "choosing": choosing,
        "nearly_perfect": nearly_perfect,
    }  # fmt: skip
    measure(jobs, RESULTS)


if __name__ == "__main__":
    main()
