"""Compare: the same result in any order, everything chosen on dev, plain sentences."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.cache.manifest import Manifest
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.comparison import Comparison

LABELS = ("negative", "neutral", "positive")
RAW = {"negative": "anger", "neutral": "calm", "positive": "joy"}


def clips(n=240, n_speakers=24, prefix="c", seed=0):
    rng = np.random.default_rng(seed)
    return Manifest.from_rows(
        [
            {
                "id": f"{prefix}{i:03}",
                "text": f"words {prefix}{i}",
                "label": RAW[LABELS[rng.integers(3)]],
                "speaker": f"{prefix}{i % n_speakers}",
                "language": "deu" if i % n_speakers < n_speakers // 2 else "eng",
                "gender": "fm"[i % 2],
            }
            for i in range(n)
        ]
    )


def member(table, skill, seed):
    rng = np.random.default_rng(seed)
    task = Task.named("valence")
    truth = np.array([LABELS.index(task.label_of(raw)) for raw in table["label"]])
    scores = rng.normal(size=(len(table), 3)) + skill * np.eye(3)[truth]
    powers = np.exp(scores)
    return Predictions(table.ids, LABELS, powers / powers.sum(axis=1, keepdims=True))


def members(table, seed=0):
    return {
        name: member(table, skill, seed + i)
        for i, (name, skill) in enumerate({"speech": 1.5, "text": 0.7, "both": 1.6}.items())
    }


@pytest.fixture(scope="module")
def setting():
    test, dev = clips(), clips(120, 12, "d", seed=9)
    return members(test), test, members(dev, 50), dev


def run(setting, **options):
    found, test, dev, dev_truth = setting
    options = {"n_resamples": 100, "dev": dev, "dev_truth": dev_truth, **options}
    return compare(found, test, "valence", **options)


def test_shuffled_rows_other_columns_and_other_names_give_the_same_file(setting, tmp_path):
    found, test, dev, dev_truth = setting
    every = ["mean", "max", "geometric", "median", "vote", "rank", "weighted", "greedy"]
    one = run(setting, strategies=every, subsets=True, calibrate="temperature")
    rng = np.random.default_rng(1)

    def mixed(predictions, name):
        rows = rng.permutation(len(predictions))
        columns = rng.permutation(3)
        other = predictions.select([predictions.ids[row] for row in rows])
        other = other.reorder([LABELS[c] for c in columns]).renamed({"negative": "neg"})
        other.write(tmp_path / f"{name}.csv")
        return Predictions.read(tmp_path / f"{name}.csv", LABELS, {"neg": "negative"})

    other = compare(
        {name: mixed(found[name], name) for name in reversed(found)},
        test.select(rng.permutation(len(test))),
        "valence",
        dev={name: mixed(dev[name], name) for name in dev},
        dev_truth=dev_truth.select(rng.permutation(len(dev_truth))),
        strategies=every,
        subsets=True,
        calibrate="temperature",
        n_resamples=100,
    )
    mine, theirs = one.data, other.data
    for part in (mine, theirs):  # the manifest was shuffled: its hash is of the order too
        part["test"].pop("manifest")
        part["dev"].pop("manifest")
    for name, system in mine["systems"].items():
        assert theirs["systems"][name] == system, name
    assert mine["by"] == theirs["by"]
    assert mine["diversity"] == theirs["diversity"]
    assert mine["chosen"] == theirs["chosen"]


def test_twice_is_the_same_to_the_last_digit(setting):
    assert run(setting).json() == run(setting).json()


def test_misaligned_missing_and_double_rows_are_named(setting):
    found, test, _, _ = setting
    short = {**found, "text": found["text"].select(test.ids[1:])}
    with pytest.raises(InputError, match="no row for 'c000'"):
        compare(short, test, "valence")
    surplus = test.select(test.ids[1:])
    with pytest.raises(InputError, match="unexpected rows: 'c000'"):
        compare(found, surplus, "valence")
    with pytest.raises(InputError, match="missing: negative"):
        compare({"a": found["text"].renamed({"negative": "n"})}, test, "valence")
    with pytest.raises(InputError, match="nothing to compare"):
        compare({}, test, "valence")


def test_dev_needs_its_truth_and_the_same_members(setting):
    found, test, dev, dev_truth = setting
    with pytest.raises(InputError, match="belong together"):
        compare(found, test, "valence", dev=dev)
    with pytest.raises(InputError, match="expected the same"):
        compare(found, test, "valence", dev={"text": dev["text"]}, dev_truth=dev_truth)


def test_clips_that_the_task_leaves_out_are_counted_not_scored(setting):
    found, test, _, _ = setting
    labels = ["surprise", *list(test["label"])[1:]]
    result = compare(found, test.with_columns(label=labels), "valence", n_resamples=50).data
    assert result["test"]["clips"] == len(test) - 1
    assert result["test"]["left_out"] == {"surprise": 1}


def test_an_absent_class_is_listed_and_counts_zero(setting):
    found, test, _, _ = setting
    keep = [i for i, label in zip(test.ids, test["label"], strict=True) if label != "joy"]
    part = {name: p.select(keep) for name, p in found.items()}
    result = compare(part, test.select(keep), "valence", n_resamples=50)
    assert result.data["test"]["absent"] == ["positive"]
    best = max(row["test"]["uar"]["value"] for row in result.data["systems"].values())
    assert best <= 2 / 3
    assert "Absent from test, counted as 0 in every mean: positive" in result.report()
    assert "no test clip is positive" in result.data["warnings"][0]
    assert "UAR is 0.667 at most" in result.data["warnings"][0]


def test_what_dev_prefers_is_chosen_and_test_has_no_say(setting):
    found, test, dev, dev_truth = setting
    result = run(setting, strategies=["mean", "max", "stacking"])
    systems = result.data["systems"]
    best, made = max(s["dev"]["uar"] for s in systems.values()), result.data["choice"]
    assert systems[made["best"]]["dev"]["uar"] == best
    assert made["lead"] == pytest.approx(best - systems["mean"]["dev"]["uar"])
    assert result.chosen == made["best"] if made["lead"] > made["needed"] else "mean"
    rng = np.random.default_rng(0)
    other = test.with_columns(label=list(rng.permutation(test["label"])))
    again = compare(
        found,
        other,
        "valence",
        dev=dev,
        dev_truth=dev_truth,
        strategies=["mean", "max", "stacking"],
        n_resamples=50,
    )
    assert again.chosen == result.chosen
    for name, system in again.data["systems"].items():
        assert system["dev"] == systems[name]["dev"]
        assert system["learnt"] == systems[name]["learnt"]


def test_without_dev_nothing_is_chosen(setting):
    found, test, _, _ = setting
    result = compare(found, test, "valence", n_resamples=50)
    assert result.chosen is None
    assert "nothing was chosen" in result.report()


def test_the_sentence_of_a_pair_says_what_the_numbers_say(setting):
    result = run(setting).data
    assert result["pairs_of"] == result["chosen"]
    assert len(result["pairs"]) == 4  # the chosen one against each other
    for pair in result["pairs"]:
        assert pair["p_uar_corrected"] >= pair["p_uar"]
        assert (": no difference can be shown" in pair["sentence"]) != pair["different"]
        assert f"{pair['right_a']} vs {pair['right_b']} of 240 clips right" in pair["sentence"]
        assert f"better in {pair['groups_a_better']} of 24" in pair["sentence"]
        low, high = pair["uar_difference_interval"]
        assert low <= pair["uar_difference"] <= high
    worst = [p for p in result["pairs"] if p["b"] == "text"]
    assert worst[0]["different"]
    every = run(setting, all_pairs=True).data
    assert every["pairs_of"] is None
    assert len(every["pairs"]) == 10
    own = {frozenset((p["a"], p["b"])): p["p_uar_corrected"] for p in every["pairs"]}
    for pair in result["pairs"]:  # more tests, more correction
        assert own[frozenset((pair["a"], pair["b"]))] >= pair["p_uar_corrected"]


def test_an_ensemble_of_ones_own(setting):
    from affekt.classify.ensembles.fitted_rules import WeightedEnsemble

    weights = {"speech": 0.5, "text": 0.1, "both": 0.4}
    result = run(setting, strategies=["mean", WeightedEnsemble(weights)]).data
    learnt = result["systems"]["weighted"]["learnt"]["weights"]
    assert learnt == pytest.approx(weights)


def test_accuracy_and_uar_that_disagree_are_reported():
    """Right on nearly all of a large class, or on most of three classes."""
    labels = [LABELS[0]] * 400 + [LABELS[1]] * 40 + [LABELS[2]] * 40
    rows = [
        {"id": f"c{i:03}", "text": "-", "label": label} | {"speaker": f"s{i % 60}"}
        for i, label in enumerate(labels)
    ]
    table = Manifest.from_rows(rows)
    large = [LABELS[0]] * 480
    fair = [label if i % 8 < 5 else LABELS[1] for i, label in enumerate(labels)]
    found = {
        name: Predictions.one_hot(table.ids, LABELS, chosen)
        for name, chosen in {"large": large, "fair": fair}.items()
    }
    pair = compare(found, table, "valence", strategies=[], n_resamples=300).data["pairs"][0]
    assert pair["uar_difference"] < 0 < pair["right_a"] - pair["right_b"]
    assert pair["different"]
    assert "large is worse than fair: UAR -0." in pair["sentence"]
    assert "400 vs " in pair["sentence"]


def test_twins_cannot_differ(setting):
    found, test, _, _ = setting
    result = compare(
        {"a": found["both"], "b": found["both"]}, test, "valence", strategies=[], n_resamples=50
    ).data["pairs"][0]
    assert result["p_uar"] == result["p_uar_corrected"] == 1
    assert result["uar_difference_interval"] == pytest.approx([-0.02, 0.02], abs=0.001)
    assert "p = 1.0" in result["sentence"]


def test_tables_by_any_column_hold_macro_and_pooled_means(setting):
    result = run(setting, by=["language", "gender"]).data
    assert set(result["by"]) == {"language", "gender"}
    part = result["by"]["language"]
    values = [row["systems"]["mean"]["uar"]["value"] for row in part["values"].values()]
    assert part["macro"]["mean"]["uar"] == pytest.approx(np.mean(values), abs=1e-12)
    assert sum(row["clips"] for row in part["values"].values()) == 240


def test_the_report_holds_no_number_that_the_json_lacks(setting, tmp_path):
    result = run(setting, split=None)
    result.write(tmp_path)
    again = Comparison.read(tmp_path)
    assert again.report() == (tmp_path / "report.md").read_text() == result.report()
    assert again.table() == result.table()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("clips.json", "comparison.json", "report.html", "report.md"),
    ]


def test_json_has_no_nan_and_reads_back_equal(setting):
    text = run(setting, groups=None).json()

    def refuse(name):
        raise AssertionError(name)

    json.loads(text, parse_constant=refuse)


def test_one_speaker_gives_no_interval_and_says_so(setting):
    found, test, _, _ = setting
    alone = test.with_columns(speaker=["s"] * len(test))
    result = compare(found, alone, "valence", n_resamples=50)
    assert result.data["systems"]["mean"]["test"]["uar"]["interval"] == [None, None]
    assert any("too few for an interval" in warning for warning in result.data["warnings"])
    assert "1 speaker only" in result.report()


def test_speakers_make_intervals_wider_than_single_clips_where_voices_differ():
    test = clips(600, 20)
    rng = np.random.default_rng(0)
    good = rng.random(20) < 0.5
    truth = [LABELS.index(Task.named("valence").label_of(raw)) for raw in test["label"]]
    right = [good[int(name[1:])] for name in test["speaker"]]
    proba = np.eye(3)[
        [code if ok else (code + 1) % 3 for code, ok in zip(truth, right, strict=True)]
    ]
    found = {"a": Predictions(test.ids, LABELS, proba * 0.9 + 0.1 / 3)}
    spans = {}
    for groups in ("speaker", None):
        data = compare(found, test, "valence", groups=groups, n_resamples=300).data
        low, high = data["systems"]["a"]["test"]["uar"]["interval"]
        spans[groups] = high - low
    assert spans["speaker"] > 3 * spans[None]


def test_seeds_are_a_source_of_variance(setting):
    found, test, _, _ = setting
    seeds = {"speech": {str(s): member(test, 1.5, 100 + s) for s in range(4)}}
    result = compare(found, test, "valence", seeds=seeds, n_resamples=50)
    row = result.data["seeds"]["speech"]
    assert row["low"] <= row["mean"] <= row["high"]
    assert 0 < row["share"] <= 1  # these seeds have no error in common
    assert "## Seeds" in result.report()


def test_conformal_and_abstaining_come_from_dev(setting):
    data = run(setting).data
    assert set(data["conformal"]) == {"0.8", "0.9"}
    assert data["conformal"]["0.9"]["all"]["coverage"] > 0.8
    assert data["abstain"]["curve"][-1]["coverage"] == 1
    assert math.isclose(
        data["abstain"]["curve"][-1]["risk"],
        1 - data["systems"][data["chosen"]]["test"]["accuracy"]["value"],
    )


def test_hard_predictions_of_published_systems(setting):
    found, test, _, _ = setting
    task = Task.named("valence")
    hard = {
        "a": Predictions.one_hot(test.ids, LABELS, found["both"].label),
        "b": Predictions.one_hot(test.ids, ["negative"], ["negative"] * len(test)),
    }
    result = compare(hard, test, task, n_resamples=50, strategies=["vote"]).data
    assert "nll" not in result["systems"]["a"]["test"]
    assert result["systems"]["b"]["test"]["uar"]["value"] == pytest.approx(1 / 3)


def test_a_broken_comparison_file_is_refused(tmp_path):
    path = tmp_path / "comparison.json"
    path.write_text("{}")
    with pytest.raises(InputError, match="not a comparison of format 2"):
        Comparison.read(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Comparison.read(path)


def test_a_system_that_answers_one_label_is_called_out_first(setting):
    test, truth, _, dev_truth = setting
    one = np.tile([0.2, 0.5, 0.3], (len(truth), 1))
    tests = {"flat": Predictions(truth.ids, LABELS, one), "text": test["text"]}
    found = compare(tests, truth, "valence", strategies=["vote"], n_resamples=100)
    said = "flat answered neutral for every test clip: it does not tell the labels apart"
    assert found.data["warnings"][0] == said
    devs = {"flat": Predictions(dev_truth.ids, LABELS, one[: len(dev_truth)])}
    alone = run(({"flat": tests["flat"]}, truth, devs, dev_truth))
    assert alone.table().endswith(said)


def test_a_rare_label_without_speakers_comes_from_clips(setting):
    test, truth, *_ = setting
    joys = [i for i, label in enumerate(truth["label"]) if label == "joy"]
    kept = sorted(set(range(len(truth))) - set(joys[3:]))
    few = truth.select(kept).with_columns(speaker=[""] * len(kept))
    found = compare({"text": test["text"].select(few.ids)}, few, "valence", n_resamples=100)
    [said] = [w for w in found.data["warnings"] if "label positive comes from 3 of" in w]
    assert "single clips: its recall" in said
    assert "how much single clips differ" in said
