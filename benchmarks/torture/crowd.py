"""Let many processes extract into one cache, while others read and one compacts."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
from affekt.cache import Cache
from trial import SPEC, audit, fork, fresh, reap, write_rows

from tests.support.cache_toy import expected, make_clips


def crowd(work: Path, processes: int, count: int = 240) -> Counter:
    """Let processes extract the same and overlapping clips while others read and one compacts."""
    folder = fresh(work)
    clips = make_clips(count)
    width = len(clips) // 2
    total: Counter = Counter(processes=processes)

    def extract(tell, number: int) -> None:
        first = number * len(clips) // processes // 2 if number % 2 else 0
        some = clips if number % 2 == 0 else clips.select(range(first, first + width))
        write_rows(folder, some, tell, seed=number)

    def read(tell) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            space = Cache(folder).create(SPEC)
            missing = set(space.missing(clips))
            there = clips.select([id_ for id_ in clips.ids if id_ not in missing])
            if not np.array_equal(space.cache.read(space, there), expected(space, there)):
                os._exit(3)
            if not missing:
                return

    def compact(tell) -> None:
        for _ in range(20):
            Cache(folder).create(SPEC).compact()
            time.sleep(0.01)

    writers = [fork(lambda tell, n=n: extract(tell, n)) for n in range(processes)]
    others = [fork(read), fork(read), fork(compact)]
    acked: set[str] = set()
    for child in [*writers, *others]:
        ids, code = reap(*child)
        acked |= ids
        total["wrong"] += code != 0
    total += audit(folder, clips, acked)
    space = Cache(folder).space(SPEC)
    space.compact()
    rows = sum(len(space.index.rows(name)) for name in space.index.refresh().shards)
    total["twice"] = rows - len(clips)
    total["lost"] += len(space.missing(clips))
    return total
