"""The index of clips: which content a path had when it was read.

Saves hashing files that have not changed, and lets a cache be used where the audio is not. Kept in
immutable segments ``clips/<hash>.jsonl``, one line per clip; see index_files.py.

A line answers for a file only under the root that it was read in, and while size, times and inode
are as they were. Without the file, the line of the same path, segment and id answers:
the last one if one root had several contents over time, and none if different roots disagree. What
the line notes of the clip's speaker and text then distinguishes corpora with equal names.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DamagedError
from ..manifest import Manifest
from ..manifest.paths import folder_digest
from .index_files import Lines, Seen, encode, read_segment, segment_names, store_segment

ABSOLUTE = folder_digest(Path(os.sep))  # the root of a path that is absolute
RACY = 2_000_000_000  # ns: a file younger than this may change again within its time stamp


def seen(clips: Manifest, position: int, digest: str, status: os.stat_result | None) -> Seen:
    """Return the line for a clip whose file was read.

    Parameters
    ----------
    clips : Manifest
        Where the clip is.
    position : int
        Its position there.
    digest : str
        From `audio_digest` of the bytes that were read.
    status : os.stat_result or None
        Of the file, taken before it was read.

    Examples
    --------
    >>> clips = Manifest.from_rows([{"id": "a", "path": "a.wav", "end": 2}])
    >>> line = seen(clips, 0, "0" * 64, None)
    >>> line.path, line.end, line.mtime_ns
    ('a.wav', 2.0, 0)
    """
    line = Seen(
        *_place(clips, position),
        digest=digest,
        root=_root(clips, position),
        about=about(clips, position),
    )
    if status is None:
        return line
    settled = status.st_mtime_ns + RACY < time.time_ns()
    return replace(
        line,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns if settled else 0,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def about(clips: Manifest, position: int) -> str:
    """Return what is noted of a clip's speaker and text, to recognise it by without its file.

    Examples
    --------
    >>> clips = Manifest.from_rows([{"id": "a", "path": "a.wav", "speaker": "anna"}])
    >>> about(clips, 0)
    '55579b55.'
    """
    values = (clips[name][position] for name in ("speaker", "text"))
    return ".".join(value and hashlib.sha256(value.encode()).hexdigest()[:8] for value in values)


def alike(one: str, other: str) -> bool | None:
    """Return whether two `about` are of one clip; None if they have nothing in common to compare.

    Examples
    --------
    >>> alike("12.ab", "12."), alike("12.ab", "34.ab"), alike("12.", "34."), alike("12.", ".ab")
    (True, True, False, None)
    """
    pairs = zip(one.split("."), other.split("."), strict=False)
    same = [a == b for a, b in pairs if a and b]
    return any(same) if same else None


@dataclass(frozen=True)
class Remembered:
    """What a clip may be whose file is not available.

    Attributes
    ----------
    digests
        One, or several if roots disagree, or none if it was never read.
    here
        Whether it was read under the root of its manifest.
    same
        Whether its speaker or text is as it was then; None if that is not known.
    """

    digests: list[str]
    here: bool
    same: bool | None


class ClipIndex:
    """All segments of a cache. `refresh` looks at the folder; the other methods do not.

    Threads may share it: what is known is one object that is never changed, only replaced.
    """

    def __init__(self, top: Path):
        self.top = top
        self.folder = top / "clips"
        self._names: set[str] = set()  # of the segments in use
        self._known = Lines()
        self._lock = threading.Lock()

    def refresh(self) -> ClipIndex:
        """Read the segments that are new; those that have changed are not used."""
        with self._lock:
            names = segment_names(self.folder)
            texts = dict(zip(self._known.names, self._known.texts, strict=True))
            for name in sorted(names - self._names):
                try:
                    texts[name] = read_segment(self.folder / name)
                except (DamagedError, FileNotFoundError):  # verify reports it; or just set aside
                    names.remove(name)
            if names != self._names:
                used = sorted(names)
                self._take([texts[name] for name in used], used)
                self._names = names
        return self

    def lines(self) -> bytes:
        """Return all lines, as one segment."""
        return b"".join(self._known.texts)

    def lines_of(self, clips: Manifest, digests: Iterable[str | None]) -> bytes:
        """Return the lines of these clips with these contents, and of no others, as one segment.

        A clip that was not noted under its path yet gets a line.
        """
        found: dict[Seen, None] = {}
        for i, digest in enumerate(digests):
            if digest is None:
                continue
            id_, path, start, end = _place(clips, i)
            lines = self._known.of(path, start, end)
            lines = [line for line in lines if (line.id, line.digest) == (id_, digest)]
            lines = lines or [replace(seen(clips, i, digest, None), number=1)]
            found |= dict.fromkeys(lines)
        return b"".join(map(encode, found))

    def _take(self, texts: Sequence[bytes], names: Sequence[str] = ("the index of clips",)) -> None:
        self._known = Lines(texts, names, self._known)

    def fresh(self, clips: Manifest, position: int, status: os.stat_result) -> str | None:
        """Return the digest of a clip whose file has not changed since it was read, or None."""
        path, start, end = _place(clips, position)[1:]
        root, anywhere = _root(clips, position), os.path.isabs(path)  # noqa: PTH117
        for line in self._known.of(path, start, end):
            if (line.root == root or anywhere) and line.fresh(status):
                return line.digest
        return None

    def has(self, clips: Manifest, position: int, digest: str) -> bool:
        """Return whether this very clip was seen under this root with this content."""
        id_, path, start, end = _place(clips, position)
        this = (id_, digest, _root(clips, position), about(clips, position))
        lines = self._known.of(path, start, end)
        return any((x.id, x.digest, x.root, x.about) == this for x in lines)

    def remembered(self, clips: Manifest, position: int) -> Remembered:
        """Return what is known of a clip whose file is not available."""
        id_, path, start, end = _place(clips, position)
        lines = [x for x in self._known.of(path, start, end) if x.id == id_]
        last = {x.root: x.digest for x in lines}
        here = last.get(_root(clips, position))
        digests = [here] if here is not None else sorted(set(last.values()))
        mine = about(clips, position)
        verdicts = {alike(x.about, mine) for x in lines if x.digest in digests}
        same = next((verdict for verdict in (True, False) if verdict in verdicts), None)
        return Remembered(digests, here is not None, same)

    def record(self, lines: Iterable[Seen]) -> None:
        """Store lines durably as one new segment; what is there already is left out."""
        known = self.refresh()._known
        lines = list(dict.fromkeys(lines))
        both = zip(lines, known.hold(lines), strict=True)
        numbered = ((line, _number(known, line) if held else 1) for line, held in both)
        data = b"".join(encode(line, number) for line, number in numbered if number)
        if data:
            store_segment(data, self.top)


def _number(known: Lines, line: Seen) -> int:
    """Return the next number of a line's path, or 0 if the line is stored already."""
    last = 0
    for other in known.of(line.path, line.start, line.end):
        if (other.id, other.root) == (line.id, line.root):
            if replace(other, number=0) == line:
                return 0
            last = other.number
    return last + 1


def _place(clips: Manifest, position: int) -> tuple[str, str, float | None, float | None]:
    clip = clips.clip(position)
    return clip.id, clip.path, clip.start, clip.end


def _root(clips: Manifest, position: int) -> str:
    """Return a digest, 16 hex digits, of the absolute folder that a path is relative to."""
    absolute = os.path.isabs(clips["path"][position])  # noqa: PTH117 - runs once per clip
    return ABSOLUTE if absolute else clips._folder.digest
