"""One member of a recipe and its folder: model, predictions, what was chosen.

The folder appears whole or not at all, and `member.json` in it holds a key over everything that
decides its numbers; a run that finds the key again has nothing to do.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....cache.errors import check_number, expected_one_of, listed
from ....cache.files.atomic_writes import draft, write_json
from ....cache.files.reading import file_sha256, read_note, read_object
from ....cache.manifest import Manifest
from ...data.predictions import Predictions
from ...data.task import Task
from ...heads.registry import HeadError
from ...models.folders.kept_files import MODEL, replace_folder
from ...models.folders.model_folder import versions
from ..recipes.entries import MemberEntry
from .shares import TrainedMember
from .trainer import Trainer

if TYPE_CHECKING:
    from ...data.splitting.split import Split
    from ...models.model import Model

EPOCH = 4  # raised when the same recipe gives different numbers
RECORD = "member.json"
SEEDS = "seeds"
#: what affekt writes into the folder of a member
WRITTEN = re.compile(
    rf"{re.escape(RECORD)}|pred\.csv|dev\.csv|history\.jsonl|{SEEDS}/-?\d+\.csv"
    rf"|model(-\d+)?/({MODEL.pattern})"
)


def check_head(entry: MemberEntry, task: Task) -> None:
    """Check head and settings of a member before any work."""
    from ...heads.linear.logistic import C_RANGE
    from ...heads.registry import heads_for, unknown_head

    if not entry.head:
        return
    HEADS, others = heads_for(task.kind)
    if entry.head in others:
        raise entry.error(
            f"the head {entry.head!r} predicts {others.what}, and the task {task.name!r} has "
            f"{HEADS.what}; expected one of {', '.join(HEADS)}",
            "head",
        )
    if entry.head not in HEADS:
        raise entry.error(unknown_head(entry.head, HEADS), "head")
    known = list(HEADS[entry.head]().get_params())
    for name in entry.settings:
        if name not in known:
            keys = ("on", "layers", "combine", "scale", "seeds", "random_state", "refit")
            expected = expected_one_of(name, dict.fromkeys((*keys, *known)))
            raise entry.error(f"unknown key {name!r}; {expected}", name)
    for candidate in entry.candidates():
        with entry.naming():
            HEADS[entry.head](**candidate["settings"])._check_settings()
            if entry.head == "logistic" and candidate["settings"].get("C") is not None:
                check_number("C", candidate["settings"]["C"], *C_RANGE)


def is_done(folder: Path, key: str) -> bool:
    """Whether the member in `folder` was made with this key and nothing in it changed since."""
    record = read_note(folder / RECORD)
    try:
        return record["key"] == key and record["files"] == _digests(folder, record["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def take_other(folder: Path, places: Sequence[Path], key: str) -> str:
    """Copy to `folder` a member that `is_done` under another name, or was left out since.

    Returns
    -------
    str
        The name that it had; blank if there is none.
    """
    folders = (one for place in places for one in sorted(place.glob("*")))
    found = next((one for one in folders if is_done(one, key)), None)
    if found is None:
        return ""
    folder.parent.mkdir(parents=True, exist_ok=True)
    record = read_object(found / RECORD, lenient=True)
    with draft(folder) as new:
        for name in record["files"]:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found / name, new / name)
        record["name"] = folder.name
        write_json(new / RECORD, record)
        replace_folder(new, folder, WRITTEN)
    return found.name


def changed_since(folder: Path, made_of: Mapping[str, str]) -> str:
    """Return why the member in `folder` is made again; blank where there is none.

    Parameters
    ----------
    made_of : mapping of str to str
        What decides its numbers -> digest, see `member_key`.
    """
    before = read_note(folder / RECORD).get("made_of")
    if not isinstance(before, dict):
        return ""
    changed = [what for what, digest in made_of.items() if before.get(what, digest) != digest]
    return listed(changed) if changed else "its files"


def read_member(folder: Path, task: Task) -> TrainedMember:
    """Read what `train_member` left in a member's folder."""
    read, dev = task.read_predictions, folder / "dev.csv"
    record = read_object(folder / RECORD, lenient=True)
    seeds = sorted((folder / SEEDS).glob("*.csv"), key=lambda path: (len(path.stem), path.stem))
    return TrainedMember(
        read(folder / "pred.csv"),
        read(dev) if dev.is_file() else None,
        {path.stem: read(path) for path in seeds},
        record["parts"],
        [folder / RECORD, *(folder / name for name in record["files"])],
    )


def train_member(
    trainer: Trainer,
    labelled: Manifest,
    parts: Sequence[Split],
    folder: Path,
    key: str,
    *,
    made_of: Mapping[str, str] | None = None,
    moves_to: Path | None = None,
) -> None:
    """Train a member on every part and leave its folder.

    Parameters
    ----------
    labelled : Manifest
        Every clip of the run, with task labels.
    parts : sequence of Split
        One, or the folds of a cross-validation; their test clips are disjoint.
    folder : Path
        Receives `member.json`, `pred.csv`, `dev.csv`, `seeds/` (predictions of test by each of
        several seeds), `history.jsonl`, and the model that predicts new clips as `model/`; of
        folds `model-1/`, ..., and `model/` only if it is refitted on all of their clips.
    key : str
        See `is_done`.
    made_of : mapping of str to str, optional
        The parts of the key, see `changed_since`.
    moves_to : Path, optional
        Where the folder will be moved.

    Raises
    ------
    InputError
        As `Model.fit`; or several values to choose from and no dev clips.
    """
    entry, home = trainer.entry, moves_to or folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with draft(folder) as new, _naming_member(entry):
        new.mkdir()
        fitted, tests, devs, records, history = [], [], [], [], []
        seeds: dict[int, list[Predictions]] = defaultdict(list)
        for number, part in enumerate(parts, 1):
            alone = not entry.head or (len(parts) == 1 and not entry.refit)
            name = "model" if alone else f"model-{number}"
            if entry.head:
                in_fold = trainer.in_fold(part.name)
                in_fold.progress(f"{entry.name}: training on {len(part.train)} clips")
                model, record = in_fold.choose(part, on_seed=lambda s, test: seeds[s].append(test))
                for row in getattr(model.head_, "history_", None) or ():
                    history.append(json.dumps({"model": name, **row}) + "\n")
            else:
                model, record = _not_trained(trainer)
            model.save_pretrained(new / name, moves_to=home / name)
            fitted.append(model)
            tests.append(model.predict(part.test))
            if len(part.dev):
                devs.append(model.predict(part.dev))
            if part.name:
                record = {"fold": part.name, **record}
            if far := tests[-1].unlike_training:
                record = {**record, "unlike_training": far}
            records.append({"test_clips": len(part.test), **record})
        again = {}
        if entry.refit:
            model, again["refit"] = trainer.refit(labelled, parts, fitted, records)
            model.save_pretrained(new / "model", moves_to=home / "model")
        if history:
            (new / "history.jsonl").write_text("".join(history), encoding="utf-8")
        Predictions.concatenated(tests).write(new / "pred.csv")
        for seed, found in seeds.items():
            Predictions.concatenated(found).write(new / SEEDS / f"{seed}.csv")
        dev_ids = [clip for one in devs for clip in one.ids]
        if len(devs) == len(parts) and len(set(dev_ids)) == len(dev_ids):
            Predictions.concatenated(devs).write(new / "dev.csv")
        described = {
            "name": entry.name,
            "key": key,
            "made_of": dict(made_of or {}),
            "parts": records,
            **again,
            "files": _digests(new),
        }
        write_json(new / RECORD, described)
        replace_folder(new, folder, WRITTEN)


@contextmanager
def _naming_member(entry: MemberEntry) -> Iterator[None]:
    """Name the member whose own head failed."""
    try:
        yield
    except HeadError as error:
        raise HeadError(f"member {entry.name!r}: {error}") from error.__cause__


def _not_trained(trainer: Trainer) -> tuple[Model, dict[str, Any]]:
    """Return a given model, or one that sums class probabilities by task label; and its record."""
    from ...heads.linear.summed import SummedHead
    from ...models.model import Model

    entry, task, space = trainer.entry, trainer.task, trainer.spaces[trainer.entry.on[0]]
    if entry.model:
        model = Model.from_pretrained(str(entry.model), space.cache)
        model.task = task  # of the run, in whose order the labels come
        return model, {"model": entry.named}
    labels = space.spec.labels or ()  # `check_sources` has looked at them
    head = SummedHead.of([task.label_of(str(label)) for label in labels], task.labels)
    model = Model(head, task, space.features(layers=-1), scale=False)
    model.head_ = head
    model.record = {"classifier": space.name, "versions": versions()}
    return model, {"classifier": space.name}


def _digests(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return the sha256 of the files of these names; of all in a new folder by default."""
    if names is None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
    return {name: file_sha256(folder / name) for name in names}
