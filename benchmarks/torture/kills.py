"""Kill writers and compactions at every moment, and let each of their calls fail once."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from affekt.cache import Cache
from trial import CALLS, CANARY, SPEC, audit, counted, fork, fresh, reap, write_rows, writer

from tests.support.cache_toy import fill, make_clips


def kills(work: Path, count: int, writers: int, seed: int = 0, size: int = 96) -> Counter:
    """Kill writers at random moments, again and again until a cache is complete; then the next."""
    rng = random.Random(seed)
    total: Counter = Counter()
    longest = 0.1  # seconds before a kill; follows the speed of the machine
    while total["kills"] < count:
        folder = fresh(work)
        clips, acked = make_clips(size), set()
        for _ in range(60):
            children = [writer(folder, clips, rng.getrandbits(32)) for _ in range(writers)]
            time.sleep(rng.uniform(0, longest))
            for child, _ in children:
                os.kill(child, signal.SIGKILL)
            before, killed = len(acked), 0
            for child in children:
                ids, code = reap(*child)
                acked |= ids
                killed += code == -signal.SIGKILL
            total["kills"] += killed
            late = len(acked) > before + 8 or not killed
            longest = min(2.0, longest * (0.8 if late else 1.1))
            check = audit(folder, clips, acked)
            total += Counter({name: n for name, n in check.items() if name != "acked"})
            if len(acked) == len(clips) or total["kills"] >= count:
                break
        total += audit(folder, clips, acked, finish=True)  # counts the acked of this cache
        total["caches"] += 1
    return total


def moments(work: Path, step: int = 1) -> Counter:
    """Kill a writer just before and just after each call of its commits, one by one."""
    total: Counter = Counter()
    clips = make_clips(10)
    for after in (False, True):
        at = step // 2 if after else 0
        while True:
            folder = fresh(work)

            def doomed(tell, at=at, after=after, folder=folder):
                with counted(at, lambda name: os.kill(os.getpid(), signal.SIGKILL), after=after):
                    write_rows(folder, clips, tell, seed=1)

            ids, code = reap(*fork(doomed))
            if code == 0:
                break
            total["kills"] += 1
            total += audit(folder, clips, ids, finish=True)
            at += step
    return total


def compactions(work: Path, step: int = 1) -> Counter:
    """Kill a compaction just before each call it makes."""
    total: Counter = Counter()
    clips = make_clips(12)
    at = 0
    while True:
        folder = fresh(work)
        space = Cache(folder).create(SPEC)
        stored = set(fill(space, clips, rows=2, canary=lambda: CANARY))

        def doomed(tell, at=at, folder=folder):
            with counted(at, lambda name: os.kill(os.getpid(), signal.SIGKILL)):
                Cache(folder).space(SPEC).compact()

        _, code = reap(*fork(doomed))
        total += audit(folder, clips, stored)
        if code == 0:
            return total
        total["kills"] += 1
        total += audit(folder, clips, stored, finish=True)
        at += step


def faults(work: Path, step: int = 1) -> Counter:
    """Let each write, fsync, link and folder fsync fail once; then go on."""
    total: Counter = Counter()
    clips = make_clips(10)
    for first, number in enumerate((errno.EIO, errno.ENOSPC)):
        at = first * step // 2
        while True:
            folder = fresh(work)

            def fail(name: str, number=number) -> None:
                raise OSError(number, os.strerror(number))

            def hurt(tell, at=at, folder=folder, fail=fail):
                with counted(at, fail, names=CALLS[:3]):
                    write_rows(folder, clips, tell, seed=1)

            ids, code = reap(*fork(hurt))
            total["crashed"] += code not in (0, 2, 28)  # an error, never a crash
            if code == 0:
                break
            total["faults"] += 1
            total += audit(folder, clips, ids, finish=True)
            at += step
    return total
