"""The recipe key `votes`: soft labels in training, and scores against what raters said."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import LogisticHead, Predictions, Task
from affekt.classify.cli import affekt
from affekt.classify.data.votes import task_votes, with_votes
from affekt.classify.experiments.demo.corpus import write_corpus
from click.testing import CliRunner
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.preprocessing import StandardScaler

RECIPE = """\
manifest: clips.csv
task: valence
votes: votes.csv
cache: my.cache
encoders: {text: ngram}
split: {scheme: group-kfold, n_splits: 3}
members:
  soft: {head: logistic, on: text}
  hard: {head: logistic, on: text, votes: false}
ensembles: [mean]
report: out
compare: {n_resamples: 100}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Five raters, one of whom says something else in a third of the clips."""
    folder = tmp_path_factory.mktemp("votes")
    write_corpus(folder, voices=6, clips_per_voice=8)
    rng = np.random.default_rng(0)
    clips = Manifest.read(folder / "clips.csv")
    rows = []
    for clip, label in zip(clips.ids, clips["label"], strict=True):
        for rater in range(5):
            other = rng.choice(["neutral", "anger", "surprise"]) if rng.random() < 0.3 else label
            rows.append({"id": clip, "rater": rater, "label": other})
    with (folder / "votes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "rater", "label"])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    result = CliRunner().invoke(affekt, ["run", str(folder / "recipe.yaml")])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return folder


def rated(folder: Path):
    task = Task.named("valence")
    clips = with_votes(Manifest.read(folder / "clips.csv"), folder / "votes.csv", task)
    return task, task.select(clips)[0]


def test_scores_are_those_of_scipy(finished):
    task, clips = rated(finished)
    data = json.loads((finished / "out/comparison.json").read_text(encoding="utf-8"))["votes"]
    votes = task_votes(clips, task)
    assert data["clips"] == len(clips)
    assert data["raters"]["agreement"] == pytest.approx(votes.shares.max(axis=1).mean())
    assert data["raters"]["entropy"] == pytest.approx(entropy(votes.shares, axis=1).mean())
    for name in ("soft", "hard"):
        pred = Predictions.read(finished / "out/members" / name / "pred.csv", task.labels)
        proba, one = pred.align(votes.ids).proba, data["systems"][name]
        brier = ((proba - votes.shares) ** 2).sum(axis=1).mean()
        assert one["brier"]["value"] == pytest.approx(brier)
        assert one["kl"]["value"] == pytest.approx(entropy(votes.shares, proba, axis=1).mean())
        jsd = jensenshannon(votes.shares, proba, axis=1) ** 2
        assert one["jsd"]["value"] == pytest.approx(jsd.mean())
        low, high = one["brier"]["interval"]
        assert 0 <= low < brier < high
    assert set(data["systems"]) == {"soft", "hard", "mean"}
    report = (finished / "out/report.md").read_text(encoding="utf-8")
    assert "## What the raters said" in report
    assert f"{data['systems']['soft']['brier']['value']:.3f}" in report


def test_a_member_learns_from_the_shares_and_another_from_labels(finished):
    task, clips = rated(finished)
    [space] = Cache(finished / "my.cache").spaces()
    with (finished / "out/split.csv").open(encoding="utf-8") as file:
        parts = [row for row in csv.DictReader(file) if row["fold"] == "fold 1"]
    train, test = (
        clips.select([row["id"] for row in parts if row["split"] == part])
        for part in ("train", "test")
    )
    read = space.features(layers=-1).read
    scaler = StandardScaler().fit(read(train).astype(np.float64))
    X, T = (scaler.transform(read(part).astype(np.float64)) for part in (train, test))
    soft = LogisticHead().fit(X, task_votes(train, task).shares, classes=list(task.labels))
    hard = LogisticHead().fit(X, train["label"].astype(str))
    for name, head in (("soft", soft), ("hard", hard)):
        pred = Predictions.read(finished / "out/members" / name / "pred.csv", task.labels)
        order = [list(head.classes_).index(label) for label in task.labels]
        proba = head.predict_proba(T)[:, order]
        np.testing.assert_allclose(
            pred.select(test.ids).proba, proba, atol=0.01
        )  # two solvers stop
    assert np.abs(soft.predict_proba(T) - hard.predict_proba(T)).max() > 0.1


def test_a_vote_more_trains_again_what_learns_from_votes(finished):
    path = finished / "votes.csv"
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[1].split(",")[0]
    path.write_text(f"{text}{first},9,anger\n", encoding="utf-8")
    try:
        result = CliRunner().invoke(affekt, ["run", str(finished / "recipe.yaml")])
        assert result.exit_code == 0
        assert "soft: training on" in result.output
        assert "hard: training on" not in result.output
    finally:
        path.write_text(text, encoding="utf-8")


def test_columns_of_raters():
    task = Task.named("valence")
    rows = [
        {"id": "a", "text": "-", "A": "joy", "B": "anger", "C": "joy"},
        {"id": "b", "text": "-", "A": "", "B": "anger", "C": ""},
    ]
    clips = with_votes(Manifest.from_rows(rows), ("A", "B", "C"), task)
    assert list(task.select(clips)[0]["label"]) == ["positive", "negative"]
    assert task_votes(clips, task).counts.tolist() == [[1.0, 0.0, 2.0], [1.0, 0.0, 0.0]]
    pair = Manifest.from_rows([row | {"C": ""} for row in rows])
    assert list(with_votes(pair, ("A", "B"), task)["label"]) == ["negative", "negative"]
    assert list(with_votes(pair, ("A", "B"), task, drop_ties=True)["label"]) == ["", "negative"]
    with pytest.raises(InputError, match="no column 'D'"):
        with_votes(clips, ("A", "D"), task)


def test_a_run_says_for_how_many_clips_raters_have_no_majority(tmp_path):
    write_corpus(tmp_path, voices=6, clips_per_voice=8)
    clips = Manifest.read(tmp_path / "clips.csv")
    split = [i % 4 == 0 for i in range(len(clips))]
    other = ["anger" if label != "anger" else "happiness" for label in clips["label"]]
    rater2 = [b if one else a for one, a, b in zip(split, clips["label"], other, strict=True)]
    renamed = Manifest.from_rows(
        [
            {"id": c.id, "text": c.text, "speaker": c.speaker, "rater1": c.label, "rater2": b}
            for c, b in zip(clips, rater2, strict=True)
        ]
    )
    renamed.write(tmp_path / "clips.csv")
    raters = RECIPE.replace("votes.csv", "[rater1, rater2]").replace("  hard: ", "  # ")
    (tmp_path / "recipe.yaml").write_text(raters, encoding="utf-8")
    result = CliRunner().invoke(affekt, ["run", str(tmp_path / "recipe.yaml")])
    assert result.exit_code == 0, result.output
    task = Task.named("valence")
    counts = task_votes(task.select(with_votes(renamed, ("rater1", "rater2"), task))[0], task)
    assert 0 < counts.tied < len(clips)
    said = f"{counts.tied} of {len(counts.ids)} test clips have no single leading label"
    assert said in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_a_table_of_votes_is_read_as_a_manifest_is(tmp_path):
    """Whatever a spreadsheet makes of it, and however an accent is written; blank is no vote."""
    clips = Manifest.from_rows([{"id": "caf\u00e9", "text": "-"}])
    task, path = Task.named("valence"), tmp_path / "votes.csv"
    for delimiter in ",;\t":
        for encoding in ("utf-8", "utf-16"):
            rows = "id,label,count\ncafe\u0301,joy,2\ncaf\u00e9,anger,\ncaf\u00e9,,\n,,\n"
            path.write_text(rows.replace(",", delimiter), encoding=encoding)
            found = task_votes(with_votes(clips, path, task), task)
            assert found.counts.tolist() == [[1.0, 0.0, 2.0]]
    path.write_text("id,label\ncaf\u00e9,joy\ncaf\u00e9\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: 1 field, expected 2"):
        with_votes(clips, path, task)


def test_columns_of_votes_and_clips_without_a_label():
    task = Task.named("valence")
    rows = [
        {"id": "a", "text": "-", "votes:joy": "3", "votes:anger": "1"},
        {"id": "b", "text": "-", "votes:joy": "", "votes:anger": "2"},
    ]
    clips = with_votes(Manifest.from_rows(rows), None, task)
    kept, _ = task.select(clips)
    assert list(kept["label"]) == ["positive", "negative"]
    assert task_votes(kept, task).shares.tolist() == [[0.25, 0.0, 0.75], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("id,label\nnobody,anger\n", "no vote for any of the"),
        ("clip,label\na,anger\n", "expected id and label"),
        ("id,label\n{first},angerr\n", "wrong.csv: a vote for '"),
        ("id,label,count\n{first},anger,-1\n", "line 2: '-1' votes"),
        ("id,label\n{first},anger\n", "clips have a label and no vote"),
    ],
)
def test_a_wrong_table_is_refused_before_any_work(finished, table, said):
    first = Manifest.read(finished / "clips.csv").ids[0]
    (finished / "wrong.csv").write_text(table.replace("{first}", first), encoding="utf-8")
    path = finished / "wrong.yaml"
    path.write_text(RECIPE.replace("votes.csv", "wrong.csv"), encoding="utf-8")
    result = CliRunner().invoke(affekt, ["run", str(path)])
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("votes: votes.csv\n", "", "the recipe has no votes"),
        ("votes: votes.csv\n", "votes: true\n", "has no columns of votes"),
    ],
)
def test_votes_that_are_not_there(finished, old, new, said):
    path = finished / "wrong.yaml"
    path.write_text(RECIPE.replace(old, new), encoding="utf-8")
    result = CliRunner().invoke(affekt, ["run", "--check", str(path)])
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
