"""The positional convolution of Wav2Vec2 and its relatives, on clips laid end to end.

A wide convolution in groups is done for `STEPS` frames at once: the frames that they see are one
row, and one product per group gives all of them. Beyond the ends of a clip there are zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..hardware.prepacked import side_by_side
from .layout import Pack, owners, ranges, small

STEPS = 8  # output frames of one row; 6 % more arithmetic than needed, at a sixteenth of the copies
_ROWS = 2048  # rows at a time


class PackedPositions(nn.Module):
    """The module ``pos_conv_embed`` of an encoder.

    Parameters
    ----------
    module : torch.nn.Module
        One convolution, or several with norms between (Data2Vec-Audio).

    Raises
    ------
    LookupError
        The module is made in another way.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        if getattr(module, "batch_norm", None) is not None:
            raise LookupError("a batch norm before the positional convolution")
        self.steps = nn.ModuleList(_Step(one) for one in getattr(module, "layers", [module]))

    def forward(self, frames: torch.Tensor, pack: Pack) -> torch.Tensor:
        """Map ``(frames, hidden)`` to the same."""
        for step in self.steps:
            frames = step(frames, pack)
        return frames


class _Step(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        conv = module.conv
        self.groups, self.before = conv.groups, int(conv.padding[0])
        weight = conv.weight.detach()  # (out, in of a group, width); a weight norm is folded in
        self.seen = weight.shape[2] + STEPS - 1
        maps = [side_by_side(group, STEPS).T for group in weight.chunk(conv.groups)]
        self.weight = nn.Parameter(torch.stack(maps), requires_grad=False)
        self.bias = conv.bias
        self.norm = getattr(module, "layer_norm", nn.Identity())
        self.activation = module.activation

    def forward(self, frames: torch.Tensor, pack: Pack) -> torch.Tensor:
        """Map ``(frames, hidden)`` to the same."""
        count, hidden = frames.shape
        places, own = _windows(pack.lengths, self, frames.device)
        by_group = frames.new_zeros(self.groups, count + 1, hidden // self.groups)
        by_group[:, :count] = frames.view(count, self.groups, -1).transpose(0, 1)
        made = []
        for some in places.split(_ROWS):
            seen = by_group.index_select(1, some.flatten()).view(self.groups, len(some), -1)
            found = torch.bmm(seen, self.weight)  # (groups, rows, STEPS * out)
            found = found.view(self.groups, len(some) * STEPS, -1).transpose(0, 1).flatten(1)
            made.append(found)
        out = torch.cat(made)[own]
        return self.activation(self.norm(out if self.bias is None else out.add_(self.bias)))


def _windows(
    lengths: np.ndarray, step: _Step, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the frames that each row sees, and which of the frames made are real.

    ``(rows, seen)``, where the number of all frames means a zero; and ``(frames,)``.
    """
    rows = -(-lengths // STEPS)
    clip, before = owners(rows, device), np.cumsum(rows) - rows
    first = (torch.arange(len(clip), device=device) - small(before, device)[clip]) * STEPS
    inside = first[:, None] - step.before + torch.arange(step.seen, device=device)
    valid = (inside >= 0) & (inside < small(lengths, device)[clip][:, None])
    starts = small(np.cumsum(lengths) - lengths, device)
    places = (inside + starts[clip][:, None]).masked_fill_(~valid, int(lengths.sum()))
    return places, ranges(before * STEPS, lengths, device)
