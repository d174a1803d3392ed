"""The loop: plan, read and hash, skip what is stored, decode ahead, embed, commit behind.

Every row that is reported stored is durable. One bad clip is one quarantined row, named with its
reason; nothing but a wrong input, a full disk or an encoder that computes differently stops a run.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from ...cache.cache import Cache
from ...cache.errors import AffektError
from ...cache.identity.clip_index import Seen, seen
from ...cache.identity.digests import row_key
from ...cache.identity.encoder_folder import note_encoder_folder
from ...cache.identity.spec import Spec
from ...cache.manifest import Manifest
from ...cache.rows.failures import STORED
from ...cache.rows.remarks import note_remarks
from ...cache.rows.writer import Writer
from ...cache.space import Space
from ..backend import Pooled
from ..encoder import Encoder
from ..errors import Unusable
from .extraction import Extraction, Failure
from .feed import Ready, batches, feed
from .plan import Plan, plan
from .progress import Progress
from .provenance import provenance
from .witness import check_witnesses

__all__ = ["Report", "embed_misses", "extract", "run_extraction"]

_RECORD_ROWS, _RECORD_SECONDS = 20_000, 60.0  # how often the index of clips is written
_log = logging.getLogger(__name__)

Report = Callable[[int, float], None]


def extract(
    clips: Manifest,
    cache: Cache,
    encoder: Encoder,
    *,
    part: tuple[int, int] = (1, 1),
    store_dtype: str = "float32",
    engine: str = "local",
    workers: int | None = None,
    rehash: bool = False,
    progress: bool | None = None,
) -> Space:
    """Embed the clips that are not stored yet.

    Parameters
    ----------
    clips : Manifest
        What to embed. A clip without a path (for an audio encoder) or without a text (for a text
        encoder) is left out.
    cache : Cache
        Where to.
    encoder : Encoder
        With what.
    part : (int, int)
        The i-th of n parts, counted from 1, for jobs that share a manifest.
    store_dtype : str
        ``"float32"``, or ``"float16"`` with a range check.
    engine : str
        ``"local"``, or ``"ray"`` for a cluster (the extra ``affekt[ray]``).
    workers : int, optional
        Processes, each with an encoder of its own: one per GPU if there are several (up to four
        from 30,000 clips on), or one per processor for `spectral` when there is much to do; else 1.
    rehash : bool
        Read every file, even if its size and times are those of an earlier reading.
    progress : bool, optional
        Show progress on stderr; by default if it is a terminal.

    Returns
    -------
    Space
        Its `failures` name the clips that could not be embedded, with a reason code each; a
        warning is logged if there are any.

    Raises
    ------
    InputError
        Wrong input, found before any work.
    CanaryError
        The encoder computes differently from when the space was made; nothing was stored.
    OSError
        The disk is full or fails; what was reported stored is.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache, Manifest
    >>> from affekt.extract import Encoder, extract
    >>> clips = Manifest.from_rows([{"id": "a", "text": "good"}, {"id": "b", "text": "bad"}])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = Cache(folder)
    ...     space = extract(clips, cache, Encoder("ngram"))
    ...     cache.read(space, clips, layers=-1).shape
    (2, 4096)
    """
    done = run_extraction(
        clips,
        cache,
        encoder,
        part=part,
        store_dtype=store_dtype,
        engine=engine,
        workers=workers,
        rehash=rehash,
        progress=progress,
    )
    if done.failures:
        one = done.failures[0]
        _log.warning(
            "%d of %d clips could not be embedded, for example %s: %s (%s)",
            *(len(done.failures), done.clips, one.id, one.message, one.code),
        )
    return done.space


def run_extraction(
    clips: Manifest,
    cache: Cache,
    encoder: Encoder,
    *,
    part: tuple[int, int] = (1, 1),
    store_dtype: str = "float32",
    engine: str = "local",
    workers: int | None = None,
    rehash: bool = False,
    progress: bool | None = None,
) -> Extraction:
    """Do what `extract` does and tell all about it."""
    from .workers import count_workers, embed_in_workers

    begin = time.monotonic()
    before = _identity(clips.source)
    spec = encoder.spec.with_store_dtype(store_dtype)
    how = {"part": part, "store_dtype": store_dtype, "rehash": rehash}
    todo = plan(clips, cache, encoder, **how, estimate=False)
    count = count_workers(encoder, todo.misses, engine, workers)
    notes = _unlike(cache, spec)
    space = cache.create(spec, encoder.title)
    if encoder.folder is not None:
        note_encoder_folder(space, encoder.folder)
    done = Extraction(space, todo.clips, todo.hits, todo.without, notes=notes)
    if todo.misses and len(space) and space.canary() is None:
        check_witnesses(clips, _stored_first(clips, cache, encoder, spec), encoder, space)
    bar = _progress(progress, todo, encoder)
    try:
        if todo.misses and engine == "ray":
            from .ray_tasks import embed_on_ray

            embed_on_ray(clips, todo.positions, encoder, done, bar, workers)
        elif todo.misses and count > 1:
            embed_in_workers(clips, todo.positions, encoder, done, bar, count)
        elif todo.misses:
            embed_misses(clips, todo.positions.tolist(), encoder, done, bar)
    finally:
        if isinstance(bar, Progress):
            bar.end()
    done.seconds = time.monotonic() - begin
    if done.failures and all(one.code == "missing" for one in done.failures) and not len(space):
        done.notes.append(f"no file was found in {clips.root}: --root says where paths start")
    if clips.source in cache.said_elsewhere:
        done.notes.append(cache.said_elsewhere[clips.source])
    done.notes += getattr(encoder.backend, "notes", [])
    if before != _identity(clips.source):
        done.notes.append(f"{clips.source} changed during the run, which used it as it was before")
    return done


def embed_misses(
    clips: Manifest,
    positions: list[int],
    encoder: Encoder,
    done: Extraction,
    report: Report,
    threads: int | None = None,
) -> None:
    """Embed clips in this process and store them; `done` is added to."""
    run = _Run(clips, encoder, done)
    refused: list[tuple[str, str, str]] = []
    backend = encoder.backend
    on_gpu = str(getattr(backend, "device", "cpu")).startswith("cuda")
    most = getattr(backend, "batch_clips", 512 if on_gpu else 64)
    seconds = getattr(backend, "batch_seconds", 960.0 if on_gpu else 60.0)
    try:
        with (
            closing(feed(clips, positions, encoder, run.claim, threads=threads)) as ready,
            done.space.writer(encoder.canary, provenance=provenance(encoder)) as writer,
        ):
            refused = writer.refused
            for batch, answers in run.ask_ahead(batches(ready, most, seconds)):
                run.store(batch, answers, writer)
                report(len(batch), sum(row.seconds for row in batch if row.content is not None))
    except BaseException:
        with suppress(OSError):  # the disk may be what failed; the index is only a memo
            run.finish(refused)
        raise
    run.finish(refused)


class _Run:
    """What one process knows while it embeds."""

    def __init__(self, clips: Manifest, encoder: Encoder, done: Extraction) -> None:
        self.clips, self.encoder, self.done = clips, encoder, done
        self.space = done.space
        self.stored = self.space.index.table  # as it was at the start; a table never changes
        self.claimed: set[str] = set()
        self.lock = threading.Lock()
        self.twins: list[Ready] = []
        self.failed: dict[str, Unusable] = {}  # by row key
        noted = self.space.failures()
        self.noted = {(one["key"], one["id"], one["code"]) for one in noted}
        self.unread = {one["id"] for one in noted if one["key"] is None}
        self.mended: list[str] = []
        self.lines: list[Seen] = []
        self.recorded = time.monotonic()

    def key(self, digest: str) -> str:
        return row_key(self.space.key, self.space.modality, digest)

    def claim(self, digest: str) -> bool:
        """Whether this content is to be computed now."""
        with self.lock:
            if digest in self.claimed or self._is_stored(digest):
                return False
            self.claimed.add(digest)
            return True

    def _is_stored(self, digest: str) -> bool:
        return bool(self.stored.find([self.key(digest)])[0][0] >= 0)

    def ask_ahead(
        self, ready: Iterator[list[Ready]]
    ) -> Iterator[tuple[list[Ready], list[Pooled | Unusable]]]:
        """Embed batches in threads: the next one is under way while its forerunner is stored.

        Two for a GPU: it computes for one while rows of the other are fetched and checked.
        """
        threads = 1 + str(getattr(self.encoder.backend, "device", "cpu")).startswith("cuda")
        under_way: deque[tuple[list[Ready], Future[list[Pooled | Unusable]]]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="affekt-embed") as pool:
            for batch in ready:
                under_way.append((batch, pool.submit(self._ask, batch)))
                if len(under_way) > threads:
                    first, answers = under_way.popleft()
                    yield first, answers.result()
            for first, answers in under_way:
                yield first, answers.result()

    def store(self, batch: list[Ready], answers: list[Pooled | Unusable], writer: Writer) -> None:
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
            key, id_ = self.key(row.digest or ""), self.clips.ids[row.position]
            writer.add(key, id_, answer.values, answer.frames, row.seconds, copy=False)
            self._mend(id_)
            self.done.computed += 1
            self.done.audio_seconds += row.seconds
            remarks.append((key, [*row.flags, *answer.flags]))
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
        except RuntimeError as error:  # a device that fails takes the process with it
            first = self.clips.ids[rows[0].position]
            raise AffektError(
                f"{self.encoder.name} failed on {len(rows)} clips from {first!r} on: {error}."
                " What was stored is kept: run the same command again to go on"
            ) from error

    def finish(self, refused: list[tuple[str, str, str]]) -> None:
        """Settle what cannot be stored and what shares its content, and write the index."""
        for key, id_, code in refused:  # the writer has noted them
            reason = Unusable(code)
            self.failed[key] = reason
            self.done.failures.append(Failure(id_, reason.code, reason.message))
            self.done.computed -= 1
        for row in self.twins:
            reason = self.failed.get(self.key(row.digest or ""))
            if reason is not None:
                self._fail(row, reason)
            else:
                self.done.repeated += 1
        self.twins = []
        for id_ in self.mended:  # a file that could not be read before
            self.space.fail(None, id_, STORED, "")
        self._write_lines()

    def _twin(self, row: Ready) -> None:
        if row.digest in self.claimed:
            self.twins.append(row)
        else:
            self._mend(self.clips.ids[row.position])
            self.done.hits += 1  # its content was not known before, but it is stored

    def _mend(self, id_: str) -> None:
        if id_ in self.unread:
            self.mended.append(id_)

    def _fail(self, row: Ready, reason: Unusable) -> None:
        id_ = self.clips.ids[row.position]
        key = None if row.digest is None else self.key(row.digest)
        if key is not None:
            self.failed[key] = reason
        self.done.failures.append(Failure(id_, reason.code, reason.message))
        if (key, id_, reason.code) not in self.noted:
            self.space.fail(key, id_, reason.code, reason.message)

    def _record(self, row: Ready) -> None:
        if row.status is not None and row.digest is not None:
            self.lines.append(seen(self.clips, row.position, row.digest, row.status))
        late = time.monotonic() - self.recorded > _RECORD_SECONDS
        if late or len(self.lines) >= _RECORD_ROWS:
            self._write_lines()

    def _write_lines(self) -> None:
        lines, self.lines = self.lines, []
        if lines:
            self.space.cache.record(lines)
        self.recorded = time.monotonic()


def _stored_first(clips: Manifest, cache: Cache, encoder: Encoder, spec: Spec) -> list[int]:
    """Give the positions of clips that the encoder takes, those first whose rows are stored."""
    dtype = spec.fields["store_dtype"]
    misses = set(plan(clips, cache, encoder, store_dtype=dtype, estimate=False).positions.tolist())
    column = clips["path" if encoder.modality == "audio" else "text"]
    return sorted((i for i in range(len(clips)) if column[i]), key=misses.__contains__)


def _progress(wanted: bool | None, todo: Plan, encoder: Encoder) -> Report:
    shown = sys.stderr.isatty() if wanted is None else wanted
    if shown and todo.misses:
        return Progress(todo.misses, encoder.name, audio=encoder.modality == "audio")
    return lambda clips, seconds: None


def _unlike(cache: Cache, spec: Spec) -> list[str]:
    """What sets a new space apart from those of the same name."""
    spaces = cache.spaces()
    if any(space.spec == spec for space in spaces):
        return []
    alike = [space for space in spaces if space.spec.name == spec.name]
    return [
        f"a new space beside {space.name}, because {spec.explain(space.spec)}".replace("\n", "; ")
        for space in alike
    ]


def _identity(source: str) -> tuple[int, ...] | None:
    """What tells whether a file was changed; None where there is none."""
    try:
        status = Path(source).stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
