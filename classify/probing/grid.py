"""Every layer, C and fold trained: what was guessed of clips that were held out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from affekt.machine import processors

from ..data.task import Task
from ..metrics import measures as metrics
from .nested_folds import Fold, masks_of
from .one_layer import LayerJob

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Space

MEMORY = 384 << 20  # bytes of rows, and as many of weights, in all threads together
PAUSE = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Grid:
    """What every layer and C gave.

    `inner` holds the UAR over inner folds, `(layers, folds, values)`; `outer` the guesses of the
    clips that the outer folds test, `(layers, values, clips)` int16, -1 for other clips.
    """

    places: list[tuple[str, int]]
    values: list[float]
    folds: Sequence[Fold]
    codes: np.ndarray
    inner: np.ndarray
    outer: np.ndarray


def train_grid(
    clips: Manifest,
    spaces: Mapping[str, Space],
    task: Task,
    folds: Sequence[Fold],
    values: Sequence[float],
    scale: bool | str,
    class_weight: str | None,
    n_jobs: int,
    progress: Callable[[str], None],
) -> Grid:
    """Train everything, a thread for each layer."""
    from threadpoolctl import threadpool_limits

    codes = metrics.codes(list(clips["label"]), task.labels)
    masks = masks_of(folds)
    places = [(name, layer) for name, space in spaces.items() for layer in range(space.n_layers)]
    threads = min(processors(), len(places), n_jobs if n_jobs > 0 else len(places))
    reading, stop = threading.Lock(), threading.Event()

    def check() -> None:
        if stop.is_set():
            raise InterruptedError("stopped")

    balanced = class_weight == "balanced"
    given = (clips, codes, task.labels, masks, values, scale, balanced)
    job = LayerJob(*given, MEMORY // threads, check)
    job.check_classes()
    inner = np.zeros((len(places), len(folds), len(values)))
    outer = np.full((len(places), len(values), len(clips)), -1, np.int16)

    def one(at: int) -> None:
        name, layer = places[at]
        features: Any = _Locked(spaces[name].features(layers=layer), reading)
        guesses = job.run(features)
        for number, fold in enumerate(folds):
            chosen_on = fold.inner >= 0
            joined = np.full((len(values), len(clips)), -1, np.int16)
            for inside, mask in masks.inner[number].items():
                rows = fold.inner == inside
                joined[:, rows] = guesses[mask][:, rows]
            for place in range(len(values)):
                inner[at, number, place] = mean_recall(codes[chosen_on], joined[place, chosen_on])
            own = masks.outer[number]
            if own is not None:
                outer[at][:, fold.test] = guesses[own][:, fold.test]

    models = len(masks.masks) * len(values)
    progress(f"{len(places)} layers x {models} models on {len(clips)} clips")
    last = time.monotonic()
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        try:
            waiting = {pool.submit(one, at) for at in range(len(places))}
            while waiting:
                done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                if time.monotonic() - last > PAUSE:
                    last = time.monotonic()
                    progress(f"{len(places) - len(waiting)} of {len(places)} layers")
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return Grid(places, [float(value) for value in values], folds, codes, inner, outer)


class _Locked:
    """Features that one thread reads at a time."""

    def __init__(self, features: Any, lock: threading.Lock) -> None:
        self.features, self.lock = features, lock

    def read(self, clips: Manifest) -> np.ndarray:
        with self.lock:
            return self.features.read(clips)


def mean_recall(truth: np.ndarray, guess: np.ndarray) -> float:
    """Return the mean recall over the classes in truth."""
    return float(np.mean([(guess[truth == code] == code).mean() for code in np.unique(truth)]))
