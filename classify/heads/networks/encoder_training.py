"""Encoder layers as they are trained on a CPU: the same function, less work.

PyTorch's attention with dropout takes its slow way, and most of that time goes into the draws.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..training.dropout import dropped


def trained_layer(layer: Any, x: Tensor, *, first: bool = False) -> Tensor:
    """Return what a `torch.nn.TransformerEncoderLayer` in training returns.

    Parameters
    ----------
    layer : torch.nn.TransformerEncoderLayer
        With ``batch_first``.
    x : Tensor
        Tokens (rows, positions, width).
    first : bool
        Compute the first position only.
    """
    seen = layer.norm1(x) if layer.norm_first else x
    own = x[:, :1] if first else x
    own = own + dropped(_attended(layer.self_attn, seen, first), layer.dropout1.p)
    if layer.norm_first:
        return own + _feedforward(layer, layer.norm2(own))
    own = layer.norm1(own)
    return layer.norm2(own + _feedforward(layer, own))


def _attended(attention: Any, x: Tensor, first: bool) -> Tensor:
    rows, _, width = x.shape
    heads, size = attention.num_heads, width // attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if first:
        query = nn.functional.linear(x[:, :1], weight[:width], bias[:width])
        key, value = nn.functional.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1)
    else:
        query, key, value = nn.functional.linear(x, weight, bias).chunk(3, dim=-1)

    def by_head(made: Tensor) -> Tensor:
        return made.view(rows, -1, heads, size).transpose(1, 2).reshape(rows * heads, -1, size)

    scores = torch.bmm(by_head(query) * size**-0.5, by_head(key).transpose(1, 2))
    weights = dropped(torch.softmax(scores, dim=-1), attention.dropout)
    found = torch.bmm(weights, by_head(value)).view(rows, heads, -1, size)
    return attention.out_proj(found.transpose(1, 2).reshape(rows, -1, width))


def _feedforward(layer: Any, x: Tensor) -> Tensor:
    inner = dropped(layer.activation(layer.linear1(x)), layer.dropout.p)
    return dropped(layer.linear2(inner), layer.dropout2.p)
