"""Extraction on a Ray cluster: workers take one share of the clips after another.

The cache, the manifest's root and the encoder must be reachable under the same paths on every
machine (a shared file system). Ray is the extra ``affekt[ray]``.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np

from affekt.machine import processors

from ....cache.errors import AffektError, first_line
from ....cache.manifest import Manifest
from ...encoder import Encoder
from ...errors import stopped
from ..extraction import Extraction
from ..progress import Report
from .ray_cluster import connected, import_ray, places
from .ray_worker import RayWorker
from .shares import add, columns, make_job, ranges, reraise

_SHARE = 2000  # clips that a worker takes at once, at most
_TURNS = 4  # shares for each worker, at least, so that they end together
_AHEAD = 2  # shares that a worker has: one in work, one waiting
_RETRIES = 3  # workers that may die of one share
_EVERY = 1.0  # seconds between looks at the progress
_GRACE = 30.0  # seconds for workers to store what they have


def embed_on_ray(
    clips: Manifest,
    positions: np.ndarray,
    encoder: Encoder,
    done: Extraction,
    report: Report,
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float | None = None,
) -> None:
    """Hand the clips out to workers, and add up what they report.

    Parameters
    ----------
    clips, positions, encoder, done, report
        As for the other engines.
    workers : int, optional
        How many; by default as many as fit into the cluster.
    address : str, optional
        Of a cluster, or ``auto``; by default one of this machine is started.
    gpus_per_worker : float, optional
        By default 1 if the encoder runs on a GPU here, else 0; 0.25 puts four workers on one.

    Raises
    ------
    InputError
        Ray is not installed.
    AffektError
        Workers died again and again, or Ray could not start.
    """
    ray = import_ray()
    gpus = float(encoder.backend.on_gpu) if gpus_per_worker is None else gpus_per_worker
    job = make_job(clips, encoder, done.space)
    if gpus:  # Ray shows each worker its own device
        job["encoder"]["device"] = "cuda"
    elif encoder.backend.on_gpu:
        job["encoder"]["device"] = "cpu"
    try:
        with connected(ray, address, workers or processors()):
            room, cpus = places(ray, gpus)
            count = min(workers or room, len(positions))
            job["threads"] = cpus
            size = max(1, min(_SHARE, -(-len(positions) // (_TURNS * count))))
            order, bounds = ranges(clips, positions, encoder.modality, size)
            crew = _Crew(ray, clips, order, bounds, done, report)
            crew.run(job, count, num_cpus=cpus, num_gpus=gpus)
    except (ray.exceptions.RayError, ConnectionError, TimeoutError) as error:
        what = f"Ray failed with {type(error).__name__} ({first_line(error)[:200]})"
        raise stopped(what) from error


class _Crew:
    """Some workers, the shares that they have, and the shares that are left."""

    def __init__(
        self,
        ray: Any,
        clips: Manifest,
        order: np.ndarray,
        bounds: list[tuple[int, int]],
        done: Extraction,
        report: Report,
    ) -> None:
        self.ray, self.clips, self.order, self.bounds = ray, clips, order, bounds
        self.done, self.report = done, report
        self.waiting = deque(range(len(bounds)))
        self.calls: dict[Any, tuple[Any, int]] = {}  # answer to come -> worker, share
        self.looks: dict[Any, Any] = {}  # progress to come -> worker
        self.reported: dict[int, tuple[int, float]] = {}  # of a share in work, as reported
        self.errors: list[AffektError | OSError] = []

    def run(self, job: dict[str, Any], count: int, **needs: float) -> None:
        """Embed all shares, or raise the first error once the workers that still can are done."""
        kind = self.ray.remote(
            max_restarts=-1, max_task_retries=_RETRIES, concurrency_groups={"look": 1}, **needs
        )(RayWorker)
        workers = [kind.remote(job) for _ in range(count)]
        try:
            for _ in range(_AHEAD):
                for worker in workers:
                    self._hand_out(worker)
            while self.calls:
                self._take()
                self._look(workers)
            ended = [worker.close.remote() for worker in workers]
            for result in self.ray.get(ended):
                if "error" in result:
                    self.errors.append(reraise(result["error"]))
        except BaseException:
            self._stop(workers)
            raise
        if self.errors:
            raise self.errors[0]

    def _hand_out(self, worker: Any) -> None:
        if self.waiting:
            number = self.waiting.popleft()
            start, stop = self.bounds[number]
            share = columns(self.clips, self.order[start:stop])
            self.calls[worker.embed.remote(number, share)] = worker, number

    def _take(self) -> None:
        """Take answers as they come; a worker that has an error gets no more to do."""
        ready, _ = self.ray.wait(list(self.calls), num_returns=1, timeout=_EVERY)
        for answer in ready:
            worker, number = self.calls.pop(answer)
            result = self.ray.get(answer)
            if "error" in result:
                self.errors.append(reraise(result["error"]))
                continue
            add(self.done, result)
            start, stop = self.bounds[number]
            self._report_progress(number, stop - start, result["audio_seconds"])
            del self.reported[number]
            self._hand_out(worker)

    def _look(self, workers: list[Any]) -> None:
        """Report what workers have done of their shares; one that has died reports nothing."""
        if not self.looks:
            look = {"concurrency_group": "look", "max_task_retries": 0}
            busy = [worker for worker, _ in self.calls.values()]
            self.looks = {w.progress.options(**look).remote(): w for w in workers if w in busy}
        if self.looks:
            ready, _ = self.ray.wait(list(self.looks), num_returns=len(self.looks), timeout=0)
            for answer in ready:
                worker = self.looks.pop(answer)
                with suppress(self.ray.exceptions.RayError):
                    number, clips, seconds = self.ray.get(answer)
                    if (worker, number) in self.calls.values():
                        self._report_progress(number, clips, seconds)

    def _report_progress(self, number: int, clips: int, seconds: float) -> None:
        """Report what is new in a share: what a worker did that died is not counted twice."""
        before, audio = self.reported.get(number, (0, 0.0))
        clips, seconds = max(clips, before), max(seconds, audio)
        self.reported[number] = clips, seconds
        self.report(clips - before, seconds - audio)

    def _stop(self, workers: list[Any]) -> None:
        """Let workers store what they have; they end with the connection."""
        with suppress(self.ray.exceptions.RayError):
            for worker in workers:
                worker.stop.options(concurrency_group="look").remote()
            if self.calls:
                self.ray.wait(list(self.calls), num_returns=len(self.calls), timeout=_GRACE)
