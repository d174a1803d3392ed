"""Measure what a report claims: coverage of intervals, errors and power of the test, sets, speed.

python benchmarks/claims.py            # everything, a few minutes; writes benchmarks/results
python benchmarks/claims.py coverage   # one of coverage, tests, erratic, sets, speed

Clips of speakers are drawn from a latent model: score = ease of the speaker for the true class +
pull of the speaker to each class + noise. The truth is the value over many speakers.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from affekt.classify.evaluation.analyses.conformal import ConformalSets
from affekt.classify.evaluation.scores.pair_tests import discordant, family_of, pairs
from affekt.classify.metrics.bootstrap import resample
from affekt.classify.metrics.detectable import detectable
from affekt.classify.metrics.max_t import max_t
from affekt.classify.metrics.measures import confusion_of_codes, summary

RESULTS = Path(__file__).parent / "results" / "claims.json"
SPREAD = {"low": 0.15, "high": 0.7}
MEASURES = ("uar", "accuracy", "macro_f1", "weighted_f1")


def draw(rng, n_speakers, n_labels, design, spread, gaps=(0.0,)):
    """Return truth, speakers and the scores of each system, all by clip."""
    sd, per = SPREAD[spread], 6
    if design == "uneven":
        sizes = np.clip(rng.lognormal(np.log(per * n_labels), 0.7, n_speakers).astype(int), 4, None)
        share = 0.6 ** np.arange(n_labels)
        alpha = 2 * n_labels * share / share.sum() + 1e-3
        truth = np.concatenate([rng.choice(n_labels, n, p=rng.dirichlet(alpha)) for n in sizes])
        speakers = np.repeat(np.arange(n_speakers), sizes)
    else:
        classes = n_labels - (design == "rare")
        truth = np.tile(np.repeat(np.arange(classes), per), n_speakers)
        speakers = np.repeat(np.arange(n_speakers), classes * per)
        if design == "rare":  # the last class comes from one speaker
            truth, speakers = np.r_[truth, [classes] * 8], np.r_[speakers, [0] * 8]
    n = len(truth)
    shapes = ((n_speakers,), (n_speakers, n_labels), (n, n_labels))
    common = [rng.standard_normal(shape) for shape in shapes]
    systems = []
    for gap in gaps:
        own = [rng.standard_normal(shape) for shape in shapes]
        if len(gaps) > 1:
            own = [(a + b) * np.sqrt(0.5) for a, b in zip(common, own, strict=True)]
        score = own[2] + sd * own[1][speakers]
        ease = 1.6 + np.linspace(-0.4, 0.4, n_labels)
        score[np.arange(n), truth] += ease[truth] + sd * own[0][speakers] + gap
        systems.append(score)
    return truth, speakers, systems


def coverage(runs=1000):
    """Of measures, of recalls, and of the difference between two systems."""
    rows = []
    for design, n_labels, spread in (
        ("even", 3, "high"), ("even", 3, "low"), ("uneven", 3, "high"), ("uneven", 3, "low"),
        ("uneven", 7, "high"), ("rare", 3, "high"), ("rare", 7, "high"),
    ):  # fmt: skip
        for n_speakers in (5, 6, 10, 20, 50):
            rng = np.random.default_rng([n_speakers, n_labels, len(design), len(spread)])
            setting = (n_speakers, n_labels, design, spread, (0.0, 0.2))
            many = [draw(rng, *setting) for _ in range(6000 // n_speakers)]
            truth = np.concatenate([one[0] for one in many])
            tables = [
                confusion_of_codes(
                    truth, np.concatenate([one[2][i].argmax(axis=1) for one in many]), n_labels
                )
                for i in (0, 1)
            ]
            table = tables[0]
            true = {**summary(table)} | {
                f"recall {k}": table[k, k] / table[k].sum() for k in range(n_labels)
            }
            true["difference"] = summary(tables[1])["uar"] - true["uar"]
            names = [*MEASURES, "recall 0", f"recall {n_labels - 1}", "difference"]
            held, given, zero = dict.fromkeys(names, 0), dict.fromkeys(names, 0), 0
            for run in range(runs):
                truth, speakers, scores = draw(rng, *setting)
                guesses = {n: s.argmax(axis=1) for n, s in zip("ab", scores, strict=True)}
                drawn = resample(
                    truth, guesses, speakers, n_labels,
                    n_resamples=200, random_state=run, per_class=True,
                )  # fmt: skip
                for name in names:
                    if name == "difference":
                        floor = discordant(truth, *(g == truth for g in guesses.values()), n_labels)
                        low, high = drawn.difference("b", "a", "uar", floor=floor)[2]
                    else:
                        low, high = drawn.interval("a", name)
                    if not np.isnan(low):
                        given[name] += 1
                        held[name] += low <= true[name] <= high
                        zero += high - low < 1e-9
            found = {n: round(held[n] / given[n], 3) if given[n] else None for n in names}
            rows.append(
                {"design": design, "labels": n_labels, "spread": spread, "speakers": n_speakers,
                 "covered": found, "zero_width": zero}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def family(truth, speakers, systems):
    """The last of several systems against each other one."""
    last = len(systems) - 1
    right = {str(i): s.argmax(axis=1) == truth for i, s in enumerate(systems)}
    asked = [(str(last), str(i)) for i in range(last)]
    return family_of(truth, right, speakers, systems[0].shape[1], asked)


def tested(found, run):
    return max_t(*found[:3], n_draws=1000, random_state=run).corrected < 0.05


def better(n_systems, latent, half=False):
    """The last system better; or half of that, and all others worse by the other half."""
    gaps = np.full(n_systems, -latent / 2 if half else 0.0)
    gaps[-1] += latent / 2 if half else latent
    return gaps


def uar_gap(latent, spread, half):
    rng = np.random.default_rng(5)
    found = family(*draw(rng, 1000, 3, "even", spread, better(2, latent, half)))
    return float(found.differences.sum())


def promised(rng, n_speakers, n_systems, design, spread, runs=16):
    """What the report calls detectable, mean over data sets; NaN where half promise nothing."""
    found = [
        detectable(
            *family(*draw(rng, n_speakers, 3, design, spread, np.zeros(n_systems))),
            n_sets=60,
            n_draws=400,
        )
        for _ in range(runs)
    ]
    found = np.array(found)
    return float(np.nanmean(found)) if np.isnan(found).mean() < 0.5 else np.nan


def found_at(rng, wanted, n_speakers, n_systems, design, spread, half, runs):
    """How often a true difference of that size is found."""
    low, high = 0.0, 4.0
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if uar_gap(middle, spread, half) < wanted else (low, middle)
    gaps = better(n_systems, middle, half)
    hits = [
        tested(family(*draw(rng, n_speakers, 3, design, spread, gaps)), run)[0]
        for run in range(runs)
    ]
    return round(float(np.mean(hits)), 3)


def differences_of_systems(runs=300):
    """False alarms, power, and whether what is called detectable is found."""
    rows = []
    for design, spread in (("even", "low"), ("even", "high"), ("uneven", "high")):
        for n_speakers, n_systems in ((6, 4), (8, 2), (8, 4), (10, 4), (20, 4), (20, 8)):
            rng = np.random.default_rng([n_speakers, n_systems, len(design)])
            equal = np.zeros(n_systems)
            alarms = [
                tested(family(*draw(rng, n_speakers, 3, design, spread, equal)), run).any()
                for run in range(10 * runs)
            ]
            row = {
                "design": design, "spread": spread, "speakers": n_speakers, "systems": n_systems,
                "false_alarms": round(float(np.mean(alarms)), 3),
            }  # fmt: skip
            gaps = better(n_systems, 1.2 if spread == "high" else 0.8)  # as in a published table
            hits = [
                tested(family(*draw(rng, n_speakers, 3, design, spread, gaps)), run)[0]
                for run in range(runs)
            ]
            row["power"] = round(float(np.mean(hits)), 3)
            wanted = promised(rng, n_speakers, n_systems, design, spread)
            if np.isnan(wanted):
                row["detectable"] = None
            else:
                row["detectable"] = round(wanted, 3)
                for name, half in (("found", False), ("found_if_others_are_worse_too", True)):
                    row[name] = found_at(
                        rng, wanted, n_speakers, n_systems, design, spread, half, runs
                    )
            rows.append(row)
            print(row, flush=True)
    return rows


def erratic(runs=3000):
    """Two systems of equal accuracy, one far worse for a fifth of the speakers."""
    rows = []
    for n_speakers in (6, 8, 12, 20, 50):
        for sizes in ("equal", "unequal"):
            rng = np.random.default_rng(n_speakers)
            alarms, exchanged = 0, 0
            for run in range(runs):
                n = np.clip(rng.lognormal(3, 1, n_speakers).astype(int), 4, None)
                speakers = np.repeat(range(n_speakers), 20 if sizes == "equal" else n)
                chance = np.where(rng.random(n_speakers) < 0.2, 0.4, 0.9)[speakers]
                truth = np.zeros(len(speakers), int)
                right = {"a": rng.random(len(truth)) < chance, "b": rng.random(len(truth)) < 0.8}
                found = family_of(truth, right, speakers, 1, [("a", "b")])
                alarms += tested(found, run)[0]
                exchanged += tested(found[:1], run)[0]
            rows.append(
                {"speakers": n_speakers, "sizes": sizes,
                 "false_alarms": round(float(alarms) / runs, 3),
                 "by_exchanges_alone": round(float(exchanged) / runs, 3)}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def sets(runs=150):
    rows = []
    for spread in ("low", "high"):
        for n_speakers in (5, 10, 30):
            rng = np.random.default_rng(n_speakers)
            for promised in (0.8, 0.9):
                held = []
                for _ in range(runs):
                    truth, speakers, [score] = draw(rng, n_speakers, 3, "even", spread)
                    new, _, [other] = draw(rng, 40, 3, "even", spread)
                    here, there = (np.exp(1.2 * s) for s in (score, other))
                    proba, asked = (p / p.sum(axis=1, keepdims=True) for p in (here, there))
                    fitted = ConformalSets(promised).fit(truth, proba, speakers=speakers)
                    held.append(fitted.sets(asked)[np.arange(len(new)), new].mean())
                rows.append(
                    {"spread": spread, "dev_speakers": n_speakers, "promised": promised,
                     "held": round(float(np.mean(held)), 3)}
                )  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def speed(n_systems=20, n_clips=20_000, n_speakers=200, n_labels=7):
    rng = np.random.default_rng(0)
    truth, speakers = rng.integers(0, n_labels, n_clips), rng.integers(0, n_speakers, n_clips)
    guesses = {
        f"s{i}": np.where(rng.random(n_clips) < 0.6, truth, rng.integers(0, n_labels, n_clips))
        for i in range(n_systems)
    }
    start = time.perf_counter()
    drawn = resample(truth, guesses, speakers, n_labels)
    middle = time.perf_counter()
    pairs(truth, guesses, speakers, drawn, n_labels, 0, 0.95, "s0")
    chosen = time.perf_counter()
    pairs(truth, guesses, speakers, drawn, n_labels, 0, 0.95)
    stop = time.perf_counter()
    row = {
        "resamples": round(middle - start, 2),
        "tests_of_one_system": round(chosen - middle, 2),
        "tests_of_all_pairs": round(stop - chosen, 2),
    }
    print(row, flush=True)
    return [row]


def main() -> None:
    jobs = {
        "coverage": coverage,
        "tests": differences_of_systems,
        "erratic": erratic,
        "sets": sets,
        "speed": speed,
    }
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in sys.argv[1:] or list(jobs):
        start = time.process_time()
        rows = jobs[name]()
        kept[name] = {"cpu_seconds": round(time.process_time() - start), "rows": rows}
        RESULTS.parent.mkdir(exist_ok=True)
        text = json.dumps(kept, indent=1) + "\n"
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
