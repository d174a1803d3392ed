"""Check every byte of a cache against what was written.

Each shard's name is the hash of its bytes, and each vector has its checksum; both are checked.
Nothing is changed: `repair` moves damaged files aside.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AffektError, DamagedError, NewerError
from ..files.atomic_writes import entries, leftovers, write_whole
from ..files.reading import read_note
from ..identity.content_digests import hex_bytes, key_words
from ..identity.index_files import NAME as SEGMENT, check_segment
from ..rows.canary import read_canary
from ..rows.index import NAME
from ..rows.packed import open_packed
from ..shards.shard import check_shard
from .merging import shard_files

if TYPE_CHECKING:
    from ..cache import Cache
    from ..space import Space

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
    aside : bool
        Whether `repair` may set it aside. What cannot be read, or only by a newer affekt, may be
        sound.
    """

    path: str
    problem: str
    damage: bool = True
    aside: bool = True


@dataclass
class Report:
    """What `verify` found.

    Parameters
    ----------
    shards, rows, nbytes : int
        What the cache holds.
    trusted : int
        Shards that were not read again: unchanged since the last check (quick mode).
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

    @property
    def state(self) -> str:
        """How many files are damaged and how many could not be checked, in words.

        Examples
        --------
        >>> found = [Finding("a.h5", "?"), Finding("b.h5", "newer", aside=False)]
        >>> Report().state, Report(findings=found).state, Report(findings=found[1:]).state
        ('no damage', '1 damaged, 1 not checked', '1 not checked')
        """
        damaged = sum(one.aside for one in self.damage)
        counts = {"damaged": damaged, "not checked": len(self.damage) - damaged}
        return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "no damage"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return asdict(self) | {"ok": self.ok}


def verify(
    cache: Cache, quick: bool = False, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check every byte of a cache; change nothing.

    Parameters
    ----------
    cache : Cache
    quick : bool
        Trust shards whose size and times are as they were when they were last checked.
    progress : callable (done, total), optional
        Called after each shard.

    Examples
    --------
    >>> import tempfile
    >>> from affekt.cache import Cache
    >>> verify(Cache(tempfile.mkdtemp())).ok
    True
    """
    if cache.packed:
        return _verify_packed(cache, progress)
    report = Report()
    for name, why in cache.broken().items():
        report.findings.append(Finding(f"spaces/{name}", why, aside=False))
    jobs = [(space, path) for space in cache.spaces() for path in shard_files(space)]
    memo = {space.name: _load_memo(space) if quick else {} for space in cache.spaces()}
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        results = pool.map(lambda job: _check_file(job[1], job[0].key, memo[job[0].name]), jobs)
        for done, ((space, path), found) in enumerate(zip(jobs, results, strict=True), start=1):
            _take(report, path.relative_to(cache.path).as_posix(), found, memo[space.name])
            if progress is not None:
                progress(done, len(jobs))
    finally:  # a signal does not wait for the other shards
        pool.shutdown(wait=False, cancel_futures=True)
    for space in cache.spaces():
        report.findings += _check_space(space)
        _save_memo(cache, space, memo[space.name])
    report.findings += _check_clips(cache) + _check_top(cache)
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


def _check_file(
    path: Path, spec_key: str, memo: dict[str, list[int]]
) -> list[int] | Exception | None:
    """Return what the memo notes of a sound shard, or what is wrong; None if it is gone."""
    try:
        status = _stat(path)  # before reading: a change in between is found the next time
        known = memo.get(path.name)
        if known is not None and known[:-1] == status:
            return known
        return [*status, check_shard(path, spec_key)]
    except FileNotFoundError as error:
        if os.path.lexists(path):  # a link to nothing
            return DamagedError(f"{path.name}: {error.strerror}")
        return None  # merged into another one in the meantime
    except (AffektError, OSError) as error:
        return error


def _take(
    report: Report, where: str, found: list[int] | Exception | None, memo: dict[str, list[int]]
) -> None:
    name = where.rpartition("/")[2]
    if found is None:
        return
    report.shards += 1
    if isinstance(found, Exception):
        report.findings.append(_finding(where, found))
        memo.pop(name, None)
        return
    report.nbytes += found[0]
    report.rows += found[-1]
    report.trusted += memo.get(name) is found
    memo[name] = found


def _finding(where: str, error: Exception) -> Finding:
    """Return what an error says of a file: whether it is damaged, or could not be read."""
    if isinstance(error, NewerError):
        return Finding(where, str(error), aside=False)
    system = error.__cause__ if isinstance(error, AffektError) else error  # HDF5 passes it on
    if isinstance(system, OSError) and system.errno is not None:
        why = os.strerror(system.errno)
        return Finding(where, f"cannot be read (it may not be damaged): {why}", aside=False)
    return Finding(where, str(error))


def _check_space(space: Space) -> list[Finding]:
    found, folder = [], f"spaces/{space.name}"
    try:
        read_canary(space.folder / "canary.h5")
    except (AffektError, OSError) as error:
        found.append(_finding(f"{folder}/canary.h5", error))
    table = space.index.refresh().table
    for at in table.twins.tolist():
        if not _alike(space, at - 1, at):
            names = [table.names[table.shard[i]] for i in (at - 1, at)]
            key = table.raw[at].tobytes().hex()
            problem = f"row {key} has different values in {names[1]}; the first is used"
            found.append(Finding(f"{folder}/shards/{names[0]}", problem, damage=False))
    for path in entries(space.folder / "shards"):
        if not NAME.fullmatch(path.name):
            found.append(
                Finding(f"{folder}/shards/{path.name}", "not a shard; ignored", damage=False)
            )
    return found


def _alike(space: Space, first: int, second: int) -> bool:
    """Return whether two rows of one key have the same values, but for rounding."""
    table = space.index.table
    pair = np.empty((2, space.n_layers, space.dim), np.float32)
    try:
        for at, values in zip((first, second), pair, strict=True):
            vectors = space.index.vectors(table.names[table.shard[at]])
            rows, word = table.row[[at]].astype(np.int64), table.words[[at]]
            for layer in range(space.n_layers):
                if vectors.read(layer, rows, word, values[layer][None], np.zeros(1, int)).size:
                    return True  # damaged: reported elsewhere
    except (AffektError, OSError):
        return True
    return bool(np.linalg.norm(pair[0] - pair[1]) <= LIKE * np.linalg.norm(pair[0]))


def _check_clips(cache: Cache) -> list[Finding]:
    found = []
    for path in entries(cache.path / "clips"):
        where = f"clips/{path.name}"
        if not SEGMENT.fullmatch(path.name):
            found.append(Finding(where, "not a segment; ignored", damage=False))
            continue
        try:
            check_segment(path)
        except FileNotFoundError as error:
            if os.path.lexists(path):
                found.append(Finding(where, f"{error.strerror}"))
        except (AffektError, OSError) as error:
            found.append(_finding(where, error))
    return found


def _check_top(cache: Cache) -> list[Finding]:
    opened = {*cache.broken(), *(space.name for space in cache.spaces())}
    found = [
        Finding(f"spaces/{path.name}", "contains neither a spec nor a shard; ignored", damage=False)
        for path in entries(cache.path / "spaces")
        if path.name not in opened
    ]
    for path in leftovers(cache.path / "tmp"):
        found.append(
            Finding(f"tmp/{path.name}", "left by a writer that no longer runs", damage=False)
        )
    for path in entries(cache.path / "quarantine"):
        found.append(Finding(f"quarantine/{path.name}", "damaged, set aside", damage=False))
    return found


def _stat(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _load_memo(space: Space) -> dict[str, list[int]]:
    """Return what was verified before: size, times, inode and rows of each shard."""
    memo = read_note(space.folder / "verified.json")
    fits = all(isinstance(v, list) and [type(x) for x in v] == [int] * 5 for v in memo.values())
    return memo if fits else {}


def _save_memo(cache: Cache, space: Space, memo: dict[str, list[int]]) -> None:
    """Leave a memo for quick mode; a folder that cannot be written does without."""
    if cache.readonly:
        return
    here = {path.name for path in entries(space.folder / "shards")}
    memo = {name: status for name, status in memo.items() if name in here}
    with contextlib.suppress(OSError):
        write_whole(space.folder / "verified.json", json.dumps(memo), tmp=cache.path / "tmp")
