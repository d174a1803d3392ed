"""Linear maps and convolutions with weights laid out once for the processor.

PyTorch gives a matrix product to a library that lays the weights out at every call; for the
few hundred frames of a clip that is a good part of the work. oneDNN keeps the layout. The sums are
the same up to the order of their terms (some 1e-7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .worker_threads import run_side_by_side

STEPS = 2  # output frames of one row of a wide convolution
TILE = 16  # rows that a product takes at a time
STRIP = 128  # rows at a time: unfolded, they stay in the processor's cache


def can_prepack() -> bool:
    """Return whether this build of PyTorch has what is needed.

    Examples
    --------
    >>> isinstance(can_prepack(), bool)
    True
    """
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )


class PackedLinear(nn.Module):
    """``x @ weight.T + bias``, for inference.

    Parameters
    ----------
    weight : torch.Tensor
        ``(out, in)`` float32 or bfloat16.
    bias : torch.Tensor or None
        ``(out,)``.
    gelu : bool
        Apply GELU to the output, while it is in the processor's cache.

    Examples
    --------
    >>> plain = nn.Linear(3, 2)
    >>> x = torch.randn(4, 3)
    >>> with torch.inference_mode():
    ...     bool(torch.allclose(PackedLinear(plain.weight, plain.bias)(x), plain(x), atol=1e-6))
    True
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False
    ) -> None:
        super().__init__()
        self.gelu, self._after = gelu, ("gelu", [], "none") if gelu else ("none", [], "")
        self.out_features, self.in_features = weight.shape
        self.bias = None if bias is None else bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())

    @property
    def weight(self) -> torch.Tensor:
        """The weights as they were, ``(out, in)``; copied at each call."""
        return self._packed.to_dense()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        if x.numel() == self.in_features:  # a single row would be summed in another order
            rows = x.reshape(1, -1).expand(2, -1).contiguous()
            return self._map(rows)[0].view(*x.shape[:-1], -1)
        return self._map(x)

    def _map(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, *self._after)


def is_gelu(activation: Any) -> bool:
    """Return whether a module is GELU, without an approximation.

    Examples
    --------
    >>> is_gelu(nn.GELU()), is_gelu(nn.GELU("tanh")), is_gelu(nn.ReLU())
    (True, False, False)
    """
    probe = torch.linspace(-2.0, 2.0, 9)
    made: Any = activation(probe) if callable(activation) else None
    return made is not None and torch.equal(made, nn.functional.gelu(probe))


def rows_are_independent(linear: PackedLinear, sizes: Sequence[int]) -> bool:
    """Return whether a row gives the same bits in products of these numbers of rows.

    It depends on the processor and the type: some kernels order the sum by the number of rows.
    """
    rows = _rows(linear, max(sizes))
    whole = linear(rows)
    return all(torch.equal(linear(rows[:n]), whole[:n]) for n in sizes)


def threads_are_independent(linear: PackedLinear) -> bool:
    """Return whether one thread gives the same bits as all threads that PyTorch has here."""
    rows = _rows(linear, 384)
    [alone] = run_side_by_side([lambda: linear(rows)], threads=1)
    return torch.equal(alone, linear(rows))


def _rows(linear: PackedLinear, count: int) -> torch.Tensor:
    rows = torch.randn(count, linear.in_features, generator=torch.Generator().manual_seed(0))
    return rows.to(linear.weight.dtype)


class PointwiseConv(nn.Module):
    """A convolution of width 1 as the linear map that it is: ``(rows, in, frames)``.

    Parameters
    ----------
    conv : torch.nn.Conv1d
        Of width 1, without groups.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.linear = PackedLinear(conv.weight[:, :, 0], conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(rows, in, frames)`` to ``(rows, out, frames)``."""
        return self.linear(x.transpose(1, 2)).transpose(1, 2)


class GroupedConv(nn.Module):
    """A wide convolution in groups, as one product per group and strip of frames.

    A row of the product holds what `STEPS` output frames see, and gives them all: a little more
    arithmetic for a fraction of the copies, and groups have few channels. A weight norm is folded
    in once, where the library works it out for every clip.

    Parameters
    ----------
    conv : torch.nn.Conv1d
        Stride 1, padded with zeros on both sides.

    Examples
    --------
    >>> plain = nn.Conv1d(8, 8, 5, padding=2, groups=2)
    >>> x = torch.randn(2, 8, 70)
    >>> with torch.inference_mode():
    ...     bool(torch.allclose(GroupedConv(plain)(x), plain(x), atol=1e-6))
    True
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.width, self.groups = conv.kernel_size[0], conv.groups
        self.padding = int(conv.padding[0])
        weight = conv.weight.detach()
        self.maps = nn.ModuleList(
            PackedLinear(side_by_side(group, STEPS), None) for group in weight.chunk(self.groups)
        )
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(rows, in, frames)`` to ``(rows, out, frames)``."""
        return torch.stack([self._one(row) for row in x.transpose(1, 2)]).transpose(1, 2)

    def _one(self, row: torch.Tensor) -> torch.Tensor:
        """Map ``(frames, in)`` to ``(frames, out)``."""
        frames = len(row) + 2 * self.padding - self.width + 1
        rows = -(-frames // STEPS)
        edge = (0, 0, self.padding, self.padding + rows * STEPS - frames)
        padded = nn.functional.pad(row, edge).unflatten(1, (self.groups, -1)).transpose(0, 1)
        made = []
        seen_by_one = (STEPS + self.width - 1) * padded.shape[2]
        for group, linear in zip(padded.contiguous(), self.maps, strict=True):
            step = STEPS * group.shape[1]
            seen = group.as_strided((rows, seen_by_one), (step, 1), group.storage_offset())
            strips = [linear(whole_tiles(strip)) for strip in seen.split(STRIP)]
            made.append(torch.cat(strips)[:rows].view(rows * STEPS, -1))
        out = torch.cat(made, dim=1)[:frames]
        return out if self.bias is None else out.add_(self.bias)


def whole_tiles(rows: torch.Tensor) -> torch.Tensor:
    """Copy ``(rows, in)``, with rows of zeros up to a multiple of `TILE`.

    oneDNN compiles a product for each number of rows that it meets; this leaves a few.
    """
    short = -len(rows) % TILE
    return nn.functional.pad(rows, (0, 0, 0, short)) if short else rows.contiguous()


def side_by_side(weight: torch.Tensor, steps: int) -> torch.Tensor:
    """Make one map to some output frames of a convolution of stride 1.

    Parameters
    ----------
    weight : torch.Tensor
        ``(out, in, width)``.

    Returns
    -------
    torch.Tensor
        ``(steps * out, (width + steps - 1) * in)``: from the frames that they see.

    Examples
    --------
    >>> side_by_side(torch.tensor([[[1.0, 2.0]]]), 2).tolist()
    [[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]]
    """
    out, size, width = weight.shape
    made = weight.new_zeros(steps, out, width + steps - 1, size)
    for step in range(steps):
        made[step, :, step : step + width] = weight.transpose(1, 2)
    return made.view(steps * out, -1)
