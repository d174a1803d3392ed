"""Where each clip is among frames that are laid end to end, and pooling over them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from ..hardware.worker_threads import deal
from . import kernels

Item = TypeVar("Item")


class _Here(threading.local):
    pack: Pack | None = None


_here = _Here()


@contextmanager
def laid_out(pack: Pack) -> Iterator[Pack]:
    """Let the parts of a model know where clips are, in this thread.

    Examples
    --------
    >>> with laid_out(Pack([torch.ones(2) > 0], "cpu")):
    ...     current_pack().longest
    2
    """
    before, _here.pack = _here.pack, pack
    try:
        yield pack
    finally:
        _here.pack = before


def current_pack() -> Pack:
    """Return the layout of the clips that this thread runs."""
    if _here.pack is None:
        raise RuntimeError("a packed model runs without a pack")
    return _here.pack


class Pack:
    """The layout of some clips in a matrix ``(frames, hidden)``.

    Parameters
    ----------
    keep : sequence of torch.Tensor
        ``(frames,)`` bool of each clip, on the CPU: the frames that are pooled.
    device : str
        Where the frames are.

    Attributes
    ----------
    lengths : numpy.ndarray
        ``(clips,)`` frames of each clip.
    starts : torch.Tensor
        ``(clips + 1,)`` int32 on the device: where each clip starts, and the end.
    total, longest : int
        Frames of all clips, and of the longest.
    biases : dict of int to torch.Tensor
        For attention: what its blocks share for each clip.

    Examples
    --------
    >>> pack = Pack([torch.ones(2) > 0, torch.ones(1) > 0], "cpu")
    >>> pack.pool(torch.tensor([[1.0], [3.0], [5.0]]), "mean").tolist()
    [[2.0], [5.0]]
    """

    def __init__(self, keep: Sequence[torch.Tensor], device: str) -> None:
        self.keep = list(keep)
        self.lengths = np.array([len(one) for one in keep])
        self.biases: dict[int, torch.Tensor] = {}
        self.total, self.longest = int(self.lengths.sum()), int(self.lengths.max())
        self.starts = _starts(self.lengths).to(device, non_blocking=True)
        pooled = np.array([int(one.sum()) for one in keep])
        self._kept, self._ends = None, self.starts
        if not np.array_equal(pooled, self.lengths):
            self._kept = torch.cat(self.keep).nonzero()[:, 0].to(device, non_blocking=True)
            self._ends = _starts(pooled).to(device, non_blocking=True)

    def pool(self, frames: torch.Tensor, pooling: str) -> torch.Tensor:
        """Pool ``(frames, hidden)`` into ``(clips, dim)`` float32, as `extract.pooling` does."""
        if pooling == "cls":
            return frames[self.starts[:-1].long()].float()
        kept = frames if self._kept is None else frames[self._kept]
        if pooling == "last":
            return kept[self._ends[1:].long() - 1].float()
        if pooling == "mean":
            return kernels.segment_means(kept, self._ends[:-1], self._ends[1:])
        wide = kept.float()
        if pooling == "max":
            return per_segment(wide, self._ends, "max")
        mean = per_segment(wide, self._ends, "mean")
        owner = torch.repeat_interleave(
            torch.arange(len(mean), device=wide.device), self._ends.diff(), output_size=len(wide)
        )
        spread = per_segment((wide - mean[owner]).square_(), self._ends, "mean")
        return torch.cat([mean, spread.sqrt()], dim=1)


def fill_packs(items: Sequence[Item], sizes: Sequence[int], budget: int) -> list[list[Item]]:
    """Put items into few, about equally full packs within the budget.

    Examples
    --------
    >>> fill_packs("abcd", [3, 5, 9, 2], 10)
    [['c'], ['b', 'a', 'd']]
    """
    packs: list[list[int]] = []
    for count in range(min(len(items), -(-sum(sizes) // budget)), len(items) + 1):
        packs = deal(range(len(items)), sizes, count, even=False)
        if all(len(pack) == 1 or sum(sizes[i] for i in pack) <= budget for pack in packs):
            break
    return [[items[i] for i in pack] for pack in packs if pack]


def per_segment(rows: torch.Tensor, starts: torch.Tensor, how: str) -> torch.Tensor:
    """Reduce the rows of each segment (``mean``, ``sum`` or ``max``)."""
    return torch.segment_reduce(rows, how, offsets=starts.long(), axis=0, unsafe=True)


def small(numbers: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Move a few whole numbers, one for each clip, without waiting for the device."""
    made = torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64))
    return made.to(device, non_blocking=True)


def owners(counts: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Return for each row the number of its clip.

    Examples
    --------
    >>> owners(np.array([2, 1]), "cpu").tolist()
    [0, 0, 1]
    """
    clips = torch.arange(len(counts), device=device)
    total = int(counts.sum())
    return torch.repeat_interleave(clips, small(counts, device), output_size=total)


def ranges(starts: np.ndarray, lengths: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """Return consecutive numbers from each start, as many as its length.

    Examples
    --------
    >>> ranges(np.array([0, 7]), np.array([2, 3]), "cpu").tolist()
    [0, 1, 7, 8, 9]
    """
    shifts = small(starts - (np.cumsum(lengths) - lengths), device)
    return torch.arange(int(lengths.sum()), device=device) + shifts[owners(lengths, device)]


def _starts(lengths: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
