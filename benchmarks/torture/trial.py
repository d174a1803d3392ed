"""One trial of the torture: a writer in a process of its own, and an auditor who trusts nobody.

Every trial keeps a list of the ids that a writer had reported stored before it died. Afterwards a
fresh process must find each of them with its exact values, must be able to finish the extract
without any help, and `verify` must find no damage. Lost, wrong and stuck are counted; all have to
be 0.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from affekt.cache import AffektError, Cache, Manifest
from affekt.cache.care import verify
from affekt.cache.files import durable

from tests.support.cache_toy import expected, fill, make_spec

SPEC = make_spec(layers=5, dim=48)
CANARY = np.ones((2, 5, 48), np.float32)
CALLS = ("write", "fsync", "link", "open", "unlink")  # of the system, as the commit makes them


def write_rows(
    folder: Path, clips: Manifest, report: Callable[[list[str]], None], seed: int
) -> None:
    """Extract clips in an order of its own, and compact now and then."""
    rng = random.Random(seed)
    cache = Cache(folder)
    space = cache.create(SPEC)
    order = list(range(len(clips)))
    rng.shuffle(order)
    for start in range(0, len(order), 24):
        some = clips.select(order[start : start + 24])
        fill(space, some, rows=rng.choice([1, 4, 8]), on_stored=report, canary=lambda: CANARY)
        if rng.random() < 0.3:
            space.compact()


def fork(act: Callable[[Callable[[list[str]], None]], None]) -> tuple[int, int]:
    """Run an act in a child; return its process and a pipe with the ids it reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        act(lambda ids: os.write(writing, "".join(f"{id_}\n" for id_ in ids).encode()) and None)
        code = 0
    except OSError as error:
        code = 28 if error.errno == errno.ENOSPC else 2
        if error.errno not in (errno.ENOSPC, errno.EIO):
            traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def writer(folder: Path, clips: Manifest, seed: int) -> tuple[int, int]:
    """Start a process that extracts clips."""
    return fork(lambda tell: write_rows(folder, clips, tell, seed))


def reap(child: int, reading: int) -> tuple[set[str], int]:
    """Wait for a child; return the ids it reported and how it ended."""
    with os.fdopen(reading, "rb") as pipe:
        ids = set(pipe.read().decode().splitlines())
    return ids, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def audit(folder: Path, clips: Manifest, acked: set[str], finish: bool = False) -> Counter:
    """Count what was reported stored and is not there, what is wrong, and what needs attention."""
    found: Counter = Counter(acked=len(acked))
    try:
        cache = Cache(folder)
        if finish:
            space = cache.create(SPEC)
            fill(space, clips, canary=lambda: CANARY)
        elif not cache.spaces():
            found["lost"] += len(acked)
            return found
        space = Cache(folder).space(SPEC)
        missing = set(space.missing(clips))
        found["lost"] += len(acked & missing)
        there = clips.select([id_ for id_ in clips.ids if id_ not in missing])
        rows = space.cache.read(space, there)
        found["wrong"] += int((rows != expected(space, there)).any(axis=(1, 2)).sum())
        found["stuck"] += not verify(Cache(folder)).ok
        found["stuck"] += finish and bool(missing)
    except (AffektError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        found["stuck"] += 1
    return found


@contextlib.contextmanager
def counted(
    at: int, act: Callable[[str], None], *, names=CALLS, after: bool = False
) -> Iterator[None]:
    """Do something at the system call number `at` of the commit protocol."""
    calls = iter(range(1 << 30))
    real = {name: getattr(os, name) for name in names}

    def wrap(name: str):
        def call(*arguments, **options):
            ours = sys._getframe(1).f_globals.get("__name__", "").startswith(("affekt", "pathlib"))
            hit = ours and next(calls) == at
            if hit and not after:
                act(name)
            result = real[name](*arguments, **options)
            if hit and after:
                act(name)
            return result

        return call

    for name in names:
        setattr(durable.os, name, wrap(name))
    try:
        yield
    finally:
        for name in names:
            setattr(durable.os, name, real[name])


def fresh(work: Path) -> Path:
    """Return a folder for the next cache; the one before it is removed."""
    folder = work / "cache"
    shutil.rmtree(folder, ignore_errors=True)
    return folder
