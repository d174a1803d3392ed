"""The content of recordings: by the index where a file is as it was, else by reading it."""

from __future__ import annotations

import hashlib
import logging
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .clips import Seen, seen
from .digests import segment_digest
from .errors import InputError
from .remedies import DISPUTED

if TYPE_CHECKING:
    from .cache import Cache
    from .manifest import Manifest

__all__ = ["audio_digests"]

log = logging.getLogger(__name__)


def audio_digests(
    cache: Cache,
    clips: Manifest,
    *,
    hash_files: bool,
    rehash: bool,
    refuse: bool,
    record: bool,
) -> list[str | None]:
    """Return the digest of each recording; the parameters are those of `Cache.digests`."""
    cache.clips.refresh()
    reading = _Reading(cache, clips, hash_files or rehash, rehash, refuse)
    digests = [reading.digest(i) if path else None for i, path in enumerate(clips["path"])]
    _say_elsewhere(cache, clips, reading.elsewhere)
    if record and not cache.readonly and reading.seen:
        with suppress(OSError):  # the index is only a memo
            cache.clips.record(reading.seen)
    return digests


#: Files are read whole, so that what is decoded is what was hashed; not beyond this, in bytes.
LARGEST = 2 << 30


@dataclass
class _Reading:
    """One pass over the files of some clips; a file that holds several is read once."""

    cache: Cache
    clips: Manifest
    may_read: bool
    rehash: bool
    refuse: bool
    files: dict[Path, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)  # what the index does not hold yet
    elsewhere: int = 0  # clips whose content was read under another root, and is not here

    def digest(self, i: int) -> str | None:
        try:
            path = self.clips.file(i)
        except InputError:  # it leaves the root: not for us to read
            return None
        try:
            status = path.stat()
        except OSError:
            return self._remembered(i)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return None
        digest = None if self.rehash else self.cache.clips.fresh(self.clips, i, status)
        if digest is None and self.may_read:
            if path not in self.files:
                try:
                    with path.open("rb") as file:
                        self.files[path] = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError:  # it has changed: what it was before says nothing
                    return None
            clip = self.clips.clip(i)
            digest = segment_digest(self.files[path], clip.start, clip.end)
        if digest is not None and not self.cache.clips.knows(self.clips, i, digest):
            self.seen.append(seen(self.clips, i, digest, status))
        return digest

    def _remembered(self, i: int) -> str | None:
        """Return the digest of a clip whose file is not at hand; None if roots disagree."""
        found = self.cache.clips.remembered(self.clips, i)
        if len(found) > 1 and self.refuse:
            raise InputError(f"{self.clips.place(i)}: {self.clips['path'][i]!r} {DISPUTED}")
        if len(found) != 1:
            return None
        self.elsewhere += not self.cache.clips.knows_root(self.clips, i)
        return found[0]


def _say_elsewhere(cache: Cache, clips: Manifest, count: int) -> None:
    """Say, once for each manifest, that embeddings may be of another corpus."""
    if not count or clips.source in cache.said_elsewhere:
        return
    cache.said_elsewhere[clips.source] = count
    recordings = int(np.count_nonzero(clips["path"] != ""))
    log.warning(
        "%s: %d of %d recordings are not in %s. Their embeddings are found by id and path, as read "
        "in another folder: right for a copied cache, wrong for another corpus with the same ids "
        "and paths",
        *(clips.source, count, recordings, clips.root),
    )
