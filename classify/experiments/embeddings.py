"""What the cache holds for the clips of a run, and filling in what it does not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ...cache.cache import Cache
from ...cache.identity.content_digests import row_key
from ...cache.identity.encoder_folder import note_encoder_folder
from ...cache.manifest import Manifest
from ...cache.rows.remarks import read_remarks
from .known_encoders import remember
from .recipes.prepared import Prepared, Source, Stored


def look(source: Source, cache: Cache, *, hash_files: bool = True) -> Stored:
    """Return what is stored, what failed before, and what is still to be embedded.

    Files that the cache has not seen are read for their content, and the index of the cache
    remembers their paths: also of files that were renamed, whose rows are stored.

    Parameters
    ----------
    hash_files : bool
        False reads no file: one that is new or changed counts as pending.
    """
    kind = source.spec.modality
    ids = source.clips.ids
    found = cache.digests(source.clips, kind, hash_files=hash_files, record=hash_files)
    digests = dict(zip(ids, found, strict=True))
    space = cache.find(source.spec)
    if space is None:
        return Stored(digests, frozenset(), {}, list(ids))
    keys = {clip: digest and row_key(space.key, kind, digest) for clip, digest in digests.items()}
    known = [clip for clip in ids if keys[clip]]
    stored = space.stored([keys[clip] or "" for clip in known])
    there = frozenset(
        clip for clip, is_stored in zip(known, stored.tolist(), strict=True) if is_stored
    )
    # a failure counts for the content that failed: a file that changed or appeared is tried again
    failed = {
        note["id"]: note["code"]
        for note in space.failures()
        if note["id"] in keys and note["id"] not in there and note["key"] == keys[note["id"]]
    }
    pending = [clip for clip in ids if clip not in there and clip not in failed]
    noted = read_remarks(space.folder)
    counts = Counter(name for clip in sorted(there) for name in noted.get(keys[clip] or "", ()))
    return Stored(digests, there, failed, pending, dict(sorted(counts.items())))


def embed(ready: Prepared, progress: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Embed what the cache does not hold; return, by encoder, the ``clips`` and the ``seconds``."""
    made = {}
    for name, before in ready.stored.items():
        if before.pending:
            from ...extract.running.embedding import extract

            source, begun = ready.sources[name], time.monotonic()
            progress(f"{name}: embedding {len(before.pending)} of {len(source.clips)} clips")
            extract(source.clips, ready.cache, source.encoder, store_dtype=source.spec.store_dtype)
            stored = ready.stored[name] = look(source, ready.cache)
            seconds = round(time.monotonic() - begun, 1)
            made[name] = {"clips": len(stored.there) - len(before.there), "seconds": seconds}
    return made


def measure(source: Source, cache: Cache, stored: Stored) -> float | None:
    """Return the seconds to embed what is pending, by the encoder's speed on short inputs."""
    from ...extract.running.plan import plan

    pending = set(stored.pending)
    clips = source.clips.select([clip for clip in source.clips.ids if clip in pending])
    how: Any = {"store_dtype": source.spec.store_dtype, "measure": True}
    return plan(clips, cache, source.encoder, **how).seconds


def unreadable(clips: Manifest, pending: Sequence[str]) -> dict[str, list[str]]:
    """Return what is wrong -> the ids among `pending` with such a recording."""
    from ...extract.inputs.audio_files import refused_by_size

    wanted, found = set(pending), {"not there": [], "too large, or sparse,": []}
    for row, clip in enumerate(clips.ids):
        if clip in wanted:
            try:
                if refused_by_size(clips.file(row).stat()) is not None:
                    found["too large, or sparse,"].append(clip)
            except (OSError, ValueError):  # also a name that no file can have
                found["not there"].append(clip)
    return found


def keep_opened(source: Source, cache: Cache) -> None:
    """Remember the spec of an encoder that was opened; a built-in one costs nothing to open."""
    from ...extract.encoder_names import is_code

    if source.encoder is not None and not is_code(source.encoder.name):
        if source.entry.options:  # a given model has the spec itself
            remember(cache, source.entry.arguments, source.spec.with_store_dtype("float32"))
        made = cache.find(source.spec)
        if made is not None and source.encoder.folder is not None and not cache.readonly:
            note_encoder_folder(made.folder, source.encoder.folder, cache.tmp)
