"""`probe`: choose layer and C on inner folds, and score the choice on outer ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError, check_number
from ..data.splitting import leaks
from ..data.task import Task
from ..metrics.bootstrap import Resamples, resample
from ..metrics.scored_clips import clusters
from ..models.read_features import leave_out
from ..models.scalers.scaling import check_scale
from ..options import C_RANGE
from .grid import Grid, mean_recall, train_grid
from .nested_folds import Fold, inner_folds, outer_folds
from .result import Probe

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Space

VALUES = (0.001, 0.01, 0.1, 1.0)
RESAMPLES = 2000


def probe(
    clips: Manifest,
    spaces: Space | Sequence[Space] | Mapping[str, Space],
    task: Task | str,
    *,
    C: Sequence[float] = VALUES,
    scheme: str = "group-kfold",
    split: str | PathLike[str] | None = None,
    n_splits: int = 5,
    test_size: float = 0.2,
    scale: bool | str = True,
    class_weight: str | None = "balanced",
    random_state: int = 0,
    n_jobs: int = -1,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> Probe:
    """Find the layer, of one encoder or several, on which a logistic regression does best.

    Every layer is scored on the test clips of every outer fold; its C is chosen on inner folds by
    speaker within the clips that the outer fold trains on. Space, layer and C together are chosen
    the same way, so the UAR of the choice comes from clips that it did not see.

    Parameters
    ----------
    clips : Manifest
    spaces : Space, sequence of Space, or mapping of name to Space
    task : Task or str
    C : sequence of float
        Inverse strengths of the regularisation to try.
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
    random_state : int
        Of the folds.
    n_jobs : int
        Threads; -1: as many as cores. The result does not depend on it.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``; ``"auto"`` takes a GPU where there is one and the
        processor would need more than a few seconds.
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
    task = task if isinstance(task, Task) else Task.of(task)
    _check_task(task)
    named = _named(spaces)
    _check(C, class_weight, n_jobs)
    scale = check_scale(scale)
    clips, gone = leave_out(clips, list(named.values()), progress)
    clips, left_out = task.select(clips)
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
    )
    grid = train_grid(clips, named, task, folds, C, scale, class_weight, n_jobs, device, progress)
    for text in warnings:
        progress(f"warning: {text}")
    measured = _measure(grid, clips, task)
    return Probe(
        {
            "task": {"name": task.name, "labels": list(task.labels)},
            "spaces": {name: space.name for name, space in named.items()},
            "C": [float(value) for value in C],
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
    C: Sequence[float] = VALUES,
    scale: bool | str = True,
    random_state: int = 0,
    n_jobs: int = 1,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Return the layer and C with the best UAR over folds of these clips, by speaker.

    Parameters
    ----------
    clips : Manifest
        Labelled; all of them may be learnt from. Those without a row in the space are left out.
    space, task, C, scale, random_state, n_jobs, device, progress
        As for `probe`.

    Returns
    -------
    dict
        ``layer``, ``C``, ``uar`` on folds, and ``by_layer``: its best of each layer.
    """
    _check_task(task)
    missing = set(space.missing(clips))
    clips = clips.select([clip for clip in clips.ids if clip not in missing])
    if space.n_layers == 1 and len(C) == 1:
        return {"layer": 0, "C": float(C[0]), "uar": None, "by_layer": []}
    inner, _ = inner_folds(clips, random_state)
    fold = Fold("train", inner, np.zeros(len(clips), bool))
    grid = train_grid(
        clips,
        {space.name: space},
        task,
        [fold],
        C,
        check_scale(scale),
        "balanced",
        n_jobs,
        device,
        progress,
    )
    scores = grid.inner[:, 0]
    layer, place = np.unravel_index(int(scores.argmax()), scores.shape)
    return {
        "layer": int(layer),
        "C": float(C[int(place)]),
        "uar": float(scores.max()),
        "by_layer": scores.max(axis=1).tolist(),
    }


def _measure(grid: Grid, clips: Manifest, task: Task) -> dict[str, Any]:
    """Choose for each outer fold, and score on its test clips."""
    folds, count = grid.folds, len(grid.places)
    tested = np.any([fold.test for fold in folds], axis=0)
    by_layer = np.full((count + 1, len(clips)), -1, np.int64)  # the last row: the choice
    best_value = grid.inner.argmax(axis=2)  # (layers, folds)
    chosen = []
    for number, fold in enumerate(folds):
        for at in range(count):
            by_layer[at, fold.test] = grid.outer[at, best_value[at, number], fold.test]
        at = int(grid.inner[:, number].max(axis=1).argmax())
        by_layer[count, fold.test] = by_layer[at, fold.test]
        space, layer = grid.places[at]
        chosen.append(
            {
                "name": fold.name,
                "train": int((fold.inner >= 0).sum()),
                "test": int(fold.test.sum()),
                "space": space,
                "layer": layer,
                "C": grid.values[best_value[at, number]],
                "uar": mean_recall(grid.codes[fold.test], by_layer[count, fold.test]),
            }
        )
    mean = grid.inner.mean(axis=1)  # (layers, values)
    best, place = np.unravel_index(int(mean.argmax()), mean.shape)
    at_test = clips.select(tested)
    drawn, warnings = _resampled(grid.codes[tested], by_layer[:, tested], at_test, task)
    languages = _languages(at_test)
    by_language = {
        name: _resampled(
            grid.codes[tested][rows], by_layer[:, tested][:, rows], at_test.select(rows), task
        )[0]
        for name, rows in languages.items()
    }

    def value(at: int) -> dict[str, Any]:
        found: dict[str, Any] = _value(drawn, at)
        if languages:
            found["by_language"] = {
                name: {"clips": int(languages[name].sum()), **_value(own, at)}
                for name, own in by_language.items()
            }
        return found

    return {
        "folds": chosen,
        "layers": [
            {
                "space": space,
                "layer": layer,
                "C": grid.values[int(mean[at].argmax())],
                "inner_uar": mean[at].tolist(),
                "uar": value(at),
            }
            for at, (space, layer) in enumerate(grid.places)
        ],
        "chosen": {
            "space": grid.places[int(best)][0],
            "layer": grid.places[int(best)][1],
            "C": grid.values[int(place)],
        },
        "uar": value(count),
        "tested": int(tested.sum()),
        "warnings": warnings,
    }


def _resampled(
    codes: np.ndarray, guesses: np.ndarray, clips: Manifest, task: Task
) -> tuple[Resamples, list[str]]:
    groups, warnings = clusters(clips, "speaker")
    systems = {str(at): row for at, row in enumerate(guesses)}
    drawn = resample(codes, systems, groups, len(task.labels), n_resamples=RESAMPLES)
    return drawn, warnings


def _value(drawn: Resamples, at: int) -> dict[str, Any]:
    low, high = drawn.interval(str(at), "uar")
    interval = None if np.isnan(low) else [low, high]
    return {"value": drawn.estimates[str(at)]["uar"], "interval": interval}


def _languages(clips: Manifest) -> dict[str, np.ndarray]:
    """Return the clips of each language, where there are several."""
    names = np.asarray(clips["language"]).astype(str)
    found = sorted(set(names.tolist()) - {""})
    return {name: names == name for name in found} if len(found) > 1 else {}


def _named(spaces: Any) -> dict[str, Space]:
    if isinstance(spaces, Mapping):
        found = dict(spaces)
    else:
        several = list(spaces) if isinstance(spaces, Sequence) else [spaces]
        found = {space.name: space for space in several}
        if len(found) < len(several):
            raise InputError("a space is given twice; expected each once")
    if not found:
        raise InputError("no space to probe; expected at least one")
    return found


def _check_task(task: Task) -> None:
    if task.kind != "labels":
        raise InputError(
            f"task {task.name} is a regression task, and a probe trains logistic regressions on "
            "labels; expected a classification task, or train a ridge on each layer"
        )


def _check(values: Sequence[float], class_weight: Any, n_jobs: int) -> None:
    if not len(values):
        raise InputError("C is []; expected numbers above 0, as 0.01 and 0.1")
    for value in values:
        check_number("C", value, *C_RANGE)
    if len(set(values)) < len(values):
        raise InputError(f"C is {list(values)}; expected each value once")
    if class_weight not in (None, "balanced"):
        raise InputError(f"class_weight is {class_weight!r}; expected 'balanced' or None")
    if n_jobs == 0:
        raise InputError("n_jobs is 0; expected a number of threads, or -1 for all cores")
