"""Embed clips in this process: fetch, compute, store; what is done is kept whatever happens."""

from __future__ import annotations

import platform
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import numpy as np

from affekt.versions import version_of

from ...cache.errors import AffektError
from ...cache.identity.clip_index import Seen
from ...cache.manifest import Manifest
from ...cache.rows.failures import STORED
from ...cache.rows.remarks import note_remarks
from ...cache.space import Space
from ..backend import Pooled
from ..encoder import Encoder
from ..errors import Unusable, stopped
from .claims import Claims
from .engines.feeders import feed_in_processes, how_many
from .extraction import Extraction, Failure
from .feed import Ready, batches, feed
from .progress import Report

_RECORD_ROWS, _RECORD_SECONDS = 20_000, 60.0  # how often the index of clips is written


class Embedding:
    """The state of one process that embeds one share of clips after another; used in a ``with``.

    One encoder, which is loaded and compared with the canary once, and one writer.
    """

    def __init__(self, space: Space, encoder: Encoder) -> None:
        self.space, self.encoder = space, encoder
        self.claims = Claims(space.index.table, space.key, space.modality)
        self.twins: list[Ready] = []
        self.failed: dict[str, Unusable] = {}  # by row key
        noted = space.failures()
        self.noted = {(one["key"], one["id"], one["code"]) for one in noted}
        self.unread = {one["id"] for one in noted if one["key"] is None}
        self.mended: list[str] = []
        self.lines: list[Seen] = []
        self.recorded = time.monotonic()
        self.writer = space.writer(encoder.canary, provenance=provenance(encoder))

    def __enter__(self) -> Embedding:
        self.writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.writer.__exit__(*error)

    def embed(
        self,
        clips: Manifest,
        positions: Sequence[int] | np.ndarray,
        done: Extraction,
        report: Report,
        threads: int | None = None,
    ) -> None:
        """Embed clips and store them durably; `done` is added to, whatever happens."""
        self.clips, self.done = clips, done
        before = len(self.writer.refused)
        backend = self.encoder.backend
        most = backend.batch_clips or (512 if backend.on_gpu else 64)
        seconds = backend.batch_seconds or (960.0 if backend.on_gpu else 60.0)
        try:
            with (
                closing(self._feed(clips, positions, threads)) as ready,
                closing(self.ask_ahead(batches(ready, most, seconds))) as answered,
            ):
                for batch, answers in answered:
                    self.store(batch, answers)
                    report(len(batch), sum(row.seconds for row in batch if row.content is not None))
            self.writer.commit()
        except BaseException:
            with suppress(OSError, AffektError):  # which it raises again, if that was it
                self.writer.commit()
            with suppress(OSError):  # the disk may be what failed; the index is only a memo
                self.finish(before)
            raise
        self.finish(before)

    def _feed(
        self, clips: Manifest, positions: Sequence[int] | np.ndarray, threads: int | None
    ) -> Generator[Ready, None, None]:
        """Make clips ready: in processes where threads could not keep up with the encoder."""
        if count := how_many(self.encoder, len(positions), threads):
            return feed_in_processes(clips, positions, self.encoder, self.claims, count)
        return feed(clips, positions, self.encoder, self.claims.claim, threads=threads)

    def ask_ahead(
        self, ready: Iterator[list[Ready]]
    ) -> Generator[tuple[list[Ready], list[Pooled | Unusable]], None, None]:
        """Embed batches in threads: the next one is under way while the one before is stored.

        Two for a GPU: it computes for one while rows of the other are fetched and checked.
        """
        threads = 1 + self.encoder.backend.on_gpu
        under_way: deque[tuple[list[Ready], Future[list[Pooled | Unusable]]]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="affekt-embed")
        try:
            for batch in ready:
                under_way.append((batch, pool.submit(self._ask, batch)))
                if len(under_way) > threads:
                    first, answers = under_way.popleft()
                    yield first, answers.result()
            for first, answers in under_way:
                yield first, answers.result()
        finally:  # a signal does not wait for a batch
            pool.shutdown(wait=False, cancel_futures=True)

    def store(self, batch: list[Ready], answers: list[Pooled | Unusable]) -> None:
        """Hand an embedded batch to the writer."""
        for row in batch:
            self._record(row)
            if row.failure is not None:
                self._fail(row, row.failure)
            elif row.content is None:
                self._twin(row)
        rows = [row for row in batch if row.content is not None]
        remarks: list[tuple[str, list[str]]] = []
        for row, answer in zip(rows, answers, strict=True):
            if isinstance(answer, Unusable):
                self._fail(row, answer)
                continue
            key, id_ = self.claims.key(row.digest or ""), self.clips.ids[row.position]
            self.writer.add(key, id_, answer.values, answer.frames, row.seconds, copy=False)
            self._mend(id_)
            self.done.computed += 1
            self.done.audio_seconds += row.seconds
            both = dict.fromkeys((*row.flags, *answer.flags))  # decoder and encoder may agree
            remarks.append((key, list(both)))
            for flag in remarks[-1][1]:
                self.done.flags.setdefault(flag, []).append(id_)
        if any(names for _, names in remarks):
            self.space.make()
            note_remarks(self.space.folder, remarks)

    def _ask(self, batch: list[Ready]) -> list[Pooled | Unusable]:
        rows = [row for row in batch if row.content is not None]
        if not rows:
            return []
        try:
            return self.encoder.embed([row.content for row in rows])
        except (AffektError, OSError):
            raise
        except Exception as error:  # a device that fails, or the code of an encoder
            first = self.clips.ids[rows[0].position]
            kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            where = f"{len(rows)} clips from {first!r} on"
            raise stopped(f"{self.encoder.name} failed on {where}: {kind}{error}") from error

    def finish(self, before: int) -> None:
        """Settle what cannot be stored and what shares its content, and write the index.

        The number of rows that the writer had refused before.
        """
        for key, id_, code in self.writer.refused[before:]:  # the writer has noted them
            reason = Unusable(code)
            self.failed[key] = reason
            self.done.failures.append(Failure(id_, reason.code, reason.message))
            self.done.computed -= 1
        for row in self.twins:
            reason = self.failed.get(self.claims.key(row.digest or ""))
            if reason is not None:
                self._fail(row, reason)
            else:
                self.done.repeated += 1
        self.twins = []
        for id_ in self.mended:  # a file that could not be read before
            self.space.fail(None, id_, STORED, "")
        self.mended = []
        self._write_lines()

    def _twin(self, row: Ready) -> None:
        if self.claims.is_stored(row.digest or ""):
            self._mend(self.clips.ids[row.position])
            self.done.hits += 1  # its content was not known before, but it is stored
        else:
            self.twins.append(row)

    def _mend(self, id_: str) -> None:
        if id_ in self.unread:
            self.mended.append(id_)

    def _fail(self, row: Ready, reason: Unusable) -> None:
        id_ = self.clips.ids[row.position]
        key = None if row.digest is None else self.claims.key(row.digest)
        if key is not None:
            self.failed[key] = reason
        self.done.failures.append(Failure(id_, reason.code, reason.message))
        if (key, id_, reason.code) not in self.noted:
            self.space.fail(key, id_, reason.code, reason.message)

    def _record(self, row: Ready) -> None:
        if row.line is not None:
            self.lines.append(row.line)
        late = time.monotonic() - self.recorded > _RECORD_SECONDS
        if late or len(self.lines) >= _RECORD_ROWS:
            self._write_lines()

    def _write_lines(self) -> None:
        lines, self.lines = self.lines, []
        if lines:
            self.space.cache.record(lines)
        self.recorded = time.monotonic()


_PACKAGES = ("affekt", "numpy", "soundfile", "av", "soxr", "torch", "transformers", "tokenizers")


def provenance(encoder: Encoder) -> dict[str, Any]:
    """Name versions, processor and device.

    Examples
    --------
    >>> from affekt.extract import Encoder
    >>> sorted(provenance(Encoder("ngram")))[:3]
    ['affekt', 'av', 'device']
    """
    facts = {name: version_of(name) for name in _PACKAGES}
    facts |= {"python": platform.python_version(), "machine": platform.machine()}
    facts["device"] = _device(str(encoder.backend.device))
    facts |= encoder.backend.provenance()
    return {name: value for name, value in facts.items() if value}


def _device(device: str) -> str:
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return device
