"""Which shard holds a row: the keys of all shards of a space, sorted.

The folder of shards is the truth. What was read from a shard is remembered by its name, as a shard
never changes, and kept in ``index.npz`` with the shards so that a million rows open at once. That
file is a memo: it may be deleted, and what it says of a shard is compared when that is opened. So a
wrong one can only make rows seem missing, never wrong.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedError
from ..files.atomic_writes import write_whole
from ..identity.content_digests import hex_bytes, key_words
from ..shards.shard import Rows, open_shard
from ..shards.vectors import Vectors

NAME = re.compile(r"[0-9a-f]{24}\.h5")
WORTH = 8  # shards read one by one before it is worth writing the memo
MANY = 10_000  # rows that count as one more shard
ROOM = 1 << 20  # further bytes that a memo may have
KEYS = 64 << 20  # bytes of keys that the largest shard may have


@dataclass(frozen=True)
class Table:
    """All rows of some shards, sorted by key.

    Parameters
    ----------
    names : list of str
        The shards, sorted.
    raw : ndarray (rows, 32) uint8
        Keys.
    words : ndarray (rows,) uint64
        First 16 hex digits of each key, ascending.
    shard, row : ndarray (rows,) int32
        Position in `names`, and row of that shard.
    """

    names: list[str]
    raw: np.ndarray
    words: np.ndarray
    shard: np.ndarray
    row: np.ndarray

    @classmethod
    def of(cls, keys: dict[str, np.ndarray]) -> Table:
        """Sort the keys ``(rows, 32)`` of each shard."""
        names = sorted(keys)
        parts = [keys[name] for name in names]
        raw = np.concatenate([*parts, np.empty((0, 32), np.uint8)])
        counts = [len(part) for part in parts]
        words = key_words(raw)
        order = np.argsort(words, kind="stable")  # stable: the first shard's row comes first
        raw = raw[order]
        shard = np.repeat(np.arange(len(parts), dtype=np.int32), counts)[order]
        row = np.concatenate([*map(np.arange, counts), np.empty(0, np.int64)]).astype(np.int32)
        return cls(names, raw, words[order], shard, row[order])

    @cached_property
    def twins(self) -> np.ndarray:
        """Positions of the rows whose key is that of the row before."""
        return 1 + np.flatnonzero((self.raw[1:] == self.raw[:-1]).all(axis=1))

    @property
    def distinct(self) -> int:
        """Number of different keys."""
        return len(self.raw) - len(self.twins)

    @cached_property
    def in_file_order(self) -> np.ndarray:
        """Positions of the different keys, ordered as their rows are in the files."""
        first = np.ones(len(self.raw), bool)
        first[self.twins] = False
        order = np.lexsort((self.row, self.shard))
        return order[first[order]]

    def find(self, keys: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shard (position in `names`) and the row of each key, -1 where there is none.

        Of several shards with a key, the first name wins. Keys are text, or bytes as `hex_bytes`
        gives them.
        """
        raw = keys if isinstance(keys, np.ndarray) and keys.ndim == 2 else hex_bytes(keys)
        words = key_words(raw)
        wanted, known = raw.view(np.uint64), self.raw.view(np.uint64)  # (keys, 4): quick to compare
        place = np.searchsorted(self.words, words)
        shard = np.full(len(raw), -1, np.int64)
        row = np.full(len(raw), -1, np.int64)
        todo = np.arange(len(raw))
        while todo.size:  # once, unless two keys share their first 16 digits
            todo = todo[place[todo] < len(self.words)]
            at = place[todo]
            todo, at = todo[self.words[at] == words[todo]], at[self.words[at] == words[todo]]
            same = (known[at] == wanted[todo]).all(axis=1)
            shard[todo[same]], row[todo[same]] = self.shard[at[same]], self.row[at[same]]
            place[todo] += 1
            todo = todo[~same]
        return shard, row


class Index:
    """The keys of one space, in one process; follows the folder when asked to.

    Parameters
    ----------
    folder : Path
        Folder of the space.
    spec_key : str
        Key that every shard must carry.

    Attributes
    ----------
    damaged : dict of str to str
        Shards that could not be read, and why; their rows count as missing.
    foreign : list of str
        Other things in the folder of shards; ignored.
    """

    def __init__(self, folder: Path, spec_key: str):
        self.folder = folder
        self.spec_key = spec_key
        self.damaged: dict[str, str] = {}
        self.foreign: list[str] = []
        self._keys: dict[str, np.ndarray] = {}
        self._vectors: dict[str, Vectors] = {}
        self._table: Table | None = None
        self._unsaved = 0
        self._use_memo = True
        self._lock = threading.RLock()

    @property
    def table(self) -> Table:
        """All rows that are known, sorted."""
        with self._lock:
            if self._table is None:
                self._table = Table.of(self._keys)
            return self._table

    @property
    def shards(self) -> list[str]:
        """Names of the readable shards, sorted."""
        with self._lock:
            return sorted(self._keys)

    def path(self, name: str) -> Path:
        """Return the file of a shard."""
        return self.folder / "shards" / name

    def keys(self, name: str) -> np.ndarray | None:
        """Return the keys ``(rows, 32)`` of a shard; None if it is not there or cannot be read."""
        with self._lock:
            return self._keys.get(name)

    def refresh(self) -> Index:
        """Look at the folder again and read the shards that are new."""
        with self._lock:  # before listing: what `add` takes in later is not in the list
            try:
                found = sorted(entry.name for entry in os.scandir(self.folder / "shards"))
            except FileNotFoundError:
                found = []
            names = {name for name in found if NAME.fullmatch(name)}
            self.foreign = [name for name in found if name not in names]
            if names and not self._keys and self._use_memo:
                self._keys = self._load(names)
                self._table = None
            for known in (self._keys, self._vectors, self.damaged):
                for name in [name for name in known if name not in names]:
                    del known[name]
                    self._table = None
            for name in sorted(names - self._keys.keys() - self.damaged.keys()):
                self._read(name)
        return self

    def add(self, name: str, keys: np.ndarray) -> None:
        """Take in a shard with keys ``(rows, 32)`` that this process has just stored."""
        with self._lock:
            self._keys[name] = keys
            self._table = None
            self._unsaved += 1

    def vectors(self, name: str) -> Vectors:
        """Return where a shard's vectors are, opening it if need be."""
        with self._lock:
            if name not in self._vectors:
                shard = open_shard(self.path(name), self.spec_key)
                raw = hex_bytes(shard.rows.key)
                if not np.array_equal(self._keys.get(name, raw), raw):
                    self._forget()
                    raise FileNotFoundError(errno.ENOENT, "other rows than in the index", name)
                self._vectors[name] = shard.vectors
            return self._vectors[name]

    def rows(self, name: str) -> Rows:
        """Return what a shard says of its rows."""
        return open_shard(self.path(name), self.spec_key).rows

    def provenance(self) -> dict[str, Any]:
        """Return the library versions noted in the first shard."""
        for name in self.refresh().shards:
            with contextlib.suppress(FileNotFoundError):  # merged into another one meanwhile
                return open_shard(self.path(name), self.spec_key).provenance
        return {}

    def save(self, tmp: Path) -> None:
        """Write the memo if enough is new; a folder that cannot be written does without."""
        with self._lock:
            keys = dict(sorted(self._keys.items()))
            if self._unsaved < WORTH or not keys:
                return
            self._unsaved = 0
        image = io.BytesIO()
        np.savez(
            image,
            spec_key=np.array(self.spec_key.encode()),
            shard=np.array([name.encode() for name in keys]),
            rows=np.array([len(raw) for raw in keys.values()]),
            key=np.concatenate(list(keys.values())),
        )
        with contextlib.suppress(OSError):  # not flushed: a memo that a power cut cuts is ignored
            write_whole(self.folder / "index.npz", image.getbuffer(), tmp=tmp)

    def _load(self, names: set[str]) -> dict[str, np.ndarray]:
        """Return the keys by shard as the memo has them; nothing if it is not there or damaged."""
        try:
            return self._unpack(self.folder / "index.npz", names)
        except Exception:  # of zip or numpy, for damaged bytes: the shards hold the same
            return {}

    def _unpack(self, path: Path, names: set[str]) -> dict[str, np.ndarray]:
        """Read the memo, if it is no larger than its shards may make it."""
        if path.stat().st_size > ROOM + len(names) * KEYS:
            return {}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as memo:
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in memo.zip.infolist())
            if packed or memo["spec_key"][()].decode() != self.spec_key:
                return {}
            found = [name.decode() for name in memo["shard"].tolist()]
            raw, rows = memo["key"], memo["rows"]
        if raw.dtype != np.uint8 or raw.shape != (rows.sum(), 32) or (rows < 0).any():
            return {}
        return dict(zip(found, np.split(raw, np.cumsum(rows)[:-1]), strict=True))

    def _forget(self) -> None:
        """Read all shards instead of the memo, which is wrong about one."""
        self._keys, self._vectors, self._table = {}, {}, None
        self._use_memo = False
        self._unsaved = WORTH  # the next writer replaces it
        self.refresh()

    def _read(self, name: str) -> None:
        try:
            shard = open_shard(self.path(name), self.spec_key)
        except FileNotFoundError:  # compacted away in the meantime
            return
        except (DamagedError, PermissionError) as error:
            self.damaged[name] = str(error)
            return
        self.add(name, hex_bytes(shard.rows.key))
        self._unsaved += len(shard.rows) // MANY
