"""A worker on a Ray cluster: an actor that has one encoder for its whole life."""

from __future__ import annotations

import threading
from typing import Any

from ....cache.errors import AffektError
from ....cache.space import Space
from ...encoder import Encoder
from ..extraction import Extraction
from ..in_process import Embedding
from .shares import as_values, clips_of, open_job


class _Stopped(Exception):
    """The driver has asked to stop; what is computed is stored first."""


class RayWorker:
    """Embeds one share after another, and stores each as shards; Ray makes an actor of it.

    The encoder is opened at the first share, so that what is wrong with it is an answer and not the
    end of the actor. When the process dies, Ray starts another one and gives it the share again:
    it finds what is stored, and computes the clips that were in flight.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.open: tuple[Encoder, Space, Embedding] | None = None
        self.lock = threading.Lock()
        self.done = (-1, 0, 0.0)  # share, clips and seconds of audio in it
        self.stopped = False

    def embed(self, number: int, columns: dict[str, list[Any]]) -> dict[str, Any]:
        """Embed a share; return what was done, or the error, as plain values."""
        self._note(number, 0, 0.0)

        def report(clips: int, seconds: float) -> None:
            if self.stopped:
                raise _Stopped
            self._note(number, clips, seconds)

        try:
            report(0, 0.0)
            _, space, embedding = self._opened()
            done = Extraction(space)
            clips = clips_of(self.job, [columns])
            embedding.embed(clips, range(len(clips)), done, report, self.job["threads"])
            return done.as_dict()
        except _Stopped:
            return {"stopped": True}
        except (AffektError, OSError) as error:
            return {"error": as_values(error)}

    def progress(self) -> tuple[int, int, float]:
        """Return the share in work, and the clips and seconds of audio that are done of it."""
        with self.lock:
            return self.done

    def stop(self) -> None:
        """Store what is computed, and answer the shares that wait with ``stopped``."""
        self.stopped = True

    def close(self) -> dict[str, Any]:
        """End the writer: small shards are merged if there are many."""
        try:
            if self.open is not None:
                self.open[2].__exit__(None, None, None)
        except (AffektError, OSError) as error:
            return {"error": as_values(error)}
        return {}

    def _opened(self) -> tuple[Encoder, Space, Embedding]:
        if self.open is None:
            encoder, space = open_job(self.job)
            self.open = encoder, space, Embedding(space, encoder).__enter__()
        return self.open

    def _note(self, number: int, clips: int, seconds: float) -> None:
        with self.lock:
            share, before, audio = self.done
            if share != number:
                before, audio = 0, 0.0
            self.done = number, before + clips, audio + seconds
