"""Ratings by several people: their mean, and how far they agree next to the systems."""

from __future__ import annotations

import json

import audmetric
import numpy as np
import pytest
from affekt.cache import InputError, Manifest
from affekt.classify import Task, compare
from affekt.classify.data.estimates import Estimates
from affekt.classify.evaluation import tables
from affekt.classify.experiments.first_recipe.recipe_for import write_recipe

BY = ["v1", "v2", "v3"]
SPEC = {
    "type": "regression",
    "dimensions": {"valence": {"raters": BY, "range": [1, 9]}, "arousal": {"range": [1, 9]}},
}


def rated(n: int = 60) -> tuple[Manifest, np.ndarray]:
    """Return clips of six speakers, and what three raters said of valence, NaN where nothing."""
    rng = np.random.default_rng(0)
    true = rng.uniform(2, 8, n)
    said = np.clip(np.round(true[:, None] + [0, 1, -0.5] + rng.normal(0, 1.2, (n, 3))), 1, 9)
    said[rng.random(said.shape) < 0.2] = np.nan
    said[0], said[1] = [5, np.nan, np.nan], [np.nan, 4, np.nan]  # of one rater only
    cells = [["" if np.isnan(one) else f"{one:g}" for one in row] for row in said]
    rows = [
        {"id": f"c{i}", "text": f"t{i}", "speaker": f"s{i % 6}", "arousal": f"{1 + i % 9}"}
        | dict(zip(BY, cells[i], strict=True))
        for i in range(n)
    ]
    return Manifest.from_rows(rows), said


def test_a_clip_gets_the_mean_of_those_who_rated_it():
    task, (clips, said) = Task.from_spec(SPEC), rated()
    np.testing.assert_allclose(task.ratings(clips)[:, 0], np.nanmean(said, axis=1), rtol=1e-15)
    assert Task.from_record(json.loads(json.dumps(task.record()))) == task
    assert Task.from_record(task.record()).hash == task.hash
    # who said what counts, also where the means stay
    swapped = clips.with_columns(v1=list(clips["v2"]), v2=list(clips["v1"]))
    np.testing.assert_array_equal(task.targets(swapped), task.targets(clips))
    assert task.answers(swapped) != task.answers(clips)
    with pytest.raises(InputError, match=r"column 'v2' holds 'x' \(row 2\)"):
        task.ratings(clips.with_columns(v2=["1", "x", *["2"] * 58]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"raters": ["a"]}, "raters of v is .*; expected the columns of at least two"),
        ({"raters": ["a", "a"]}, "at least two raters, each once"),
        ({"raters": "a"}, "at least two"),
        ({"raters": ["a", 1]}, "at least two"),
        ({"raters": ["a", "b"], "column": "a"}, "v has column and raters; expected one of them"),
    ],
)
def test_wrong_raters_are_refused(given, said):
    spec = {"type": "regression", "dimensions": {"v": {**given, "range": [1, 9]}}}
    with pytest.raises(InputError, match=said):
        Task.from_spec(spec)


def test_a_rater_and_a_system_are_compared_with_the_same_other_raters():
    task, (clips, said) = Task.from_spec(SPEC), rated()
    guess = np.clip(np.nan_to_num(np.nanmean(said, axis=1)) * 0.6 + 2, 1, 9)
    values = np.column_stack([guess, [5.0, 6.0] * 30])
    found = compare({"m": Estimates(clips.ids, task.labels, values)}, clips, task, n_resamples=200)
    own, others, system = [], [], []
    for row, answer in zip(said, guess, strict=True):
        for at in np.flatnonzero(np.isfinite(row)):
            rest = np.delete(row, at)
            if np.isfinite(rest).any():
                own.append(row[at])
                others.append(np.nanmean(rest))
                system.append(answer)
    assert list(found.data["raters"]) == ["valence"]
    raters = found.data["raters"]["valence"]
    ccc = audmetric.concordance_cc
    assert raters["rater"]["value"] == pytest.approx(ccc(others, own), abs=1e-9)
    assert raters["systems"]["m"]["value"] == pytest.approx(ccc(others, system), abs=1e-9)
    low, high = raters["rater"]["interval"]
    assert low < raters["rater"]["value"] < high
    several = np.isfinite(said).sum(axis=1) > 1
    assert (raters["raters"], raters["clips"]) == (3, several.sum())
    assert raters["ratings"] == pytest.approx(np.isfinite(said[several]).sum(axis=1).mean())
    paper = tables(found.data).split("label{tab:raters}")[1].split("end{table}")[0]
    assert f"one rater & {raters['rater']['value']:.3f} [{low:.3f}, {high:.3f}] " in paper
    assert f"m & {raters['systems']['m']['value']:.3f} [" in paper
    text = found.report().split("## Raters")[1]
    assert f"| one rater | {raters['rater']['value']:.3f} [" in text
    assert f"valence: 3 raters, {raters['ratings']:.1f} ratings of each of" in text
    assert "valence (mean of v1, v2, v3), arousal (column arousal)" in text


def test_without_two_raters_of_a_clip_nothing_is_said_of_them():
    task, (clips, _) = Task.from_spec(SPEC), rated()
    alone = clips.with_columns(v1=["3", "5"] * 30, v2=[""] * 60, v3=[""] * 60)
    answers = {"m": Estimates(clips.ids, task.labels, np.full((60, 2), 5.0))}
    found = compare(answers, alone, task, n_resamples=50)
    assert "raters" not in found.data
    assert "## Raters" not in found.report()
    assert "tab:raters" not in tables(found.data)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("valence_R1", "valence_R2"), True),
        (("rater1_val", "rater2_val"), True),
        (("valence_A", "B valence"), True),
        (("valence_Ann", "valence_Ben"), False),
        (("valence_R1", "valence_sd"), False),
    ],
)
def test_a_first_recipe_takes_raters_with_a_number_or_a_letter(tmp_path, names, taken):
    rows = [
        {"id": f"c{i}", "text": f"a text {i}", "speaker": f"s{i % 6}"}
        | {name: f"{1 + (i + at) % 7}" for at, name in enumerate(names)}
        for i in range(60)
    ]
    Manifest.from_rows(rows).write(tmp_path / "clips.csv")
    if not taken:
        with pytest.raises(InputError, match=f"{names[0]}.* write a task file with two lines"):
            write_recipe(tmp_path / "clips.csv", tmp_path / "recipe.yaml")
        return
    found = write_recipe(tmp_path / "clips.csv", tmp_path / "recipe.yaml")
    assert Task.read(tmp_path / "task.yaml").scales["valence"].columns == names
    assert f"{', '.join(names)} are taken as raters" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("V", "A", "D"), {"arousal": ("A",), "valence": ("V",), "dominance": ("D",)}),
        (("valence_R1",), {"valence": ("valence_R1",)}),
        (
            ("arousal_mean", "valence_R1", "valence_R2"),
            {"arousal": ("arousal_mean",), "valence": ("valence_R1", "valence_R2")},
        ),
    ],
)
def test_a_first_recipe_takes_every_dimension(tmp_path, names, expected):
    rows = [
        {"id": f"c{i}", "text": f"a text {i}", "speaker": f"s{i % 6}"}
        | {name: f"{1 + (i + at) % 7}" for at, name in enumerate(names)}
        for i in range(60)
    ]
    Manifest.from_rows(rows).write(tmp_path / "clips.csv")
    found = write_recipe(tmp_path / "clips.csv", tmp_path / "recipe.yaml")
    task = Task.read(tmp_path / "task.yaml")
    assert {name: scale.columns for name, scale in task.scales.items()} == expected
    assert "taken for" in " ".join(found.notes)
    wrong = [row | {names[-1]: "x"} if at == 3 else row for at, row in enumerate(rows)]
    Manifest.from_rows(wrong).write(tmp_path / "wrong.csv")
    with pytest.raises(InputError, match=rf"'{names[-1]}' holds 'x' \(line 5\); expected numbers"):
        write_recipe(tmp_path / "wrong.csv", tmp_path / "other.yaml")


def test_a_first_recipe_with_a_mean_names_its_raters_too(tmp_path):
    rows = [
        {"id": f"c{i}", "text": f"a text {i}", "speaker": f"s{i % 6}", "valence": "34"[i % 2]}
        | {"valence_1": f"{1 + i % 5}", "valence_2": f"{5 - i % 5}"}
        for i in range(60)
    ]
    rows[0]["valence"] = "2.5"
    Manifest.from_rows(rows).write(tmp_path / "clips.csv")
    found = write_recipe(tmp_path / "clips.csv", tmp_path / "recipe.yaml")
    assert Task.read(tmp_path / "task.yaml").scales["valence"].columns == ("valence",)
    assert "write raters: [valence_1, valence_2] in place of" in " ".join(found.notes)
