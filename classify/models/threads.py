"""Small matrices are faster on one thread: waking the others costs more than they save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
