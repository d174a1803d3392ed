"""A segment of the index of clips: JSON lines that a process has read, in one immutable file.

Like a shard, a segment is named by its content and appears whole. Its lines are found by the hash
that each begins with, and only those that are asked for are parsed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from os import stat_result
from pathlib import Path

import numpy as np

from ..errors import DamagedError
from ..files.durable import content_name, flushed, make_folder, put_content
from ..files.reading import check_regular, parse_json
from .content_digests import DIGEST

NAME = re.compile(r"[0-9a-f]{24}\.jsonl")
LEAD = b'{"at":"'  # every line starts so, followed by 16 hex digits to find it by
DIGITS = 16


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
        Of the file that was read; ``mtime_ns`` is 0 where they cannot show a later change.
    root : str
        Digest of the absolute folder that the path was relative to.
    number : int
        Later lines for one path have higher numbers; `ClipIndex.record` sets it.
    about : str
        What the manifest had of the clip: ``<digest of the speaker>.<digest of the text>``, 8 hex
        digits each or blank. Lines of earlier versions do not have it.
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
    about: str = ""

    def fresh(self, status: stat_result) -> bool:
        """Return whether a file is still the one that was read."""
        return self.mtime_ns > 0 and (
            (self.size, self.mtime_ns, self.ctime_ns, self.inode)
            == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        )


_TYPES = {"str": (str,), "int": (int,), "float | None": (float, int, type(None))}
#: fields of a line, in the order of `Seen`, and the types that JSON gives them
FIELDS = {one.name: _TYPES[str(one.type)] for one in fields(Seen)}
SINCE = {"about": ""}  # fields that older lines do not have, and their value there


class Lines:
    """The lines of some segments. Never changes, so any number of threads may ask it.

    Parameters
    ----------
    texts : sequence of bytes
        The segments.
    names : sequence of str
        What each is called when something is wrong with it.
    before : Lines, optional
        Texts that are its own are not looked through again.

    Raises
    ------
    DamagedError
        A segment does not consist of lines of the index.

    Examples
    --------
    >>> lines = Lines([encode(Seen("a", "a.wav", None, 2.0, "0" * 64))], ["one.jsonl"])
    >>> [line.id for line in lines.of("a.wav", None, 2.0)], lines.of("b.wav", None, 2.0)
    (['a'], [])
    """

    def __init__(
        self, texts: Iterable[bytes] = (), names: Iterable[str] = (), before: Lines | None = None
    ):
        self.texts, self.names = list(texts), list(names)
        old = {} if before is None else before._scanned
        self._scanned = {  # by the text itself, which is kept
            id(text): old[id(text)] if id(text) in old else _scan(text, name)
            for text, name in zip(self.texts, self.names, strict=True)
        }
        at, where = [np.empty(0, np.uint64)], [np.empty((0, 3), np.int64)]
        for number, text in enumerate(self.texts):
            words, bounds = self._scanned[id(text)]
            at.append(words)
            where.append(np.hstack([np.full((len(words), 1), number), bounds]))
        words = np.concatenate(at)
        order = np.argsort(words, kind="stable")
        self._at = words[order]
        self._where = np.concatenate(where)[order]  # segment, first byte, last byte

    def of(self, path: str, start: float | None, end: float | None) -> list[Seen]:
        """Return the lines for a path and segment, oldest first.

        Raises
        ------
        DamagedError
            One of them is not a line of the index.
        """
        word = np.uint64(int(place_hash(path, start, end), 16))
        first = int(np.searchsorted(self._at, word))
        lines = []
        while first < len(self._at) and self._at[first] == word:
            segment, low, high = self._where[first]
            lines.append(_parse(self.texts[segment][low:high], self.names[segment]))
            first += 1
        same = [line for line in lines if (line.path, line.start, line.end) == (path, start, end)]
        return sorted(same, key=lambda line: (line.number, line.digest))

    def hold(self, lines: Sequence[Seen]) -> np.ndarray:
        """Return for each line whether there may be others for its path and segment, as a mask."""
        words = [int(place_hash(line.path, line.start, line.end), 16) for line in lines]
        # sorted: the table that NumPy 2.0 may choose instead fails with numbers above 2^63
        return np.isin(np.array(words, np.uint64), self._at, kind="sort")

    def check(self) -> None:
        """Parse all lines.

        Raises
        ------
        DamagedError
            One of them is not a line of the index, or would not be found.
        """
        for word, (segment, low, high) in zip(self._at.tolist(), self._where.tolist(), strict=True):
            line = _parse(self.texts[segment][low:high], self.names[segment])
            if int(place_hash(line.path, line.start, line.end), 16) != word:
                raise _wrong(
                    self.names[segment], f"{line.path!r} is filed under the hash of another path"
                )


def encode(line: Seen, number: int | None = None) -> bytes:
    """Return a line as bytes of a segment, with another number if one is given."""
    values = {name: getattr(line, name) for name in FIELDS}  # `asdict` takes five times as long
    found = {"at": place_hash(line.path, line.start, line.end), **values}
    if number is not None:
        found["number"] = number
    return json.dumps(found, separators=(",", ":")).encode() + b"\n"


def place_hash(path: str, start: float | None, end: float | None) -> str:
    """Return the 16 hex digits by which the lines for a path and segment are found."""
    text = f"{path}\0{start!r}\0{end!r}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=DIGITS // 2).hexdigest()


def segment_names(folder: Path) -> set[str]:
    """Return the names in a folder that are those of segments; others are ignored."""
    try:
        return {path.name for path in folder.iterdir() if NAME.fullmatch(path.name)}
    except FileNotFoundError:
        return set()


def read_segment(path: Path) -> bytes:
    """Return the bytes of a segment."""
    check_regular(path)
    data = path.read_bytes()
    if content_name(data, ".jsonl") != path.name:
        raise DamagedError(f"{path.name}: its bytes have changed; its lines are not used")
    return data


def check_segment(path: Path) -> None:
    """Check a segment and every line of it.

    Raises
    ------
    DamagedError
        Its bytes have changed, or a line is not one of the index.
    """
    Lines([read_segment(path)], [path.name]).check()


def store_segment(data: bytes, top: Path) -> None:
    """Store lines durably as a segment of the cache in the folder `top`.

    A damaged segment may hold the name of these very bytes: it is set aside.
    """
    for folder in ("clips", "tmp"):
        make_folder(top / folder, top)
    with flushed([data], top / "tmp") as (draft, digest):
        put_content(draft, digest, top / "clips" / content_name(data, ".jsonl"), top)


def _scan(text: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what each line of a segment is found by ``(lines,)``, and its bounds ``(lines, 2)``.

    Looks at the beginning of each line only: a million lines are not parsed to find one.
    """
    if not text:
        return np.empty(0, np.uint64), np.empty((0, 2), np.int64)
    if not text.endswith(b"\n"):
        raise _wrong(name, "its last line has no end")
    data = np.frombuffer(text, np.uint8)
    stops = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], stops[:-1] + 1])
    if (stops - starts < len(LEAD) + DIGITS).any():
        raise _wrong(name, "a line is too short")
    leads = data[starts[:, None] + np.arange(len(LEAD) + DIGITS)]
    digits = leads[:, len(LEAD) :]
    letter = (digits >= ord("a")) & (digits <= ord("f"))
    digit = (digits >= ord("0")) & (digits <= ord("9"))
    if (leads[:, : len(LEAD)] != np.frombuffer(LEAD, np.uint8)).any() or not (letter | digit).all():
        raise _wrong(name, f"a line does not begin with {LEAD.decode()} and {DIGITS} hex digits")
    nibbles = np.where(letter, digits - ord("a") + 10, digits - ord("0")).astype("u1")
    words = ((nibbles[:, ::2] << 4) | nibbles[:, 1::2]).view(">u8")[:, 0].astype(np.uint64)
    return words, np.stack([starts, stops], axis=1)


def _parse(text: bytes, name: str) -> Seen:
    try:
        found = parse_json(text)
        values = [{**SINCE, **found}[field] for field in FIELDS]
    except (ValueError, TypeError) as error:
        raise _wrong(name, f"a line is not a JSON object: {error}") from None
    except KeyError as error:
        raise _wrong(name, f"a line has no field {error}") from None
    for (field, types), value in zip(FIELDS.items(), values, strict=True):
        if type(value) not in types:
            raise _wrong(name, f"a line has {field} {value!r}, which is impossible")
    line = Seen(*values)
    if not DIGEST.fullmatch(line.digest):
        raise _wrong(name, f"a line has digest {line.digest!r}, expected 64 hex digits")
    return line


def _wrong(name: str, problem: str) -> DamagedError:
    return DamagedError(f"{name}: {problem}; affekt cache repair sets the segment aside")
