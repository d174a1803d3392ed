"""`extract`: plan, skip what is stored, embed the rest here, in workers or on a cluster.

Every row that is reported stored is durable. One bad clip is one quarantined row, named with its
reason; nothing but a wrong input, a full disk or an encoder that computes differently stops a run.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from pathlib import Path

from ...cache.cache import Cache
from ...cache.errors import InputError, folder_name
from ...cache.identity.encoder_folder import note_encoder_folder
from ...cache.identity.spec import Spec
from ...cache.manifest import Manifest
from ...cache.manifest.manifest import check_manifest
from ...cache.manifest.selection import content_column
from ...cache.space import Space
from ..encoder import Encoder
from ..errors import Unusable
from .engines.workers import count_workers, embed_in_workers
from .extraction import Extraction
from .in_process import Embedding
from .missing_canary import check_with_stored_rows
from .plan import Plan, plan
from .progress import Progress, Report, is_live

_log = logging.getLogger(__name__)


def extract(
    clips: Manifest,
    cache: Cache,
    encoder: Encoder,
    *,
    part: tuple[int, int] = (1, 1),
    store_dtype: str = "float32",
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float | None = None,
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
        Processes, each with an encoder of its own: one per GPU if there are several, or one per
        processor for `spectral` when there is much to do; else 1.
        With Ray, as many as fit into the cluster.
    address : str, optional
        Of a Ray cluster, or ``"auto"`` for the one that this machine is part of; by default one of
        this machine is started, and ended.
    gpus_per_worker : float, optional
        Of a worker on Ray; by default 1 if the encoder runs on a GPU, else 0.
    rehash : bool
        Read every file, even if its size and times are those of an earlier reading.
    progress : bool, optional
        Show progress on stderr; by default in a terminal and in a notebook.

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
        address=address,
        gpus_per_worker=gpus_per_worker,
        rehash=rehash,
        progress=progress,
    )
    if done.failures:
        one = done.failures[0]
        _log.warning(
            "%d of %d clips could not be embedded, for example %s: %s (%s)",
            *(len(done.failures), done.clips, one.id, Unusable(one.code, one.message), one.code),
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
    address: str | None = None,
    gpus_per_worker: float | None = None,
    rehash: bool = False,
    progress: bool | None = None,
) -> Extraction:
    """Do what `extract` does, and return all that happened."""
    begin = time.monotonic()
    check_manifest(clips)
    if not isinstance(cache, Cache) or not isinstance(encoder, Encoder):
        raise InputError(
            f"the cache is of type {type(cache).__name__} and the encoder of type "
            f"{type(encoder).__name__}; expected extract(clips, Cache(folder), Encoder(name))"
        )
    if engine != "ray" and (address is not None or gpus_per_worker is not None):
        raise InputError(f"`address` and `gpus_per_worker` are for `engine='ray'`, not {engine!r}")
    if gpus_per_worker is not None and not 0 <= gpus_per_worker < math.inf:
        raise InputError(f"`{gpus_per_worker=:g}`, expected 0 or more, such as 0.5")
    before = _identity(clips.source)
    spec = encoder.spec.with_store_dtype(store_dtype)
    how = {"part": part, "store_dtype": store_dtype, "rehash": rehash}
    todo = plan(clips, cache, encoder, **how, estimate=False)
    count = count_workers(encoder, todo.misses, engine, workers)
    if todo.misses:
        cache.check_writable()
    notes = _unlike(cache, spec)
    space = cache.create(spec, encoder.title)
    if encoder.folder is not None and not cache.readonly:
        note_encoder_folder(space.folder, encoder.folder, cache.tmp)
    done = Extraction(space, todo.clips, todo.hits, todo.without, notes=notes)
    if todo.misses and len(space) and space.canary() is None:
        check_with_stored_rows(clips, _stored_first(clips, cache, encoder, spec), encoder, space)
    bar = _progress(progress, todo, encoder)
    try:
        if todo.misses and engine == "ray":
            from .engines.ray_driver import embed_on_ray

            where = {"address": address, "gpus_per_worker": gpus_per_worker}
            embed_on_ray(clips, todo.positions, encoder, done, bar, workers, **where)
        elif todo.misses and count > 1:
            embed_in_workers(clips, todo.positions, encoder, done, bar, count)
        elif todo.misses:
            with Embedding(space, encoder) as embedding:
                embedding.embed(clips, todo.positions, done, bar)
    finally:
        if isinstance(bar, Progress):
            bar.end()
    done.seconds = time.monotonic() - begin
    if done.failures and all(one.code == "missing" for one in done.failures) and not len(space):
        done.notes.append(
            f"no file was found in {folder_name(clips.root)}: set --root to the folder that the "
            "paths are relative to"
        )
    if clips.source in cache.corpus_warnings:
        done.notes.append(cache.corpus_warnings[clips.source])
    done.notes += encoder.backend.notes
    if before != _identity(clips.source):
        done.notes.append(f"{clips.source} changed during the run, which used it as it was before")
    return done


def _stored_first(clips: Manifest, cache: Cache, encoder: Encoder, spec: Spec) -> list[int]:
    """Return the positions of clips that the encoder takes, those with stored rows first."""
    dtype = spec.fields["store_dtype"]
    misses = set(plan(clips, cache, encoder, store_dtype=dtype, estimate=False).positions.tolist())
    column = clips[content_column(encoder.modality)]
    return sorted((i for i in range(len(clips)) if column[i]), key=misses.__contains__)


def _progress(wanted: bool | None, todo: Plan, encoder: Encoder) -> Report:
    shown = is_live(sys.stderr) if wanted is None else wanted
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
        f"a new space next to {space.name}, because {spec.explain(space.spec)}".replace("\n", "; ")
        for space in alike
    ]


def _identity(source: str) -> tuple[int, ...] | None:
    """What changes whenever a file does; None where there is none."""
    try:
        status = Path(source).stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
