"""Dev of several folds: what is learnt for a fold never sees the clips that it tests."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from affekt.cache import InputError, Manifest
from affekt.classify import Predictions, Task, compare, splits
from affekt.classify.cli import affekt
from affekt.classify.data.splitting.split import write_rows
from click.testing import CliRunner

LABELS = ["negative", "neutral", "positive"]


@pytest.fixture
def folds():
    """Return clips of twelve speakers in four folds, and two members' answers on test and dev."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "text": f"t{i}", "label": LABELS[i % 3], "speaker": f"s{i // 10:02}"}
        for i in range(120)
    ]
    clips = Manifest.from_rows(rows)
    parts = splits(clips, "group-kfold", n_splits=4)
    right = np.eye(3)[[i % 3 for i in range(120)]]

    def answers(some: list[str], share: float) -> Predictions:
        at = [int(clip[1:]) for clip in some]
        proba = share * right[at] + (1 - share) * rng.dirichlet([1, 1, 1], len(at))
        return Predictions(some, LABELS, proba)

    dev = [clip for part in parts for clip in part.dev.ids]
    test = {name: answers(clips.ids, share) for name, share in (("a", 0.2), ("b", 0.3))}
    tuning = {name: answers(dev, share) for name, share in (("a", 0.2), ("b", 0.3))}
    how = {"strategies": ["mean", "weighted"], "dev": tuning, "n_resamples": 50}
    return clips, parts, test, {**how, "dev_truth": clips.select(dev)}


def test_pooled_folds_are_compared_without_leave(folds, tmp_path, monkeypatch):
    clips, parts, test, how = folds
    found = compare(test, clips, Task.named("valence"), split=parts, **how)
    leave = compare(test, clips, Task.named("valence"), split=parts, allow_overlap=True, **how)
    assert found.data["systems"] == leave.data["systems"]
    assert found.data["choice"]["apart"]["systems"]
    with pytest.raises(InputError, match="dev and test share 120 ids"):  # which fold is not known
        compare(test, clips, Task.named("valence"), **how)
    # the command, with the files of a run, gives the same numbers
    monkeypatch.chdir(tmp_path)
    clips.write("clips.csv")
    rows = [(*row, part.name) for part in parts for row in part.rows()]
    write_rows(tmp_path / "split.csv", rows, ("id", "split", "fold"))
    words = ["--truth", "clips.csv", "--split", "split.csv", "--task", "valence", "--json"]
    words += ["--strategies", "mean,weighted", "--resamples", "50"]
    for name, one in test.items():
        one.write(f"{name}.csv")
        how["dev"][name].write(f"{name}-dev.csv")
        words += [f"{name}.csv", "--dev", f"{name}={name}-dev.csv"]
    result = CliRunner().invoke(affekt, ["compare", *words])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["systems"] == found.data["systems"]
    assert data["chosen"] == found.chosen


def test_a_fold_whose_test_is_learnt_from_under_another_id_is_refused(folds):
    clips, parts, test, how = folds
    first, *rest = parts
    ours = first.test["speaker"][0]
    # five clips of a speaker of the first fold's test are tested in the second fold
    moved = first.test.where(speaker=ours).ids[:5]
    stay = [clip for clip in first.test.ids if clip not in moved]
    wider = clips.select([*rest[0].test.ids, *moved])
    changed = [
        replace(first, test=first.test.select(stay)),
        replace(rest[0], test=wider),
        *rest[1:],
    ]
    with pytest.raises(InputError, match=f"share .*speaker: {ours}"):
        compare(test, clips, Task.named("valence"), split=changed, **how)
