"""The convolutions that turn waveforms into frames, on clips laid end to end.

Every clip starts at a multiple of the whole stride, so all layers keep clips aligned: a frame that
looks only at its own clip is what it is for the clip alone, and the few that reach into the next
clip are dropped. With time first, each layer is one or two matrix products without a copy.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from .kernels import norm_gelu
from .layout import owners, per_segment, ranges, small

_NOTHING = torch.empty(0)
_SLICE = 8192  # frames at a time: the first layer gives 64 rows for each


class Waves:
    """Samples of several clips in one buffer.

    Parameters
    ----------
    clips : list of torch.Tensor
        ``(samples,)`` float32 each, on the CPU.
    stride : int
        Samples from one frame to the next; clips start at its multiples.

    Attributes
    ----------
    samples : torch.Tensor
        ``(slots, stride)`` float32: each clip and zeros up to a whole slot; and an empty slot.
    slots : numpy.ndarray
        ``(clips,)`` slots of each clip.
    """

    def __init__(self, clips: list[torch.Tensor], stride: int, device: str) -> None:
        self.lengths = np.array([len(one) for one in clips])
        self.slots = -(-self.lengths // stride)
        pinned = device != "cpu"
        total = (int(self.slots.sum()) + 1) * stride
        buffer = torch.empty(total, pin_memory=pinned)
        places = np.concatenate([[0], np.cumsum(self.slots), [total // stride]]) * stride
        flat = buffer.numpy()
        for (place, after), one in zip(pairwise(places.tolist()), [*clips, _NOTHING], strict=True):
            end = place + len(one)
            flat[place:end] = one.numpy()
            flat[end:after] = 0
        self.samples = buffer.to(device, non_blocking=True).view(-1, stride)
        self.stride, self.device = stride, device

    def normalise(self) -> None:
        """Give each clip mean 0 and variance 1, as ``Wav2Vec2FeatureExtractor`` does."""
        slots, starts, own = self._segments()
        counts = small(self.lengths, self.device)[:, None].float()
        body = self.samples[:-1]
        mean = per_segment(body.sum(1, keepdim=True), starts, "sum") / counts
        inside = (torch.arange(self.stride, device=self.device) < own[:, None]).to(body.dtype)
        body.sub_(mean[slots]).mul_(inside)
        variance = per_segment(body.square().sum(1, keepdim=True), starts, "sum") / counts
        body.mul_(torch.rsqrt(variance + 1e-7)[slots])

    def _segments(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return each slot's clip, the starts of the clips, and each slot's own samples."""
        clip = owners(self.slots, self.device)
        starts = small(np.concatenate([[0], np.cumsum(self.slots)]), self.device)
        first = (torch.arange(len(clip), device=self.device) - starts[clip]) * self.stride
        own = (small(self.lengths, self.device)[clip] - first).clamp_(max=self.stride)
        return clip, starts, own


class PackedConvolutions(nn.Module):
    """A feature extractor of Wav2Vec2 and its relatives.

    Parameters
    ----------
    module : torch.nn.Module
        Of which `affekt.extract.encoders.hardware.convstack.is_conv_stack` is true.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        layers = [_Layer(layer) for layer in module.conv_layers]
        self.layers: Any = nn.ModuleList(layers)
        self.stride = math.prod(layer.stride for layer in layers)

    def forward(self, waves: Waves) -> torch.Tensor:
        """Return the frames of all clips, ``(frames, channels)``; none spans two clips."""
        kind = self.layers[0].weights[0].dtype
        parts, first, slot = [], 0, 0
        for last in _cuts(waves.slots):
            clips = slice(first, last)
            count = int(waves.slots[clips].sum())
            samples = waves.samples[slot : slot + count + 1].flatten()[:, None]
            frames = samples.to(kind)
            lengths, ratio = waves.lengths[clips], self.stride
            for layer in self.layers:
                lengths = (lengths - layer.width) // layer.stride + 1
                ratio //= layer.stride
                frames = layer(frames, waves, lengths, waves.slots[clips] * ratio)
            starts = np.cumsum(waves.slots[clips]) - waves.slots[clips]
            parts.append(frames[ranges(starts, lengths, waves.device)])
            first, slot = last, slot + count
        return torch.cat(parts)


class _Layer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        conv = layer.conv
        self.width, self.stride = conv.kernel_size[0], conv.stride[0]
        weight = conv.weight.detach().transpose(1, 2)  # (out, width, in)
        self.alone = conv.in_channels == 1
        if self.alone:  # a few samples for each row: copy them out
            self.reach = -(-self.width // 16) * 16
            padded = nn.functional.pad(weight[:, :, 0], (0, self.reach - self.width))
            weights = [padded.contiguous()]
        else:
            steps = range(0, self.width, self.stride)
            weights = [weight[:, i : i + self.stride].flatten(1).contiguous() for i in steps]
        self.weights = nn.ParameterList(nn.Parameter(one, False) for one in weights)
        self.bias = conv.bias
        norm = getattr(layer, "layer_norm", None)
        self.group = norm if isinstance(norm, nn.GroupNorm) else None
        self.norm = norm if isinstance(norm, nn.LayerNorm) else None
        self.activation = layer.activation
        self.gelu = bool(torch.equal(self.activation(_PROBE), nn.functional.gelu(_PROBE)))

    def forward(
        self, frames: torch.Tensor, waves: Waves, lengths: np.ndarray, rows: np.ndarray
    ) -> torch.Tensor:
        """Map ``(frames, in)`` to fewer ``(frames, out)``.

        `lengths` are the rows of each clip that look at nothing else, of its `rows`.
        """
        made = self._convolve(frames)
        if self.group is not None:
            return self.activation(self._normalise(made, waves, lengths, rows))
        if self.norm is not None and self.gelu:
            return norm_gelu(made, self.norm)
        return self.activation(made if self.norm is None else self.norm(made))

    def _convolve(self, frames: torch.Tensor) -> torch.Tensor:
        count = len(frames) // self.stride
        if self.alone:
            tail = (0, 0, 0, self.reach)
            seen = nn.functional.pad(frames, tail)[:, 0].as_strided(
                (count, self.reach), (self.stride, 1)
            )
            return nn.functional.linear(seen.contiguous(), self.weights[0], self.bias)
        steps = frames.view(count, -1)
        first, *others = self.weights
        made = nn.functional.linear(steps[:, : first.shape[1]], first, self.bias)
        for shift, weight in enumerate(others, 1):
            made[: count - shift].addmm_(steps[shift:, : weight.shape[1]], weight.T)
        return made

    def _normalise(
        self, made: torch.Tensor, waves: Waves, lengths: np.ndarray, rows: np.ndarray
    ) -> torch.Tensor:
        """Apply a group norm of one channel a group, over each clip's own rows."""
        group: Any = self.group
        clip = owners(rows, waves.device)
        body = made[: len(clip)].float()
        before, count = small(np.cumsum(rows) - rows, waves.device), small(lengths, waves.device)
        place = torch.arange(len(clip), device=waves.device) - before[clip]
        inside = (place < count[clip])[:, None].float()
        count = count[:, None].float()
        mean = _sums(body * inside, rows, waves) / count
        centred = (body - mean[clip]).mul_(inside)
        variance = _sums(centred.square_(), rows, waves) / count
        scale = (variance + group.eps).rsqrt() * group.weight.float()
        shift = group.bias.float() - mean * scale
        made[: len(clip)] = torch.addcmul(shift[clip], body, scale[clip]).to(made.dtype)
        return made


def _sums(rows: torch.Tensor, counts: np.ndarray, waves: Waves) -> torch.Tensor:
    """Add up the rows of each clip, some and then all: sums of thousands stay exact."""
    some = int(np.gcd.reduce(counts))
    starts = np.concatenate([[0], np.cumsum(counts // some)])
    return per_segment(rows.unflatten(0, (-1, some)).sum(1), small(starts, waves.device), "sum")


_PROBE = torch.linspace(-2.0, 2.0, 9)


def _cuts(slots: np.ndarray) -> list[int]:
    """Cut between clips, so that no slice is much longer than `_SLICE` slots."""
    cuts, filled = [], 0
    for position, count in enumerate(slots):
        if filled and filled + count > _SLICE:
            cuts.append(position)
            filled = 0
        filled += count
    return [*cuts, len(slots)]
