"""Clips or texts laid end to end on a CPU: one product for the frames of a few of them.

What looks at neighbours (convolutions, positions, attention) runs clip by clip, in the modules of
`hardware`; all else sees the frames of a pack at once. A pack is small, so that it stays near the
processor: a clip of twelve seconds is one.

oneDNN compiles a product for each number of rows. So rows of zeros fill a pack up to a
multiple of `_STEP`: whatever the lengths of clips, there are few products to compile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from ..families import Family
from ..fronts.front import Example, Front
from ..hardware.convstack import ConvStack, is_conv_stack
from ..hardware.prepacked import PackedLinear, rows_are_independent, threads_are_independent
from ..hardware.worker_threads import run_side_by_side, stop_if_asked
from ..layers import masked_pool
from .attention import PackedAttention, find_attention
from .layout import Pack, current_pack
from .packed_encoder import PackedModel
from .pairwise import GatedAttention, KeyAttention

BUDGET = 640  # frames or tokens of a pack
_STEP = 32  # its rows are a multiple of this
_LEAST = 320  # rows: from here on all products in bfloat16 with AMX sum in the same order
_SOME = (32, 96, 384)  # rows, to see whether their number matters


class ClipByClip(nn.Module):
    """A module that sees each clip of a pack alone.

    Parameters
    ----------
    module : torch.nn.Module
        Maps ``(1, frames, hidden)`` to the same.

    Examples
    --------
    >>> first = ClipByClip(nn.Identity())
    >>> from affekt.extract.encoders.packed.layout import laid_out
    >>> with laid_out(Pack([torch.ones(2) > 0, torch.ones(1) > 0], "cpu")):
    ...     first(torch.arange(3.0).view(1, 3, 1)).flatten().tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, frames: torch.Tensor, **_options: Any) -> torch.Tensor:
        """Map ``(1, frames, hidden)`` to the same; masks are not needed."""
        parts = frames.split(current_pack().lengths.tolist(), dim=1)
        return torch.cat([self.module(part) for part in parts], dim=1)


class CpuModel(PackedModel):
    """Run a loaded model on a few clips or texts at once.

    Parameters are those of `PackedModel`.

    Attributes
    ----------
    joins : bool
        Clips or texts may share a pass. Clips do where that leaves every bit as it is. With AMX,
        bits of products in bfloat16 depend on the number of rows, but are the same from `_LEAST`
        to `BUDGET`: each pass has a number in that range.
    steady : bool
        Bits do not depend on the number of threads. In half precision they do with AMX: then
        every pass has one thread.
    """

    def __init__(self, model: Any, family: Family, front: Front) -> None:
        self.banks = family.front == "filterbank"
        self._first: Any = None  # of WavLM: the attention that holds the biases of all
        super().__init__(model, family, front)
        self.joins, self._least = not self.speech, 0
        self.steady = model.dtype == torch.float32

    def prepare(self, item: Any) -> Example:
        """Make the input of one clip or text."""
        made = self.front.prepare(item)
        if not self.banks:
            return made
        own = made.tensors["input_features"][made.keep]  # the last frame may be half a frame
        return replace(made, tensors={"input_features": own}, keep=made.keep[made.keep])

    def _masks(self, examples: Sequence[Example]) -> list[torch.Tensor]:
        keep = super()._masks(examples)
        frames = sum(map(len, keep))
        rows = max(self._least, -(-frames // _STEP) * _STEP)
        if rows > frames:  # the padding is like one more clip, whose row is dropped
            keep.append(torch.ones(rows - frames, dtype=torch.bool))
        return keep

    def measure(self) -> None:
        """Find out what bits depend on, once products are laid out for the processor.

        Where few rows would give other bits, all numbers of rows that a pass may have are tried.
        """
        of_shape = {(one.in_features, one.out_features): one for one in _products(self.model)}
        products = list(of_shape.values())

        def alike(least: int) -> bool:
            sizes = range(least, BUDGET + 1, _STEP) if least else _SOME
            return bool(products) and all(rows_are_independent(one, sizes) for one in products)

        for least in (0, _LEAST):
            if alike(least) and all(run_side_by_side([partial(alike, least)], threads=1)):
                self.joins, self._least = True, least
                break
        self.steady = self.steady and all(map(threads_are_independent, products))

    def _replace_front_end(self) -> None:
        if self.banks:
            for block in self.blocks:
                self._put(block, "conv_module", ClipByClip(block.conv_module))
            return
        if not is_conv_stack(self.model.feature_extractor):
            raise LookupError("convolutions of another kind")
        encoder = self.model.encoder
        self._put(encoder, "pos_conv_embed", ClipByClip(encoder.pos_conv_embed))

    def _replace_attention(self, block: Any) -> None:
        if self.banks:
            self._put(block, "self_attn", KeyAttention(block.self_attn))
            return
        holder, leaf = find_attention(block)
        module: Any = getattr(holder, leaf)
        if not hasattr(module, "gru_rel_pos_linear"):
            self._put(holder, leaf, PackedAttention(module))
            return
        self._first = self._first or module
        self._put(holder, leaf, GatedAttention(module, self._first))

    def _frames(self, examples: Sequence[Example], pack: Pack) -> torch.Tensor:
        model, kind = self.model, self.model.dtype
        if self.banks:
            features = torch.cat([example.tensors["input_features"] for example in examples])
            return model.feature_projection(self._filled(features[None].to(kind)))[0]
        clips = [example.tensors["input_values"].to(kind) for example in examples]
        made = []
        for clip in clips:
            stop_if_asked()
            made.append(model.feature_extractor(clip[None]).transpose(1, 2))
        projected = model.feature_projection(self._filled(torch.cat(made, dim=1)))
        hidden = projected[0] if isinstance(projected, tuple) else projected
        hidden = hidden + model.encoder.pos_conv_embed(hidden)
        return hidden if self._norm_last else model.encoder.layer_norm(hidden)

    def _tokens(self, examples: Sequence[Example], pack: Pack) -> torch.Tensor:
        return self._filled(super()._tokens(examples, pack))

    def _filled(self, frames: torch.Tensor) -> torch.Tensor:
        """Append zeros to ``(1, frames, hidden)``, up to the end of the pack."""
        return nn.functional.pad(frames, (0, 0, 0, current_pack().total - frames.shape[1]))

    def _pool(self, hidden: torch.Tensor, pack: Pack, pooling: str) -> torch.Tensor:
        parts = hidden.split(pack.lengths.tolist(), dim=1)
        pairs = zip(parts, pack.keep, strict=True)
        return torch.cat([masked_pool(part, keep[None], pooling) for part, keep in pairs])


def _products(module: nn.Module) -> Iterator[PackedLinear]:
    """Return the linear maps that see the frames of several clips."""
    for child in module.children():
        if isinstance(child, PackedLinear):
            yield child
        elif not isinstance(child, (ConvStack, ClipByClip)):
            yield from _products(child)
