"""Comparisons that are hard to show: hostile names, many labels and systems, many clips."""

from __future__ import annotations

from typing import Any

import numpy as np
from affekt.cache.manifest import Manifest
from affekt.classify.data.estimates import Estimates
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.comparison import Comparison

SCRIPT = "<img src=x onerror=alert(1)>"
HEBREW = "שמח מאוד"
LONG = "speaker" * 43


def guesses(ids: list[str], labels: list[str], truth: np.ndarray, seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(ids), len(labels)))
    scores[np.arange(len(ids)), truth] += 2
    powers = np.exp(scores)
    return Predictions(ids, labels, powers / powers.sum(axis=1, keepdims=True))


def hard(n_labels: int = 3, n_systems: int = 3, path: str = "") -> Comparison:
    """Return a comparison whose labels, systems and speakers are not meant well."""
    labels = [SCRIPT, HEBREW, *(f"label {i}" for i in range(2, n_labels))]
    rows = [
        {
            "id": f"{SCRIPT}{i}",
            "text": f"{HEBREW} </script><script>alert({i})</script>",
            "label": labels[i % n_labels],
            "speaker": f"{LONG}{i % 7}",
            "language": ("heb", "a|b*c_`d`")[i % 2],
            "path": path,
        }
        for i in range(max(70, 2 * n_labels))
    ]
    clips = Manifest.from_rows(rows)
    truth = np.arange(len(rows)) % n_labels
    members = {
        ("*a|b*</td>" if seed == 0 else f"system {seed}"): guesses(clips.ids, labels, truth, seed)
        for seed in range(n_systems)
    }
    return compare(
        members, clips, Task.from_labels(labels), strategies=(), n_resamples=20, audit_audio=False
    )


def rated(n: int = 45) -> Comparison:
    """Return a comparison of predicted numbers, with hostile texts and ratings that are missing."""
    rng = np.random.default_rng(0)
    truth = np.round(rng.uniform([1, -1], [7, 1], (n, 2)), 2)
    rows = [
        {
            "id": f"clip {i}",
            "text": f"{HEBREW} {SCRIPT}",
            "arousal": str(truth[i, 0]),
            "valence": "" if i % 7 == 0 else str(truth[i, 1]),
            "speaker": f"s{i % 9}",
            "language": ("heb", "deu")[i % 2],
        }
        for i in range(n)
    ]
    ranges = {"arousal": {"range": [1, 7]}, "valence": {"range": [-1, 1]}}
    task = Task.from_spec({"type": "regression", "dimensions": ranges}, source="affect")
    clips = Manifest.from_rows(rows)
    members = {
        SCRIPT if not sd else f"system {sd}": Estimates(
            clips.ids, task.labels, truth + rng.normal(size=truth.shape) * [1 + sd, 0.3 + sd]
        )
        for sd in range(2)
    }
    return compare(members, clips, task, strategies=(), n_resamples=20)


def large() -> Comparison:
    """Return a comparison of 60 labels and 40 systems, most of them copies of one."""
    result = hard(60, 2)
    data = result.data
    first, second = data["systems"]
    copies = [f"copy {i}" for i in range(38)]
    tables = [data["systems"], *(row["uar"] for row in data["groups"]["values"])]
    for part in data["by"].values():
        tables += [part["macro"], part["macro_interval"]]
        tables += [row["systems"] for row in part["values"].values()]
    for table in tables:
        table |= dict.fromkeys(copies, table[second])
    [pair] = data["pairs"]
    names = [first, second, *copies]
    data["pairs"] = [{**pair, "a": a, "b": b} for i, a in enumerate(names) for b in names[i + 1 :]]
    result.predictions |= dict.fromkeys(copies, result.predictions[second])
    return result


def many(n: int = 100_000) -> tuple[dict[str, Any], dict[str, Predictions], Manifest]:
    """Return what `clip_rows` takes, of a large test set."""
    labels = ["negative", "neutral", "positive"]
    truth = np.arange(n) % 3
    ids = [f"clip-{i:06}" for i in range(n)]
    rows = [
        {
            "id": clip,
            "text": f"what was said in clip {clip}",
            "label": labels[truth[i]],
            "speaker": f"s{i % 500}",
            "language": ("deu", "eng", "spa")[i % 3],
        }
        for i, clip in enumerate(ids)
    ]
    systems = {f"system {seed}": guesses(ids, labels, truth, seed) for seed in range(4)}
    about = {"dev": None, "test": {"uar": {"value": 0.5}}}
    data = {"task": {"labels": labels}, "systems": dict.fromkeys(systems, about), "chosen": None}
    return data, systems, Manifest.from_rows(rows)
