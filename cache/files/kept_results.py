"""Results that take seconds and seldom change, kept in the cache under all that decides them.

``kept/<24 hex>.json`` is a memo: it may be deleted. What is kept is what was computed, to the last
bit, and it is not used where anything differs: what goes in, the programs, the libraries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache as once
from pathlib import Path
from typing import Any

from affekt.versions import version_of

from .atomic_writes import write_whole
from .durable import make_folder
from .reading import read_note

FOLDER = "kept"
MOST = 200  # files; the oldest are removed
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "soundfile", "soxr", "av")

_here: ContextVar[_Kept | None] = ContextVar("kept results", default=None)


def kept(name: str, inputs: Any, compute: Callable[[], Any]) -> Any:
    """Return what `compute` returns, from an earlier time if nothing has changed since.

    Outside `keeping_results` nothing is kept.

    Parameters
    ----------
    name : str
        What is computed.
    inputs
        All that decides the result: values that JSON has, or arrays.
    compute : callable
        Returns values that JSON has.

    Examples
    --------
    >>> kept("a sum", [1, 2], lambda: 1 + 2)
    3
    """
    here = _here.get()
    return compute() if here is None else here.get(name, inputs, compute)


@contextmanager
def keeping_results(cache: Path, *, readonly: bool = False) -> Iterator[None]:
    """Keep results in the folder of a cache until the end of the block; read-only in memory."""
    token = _here.set(_Kept(cache, not readonly and cache.is_dir()))
    try:
        yield
    finally:
        _here.reset(token)


class _Kept:
    def __init__(self, cache: Path, writable: bool) -> None:
        self.folder, self.tmp, self.writable = cache / FOLDER, cache / "tmp", writable
        self.texts: dict[str, str] = {}  # of this process

    def get(self, name: str, inputs: Any, compute: Callable[[], Any]) -> Any:
        key = _digest(json.dumps([name, programs(), inputs], default=_content, sort_keys=True))
        if key not in self.texts:
            self.texts[key] = self._read(key) or self._computed(key, compute)
        return json.loads(self.texts[key])

    def _read(self, key: str) -> str:
        """Return the result as JSON; blank if it is not there, or not as it was written."""
        found = read_note(self._path(key))
        result = found.get("result")
        if not isinstance(result, str) or found.get("sha256") != _digest(result):
            return ""
        return result if found.get("key") == key else ""

    def _computed(self, key: str, compute: Callable[[], Any]) -> str:
        text = json.dumps(compute())
        if self.writable:
            with suppress(OSError):
                for folder in (self.folder, self.tmp):
                    make_folder(folder, self.folder.parent)
                note = {"key": key, "sha256": _digest(text), "result": text}
                write_whole(self._path(key), json.dumps(note) + "\n", tmp=self.tmp)
                by_age = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
                for path in by_age[:-MOST]:
                    path.unlink()
        return text

    def _path(self, key: str) -> Path:
        return self.folder / f"{key[:24]}.json"


@once
def programs() -> str:
    """Return a digest of the sources of affekt and the versions of what it computes with."""
    state = hashlib.sha256()
    top = Path(__file__).resolve().parents[2]
    for package in ("cache", "classify", "extract"):
        for path in sorted((top / package).rglob("*.py")):
            state.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes())
    for name in ("affekt", *LIBRARIES):
        if found := version_of(name):
            state.update(f"\0{name} {found}".encode())
    return state.hexdigest()


def _content(value: Any) -> Any:
    """Return an array of numbers as its shape, type and content."""
    if value.dtype.hasobject:
        raise TypeError("an array of objects cannot be hashed by content; give a list")
    content = hashlib.sha256(value.tobytes()).hexdigest()
    return ["array", list(value.shape), str(value.dtype), content]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
