"""Run a network over rows in blocks of one size, a worker thread for each of torch's threads.

Small products gain little from threads that share each of them, and lose much where another
program takes a core and the rest wait. A block is one thread's own work: its numbers do not depend
on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from .loop import cpu_threads


def in_blocks(network: Callable[[Tensor], Tensor], x: Tensor, block: int) -> Tensor:
    """Return the network's outputs (rows, outputs) for rows (rows, width) on the CPU.

    Parameters
    ----------
    network : callable
        Takes exactly `block` rows; called by several threads at once.
    block : int
        The last block is filled up with copies of the last row.

    Examples
    --------
    >>> in_blocks(lambda rows: 2 * rows, torch.arange(5.0)[:, None], 2).flatten().tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    *parts, last = x.split(block)
    parts.append(torch.cat([last, last[-1:].expand(block - len(last), -1)]))
    workers = min(torch.get_num_threads(), len(parts))

    def compute(part: Tensor) -> Tensor:
        with torch.inference_mode():  # holds for one thread
            return network(part)

    # torch's number of threads is each thread's own; setting it also says what later threads
    # start with, which `cpu_threads` sets back
    with cpu_threads(1):
        if workers == 1:
            found = [compute(part) for part in parts]
        else:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as p:
                found = list(p.map(compute, parts))
    return torch.cat(found)[: len(x)]
