"""Threads that run a model side by side on a CPU, over the same weights.

PyTorch cuts each operation between the threads of a pass, which then wait for each other. Where
there are clips enough, each core computes clips of its own instead and never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Made = TypeVar("Made")
Item = TypeVar("Item")

_EVEN = 1.1  # of the largest share to the mean of all


class _Stop(threading.local):
    asked: threading.Event | None = None


_stop = _Stop()


def run_side_by_side(tasks: Sequence[Callable[[], Made]], threads: int) -> list[Made]:
    """Run functions in threads, each with this many PyTorch threads.

    The first error, or an interrupt, stops all at their next `stop_if_asked` and passes on.
    PyTorch's number of threads is the same afterwards, here and in threads that start later.

    Parameters
    ----------
    tasks : sequence of callable
        Without arguments. They run in inference mode.
    threads : int
        Of PyTorch, for each of them.

    Returns
    -------
    list
        What each gives.

    Examples
    --------
    >>> run_side_by_side([torch.get_num_threads, lambda: 2], threads=1)
    [1, 2]
    """
    before = torch.get_num_threads()
    asked, begun = threading.Event(), threading.Barrier(len(tasks) + 1)

    def run(task: Callable[[], Made]) -> Made:
        torch.get_num_threads()  # or the first operation would take the number of all threads
        torch.set_num_threads(threads)
        begun.wait()
        _stop.asked = asked
        with torch.inference_mode():
            return task()

    pool = ThreadPoolExecutor(len(tasks), "affekt-worker")
    try:
        try:
            under_way = [pool.submit(run, task) for task in tasks]
            begun.wait()
        except BaseException:
            begun.abort()
            raise
        torch.set_num_threads(before)  # workers keep theirs
        done, rest = wait(under_way, 0.5, FIRST_EXCEPTION)
        while rest and not any(one.exception() for one in done):
            # without a limit, a wait would miss a signal that came just before it
            done, rest = wait(under_way, 0.5, FIRST_EXCEPTION)
        return [one.result() for one in (done if rest else under_way)]
    finally:
        asked.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def stop_if_asked() -> None:
    """Leave the task of this thread if another one failed or was interrupted."""
    if _stop.asked is not None and _stop.asked.is_set():
        raise CancelledError


def deal(items: Sequence[Item], sizes: Sequence[int], most: int, *, even: bool) -> list[list[Item]]:
    """Deal items out so that all have about as much to do.

    Parameters
    ----------
    items, sizes : sequence
        What is dealt, and how much each of them is to do.
    most : int
        Shares; there is one at least.
    even : bool
        Halve the number of shares, repeatedly, rather than make shares that differ by much.

    Examples
    --------
    >>> deal("abc", [1, 2, 1], 2, even=True)
    [['b'], ['a', 'c']]
    >>> deal("ab", [1, 9], 2, even=True)
    [['b', 'a']]
    """
    count = max(1, min(most, len(items)))
    shares: list[list[Item]] = [[] for _ in range(count)]
    filled = [0] * count
    for size, number in sorted(((size, i) for i, size in enumerate(sizes)), key=lambda s: -s[0]):
        least = filled.index(min(filled))
        shares[least].append(items[number])
        filled[least] += size
    if even and count > 1 and max(filled) * count > _EVEN * sum(filled):
        return deal(items, sizes, count // 2, even=even)
    return shares
