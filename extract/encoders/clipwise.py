"""Run a part of a model on one clip at a time, inside a padded batch.

Group norm (wav2vec2-base, HuBERT-base, WavLM-base) and stacked convolutions (Data2Vec-Audio) mix
padding into the clip: no mask given later can take it out. Such a module sees every row cut to
its own length; what it gives is padded with zeros again, and the mask does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class PerClip(nn.Module):
    """A module that is applied to each row without its padding.

    Parameters
    ----------
    module : torch.nn.Module
        Takes ``(rows, length, ...)``.
    time : int
        The axis of time in what it gives.

    Examples
    --------
    >>> half = PerClip(nn.AvgPool1d(2), time=-1)
    >>> half.lengths = [4, 2]
    >>> half(torch.tensor([[1.0, 3.0, 5.0, 7.0], [2.0, 4.0, 9.0, 9.0]])).tolist()
    [[2.0, 6.0], [3.0, 0.0]]
    """

    def __init__(self, module: nn.Module, time: int) -> None:
        super().__init__()
        self.module = module
        self.time = time
        self.lengths: Sequence[int] | None = None

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Apply the module; as it is where no lengths are set."""
        if self.lengths is None:
            return self.module(batch)
        rows = [self.module(batch[i : i + 1, :n]) for i, n in enumerate(self.lengths)]
        time = self.time % rows[0].dim()
        shape = list(rows[0].shape)
        shape[0], shape[time] = len(rows), max(row.shape[time] for row in rows)
        padded = rows[0].new_zeros(shape)
        for i, row in enumerate(rows):
            padded[i : i + 1].narrow(time, 0, row.shape[time]).copy_(row)
        return padded


def wrap_per_clip(model: Any, paths: Sequence[str], waveform: str) -> dict[str, PerClip]:
    """Put `PerClip` around submodules, in place.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model.
    paths : sequence of str
        Dotted paths.
    waveform : str
        The one of them that takes samples and gives ``(rows, channels, frames)``; the others
        take and give ``(rows, frames, hidden)``.

    Returns
    -------
    dict of str to PerClip
        By path.
    """
    wrapped = {}
    for path in paths:
        parent, _, leaf = path.rpartition(".")
        module = PerClip(model.get_submodule(path), time=-1 if path == waveform else 1)
        setattr(model.get_submodule(parent), leaf, module)
        wrapped[path] = module
    return wrapped
