"""The content of recordings: by the index where a file is as it was, else by reading it."""

from __future__ import annotations

import logging
import stat
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError, folder_name
from ..files.reading import file_sha256, is_hollow
from ..manifest import Manifest
from .clip_index import ClipIndex, Seen, seen
from .content_digests import segment_digest

DISPUTED = (
    "had different contents under different roots, and the file is not available: make it "
    "available, or rename the clip"
)

log = logging.getLogger(__name__)


#: Files are read whole, so that what is decoded is what was hashed; not beyond this, in bytes.
LARGEST = 2 << 30


@dataclass
class Reading:
    """One pass over the files of some clips; a file that holds several is read once.

    The options are those of `Store.digests`. Warnings that a manifest may be of another corpus go
    into `warned`, by its source.
    """

    index: ClipIndex
    clips: Manifest
    warned: dict[str, str]
    hash_files: bool = False
    rehash: bool = False
    refuse: bool = True
    record: bool = False
    files: dict[Path, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)  # what the index does not hold yet
    remembered: Counter[str] = field(default_factory=Counter)  # of clips whose files are not here

    def digests(self) -> Iterator[str | None]:
        """Yield the digest of each recording, one after another."""
        self.index.refresh()
        yield from (self._digest(i) if path else None for i, path in enumerate(self.clips["path"]))
        self._check_corpus()
        if self.seen:
            with suppress(OSError):  # the index is only a memo
                self.index.record(self.seen)

    def _digest(self, i: int) -> str | None:
        try:
            path = self.clips.file(i)
        except InputError:  # it leaves the root: not to be read
            return None
        try:
            status = path.stat()
        except OSError:
            return self._remembered(i)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST or is_hollow(status):
            return None
        digest = None if self.rehash else self.index.fresh(self.clips, i, status)
        is_fresh = digest is not None
        if digest is None and (self.hash_files or self.rehash):
            if path not in self.files:
                try:
                    self.files[path] = file_sha256(path)
                except OSError:  # it has changed: its earlier content says nothing
                    return None
            clip = self.clips.clip(i)
            digest = segment_digest(self.files[path], clip.start, clip.end)
        if digest is None or not self.record:
            return digest
        # also a file that was copied or touched: it would be read again each time
        if not (is_fresh and self.index.has(self.clips, i, digest)):
            self.seen.append(seen(self.clips, i, digest, status))
        return digest

    def _remembered(self, i: int) -> str | None:
        """Return the digest of a clip whose file is not available; None if roots disagree."""
        found = self.index.remembered(self.clips, i)
        if len(found.digests) > 1 and self.refuse:
            raise InputError(f"{self.clips.place(i)}: {self.clips['path'][i]!r} {DISPUTED}")
        if len(found.digests) != 1:
            return None
        self.remembered["all"] += 1
        self.remembered["elsewhere"] += not found.here
        self.remembered["other"] += found.same is False
        return found.digests[0]

    def _check_corpus(self) -> None:
        """Refuse what is remembered of another corpus; say what may be of one, once a manifest."""
        clips, count = self.clips, self.remembered
        recordings = int(np.count_nonzero(clips["path"] != ""))
        absent = f"of {recordings} recordings are not in {folder_name(clips.root)}"
        if count["other"] * 2 > count["all"]:
            raise InputError(
                f"{clips.source}: {count['all']} {absent}, and the cache knows their ids and "
                f"paths from another corpus: in {count['other']} the speaker or the text differs. "
                "Use a separate cache for this corpus, or make its audio available (--root is "
                "its folder); after speakers were renamed, affekt extract must read the audio "
                "once more"
            )
        doubt = ""
        if count["elsewhere"]:
            doubt = (
                f"{clips.source}: {count['elsewhere']} {absent}. Their embeddings are found by id"
                " and path, as read in another folder: right for a copied cache, wrong for another"
                " corpus with the same ids and paths"
            )
        if count["other"]:
            doubt = doubt or f"{clips.source}: {count['all']} {absent}"
            doubt += f"; in {count['other']} the speaker or the text is not the one that was read"
        if doubt and clips.source not in self.warned:
            self.warned[clips.source] = doubt
            log.warning("%s", doubt)


class HeldDigests:
    """Digests by root, path and segment. One thread at a time may use it.

    Examples
    --------
    >>> held = HeldDigests()
    >>> clips = Manifest.from_rows([{"id": "a", "path": "a.wav"}, {"id": "b", "text": "no audio"}])
    >>> held.digests(clips) is None
    True
    >>> held.keep(clips, ["0" * 64, None])
    >>> held.digests(clips) == ["0" * 64, None]
    True
    """

    def __init__(self) -> None:
        self._digests: dict[Hashable, str] = {}

    def digests(self, clips: Manifest) -> list[str | None] | None:
        """Return the digest of each clip, None for those without a path; None if one is unknown."""
        found: list[str | None] = []
        for place in _places(clips):
            digest = self._digests.get(place) if place else None
            if place and digest is None:
                return None
            found.append(digest)
        return found

    def keep(self, clips: Manifest, digests: Sequence[str | None]) -> None:
        """Keep the digests that are known."""
        for place, digest in zip(_places(clips), digests, strict=True):
            if place and digest:
                self._digests[place] = digest


def _places(clips: Manifest) -> Iterator[tuple[Hashable, ...] | None]:
    root = clips._folder.digest, clips.allow_outside
    starts, ends = (_times(clips, name) for name in ("start", "end"))
    for path, start, end in zip(clips["path"].tolist(), starts, ends, strict=True):
        yield (*root, path, start, end) if path else None


def _times(clips: Manifest, name: str) -> list[float | None]:
    return [None if time != time else time for time in clips[name].tolist()]  # NaN is not a time
