"""Ensembles of the members that their names give."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.cache.errors import InputError
from affekt.classify import load_model
from affekt.classify.data.estimates import Estimates
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.ensembles.asked import asked
from affekt.classify.ensembles.combining import combine_all
from affekt.classify.ensembles.fitted_rules import STRATEGIES
from affekt.classify.evaluation.compare import compare
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.run import run
from affekt.classify.models.folders.run_folder import ensemble_folder

from .test_ensemble import draw

RECIPE = """\
manifest: clips.csv
task: valence
cache: my.cache
encoders: {speech: spectral, text: ngram}
split: {scheme: speaker, test_size: 0.35, dev_size: 0.25}
members:
  speech-lr: {head: logistic, on: speech, C: 0.01}
  weak: {head: logistic, on: speech, C: 0.0001}
  text-lr: {head: logistic, on: text}
ensembles: [mean, mean of speech-lr + text-lr, stacking of weak + speech-lr]
report: out
compare: {n_resamples: 100, learning_curve: false, audit_audio: false}
"""


@pytest.mark.parametrize("rule", sorted(STRATEGIES))
@pytest.mark.parametrize("calibrate", [None, "temperature"])
def test_an_ensemble_of_some_members_is_that_of_a_comparison_of_these(rule, calibrate):
    test, _, _ = draw(3, 60, seed=1)
    dev, truth, _ = draw(3, 80, seed=2)
    groups = np.arange(80) // 8
    name = f"{rule} of m2 + m0"
    whole = combine_all(test, [name], dev, truth, groups, calibrate=calibrate)
    some = [{m: one[m] for m in ("m0", "m2")} for one in (test, dev)]
    alone = combine_all(some[0], [rule], some[1], truth, groups, calibrate=calibrate)
    found, expected = whole[name], alone[rule]
    assert found.test.proba.tolist() == expected.test.proba.tolist()
    assert found.describe() == expected.describe()
    assert found.members == ("m0", "m2")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["mean of a + d"], r"'mean of a \+ d': unknown member 'd'; expected one of a, b, c"),
        (["mean of a"], r"'mean of a'; expected at least two different members: mean of A \+ B"),
        (["mean of a + a"], "expected at least two different members"),
        (["maen of a + b"], "unknown ensemble 'maen'.*Did you mean 'mean'"),
        (["mean of a + b", "mean of b + a"], "combine the same members"),
        (["mean", "mean of c + b + a"], r"'mean' and 'mean of c \+ b \+ a' combine the same"),
        ([("mean", ["a", "b"])], r"is \('mean', \['a', 'b'\]\); expected a name, such as 'mean'"),
        ([None], "an ensemble is None; expected a name"),
        (["mean", "mean"], "'mean' and 'mean' combine the same members; expected each .* once$"),
    ],
)
def test_what_names_no_ensemble_is_refused(entries, message):
    with pytest.raises(InputError, match=message):
        asked(entries, ["a", "b", "c"])


@pytest.mark.parametrize("entry", ["mean of a + b + c", "mean of c + a + b"])
@pytest.mark.parametrize("others", [["c"], ["a", "b", "c"]])
def test_a_member_whose_name_could_be_two_is_not_guessed(entry, others):
    with pytest.raises(InputError, match=r"rename the member 'a \+ b', since ' \+ ' separates"):
        asked([entry], ["a + b", *others])
    assert asked(["mean of c + aa + b"], ["a + b", "aa", "b", "c"])


def test_a_plus_without_blanks_joins_members_unless_it_is_in_a_name():
    found = asked(["mean of b+c", "mean of a+b + c", "max of b +c"], ["a+b", "b", "c"])
    assert [one.members for one in found] == [("b", "c"), ("a+b", "c"), ("b", "c")]
    assert found[0].name == "mean of b + c"
    assert asked([" mean  of  b + c "], ["b", "c"])[0].name == "mean of b + c"


def test_all_members_are_a_subset_where_no_ensemble_has_them_all():
    test, _, _ = draw(3, 60, seed=1)
    dev, truth, _ = draw(3, 80, seed=2)
    groups = np.arange(80) // 8
    found = combine_all(test, ["max of m0 + m1"], dev, truth, groups, subsets=True)
    assert "max of m0 + m1 + m2" in found


def test_the_best_subset_is_not_added_where_it_is_named():
    test, _, _ = draw(4, 60, seed=1)
    dev, truth, _ = draw(4, 80, seed=2)
    groups = np.arange(80) // 8

    def names(*strategies):
        found = combine_all(test, strategies, dev, truth, groups, subsets=True)
        return [name for name in found if name not in test]

    alone, best = names("mean")
    assert best.startswith("mean of ")
    assert names("mean", best) == [alone, best]


def test_ensembles_whose_long_names_begin_alike_have_folders_of_their_own(tmp_path):
    names = [f"mean of {'voice-' * 12} + {other}" for other in ("text", "face")]
    first, second = (ensemble_folder(tmp_path, name) for name in names)
    assert first != second
    assert ensemble_folder(tmp_path, "mean of a + b") == tmp_path / "ensembles" / "mean of a + b"


def test_an_ensemble_of_numbers_of_some_members():
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "speaker": f"s{i // 5}", "text": "x", "valence": 1 + i % 7}
        for i in range(40)
    ]
    clips = Manifest.from_rows(rows)
    ranges = {"valence": {"range": [1, 7]}}
    task = Task.from_spec({"type": "regression", "dimensions": ranges}, source="affect")
    members = {
        name: Estimates(clips.ids, ["valence"], rng.uniform(1, 7, (40, 1))) for name in "abc"
    }
    found = compare(
        members, clips, task, strategies=["mean", "mean of a + c"], n_resamples=50, by=()
    )
    expected = (members["a"].proba + members["c"].proba) / 2
    made = found.predictions["mean of a + c"].align(clips.ids)
    assert made.proba == pytest.approx(expected)


def test_a_run_compares_keeps_and_predicts_with_an_ensemble_of_some_members(tmp_path):
    write_corpus(tmp_path)
    text = (tmp_path / "clips.csv").read_text(encoding="utf-8")
    rows = [*csv.DictReader(text.splitlines())]
    with (tmp_path / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"text": ""} if row["language"] == "spa" else row for row in rows)
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    run(tmp_path / "recipe.yaml")
    out = tmp_path / "out"
    data = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    name = "mean of speech-lr + text-lr"
    assert data["systems"][name]["members"] == ["speech-lr", "text-lr"]
    assert data["systems"]["stacking of weak + speech-lr"]["members"] == ["speech-lr", "weak"]
    found = Predictions.read(out / "ensembles" / name / "pred.csv")
    members = [Predictions.read(out / "members" / m / "pred.csv") for m in ("speech-lr", "text-lr")]
    mean = sum(one.reorder(found.labels).select(found.ids).proba for one in members) / 2
    assert found.proba == pytest.approx(mean, abs=1e-6)
    wide = json.loads((out / "all-clips/comparison.json").read_text(encoding="utf-8"))
    assert "mean of those there of speech-lr + text-lr" in wide["systems"]
    system = load_model(out, system=name)
    row = next(row for row in rows if row["id"] == found.ids[0])
    [answer] = system.predict(tmp_path / row["path"], text=row["text"]).proba
    assert answer == pytest.approx(found.proba[0], abs=1e-3)
