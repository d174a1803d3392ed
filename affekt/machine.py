"""How many processors there are to use, and how much memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def processors() -> int:
    """Return the number of processors that this process may use, which a container may limit.

    Examples
    --------
    >>> processors() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


SMALL = 50_000_000  # numbers; on two busy cores a fit below this took 8 times as long on both
SMALL_FOR_TORCH = 5_000_000


def is_small(size: int) -> bool:
    """Return whether everything that learns from `size` numbers does so on one thread."""
    return size <= SMALL_FOR_TORCH


@contextmanager
def few_threads(size: int) -> Iterator[None]:
    """Hold linear algebra, and torch, to one thread for a matrix of `size` numbers, if it is small.

    The number of threads decides the last bits: it depends on the matrix, and not on what else is
    trained at the same time.

    Examples
    --------
    >>> with few_threads(1000):
    ...     pass
    """
    if size > SMALL:
        yield
        return
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch") if is_small(size) else None
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)


def memory() -> tuple[int, int]:
    """Return bytes of memory, in all and free, within the limit of a container; 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
        total, free = known["MemTotal"], known["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        return 0, 0
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            most = int(Path(limit).read_text(encoding="ascii"))
            left = most - int(Path(used).read_text(encoding="ascii"))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
        if most < total:
            total, free = most, min(free, max(left, 0))
    return total, free
