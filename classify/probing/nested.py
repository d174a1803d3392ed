"""`probe`: choose layer and C on inner folds, and score the choice on outer ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError, one_of
from ...cache.manifest.column_names import BLANK_LABEL
from ...cache.manifest.manifest import check_manifest
from ...cache.space import Space
from ..data.splitting import leaks
from ..data.task import Task
from ..data.vocabulary import left_out_note
from ..models.read_features import leave_out
from ..models.scalers.scaling import check_scale
from .grid import Grid, train_grid
from .label_layer import LabelJob
from .nested_folds import Fold, inner_folds, masks_of, outer_folds
from .one_layer import LayerJob
from .rating_layer import RatingJob
from .result import Probe

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

JOBS: Mapping[str, type[LayerJob]] = {"labels": LabelJob, "regression": RatingJob}


def probe(
    clips: Manifest,
    spaces: Space | Sequence[Space] | Mapping[str, Space],
    task: Task | str,
    *,
    C: Sequence[float] | None = None,
    alpha: Sequence[float] | None = None,
    scheme: str = "group-kfold",
    split: str | PathLike[str] | None = None,
    n_splits: int = 5,
    test_size: float = 0.2,
    scale: bool | str = True,
    class_weight: str | None = "balanced",
    random_state: int = 0,
    n_jobs: int = -1,
    device: str = "auto",
    unlabelled: str = "error",
    progress: Callable[[str], None] = lambda line: None,
) -> Probe:
    """Find the layer, of one encoder or several, on which a linear model does best.

    That is a logistic regression with penalty C, scored by UAR; or for a task of numbers a ridge
    regression with penalty alpha, scored by the mean of CCC over dimensions. Every layer is scored
    on the test clips of every outer fold; its penalty is chosen on inner folds by speaker within
    the clips that the outer fold trains on. Space, layer and penalty together are chosen the same
    way, so the score of the choice comes from clips that it did not see.

    Parameters
    ----------
    clips : Manifest
    spaces : Space, sequence of Space, or mapping of name to Space
    task : Task or str
    C : sequence of float, optional
        Of labels: inverse strengths of the regularisation to try; by default 0.0001 to 1.
    alpha : sequence of float, optional
        Of numbers: strengths of the regularisation to try, the same for all dimensions; by default
        those of `RidgeHead`, 0.01 to 1,000,000.
    scheme : str
        Of the outer folds, as for `affekt.classify.splits`. With ``group-kfold`` the inner folds
        are the other outer folds.
    split : path, optional
        The split.csv of an earlier run, instead of a scheme.
    n_splits : int
        Folds of ``group-kfold``.
    test_size : float
        For schemes with a single split.
    scale : bool or str
        As for `Model`; learnt from the training clips of each fold.
    class_weight : "balanced" or None
        Of labels.
    random_state : int
        Of the folds.
    n_jobs : int
        Threads; -1: as many as cores. The result does not depend on it.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``; ``"auto"`` takes a GPU where there is one and the
        processor would need more than a few seconds. Ridge regressions, and any model with
        ``scale=False``, always use the processor.
    unlabelled : "error" or "drop"
        What a clip without a label means.
    progress : callable, optional
        Receives lines of progress.

    Returns
    -------
    Probe
        With a table, a frame and a figure.

    Raises
    ------
    InputError
        Values out of range, folds that cannot be dealt, or a feature that is not finite.
    MissingError
        Clips without stored features.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Manifest
    >>> from affekt.cache.care.import_export import import_space
    >>> rng = np.random.default_rng(0)
    >>> rows = [
    ...     {"id": str(i), "text": str(i), "label": ("negative", "positive")[i % 2],
    ...      "speaker": f"s{i // 10}"} for i in range(100)]
    >>> values = {row["id"]: rng.standard_normal((3, 8)) for row in rows}
    >>> for row in rows:
    ...     values[row["id"]][2] += 2 * (row["label"] == "positive")
    >>> clips = Manifest.from_rows(rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     space, _ = import_space(Cache(folder), values, clips, "toy")
    ...     found = probe(clips, space, "sentiment")
    >>> found.chosen["layer"], len(found.data["folds"])
    (2, 5)
    """
    check_manifest(clips)
    one_of(unlabelled, BLANK_LABEL, "unlabelled")
    task = task if isinstance(task, Task) else Task.of(task)
    values = _values(task, C=C, alpha=alpha)
    named = _named(spaces)
    _check(class_weight, n_jobs)
    scale = check_scale(scale)
    clips, gone = leave_out(clips, list(named.values()), progress)
    clips, left_out = task.select(clips, blank=unlabelled)
    for text in left_out_note(left_out):
        progress(text)
    digests = None
    if any(clips["path"]):
        digests = next(iter(named.values())).cache.digests(clips, "audio")
    folds, warnings = outer_folds(
        clips,
        scheme,
        random_state=random_state,
        file=split,
        n_splits=n_splits,
        test_size=test_size,
        digests=digests,
        reads_texts=any(space.spec.modality == "text" for space in named.values()),
    )
    job = _job(clips, task, folds, values, scale, class_weight)
    warnings += job.check_train("use fewer folds, or another --split")
    for text in warnings:
        progress(f"warning: {text}")
    measured = _measure(train_grid(job, named, folds, n_jobs, device, progress))
    return Probe(
        {
            "task": {"name": task.name, job.outputs: list(task.labels)},
            "measure": job.measure,
            "spaces": {name: space.name for name, space in named.items()},
            job.penalty: [float(value) for value in job.values],
            "scheme": scheme if split is None else str(split),
            "scale": scale,
            "clips": len(clips),
            "speakers": len(set(leaks.speakers(clips)) - {""}),
            **measured,
            "left_out": left_out,
            "quarantined": gone,
            "warnings": [*warnings, *measured["warnings"]],
        }
    )


def best_layer(
    clips: Manifest,
    space: Space,
    task: Task,
    *,
    C: Sequence[float] | None = None,
    alpha: Sequence[float] | None = None,
    scale: bool | str = True,
    random_state: int = 0,
    n_jobs: int = 1,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Return the layer and penalty with the best score over folds of these clips, by speaker.

    Parameters
    ----------
    clips : Manifest
        Selected by the task; all of them may be learnt from. Those without a row in the space are
        left out.
    space, task, C, alpha, scale, random_state, n_jobs, device, progress
        As for `probe`.

    Returns
    -------
    dict
        ``layer``, ``C``, ``uar`` on folds (of numbers ``alpha`` and ``ccc``), and ``by_layer``: the
        best score of each layer.
    """
    values = _values(task, C=C, alpha=alpha)
    missing = set(space.missing(clips))
    clips = clips.select([clip for clip in clips.ids if clip not in missing])
    if space.n_layers == 1 and len(values) == 1:
        job = JOBS[task.kind]
        return {"layer": 0, job.penalty: float(values[0]), job.measure: None, "by_layer": []}
    inner, _ = inner_folds(clips, random_state)
    fold = Fold("train", inner, np.zeros(len(clips), bool))
    job = _job(clips, task, [fold], values, check_scale(scale))
    job.check_train("the folds are made of train, by speaker; name a layer in place of probe")
    grid = train_grid(job, {space.name: space}, [fold], n_jobs, device, progress)
    scores = grid.inner[:, 0]
    layer, place = np.unravel_index(int(scores.argmax()), scores.shape)
    return {
        "layer": int(layer),
        job.penalty: float(job.values[int(place)]),
        job.measure: float(scores.max()),
        "by_layer": scores.max(axis=1).tolist(),
    }


def _job(
    clips: Manifest,
    task: Task,
    folds: Sequence[Fold],
    values: Sequence[float],
    scale: bool | str,
    class_weight: str | None = "balanced",
) -> LayerJob:
    """Return what is trained on every layer."""
    return JOBS[task.kind](
        clips=clips,
        task=task,
        masks=masks_of(folds),
        values=[float(value) for value in values],
        scale=scale,
        class_weight=class_weight,
    )


def _measure(grid: Grid) -> dict[str, Any]:
    """Choose for each outer fold, and score on its test clips."""
    job, folds, values = grid.job, grid.folds, grid.job.values
    tested = np.any([fold.test for fold in folds], axis=0)
    choice = job.nothing()
    chosen = []
    for number, fold in enumerate(folds):
        inner = grid.inner[:, number]
        at = int(inner.max(axis=1).argmax())
        choice[fold.test] = grid.outer[at, fold.test]
        space, layer = grid.places[at]
        chosen.append(
            {
                "name": fold.name,
                "train": int((fold.inner >= 0).sum()),
                "test": int(fold.test.sum()),
                "space": space,
                "layer": layer,
                job.penalty: values[int(inner[at].argmax())],
                job.measure: job.score(fold.test, choice),
            }
        )
    mean = grid.inner.mean(axis=1)  # (layers, values)
    best, place = np.unravel_index(int(mean.argmax()), mean.shape)
    guesses = np.concatenate([grid.outer, choice[None]])
    scores, warnings = job.scores(tested, guesses)
    for name, own in _languages(job.clips, tested).items():
        for score, of_own in zip(scores, job.scores(own, guesses)[0], strict=True):
            parts = score.setdefault("by_language", {})
            parts[name] = {"clips": int(own.sum()), **of_own}
    return {
        "folds": chosen,
        "layers": [
            {
                "space": space,
                "layer": layer,
                job.penalty: values[int(own.argmax())],
                f"inner_{job.measure}": own.tolist(),
                job.measure: score,
            }
            for (space, layer), own, score in zip(grid.places, mean, scores[:-1], strict=True)
        ],
        "chosen": {
            "space": grid.places[int(best)][0],
            "layer": grid.places[int(best)][1],
            job.penalty: values[int(place)],
        },
        job.measure: scores[-1],
        "tested": int(tested.sum()),
        "warnings": warnings,
    }


def _languages(clips: Manifest, tested: np.ndarray) -> dict[str, np.ndarray]:
    """Return which tested clips are of each language, where there are several."""
    names = np.asarray(clips["language"]).astype(str)
    found = sorted(set(names[tested].tolist()) - {""})
    return {name: tested & (names == name) for name in found} if len(found) > 1 else {}


def _named(spaces: Any) -> dict[str, Space]:
    if isinstance(spaces, Mapping):
        found = dict(spaces)
    else:
        several = list(spaces) if isinstance(spaces, Sequence) else [spaces]
        for one in several:
            if not isinstance(one, Space):
                raise InputError(f"{one!r} is of type {type(one).__name__}, expected a space")
        found = {space.name: space for space in several}
        if len(found) < len(several):
            raise InputError("a space is given twice; expected each once")
    if not found:
        raise InputError("no space to probe; expected at least one")
    return found


def _values(task: Task, **given: Sequence[float] | None) -> Sequence[float]:
    """Return the strengths of the penalty to try, given by its name."""
    job = JOBS[task.kind]
    for other, values in given.items():
        if other != job.penalty and values is not None:
            kind = {"labels": "classification"}.get(task.kind, task.kind)
            raise InputError(
                f"`{other}` is given, and {task.name!r} is a {kind} task, whose models have "
                f"`{job.penalty}` in its place; {job.expected()}"
            )
    values = given[job.penalty]
    values = job.grid if values is None else values
    job.check_values(values)
    return values


def _check(class_weight: Any, n_jobs: int) -> None:
    if class_weight not in (None, "balanced"):
        raise InputError(f"`class_weight` is {class_weight!r}; expected 'balanced' or None")
    if n_jobs == 0:
        raise InputError("`n_jobs` is 0; expected a number of threads, or -1 for all cores")
