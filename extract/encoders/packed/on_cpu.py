"""Clips or texts laid end to end on a CPU: one product for the frames of a few of them.

What looks at neighbours (convolutions, positions, attention) runs clip by clip, in the modules of
`hardware`; all else sees the frames of a pack at once. A pack is small, so that it stays near the
processor: a clip of ten seconds is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..families import Family
from ..fronts.front import Example, Front
from ..hardware.convstack import is_conv_stack
from ..hardware.prepacked import PackedLinear, rows_are_independent, threads_are_independent
from ..hardware.worker_threads import run_side_by_side, stop_if_asked
from ..layers import masked_pool
from .attention import PackedAttention, find_attention
from .layout import Pack, current_pack
from .packed_encoder import PackedModel
from .pairwise import GatedAttention, KeyAttention


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
        Rows may share a pass. Clips do where that leaves every bit as it is: products of some
        processors in bfloat16 depend on the number of rows.
    steady : bool
        Bits do not depend on the number of threads. In half precision they do with AMX: then
        every pass has one thread.
    """

    def __init__(self, model: Any, family: Family, front: Front) -> None:
        self.banks = family.front == "filterbank"
        self._first: Any = None  # of WavLM: the attention that holds the biases of all
        super().__init__(model, family, front)
        self.joins = not self.speech
        self.steady = model.dtype == torch.float32

    def prepare(self, item: Any) -> Example:
        """Make the input of one clip or text."""
        made = self.front.prepare(item)
        if not self.banks:
            return made
        own = made.tensors["input_features"][made.keep]  # the last frame may be half a frame
        return replace(made, tensors={"input_features": own}, keep=made.keep[made.keep])

    def measure(self) -> None:
        """Look what bits depend on, once products are laid out for the processor."""
        found: dict[tuple[int, int], PackedLinear] = {}
        for module in self.model.modules():
            if isinstance(module, PackedLinear):
                found[module.in_features, module.out_features] = module
        products = list(found.values())

        def alike() -> bool:
            return bool(products) and all(map(rows_are_independent, products))

        self.joins = not self.speech or (alike() and all(run_side_by_side([alike], threads=1)))
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
            return model.feature_projection(features[None].to(kind))[0]
        clips = [example.tensors["input_values"].to(kind) for example in examples]
        made = []
        for clip in clips:
            stop_if_asked()
            made.append(model.feature_extractor(clip[None]).transpose(1, 2))
        projected = model.feature_projection(torch.cat(made, dim=1))
        hidden = projected[0] if isinstance(projected, tuple) else projected
        hidden = hidden + model.encoder.pos_conv_embed(hidden)
        return hidden if self._norm_last else model.encoder.layer_norm(hidden)

    def _pool(self, hidden: torch.Tensor, pack: Pack, pooling: str) -> torch.Tensor:
        parts = hidden.split(pack.lengths.tolist(), dim=1)
        pairs = zip(parts, pack.keep, strict=True)
        return torch.cat([masked_pool(part, keep[None], pooling) for part, keep in pairs])
