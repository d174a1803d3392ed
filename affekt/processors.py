"""How many processors there are to use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def few_threads(size: int) -> Iterator[None]:
    """Hold the linear algebra library to one thread for a matrix of `size` numbers, if it is small.

    Examples
    --------
    >>> with few_threads(1000):
    ...     pass
    """
    if size > SMALL:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
