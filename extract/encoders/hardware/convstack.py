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

from .prepacked import PackedLinear, is_gelu, whole_tiles

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
        norm = getattr(layer, "layer_norm", None)
        self.group = norm if isinstance(norm, nn.GroupNorm) else None
        inside = is_gelu(layer.activation) and (norm is None or self.group is not None)
        weight = conv.weight.transpose(1, 2).flatten(1)
        self.linear = PackedLinear(weight, conv.bias, gelu=inside)
        self.width, self.stride = conv.kernel_size[0], conv.stride[0]
        self.norm = nn.Identity() if norm is None or self.group is not None else norm
        self.activation = nn.Identity() if inside else layer.activation

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map ``(frames, in)`` to fewer ``(frames, out)``."""
        size = frames.shape[1]
        count = (frames.shape[0] - self.width) // self.stride + 1
        seen = frames.as_strided((count, self.width * size), (self.stride * size, 1))
        linear = self.linear if self.group is None else self._normed(seen)
        out = frames.new_empty(count, linear.out_features)
        for strip, place in zip(seen.split(STRIP), out.split(STRIP), strict=True):
            place.copy_(self.activation(self.norm(linear(whole_tiles(strip))))[: len(place)])
        return out

    def _normed(self, seen: torch.Tensor) -> PackedLinear:
        """Make the map that gives normed frames of a clip, whose rows are `seen`.

        The mean and the variance of what a linear map gives follow from those of what it sees.
        """
        group: Any = self.group
        mean, covariance = _moments(seen)
        weight = self.linear.weight.double()
        variance = ((weight @ covariance) * weight).sum(dim=1)
        scale = (variance + group.eps).rsqrt() * group.weight.double()
        shift = group.bias.double() - (weight @ mean) * scale
        weight = (weight * scale[:, None]).to(seen.dtype)
        return PackedLinear(weight, shift.to(seen.dtype), gelu=self.linear.gelu)


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of rows, ``(in,)`` and ``(in, in)`` float64, strip by strip."""
    mean = rows.new_zeros(rows.shape[1], dtype=torch.float64)
    covariance = torch.outer(mean, mean)
    for strip in rows.split(STRIP):
        mean += strip.sum(dim=0, dtype=torch.float64) / len(rows)
    for strip in rows.split(STRIP):
        centred = strip.double() - mean
        covariance += centred.T @ centred / len(rows)
    return mean, covariance
