"""The index of clips: which content a path had when it was read.

Saves hashing files that have not changed, and lets a cache be used where the audio is not. Kept in
immutable segments ``clips/<hash>.jsonl``, one line per clip, named by their content like shards.

A line answers for a file only while size, times and inode are as they were. Where the file is not
at hand, the line of the same path, segment and id answers: the last one if one root had several
contents over time, and none if different roots disagree.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .durable import content_name, make_folder, publish
from .errors import InputError
from .manifest import Manifest

RACY = 2_000_000_000  # ns: a file younger than this may change again within its time stamp
LEAD = b'{"at":"'  # every line starts so, followed by 16 hex digits to find it by


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read for a clip, and its content.

    Parameters
    ----------
    id, path, start, end
        The clip as its manifest writes it.
    digest : str
        From `audio_digest`.
    size, mtime_ns, ctime_ns, inode : int
        Of the file that was read; ``mtime_ns`` 0 means that they vouch for nothing.
    root : str
        Digest of the absolute folder that the path was relative to.
    number : int
        Later lines for one path have higher numbers; `ClipIndex.record` sets it.
    """

    id: str
    path: str
    start: float | None
    end: float | None
    digest: str
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    root: str = ""
    number: int = 0

    def fresh(self, status: os.stat_result) -> bool:
        """Say whether a file is still the one that was read."""
        return self.mtime_ns > 0 and (
            (self.size, self.mtime_ns, self.ctime_ns, self.inode)
            == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        )


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
    line = Seen(*_place(clips, position), digest=digest, root=root_name(clips.root))
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


def root_name(root: Path) -> str:
    """Return 16 hex digits that stand for an absolute folder, without naming it."""
    return hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()[
        :16
    ]


class ClipIndex:
    """All segments of a cache. `refresh` looks at the folder; the other methods do not."""

    def __init__(self, top: Path):
        self.top = top
        self.folder = top / "clips"
        self.damaged: list[str] = []
        self._names: set[str] = set()
        self._texts: list[bytes] = []
        self._at = np.empty(0, np.uint64)
        self._where = np.empty((0, 3), np.int64)  # segment, first byte, last byte

    def __len__(self) -> int:
        return len(self._at)

    def refresh(self) -> ClipIndex:
        """Read the segments again if there are others than before."""
        names = {p.name for p in self.folder.glob("*.jsonl")} if self.folder.is_dir() else set()
        if names == self._names:
            return self
        texts = {name: (self.folder / name).read_bytes() for name in sorted(names)}
        self.damaged = [n for n, text in texts.items() if content_name(text, ".jsonl") != n]
        self._take([text for name, text in texts.items() if name not in self.damaged])
        self._names = names
        return self

    def lines(self) -> bytes:
        """Return all lines, as one segment."""
        return b"".join(self._texts)

    def _take(self, texts: list[bytes]) -> None:
        """Learn where each line of the segments is."""
        at, where = [np.empty(0, np.uint64)], [np.empty((0, 3), np.int64)]
        for number, text in enumerate(texts):
            words, bounds = _scan(text)
            at.append(words)
            where.append(np.hstack([np.full((len(words), 1), number), bounds]))
        words = np.concatenate(at)
        order = np.argsort(words, kind="stable")
        self._texts = texts
        self._at, self._where = words[order], np.concatenate(where)[order]

    def fresh(self, clips: Manifest, position: int, status: os.stat_result) -> str | None:
        """Return the digest of a clip whose file has not changed since it was read, or None."""
        lines = self._lines(*_place(clips, position)[1:])
        return next((line.digest for line in lines if line.fresh(status)), None)

    def remembered(self, clips: Manifest, position: int) -> str | None:
        """Return the digest of a clip whose file is not at hand, or None."""
        id_, path, start, end = _place(clips, position)
        last = {x.root: x.digest for x in self._lines(path, start, end) if x.id == id_}
        here = last.get(root_name(clips.root))
        if here is not None or len(set(last.values())) < 2:
            return here or next(iter(last.values()), None)
        raise InputError(
            f"{clips.place(position)}: {clips['path'][position]!r} had different contents under"
            " different roots, and the file is not at hand: bring the file, or rename the clip"
        )

    def record(self, lines: Iterable[Seen]) -> None:
        """Store lines durably as one new segment; what is there already is left out."""
        self.refresh()
        new = {line: self._number(line) for line in lines}
        data = b"".join(_encode(replace(line, number=n)) for line, n in new.items() if n)
        if not data:
            return
        tmp = self.top / "tmp"
        make_folder(self.folder, self.top)
        make_folder(tmp, self.top)
        publish(data, self.folder / content_name(data, ".jsonl"), tmp)

    def _number(self, line: Seen) -> int:
        """Return the next number of a line's path, or 0 if the line is stored already."""
        last = 0
        for known in self._lines(line.path, line.start, line.end):
            if (known.id, known.root) == (line.id, line.root):
                if replace(known, number=0) == line:
                    return 0
                last = known.number
        return last + 1

    def _lines(self, path: str, start: float | None, end: float | None) -> list[Seen]:
        """Return the lines for a path and segment, oldest first."""
        word = np.uint64(int(_at(path, start, end), 16))
        first = int(np.searchsorted(self._at, word))
        lines = []
        while first < len(self._at) and self._at[first] == word:
            segment, low, high = self._where[first]
            fields = json.loads(self._texts[segment][low:high])
            lines.append(Seen(**{name: fields[name] for name in Seen.__dataclass_fields__}))
            first += 1
        same = [line for line in lines if (line.path, line.start, line.end) == (path, start, end)]
        return sorted(same, key=lambda line: (line.number, line.digest))


def _place(clips: Manifest, position: int) -> tuple[str, str, float | None, float | None]:
    clip = clips.clip(position)
    return clip.id, clip.path, clip.start, clip.end


def _at(path: str, start: float | None, end: float | None) -> str:
    text = f"{path}\0{start!r}\0{end!r}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _encode(line: Seen) -> bytes:
    fields = {"at": _at(line.path, line.start, line.end), **asdict(line)}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _scan(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return what each line of a segment is found by ``(lines,)``, and its bounds ``(lines, 2)``.

    Looks at sixteen bytes of each line only: a million lines are not parsed to find one.
    """
    data = np.frombuffer(text, np.uint8)
    stops = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], stops[:-1] + 1]) if len(stops) else np.empty(0, np.int64)
    digits = data[starts[:, None] + len(LEAD) + np.arange(16)] if len(starts) else np.empty((0, 16))
    nibbles = (np.where(digits >= ord("a"), digits - ord("a") + 10, digits - ord("0"))).astype("u1")
    words = ((nibbles[:, ::2] << 4) | nibbles[:, 1::2]).view(">u8")[:, 0].astype(np.uint64)
    return words, np.stack([starts, stops], axis=1)
