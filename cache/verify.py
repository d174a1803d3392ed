"""Check every byte of a cache against what was written.

Each shard's name is the hash of its bytes, and each vector has its checksum; both are checked.
Nothing is changed: `Cache.repair` moves damaged files aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .canary import read_canary
from .digests import hex_bytes, key_words
from .durable import leftovers
from .errors import AffektError, DamagedError
from .packed import open_packed
from .shard import open_shard

if TYPE_CHECKING:
    from .cache import Cache
    from .space import Space

PIECE = 1 << 20
LIKE = 1e-2  # relative L2 up to which two rows of one key count as the same


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Parameters
    ----------
    path : str
        The file, relative to the cache.
    problem : str
        What is wrong.
    damage : bool
        True if stored rows are affected; False for a note.
    """

    path: str
    problem: str
    damage: bool = True


@dataclass
class Report:
    """What `Cache.verify` found.

    Parameters
    ----------
    shards, rows, nbytes : int
        What the cache holds.
    trusted : int
        Shards that were not read, since they have not changed since they were (quick mode).
    findings : list of Finding
        Damage and notes.
    """

    shards: int = 0
    rows: int = 0
    nbytes: int = 0
    trusted: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def damage(self) -> list[Finding]:
        """The findings that affect stored rows."""
        return [finding for finding in self.findings if finding.damage]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self) | {"ok": self.ok}


def verify(
    cache: Cache, quick: bool = False, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check a cache; see `Cache.verify`."""
    if cache.packed:
        return _verify_packed(cache, progress)
    report = Report()
    for name, why in cache.broken().items():
        report.findings.append(Finding(f"spaces/{name}", why))
    jobs = [
        (space, path)
        for space in cache.spaces()
        for path in sorted(_files(space.folder / "shards"))
    ]
    memo = {space.name: _load_memo(space) if quick else {} for space in cache.spaces()}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda job: _check_file(job[0], job[1], memo[job[0].name]), jobs)
        for done, ((space, path), result) in enumerate(zip(jobs, results, strict=True), start=1):
            _take(report, cache, space, path, result, memo[space.name])
            if progress is not None:
                progress(done, len(jobs))
    for space in cache.spaces():
        report.findings += _check_space(cache, space)
        _save_memo(cache, space, memo[space.name])
    report.findings += _check_top(cache)
    return report


def _verify_packed(cache: Cache, progress: Callable[[int, int], None] | None) -> Report:
    report = Report(nbytes=cache.path.stat().st_size)
    try:
        cache.clips.refresh()
        spaces = cache.spaces()
        for done, space in enumerate(spaces, start=1):
            shard = open_packed(cache.path, space.name, space.spec)
            shard.vectors.check(key_words(hex_bytes(shard.rows.key)))
            report.rows += len(shard.rows)
            if progress is not None:
                progress(done, len(spaces))
    except AffektError as error:
        report.findings.append(Finding(cache.path.name, str(error)))
    return report


def check_shard(path: Path, spec_key: str) -> int:
    """Check every byte of a shard; return the number of its rows.

    Raises
    ------
    DamagedError
        The bytes are not those of its name, or a vector is not that of its checksum.
    """
    state = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            state.update(piece)
    if state.hexdigest()[:24] != path.name.removesuffix(".h5"):
        raise DamagedError(f"{path.name}: its bytes have changed: the sha256 is another")
    shard = open_shard(path, spec_key)
    shard.vectors.check(key_words(hex_bytes(shard.rows.key)))
    return len(shard.rows)


def _check_file(space: Space, path: Path, memo: dict[str, list[int]]) -> int | str | None:
    """Return the rows of a shard, what is wrong with it, or None if it was trusted."""
    if not _is_shard(path):
        return 0
    try:
        if memo.get(path.name, [None])[:-1] == _stat(path):
            return None
        return check_shard(path, space.key)
    except FileNotFoundError:  # merged into another one in the meantime
        return 0
    except (AffektError, OSError) as error:
        return str(error)


def _take(
    report: Report, cache: Cache, space: Space, path: Path, result: int | str | None, memo: dict
) -> None:
    where = path.relative_to(cache.path).as_posix()
    if not _is_shard(path):
        report.findings.append(Finding(where, "not a shard; ignored", damage=False))
        return
    report.shards += 1
    if isinstance(result, str):
        report.findings.append(Finding(where, result))
        memo.pop(path.name, None)
        return
    with contextlib.suppress(FileNotFoundError):
        status = _stat(path)
        report.nbytes += status[0]
        if result is None:
            report.trusted += 1
            report.rows += memo[path.name][-1]
        else:
            report.rows += result
            memo[path.name] = [*status, result]


def _check_space(cache: Cache, space: Space) -> list[Finding]:
    found = []
    try:
        read_canary(space.folder / "canary.h5")
    except DamagedError as error:
        found.append(Finding(f"spaces/{space.name}/canary.h5", str(error)))
    table = space.index.refresh().table
    twin = (table.raw[1:] == table.raw[:-1]).all(axis=1)
    for at in np.flatnonzero(twin).tolist():
        if not _alike(space, at):
            names = [table.names[table.shard[i]] for i in (at, at + 1)]
            key = table.raw[at].tobytes().hex()
            problem = f"row {key} has other values than in {names[1]}; the first is read"
            found.append(Finding(f"spaces/{space.name}/shards/{names[0]}", problem, damage=False))
    return found


def _alike(space: Space, at: int) -> bool:
    """Say whether two rows of one key have the same values, but for rounding."""
    table = space.index.table
    pair = np.empty((2, space.n_layers, space.dim), np.float32)
    try:
        for i in (0, 1):
            vectors = space.index.vectors(table.names[table.shard[at + i]])
            rows, word = table.row[[at + i]].astype(np.int64), table.words[[at + i]]
            for layer in range(space.n_layers):
                if vectors.read(layer, rows, word, pair[i, layer][None], np.zeros(1, int)).size:
                    return True  # damaged: reported elsewhere
    except (AffektError, OSError):
        return True
    return bool(np.linalg.norm(pair[0] - pair[1]) <= LIKE * np.linalg.norm(pair[0]))


def _check_top(cache: Cache) -> list[Finding]:
    found = [
        Finding(f"clips/{name}", "its bytes have changed; its lines are not used")
        for name in cache.clips.refresh().damaged
    ]
    for path in leftovers(cache.path / "tmp"):
        found.append(Finding(f"tmp/{path.name}", "left by a writer that is gone", damage=False))
    for path in _files(cache.path / "quarantine"):
        found.append(Finding(f"quarantine/{path.name}", "damaged, set aside", damage=False))
    return found


def _is_shard(path: Path) -> bool:
    stem = path.name.removesuffix(".h5")
    return path.suffix == ".h5" and len(stem) == 24 and not set(stem) - set("0123456789abcdef")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _stat(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _load_memo(space: Space) -> dict[str, list[int]]:
    """Return what was verified before: size, times, inode and rows of each shard."""
    try:
        memo = json.loads((space.folder / "verified.json").read_bytes())
    except (OSError, ValueError):
        return {}
    fits = isinstance(memo, dict) and all(
        isinstance(v, list) and len(v) == 5 for v in memo.values()
    )
    return memo if fits else {}


def _save_memo(cache: Cache, space: Space, memo: dict[str, list[int]]) -> None:
    """Leave a memo for quick mode; a folder that cannot be written does without."""
    if cache.readonly:
        return
    here = {path.name for path in _files(space.folder / "shards")}
    memo = {name: status for name, status in memo.items() if name in here}
    beside = cache.path / "tmp" / f"verified-{os.getpid()}-{space.name}"
    with contextlib.suppress(OSError):
        beside.write_text(json.dumps(memo))
        beside.replace(space.folder / "verified.json")
