"""Wav2Vec2-BERT's attention and convolution in padded batches, with less memory traffic.

Its scores have a term for how far the key is from the query, up to a limit. The library builds
that term for every pair of frames from the embeddings; here each query is multiplied by the few
embeddings there are, and the pairs pick from the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .kernels import causal_depthwise


def key_bias(query: torch.Tensor, distances: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """Return the bias of each pair of frames: the query times the embedding of their distance.

    Parameters
    ----------
    query : torch.Tensor
        ``(rows, heads, frames, size)``, scaled.
    distances : torch.Tensor
        ``(left + 1 + right, size)``.
    left, right : int
        Keys beyond are taken as so far away.

    Returns
    -------
    torch.Tensor
        ``(rows, heads, frames, frames)``.
    """
    rows, heads, frames, _size = query.shape
    near = torch.matmul(query, distances.T)  # by distance, not by pair
    wide = -(-frames // 8) * 8  # the kernels want rows of 16 bytes
    place = torch.arange(wide, device=near.device)
    apart = (place - place[:frames, None]).clamp_(-left, right).add_(left)
    return near.gather(3, apart.expand(rows, heads, frames, wide))[..., :frames]


class ConformerAttention(nn.Module):
    """The self-attention of a block, with relative keys.

    Parameters
    ----------
    module : torch.nn.Module
        transformers' module.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        if module.position_embeddings_type != "relative_key":
            raise LookupError(f"positions of the type {module.position_embeddings_type!r}")
        maps = (module.linear_q, module.linear_k, module.linear_v)
        self.weight = nn.Parameter(torch.cat([one.weight.detach() for one in maps]), False)
        self.bias = nn.Parameter(torch.cat([one.bias.detach() for one in maps]), False)
        self.out, self.heads, self.scale = module.linear_out, module.num_heads, module.scaling
        self.left = int(module.left_max_position_embeddings)
        self.right = int(module.right_max_position_embeddings)
        self.distances = module.distance_embedding.weight

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> tuple[torch.Tensor, None]:
        """Map ``(rows, frames, hidden)`` to the same."""
        rows, frames, _hidden = hidden_states.shape
        made = nn.functional.linear(hidden_states, self.weight, self.bias)
        query, key, value = made.view(rows, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = key_bias(query * self.scale, self.distances, self.left, self.right)
        if attention_mask is not None:
            if attention_mask.dtype == torch.bool:
                bias.masked_fill_(~attention_mask, float("-inf"))
            else:
                bias.add_(attention_mask)
        found = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=self.scale
        )
        return self.out(found.transpose(1, 2).flatten(2)), None


class ConformerConvolution(nn.Module):
    """The convolution module of a block, with channels last throughout.

    Parameters
    ----------
    module : torch.nn.Module
        transformers' module.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.before, self.after = module.layer_norm, module.depthwise_layer_norm
        self.activation = module.activation
        self.first, self.last = module.pointwise_conv1, module.pointwise_conv2
        self.depthwise = module.depthwise_conv

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map ``(rows, frames, hidden)`` to the same."""
        frames = self.before(hidden_states)
        if attention_mask is not None:
            frames = frames.masked_fill(~attention_mask.bool().unsqueeze(-1), 0.0)
        frames = nn.functional.linear(frames, self.first.weight[:, :, 0], self.first.bias)
        frames = causal_depthwise(nn.functional.glu(frames, dim=-1), self.depthwise.weight[:, 0])
        frames = self.activation(self.after(frames))
        return nn.functional.linear(frames, self.last.weight[:, :, 0], self.last.bias)


def replace_conformer(blocks: Any) -> list[tuple[nn.Module, str, nn.Module]]:
    """Replace both in every block, in place.

    Returns
    -------
    list of (holder, name, module)
        What was there.

    Raises
    ------
    LookupError
        A block is made in another way.
    """
    made = [
        (block, name, kind(getattr(block, name)))
        for block in blocks
        for name, kind in (("self_attn", ConformerAttention), ("conv_module", ConformerConvolution))
    ]
    before = [(block, name, getattr(block, name)) for block, name, _ in made]
    for block, name, module in made:
        setattr(block, name, module)
    return before
