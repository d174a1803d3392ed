"""Train one model from a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from ....cache.cache import Cache
from ....cache.commands.terminal import aligned, named_values
from ....cache.errors import InputError, check_characters
from ....cache.manifest import Manifest
from ...data.predictions import Predictions
from ...data.splitting.findings import of_splits
from ...data.splitting.schemes import Scheme, Split, splits
from ...data.task import Task
from ...data.vocabulary import left_out_note
from ...metrics.scored_clips import task_score
from ...models.read_features import leave_out
from ..recipes.entries import PROBE, MemberEntry
from .member_folder import check_head
from .trainer import Trainer, warn_unlike

if TYPE_CHECKING:
    from ...models.model import Model

Line = Callable[[str], None]


def train_model(
    manifest: str | Path | Manifest,
    cache: str | Path,
    task: str,
    *,
    spaces: Sequence[str],
    head: str,
    layers: str = "-1",
    combine: str = "concat",
    scale: bool | str = True,
    seeds: int = 1,
    pairs: Sequence[str] = (),
    scheme: Scheme = "speaker",
    split: str | Path | None = None,
    test_size: float = 0.2,
    dev_size: float = 0.1,
    random_state: int = 0,
    unlabelled: str = "error",
    progress: Line = lambda line: None,
) -> tuple[Model, dict[str, Any]]:
    """Train a model as `affekt train` does.

    Parameters
    ----------
    spaces : sequence of str
        Names of spaces; two for a fusion.
    head : str
        A name of `HEADS`.
    layers : str
        ``"12"``, ``"all"``, ``"6,12"``, or ``"probe"``: the best one over folds of train.
    scale : bool or str
        As for `Model`.
    pairs : sequence of str
        ``"C=0.1"``: settings of the head, values as in YAML.
    scheme, test_size, dev_size, random_state
        As for `splits`. A scheme of several folds trains and scores each, then a model on all.
    split : path, optional
        A `split.csv` to continue, instead of a scheme.
    unlabelled : "error" or "drop"
        What a clip without a label means.
    progress : callable, optional

    Returns
    -------
    model : Model
    record : dict
        What was chosen; ``dev_uar``, ``test_uar`` (``dev_ccc``, ``test_ccc`` of a task of numbers),
        ``test_clips``, ``test``, the predictions, and ``quarantined``, id -> reason code of clips
        that extract could not embed: left out. With folds also ``folds`` (name, clips,
        dev and test UAR, what was chosen) and ``refit``.

    Raises
    ------
    InputError
        Anything wrong with the input, before any work.
    MissingError
        Clips without stored features.
    """
    store = Cache(cache, readonly=True)
    found = {name: store.space(name) for name in spaces}
    given = named_values("--set", pairs)
    settings = {name: (_setting(name, text),) for name, text in given.items()}
    entry = MemberEntry(
        name="model",
        head=head,
        on=tuple(found),
        layers=dict.fromkeys(found, (_layers(layers),)),
        combine=(combine,),
        settings=settings,
        scale=scale,
        seeds=seeds,
        random_state=random_state,
    )
    if not head:
        raise InputError('--head is ""; expected the name of a head, as logistic')
    wanted = Task.of(task)
    check_head(entry, wanted)
    clips = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    clips, gone = leave_out(clips, list(found.values()), progress)
    labelled, left_out = wanted.select(clips, blank=unlabelled)
    for text in left_out_note(left_out):
        progress(text)
    parts = splits(
        labelled,
        scheme,
        file=split,
        test_size=test_size,
        dev_size=dev_size,
        random_state=random_state,
        digests=store.digests(labelled, "audio") if any(labelled["path"]) else None,
        reads_texts=any(space.spec.modality == "text" for space in found.values()),
    )
    for warning in of_splits(parts):
        progress(f"warning: {warning}")
    trainer = Trainer(entry, wanted, found, progress=progress)
    if len(parts) > 1:
        model, record = _train_folds(trainer, labelled, parts)
        return model, {**record, "quarantined": gone}
    [part] = parts
    progress(f"training on {len(part.train)} clips")
    model, record = trainer.choose(part, keep_interrupted=True)
    test = model.predict(part.test)
    warn_unlike(test, progress)
    score = task_score(wanted, part.test, test)
    scored = {f"test_{wanted.measure}": score, "test_clips": len(part.test), "quarantined": gone}
    return model, {**record, **scored, "test": test}


def _train_folds(
    trainer: Trainer, labelled: Manifest, parts: Sequence[Split]
) -> tuple[Model, dict[str, Any]]:
    """Train one model per fold, score each on its test clips, and refit on all clips.

    The model that is returned is the last one, which was not scored. The record has ``refit``,
    ``dev_uar`` (the mean over the folds; or ``dev_ccc``), ``test_uar``, ``test_clips`` and ``test``
    of the test clips of all folds together, and ``folds``: name, clips, dev and test UAR of each,
    and what was chosen.
    """
    task = trainer.task
    dev, tested = f"dev_{task.measure}", f"test_{task.measure}"
    fitted, records, tests, folds = [], [], [], []
    for part in parts:
        in_fold = trainer.in_fold(part.name)
        in_fold.progress(f"training on {len(part.train)} clips")
        model, record = in_fold.choose(part)
        fitted.append(model)
        records.append(record)
        tests.append(model.predict(part.test))
        folds.append(
            {
                "fold": part.name,
                "clips": {name: len(clips) for name, clips in part.parts.items()},
                dev: record[dev],
                tested: task_score(task, part.test, tests[-1]),
                "chosen": record["chosen"],
            }
        )
    model, again = trainer.refit(labelled, parts, fitted, records)
    devs = [one[dev] for one in records if one[dev] is not None]
    joined = Predictions.concatenated(tests)
    warn_unlike(joined, trainer.progress)
    return model, {
        "chosen": {key: again[key] for key in ("settings", "layers")},
        dev: float(np.mean(devs)) if devs else None,
        "refit": again,
        tested: task_score(task, labelled.select(joined.ids), joined),
        "test_clips": len(joined),
        "test": joined,
        "folds": folds,
    }


def fold_table(record: Mapping[str, Any]) -> str:
    """Return the scores of `train_model` on several folds as text.

    Examples
    --------
    >>> print(fold_table({"test_uar": 0.5, "test_clips": 20, "folds": [
    ...     {"fold": "fold 1", "clips": {"test": 8}, "dev_uar": 0.6, "test_uar": 0.45},
    ...     {"fold": "fold 2", "clips": {"test": 12}, "dev_uar": 0.7, "test_uar": 0.55}]}))
    fold    test clips  dev UAR  test UAR
    fold 1           8    0.600     0.450
    fold 2          12    0.700     0.550
    Test UAR 0.500 on the 20 clips of 2 folds together; each was predicted by the model of its fold.
    """
    folds, key = record["folds"], "ccc" if "test_ccc" in record else "uar"
    name = key.upper()
    rows = [["fold", "test clips", f"dev {name}", f"test {name}"]]
    for one in folds:
        dev = "-" if one[f"dev_{key}"] is None else f"{one[f'dev_{key}']:.3f}"
        rows.append([one["fold"], str(one["clips"]["test"]), dev, f"{one[f'test_{key}']:.3f}"])
    return "\n".join(aligned(rows, left=1)) + (
        f"\nTest {name} {record[f'test_{key}']:.3f} on the {record['test_clips']} clips of "
        f"{len(folds)} folds together; each was predicted by the model of its fold."
    )


def _setting(name: str, text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        found = yaml.safe_load(text)
        check_characters(str(found), f"--set {name}={text}")
        return found
    except yaml.YAMLError:
        pair = f"{name}={text}"
        raise InputError(f"--set {pair!r}: {text!r} is not a YAML value; quote it") from None


def _layers(text: str) -> Any:
    if text in ("all", PROBE):
        return text
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--layers is {text!r}; expected 12, all, 6,12, or probe") from None
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
