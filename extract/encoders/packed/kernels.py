"""Loops over memory that PyTorch does in several passes: fused with Triton on a GPU.

Elsewhere, and where Triton is missing, PyTorch's own operations do the same.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

triton: Any = import_module("triton") if find_spec("triton") else None  # not with builds for CPUs
tl: Any = import_module("triton.language") if triton else None

_WIDEST = 4096  # channels that one program holds in registers


def norm_gelu(frames: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Apply a layer norm and GELU to ``(frames, channels)``, in one pass."""
    channels = frames.shape[1]
    fused = _usable(frames) and channels <= _WIDEST and frames.is_contiguous()
    if not fused or norm.weight is None or norm.bias is None:
        return nn.functional.gelu(norm(frames))
    out = torch.empty_like(frames)
    width = triton.next_power_of_2(channels)
    height = max(1, 2048 // width)
    grid = (triton.cdiv(len(frames), height),)
    _norm_gelu[grid](
        frames, norm.weight, norm.bias, out, len(frames), channels, norm.eps, height, width
    )
    return out


def add_norm(
    frames: torch.Tensor, more: torch.Tensor, norm: nn.LayerNorm
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add ``(..., hidden)`` to the same, and apply a layer norm to the sum, in one pass.

    Examples
    --------
    >>> total, normed = add_norm(torch.tensor([[1.0, 2.0]]), torch.ones(1, 2), nn.LayerNorm(2))
    >>> total.tolist(), normed.round(decimals=3).tolist()
    ([[2.0, 3.0]], [[-1.0, 1.0]])
    """
    hidden = frames.shape[-1]
    fused = _usable(frames) and hidden <= _WIDEST and norm.weight is not None
    if not fused or norm.bias is None or not frames.is_contiguous() or not more.is_contiguous():
        total = frames + more
        return total, norm(total)
    total, normed = torch.empty_like(frames), torch.empty_like(frames)
    rows, width = frames.numel() // hidden, triton.next_power_of_2(hidden)
    height = max(1, 2048 // width)
    _add_norm[(triton.cdiv(rows, height),)](
        frames, more, norm.weight, norm.bias, total, normed, rows, hidden, norm.eps, height, width
    )
    return total, normed


def segment_means(frames: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Return the mean of segments of ``(frames, hidden)``: ``(segments, hidden)`` float32.

    Examples
    --------
    >>> frames = torch.tensor([[1.0], [3.0], [8.0]])
    >>> segment_means(frames, torch.tensor([0, 2]), torch.tensor([2, 3])).tolist()
    [[2.0], [8.0]]
    """
    if not _usable(frames) or not frames.is_contiguous():
        edges = torch.stack([starts, ends], dim=1).flatten().long()  # every second one is a gap
        return torch.segment_reduce(frames.float(), "mean", offsets=edges, axis=0, unsafe=True)[::2]
    hidden = frames.shape[1]
    out = frames.new_empty((len(starts), hidden), dtype=torch.float32)
    grid = (len(out), triton.cdiv(hidden, 64))
    _segment_means[grid](frames, starts, ends, out, hidden, 64, 32)
    return out


def causal_depthwise(frames: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve each channel of ``(rows, frames, channels)`` with its own past.

    Parameters
    ----------
    weight : torch.Tensor
        ``(channels, width)``; its last column meets the frame itself.

    Examples
    --------
    >>> causal_depthwise(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[10.0, 1.0]])).tolist()
    [[[1.0], [12.0]]]
    """
    width = weight.shape[1]
    if not _usable(frames) or not frames.is_contiguous():
        padded = nn.functional.pad(frames.transpose(1, 2), (width - 1, 0))
        made = nn.functional.conv1d(padded, weight.unsqueeze(1), groups=len(weight))
        return made.transpose(1, 2)
    rows, count, channels = frames.shape
    out = torch.empty_like(frames)
    grid = (rows * triton.cdiv(count, 32), triton.cdiv(channels, 64))
    _causal_depthwise[grid](frames, weight.T.contiguous(), out, count, channels, width, 32, 64)
    return out


def _usable(tensor: torch.Tensor) -> bool:
    return triton is not None and tensor.is_cuda


if triton is not None:

    @triton.jit
    def _norm_gelu(
        source, weight, bias, target, rows, channels, eps, height: tl.constexpr, width: tl.constexpr
    ):
        row = tl.program_id(0).to(tl.int64) * height + tl.arange(0, height)
        column = tl.arange(0, width)
        inside = (row < rows)[:, None] & (column < channels)[None, :]
        place = row[:, None] * channels + column[None, :]
        x = tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
        centred = tl.where(inside, x - (tl.sum(x, 1) / channels)[:, None], 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / channels + eps)
        w = tl.load(weight + column, mask=column < channels, other=0.0).to(tl.float32)
        b = tl.load(bias + column, mask=column < channels, other=0.0).to(tl.float32)
        y = centred * scale[:, None] * w[None, :] + b[None, :]
        y = 0.5 * y * (1.0 + tl.erf(y * 0.7071067811865476))
        tl.store(target + place, y.to(target.dtype.element_ty), mask=inside)

    @triton.jit
    def _add_norm(
        source, more, weight, bias, total, target, rows, hidden, eps,
        height: tl.constexpr, width: tl.constexpr,
    ):  # fmt: skip
        row = tl.program_id(0).to(tl.int64) * height + tl.arange(0, height)
        column = tl.arange(0, width)
        inside = (row < rows)[:, None] & (column < hidden)[None, :]
        place = row[:, None] * hidden + column[None, :]
        x = tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
        x += tl.load(more + place, mask=inside, other=0.0).to(tl.float32)
        x = x.to(total.dtype.element_ty)  # the norm sees the stored sum
        tl.store(total + place, x, mask=inside)
        x = x.to(tl.float32)
        centred = tl.where(inside, x - (tl.sum(x, 1) / hidden)[:, None], 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / hidden + eps)
        w = tl.load(weight + column, mask=column < hidden, other=0.0).to(tl.float32)
        b = tl.load(bias + column, mask=column < hidden, other=0.0).to(tl.float32)
        y = centred * scale[:, None] * w[None, :] + b[None, :]
        tl.store(target + place, y.to(target.dtype.element_ty), mask=inside)

    @triton.jit
    def _segment_means(
        source, starts, ends, target, hidden, width: tl.constexpr, height: tl.constexpr
    ):
        segment = tl.program_id(0)
        column = tl.program_id(1) * width + tl.arange(0, width)
        start = tl.load(starts + segment).to(tl.int64)
        end = tl.load(ends + segment).to(tl.int64)
        total = tl.zeros((height, width), dtype=tl.float32)
        for first in range(start, end, height):
            row = first + tl.arange(0, height)
            inside = (row < end)[:, None] & (column < hidden)[None, :]
            place = row[:, None] * hidden + column[None, :]
            total += tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
        mean = tl.sum(total, 0) / (end - start).to(tl.float32)
        tl.store(target + segment.to(tl.int64) * hidden + column, mean, mask=column < hidden)

    @triton.jit
    def _causal_depthwise(
        source, weight, target, count, channels, width, height: tl.constexpr, wide: tl.constexpr
    ):
        strips = tl.cdiv(count, height)
        row = (tl.program_id(0) // strips).to(tl.int64)
        frame = (tl.program_id(0) % strips) * height + tl.arange(0, height)
        column = tl.program_id(1) * wide + tl.arange(0, wide)
        known = column < channels
        total = tl.zeros((height, wide), dtype=tl.float32)
        for tap in range(0, width):
            seen = frame + tap - (width - 1)
            inside = ((seen >= 0) & (seen < count))[:, None] & known[None, :]
            place = (row * count + seen)[:, None] * channels + column[None, :]
            x = tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
            w = tl.load(weight + tap * channels + column, mask=known, other=0.0).to(tl.float32)
            total += x * w[None, :]
        inside = (frame < count)[:, None] & known[None, :]
        place = (row * count + frame)[:, None] * channels + column[None, :]
        tl.store(target + place, total.to(target.dtype.element_ty), mask=inside)
