"""The convolutions that turn a waveform into frames, as products over strips of frames.

Each layer (convolution, norm, activation) is done strip by strip with time first, so that a strip
passes all of it in the processor's cache and no norm has to transpose. The layers are those of
Wav2Vec2 and its kin: without a norm, with a layer norm, or with a group norm of one channel a
group, whose mean and variance over the clip are collected from the strips.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .prepacked import PackedLinear, is_gelu

STRIP = 512  # frames at a time


def is_conv_stack(module: Any) -> bool:
    """Return whether a feature extractor is made as `ConvStack` expects."""
    layers = getattr(module, "conv_layers", ())
    return len(layers) > 0 and all(map(_is_layer, layers))


def _is_layer(layer: Any) -> bool:
    if not isinstance(layer, nn.Module):
        return False
    parts = dict(layer.named_children())
    conv, norm = parts.get("conv"), parts.get("layer_norm")
    plain = isinstance(conv, nn.Conv1d) and (conv.groups, conv.dilation, conv.padding) == (
        1,
        (1,),
        (0,),
    )
    known = norm is None or isinstance(norm, nn.LayerNorm) or _per_channel(norm)
    return plain and known and set(parts) - {"layer_norm"} == {"conv", "activation"}


def _per_channel(norm: Any) -> bool:
    return isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels and norm.affine


class ConvStack(nn.Module):
    """A feature extractor, one clip at a time.

    Parameters
    ----------
    module : torch.nn.Module
        Of which `is_conv_stack` is true.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(layer) for layer in module.conv_layers)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Map ``(rows, samples)`` to ``(rows, channels, frames)``."""
        return torch.stack([self._one(row) for row in samples]).transpose(1, 2)

    def _one(self, row: torch.Tensor) -> torch.Tensor:
        frames = row.contiguous().unsqueeze(1)  # (frames, channels)
        for layer in self.layers:
            frames = layer(frames)
        return frames


class _Layer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        conv = layer.conv
        inside = getattr(layer, "layer_norm", None) is None and is_gelu(layer.activation)
        weight = conv.weight.transpose(1, 2).flatten(1)
        self.linear = PackedLinear(weight, conv.bias, gelu=inside)
        self.width, self.stride = conv.kernel_size[0], conv.stride[0]
        norm = getattr(layer, "layer_norm", None)
        self.group = norm if isinstance(norm, nn.GroupNorm) else None
        self.norm = nn.Identity() if norm is None or self.group is not None else norm
        self.activation = nn.Identity() if inside else layer.activation

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map ``(frames, in)`` to fewer ``(frames, out)``."""
        size = frames.shape[1]
        count = (frames.shape[0] - self.width) // self.stride + 1
        seen = frames.as_strided((count, self.width * size), (self.stride * size, 1))
        out = frames.new_empty(count, self.linear.out_features)
        over_time = _Moments()
        for strip, place in zip(seen.split(STRIP), out.split(STRIP), strict=True):
            made = self.linear(strip.contiguous())
            if self.group is None:
                place.copy_(self.activation(self.norm(made)))
            else:
                over_time.add(made.float())
                place.copy_(made)
        if self.group is not None:
            scale = (over_time.squares / count + self.group.eps).rsqrt() * self.group.weight
            shift = self.group.bias - over_time.mean * scale
            for place in out.split(STRIP):
                place.copy_(self.activation(torch.addcmul(shift, place.float(), scale)))
        return out


class _Moments:
    """Mean and sum of squared differences of all rows, joined from strips.

    Chan, Golub and LeVeque (1983), "Algorithms for Computing the Sample Variance".
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, rows: torch.Tensor) -> None:
        mean = rows.mean(dim=0)
        squares = (rows - mean).square_().sum(dim=0)
        total = self.count + len(rows)
        off = mean - self.mean
        self.squares = self.squares + squares + off.square() * (self.count * len(rows) / total)
        self.mean = self.mean + off * (len(rows) / total)
        self.count = total
