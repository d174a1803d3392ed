"""Train one member of a recipe: choose its settings on dev, predict test, leave a folder.

The folder appears whole or not at all, and `member.json` in it holds a key over everything that
decides its numbers; a run that finds the key again has nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.errors import InputError, nearest
from ..cache.manifest import Manifest
from ..cache.space import Space
from .persist import replace_folder
from .predictions import Predictions
from .recipe import MemberEntry
from .task import Task

__all__ = ["Part", "check_head", "is_done", "read_member", "train_member"]

EPOCH = 1  # grows when the same recipe gives other numbers than before
RECORD = "member.json"


@dataclass(frozen=True)
class Part:
    """The clips of one split that a member has features for.

    Attributes
    ----------
    train, dev, test : Manifest
        With task labels; dev may be empty.
    """

    train: Manifest
    dev: Manifest
    test: Manifest


def check_head(entry: MemberEntry) -> None:
    """Check head and settings of a member before any work.

    Raises
    ------
    InputError
        Unknown head, unknown or impossible setting; with the recipe's file and line.
    """
    from .heads import HEADS

    if not entry.head:
        return
    keys = entry.at.value
    if entry.head not in HEADS:
        keys["head"].fail(
            f"unknown head {entry.head!r} in member {entry.name!r}; expected one of "
            f"{', '.join(HEADS)}.{nearest(entry.head, list(HEADS))}"
        )
    known = list(HEADS[entry.head]().get_params())
    for name in entry.settings:
        if name not in known:
            choices = ["on", "layers", "combine", "scale", "seeds", "random_state", *known]
            keys[name].fail(
                f"unknown key {name!r} in member {entry.name!r}; expected one of "
                f"{', '.join(dict.fromkeys(choices))}.{nearest(name, choices)}"
            )
    for candidate in entry.candidates():
        try:
            HEADS[entry.head](**candidate["settings"])._check_settings()
        except InputError as error:
            entry.at.fail(f"member {entry.name!r}: {error}")


def is_done(folder: Path, key: str) -> bool:
    """Whether the member in `folder` was made with this key and nothing in it changed since."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return record["key"] == key and record["files"] == _digests(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_member(folder: Path, labels: Sequence[str]) -> tuple[Predictions, Predictions | None, Any]:
    """Return predictions of test and of dev, and the record, from a member's folder."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    dev = folder / "dev.csv"
    return (
        Predictions.read(folder / "pred.csv", labels=labels),
        Predictions.read(dev, labels=labels) if dev.is_file() else None,
        record,
    )


def train_member(
    entry: MemberEntry,
    task: Task,
    parts: Sequence[Part],
    spaces: Mapping[str, Space],
    folder: Path,
    key: str,
    *,
    split_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> None:
    """Train a member on every part and leave its folder.

    Parameters
    ----------
    entry : MemberEntry
    task : Task
    parts : sequence of Part
        One, or the folds of a cross-validation; their test clips are disjoint.
    spaces : mapping of str to Space
        Encoder name -> where its features lie.
    folder : Path
        Receives `member.json`, `pred.csv`, `dev.csv`, `model/` (`model-1/`, ... for folds) and
        `history.jsonl`.
    key : str
        See `is_done`.
    split_options : mapping, optional
        ``allow_speaker_overlap`` and ``allow_duplicates``, handed to `Model.fit`.
    say : callable, optional
        Told what is going on.

    Raises
    ------
    InputError
        As `Model.fit`; or several values to choose from and no dev clips.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    beside.mkdir()
    try:
        tests, devs, records = [], [], []
        for number, part in enumerate(parts, 1):
            name = "model" if len(parts) == 1 else f"model-{number}"
            if entry.head:
                fitted = _choose(entry, task, part, spaces, dict(split_options or {}), say)
                fitted.model.save_pretrained(beside / name)
                _append_history(beside / "history.jsonl", name, fitted.model.head_)
                predict, record = fitted.model.predict, fitted.record
            else:
                space = spaces[entry.on[0]]
                predict = _classifier(entry, task, space)
                record = {"classifier": space.name}
            tests.append(predict(part.test))
            if len(part.dev):
                devs.append(predict(part.dev))
            records.append({"test_clips": len(part.test), **record})
        _joined(tests).write(beside / "pred.csv")
        if devs and len(parts) == 1:
            devs[0].write(beside / "dev.csv")
        described = {
            "name": entry.name,
            "key": key,
            "parts": records,
            "files": _digests(beside),
        }
        text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
        (beside / RECORD).write_text(text, encoding="utf-8")
        replace_folder(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@dataclass(frozen=True)
class _Fitted:
    model: Any
    record: dict[str, Any]


def _choose(
    entry: MemberEntry,
    task: Task,
    part: Part,
    spaces: Mapping[str, Space],
    options: dict[str, Any],
    say: Callable[[str], None],
) -> _Fitted:
    """Fit every candidate, keep the one with the best UAR on dev; of equal ones the first."""
    candidates = list(entry.candidates())
    has_dev = len(part.dev) > 0
    if len(candidates) > 1 and not has_dev:
        entry.at.fail(
            f"member {entry.name!r} has {len(candidates)} settings to choose from and no dev "
            "clips; set split: {dev_size: ...} or write one value for each"
        )

    def fit(candidate: dict[str, Any], random_state: int) -> tuple[float, Any]:
        model = _model(entry, task, spaces, candidate, random_state)
        model.fit(part.train, part.dev if has_dev else None, test=part.test, **options)
        return (_uar(model, part.dev, task) if has_dev else 0.0), model

    tried = []
    best_score, best = -1.0, None
    for candidate in candidates:
        score, model = fit(candidate, entry.random_state)
        tried.append({**_json(candidate), "dev_uar": score if has_dev else None})
        if len(candidates) > 1:
            say(f"{entry.name}: {_words(candidate, candidates)}: dev UAR {score:.3f}")
        if score > best_score:
            best_score, best, chosen = score, model, candidate
    record: dict[str, Any] = {"chosen": _json(chosen), "tried": tried}
    if entry.seeds > 1:
        record["seeds"] = []
        first = best
        for seed in range(entry.random_state, entry.random_state + entry.seeds):
            again = first if seed == entry.random_state else None
            score, model = (best_score, again) if again else fit(chosen, seed)
            scores = {
                "dev_uar": score if has_dev else None,
                "test_uar": _uar(model, part.test, task),
            }
            record["seeds"].append({"random_state": seed, **scores})
            say(f"{entry.name}: seed {seed}: dev UAR {score:.3f}")
            if has_dev and score > best_score:
                best_score, best = score, model
        record["over_seeds"] = _spread([one["test_uar"] for one in record["seeds"]])
    record["dev_uar"] = best_score if has_dev else None
    record["random_state"] = best.random_state
    record["fit"] = best.record
    return _Fitted(best, record)


def _model(
    entry: MemberEntry,
    task: Task,
    spaces: Mapping[str, Space],
    candidate: Mapping[str, Any],
    random_state: int,
) -> Any:
    from .heads import HEADS
    from .model import Model

    features = []
    for name in entry.on:
        layers = candidate["layers"][name]
        layers = list(layers) if isinstance(layers, tuple) else layers
        try:
            features.append(spaces[name].features(layers=layers, combine=candidate["combine"]))
        except InputError as error:
            entry.at.fail(f"member {entry.name!r}: {error}")
    head = HEADS[entry.head](**candidate["settings"])
    return Model(head, task, features, scale=entry.scale, random_state=random_state)


def _uar(model: Any, clips: Manifest, task: Task) -> float:
    from .metrics import uar

    return uar(list(clips["label"]), model.predict(clips).label, task.labels)


def _classifier(entry: MemberEntry, task: Task, space: Space) -> Callable[[Manifest], Predictions]:
    """Return a predict function for a space of class probabilities: summed by task label."""
    labels = space.spec.labels
    if not labels or len(entry.on) > 1:
        entry.at.fail(
            f"member {entry.name!r} has no head, and {space.name} is no classifier; say which head"
        )
    try:
        mapped = [task.label_of(str(label)) for label in labels]
    except InputError as error:
        entry.at.fail(f"member {entry.name!r}: {error}")
    columns = np.zeros((len(labels), len(task.labels)))
    for row, label in enumerate(mapped):
        if label is not None:
            columns[row, task.labels.index(label)] = 1

    def predict(clips: Manifest) -> Predictions:
        proba = space.features(layers=-1).read(clips).astype(np.float64) @ columns
        total = proba.sum(axis=1, keepdims=True)
        # a clip whose whole probability lies on labels that the task leaves out says nothing
        proba = np.where(total > 0, proba / np.where(total > 0, total, 1), 1 / proba.shape[1])
        return Predictions(list(clips.ids), task.labels, proba)

    return predict


def _joined(parts: Sequence[Predictions]) -> Predictions:
    if len(parts) == 1:
        return parts[0]
    ids = [name for part in parts for name in part.ids]
    return Predictions(ids, parts[0].labels, np.concatenate([part.proba for part in parts]))


def _append_history(path: Path, model: str, head: Any) -> None:
    rows = getattr(head, "history_", None) or []
    if rows:
        with path.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps({"model": model, **row}) + "\n")


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }


def _json(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(candidate))


def _words(candidate: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> str:
    """Name only what differs between the candidates."""

    def flat(one: Mapping[str, Any]) -> dict[str, Any]:
        layers = {f"layer of {name}": layer for name, layer in one["layers"].items()}
        return {**layers, "combine": one["combine"], **one["settings"]}

    all_flat = [flat(one) for one in candidates]
    mine = flat(candidate)
    return ", ".join(
        f"{name} {value}"
        for name, value in mine.items()
        if any(other[name] != value for other in all_flat)
    )


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation and 95 % interval of the mean (Student's t) over seeds."""
    from scipy.stats import t

    n = len(values)
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, n - 1)) * sd / n**0.5
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}
