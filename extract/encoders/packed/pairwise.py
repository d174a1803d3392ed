"""Attention with a bias for each pair of frames, clip by clip: WavLM and Wav2Vec2-BERT.

The bias of one clip is ``(heads, frames, frames)``, so that it is made for one clip at a time; the
products before and after see all frames of a pack.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .attention import join
from .conformer import key_bias
from .layout import Pack, current_pack


class _PairAttention(nn.Module):
    """Attention of both; `_biases` returns the bias of a clip."""

    def __init__(self, maps: list[nn.Linear], out: nn.Module, heads: int) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = join(maps), out, heads
        self.rest: tuple[None, ...] = (None,)

    def forward(self, hidden_states: torch.Tensor, *_args: Any, **_options: Any) -> tuple:
        """Map ``(1, frames, hidden)`` to the same; masks are not needed."""
        pack = current_pack()
        lengths = pack.lengths.tolist()
        rows = self.qkv(hidden_states[0]).unflatten(1, (3, self.heads, -1))
        clips = [clip.permute(1, 2, 0, 3)[:, None] for clip in rows.split(lengths)]
        found = []
        for number, (query, key, value) in enumerate(clips):  # (1, heads, frames, size)
            made = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=self._bias(pack, number, query, hidden_states)
            )
            found.append(made[0].transpose(0, 1).flatten(1))
        return self.out(torch.cat(found)[None]), *self.rest

    def _bias(
        self, pack: Pack, number: int, query: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        raise NotImplementedError


class GatedAttention(_PairAttention):
    """WavLM's: a bias by distance, from the first block, times a gate of each frame and head."""

    def __init__(self, module: Any, first: Any) -> None:
        maps = [module.q_proj, module.k_proj, module.v_proj]
        super().__init__(maps, module.out_proj, module.num_heads)
        self.gate, self.constant = module.gru_rel_pos_linear, module.gru_rel_pos_const
        self._table = first.compute_bias  # a method: its module is not part of this one
        self.rest = (None, None)

    def _bias(
        self, pack: Pack, number: int, query: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        frames, start = int(pack.lengths[number]), int(pack.lengths[:number].sum())
        if number not in pack.biases:
            pack.biases[number] = self._table(frames, frames).contiguous()
        clip = hidden[0, start : start + frames].unflatten(1, (self.heads, -1))
        gates = self.gate(clip.transpose(0, 1)).unflatten(2, (2, 4)).sum(-1).sigmoid()
        scale = gates[..., :1] * (gates[..., 1:] * self.constant[0] - 1.0) + 2.0
        return (scale * pack.biases[number])[None]


class KeyAttention(_PairAttention):
    """Wav2Vec2-BERT's: each query times an embedding of how far the key is."""

    def __init__(self, module: Any) -> None:
        if module.position_embeddings_type != "relative_key":
            raise LookupError(f"positions of the type {module.position_embeddings_type!r}")
        maps = [module.linear_q, module.linear_k, module.linear_v]
        super().__init__(maps, module.linear_out, module.num_heads)
        self.scale = module.scaling
        self.reach = (
            int(module.left_max_position_embeddings),
            int(module.right_max_position_embeddings),
        )
        self.distances = module.distance_embedding.weight

    def _bias(
        self, pack: Pack, number: int, query: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        return key_bias(query * self.scale, self.distances, *self.reach)
