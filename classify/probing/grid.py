"""Every layer, C and fold trained: what was guessed of clips that were held out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from affekt.machine import processors

from ..data.task import Task
from ..metrics import measures as metrics
from .device_choice import choose_device
from .nested_folds import Fold, masks_of
from .one_layer import LayerJob

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Features, Space

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
    device: str,
    progress: Callable[[str], None],
) -> Grid:
    """Train everything: a thread for each layer, or on a device all layers together."""
    codes = metrics.codes(list(clips["label"]), task.labels)
    masks = masks_of(folds)
    places = [(name, layer) for name, space in spaces.items() for layer in range(space.n_layers)]
    job = LayerJob(
        clips, codes, task.labels, masks, values, scale, class_weight == "balanced", MEMORY
    )
    job.check_classes()
    inner = np.zeros((len(places), len(folds), len(values)))
    outer = np.full((len(places), len(values), len(clips)), -1, np.int16)

    def note(at: int, guesses: np.ndarray) -> None:
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
    layers = [spaces[name].features(layers=layer) for name, layer in places]
    weights = sum(one.width for one in layers) * len(task.labels)
    place = choose_device(device, weights * models * len(clips))
    if place == "cpu":
        threads = min(processors(), len(places), n_jobs if n_jobs > 0 else len(places))
        made = _in_threads(job, layers, threads)
    else:
        made = _on_device(job, layers, place)
    last = time.monotonic()
    for number, (at, guesses) in enumerate(made):
        note(at, guesses)
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            progress(f"{number + 1} of {len(places)} layers")
    return Grid(places, [float(value) for value in values], folds, codes, inner, outer)


def _on_device(
    job: LayerJob, layers: Sequence[Features], device: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the place of each layer and its guesses; layers of one width share products."""
    from .device_layers import run_layers

    for width in dict.fromkeys(one.width for one in layers):
        places = [at for at, one in enumerate(layers) if one.width == width]
        yield from zip(places, run_layers(job, [layers[at] for at in places], device), strict=True)


def _in_threads(
    job: LayerJob, layers: Sequence[Features], threads: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the place of each layer and its guesses, as they are made."""
    from threadpoolctl import threadpool_limits

    reading, stop = threading.Lock(), threading.Event()

    def check() -> None:
        if stop.is_set():
            raise InterruptedError("stopped")

    job = replace(job, memory=job.memory // threads, check=check)
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        made = {}
        try:
            for at, one in enumerate(layers):
                features: Any = _Locked(one, reading)
                made[pool.submit(job.run, features)] = at
            for future in as_completed(made):
                yield made[future], future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


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
