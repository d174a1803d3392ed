"""Every layer, penalty and fold trained: what was guessed of clips that were held out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from affekt.machine import processors

from ...cache.errors import counted
from .device.choice import choose_device
from .label_layer import LabelJob
from .nested_folds import Fold
from .one_layer import LayerJob

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from ...cache.space import Features, Space

PAUSE = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Grid:
    """What every layer and strength of the penalty gave.

    `inner` holds the measure over inner folds, `(layers, folds, values)`; `outer` what the best
    model of each fold gives for the clips that the fold tests, `(layers, clips, ...)`.
    """

    job: LayerJob
    places: list[tuple[str, int]]
    folds: Sequence[Fold]
    inner: np.ndarray
    outer: np.ndarray


def train_grid(
    job: LayerJob,
    spaces: Mapping[str, Space],
    folds: Sequence[Fold],
    n_jobs: int,
    device: str,
    progress: Callable[[str], None],
) -> Grid:
    """Train everything: a thread for each layer, or on a device all layers together."""
    masks, values = job.masks, job.values
    places = [(name, layer) for name, space in spaces.items() for layer in range(space.n_layers)]
    inner = np.zeros((len(places), len(folds), len(values)))
    outer = job.nothing(len(places))

    def note(at: int, guesses: np.ndarray) -> None:
        for number, fold in enumerate(folds):
            joined = job.nothing(len(values))
            for inside, mask in masks.inner[number].items():
                clips = fold.inner == inside
                joined[:, clips] = guesses[mask][:, clips]
            inner[at, number] = [job.score(fold.inner >= 0, guess) for guess in joined]
            own = masks.outer[number]
            if own is not None:
                best = int(inner[at, number].argmax())
                outer[at, fold.test] = guesses[own, best][fold.test]

    models = len(masks.masks) * len(values)
    counts = f"{counted(len(places), 'layer')} x {counted(models, 'model')}"
    progress(f"{counts} on {counted(len(job.clips), 'clip')}")
    layers = [spaces[name].features(layers=layer) for name, layer in places]
    place = choose_device(device, job.work(sum(one.width for one in layers)))
    if place != "cpu" and isinstance(job, LabelJob) and job.scale:  # it needs columns of one size
        made = _on_device(job, layers, place)
    else:
        if place != "cpu":
            why = "scale is false" if isinstance(job, LabelJob) else "the task has ratings"
            progress(f"{why}: models are trained on the processor; {place} is not used")
        threads = min(processors(), len(places), n_jobs if n_jobs > 0 else len(places))
        made = _in_threads(job, layers, threads)
    last = time.monotonic()
    for number, (at, guesses) in enumerate(made):
        note(at, guesses)
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            progress(f"{number + 1} of {len(places)} layers")
    return Grid(job, places, folds, inner, outer)


def _on_device(
    job: LabelJob, layers: Sequence[Features], device: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the place of each layer and its guesses; layers of one width share products."""
    from .device.layers import run_layers

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
