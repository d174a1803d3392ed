"""Transformer encoder layers of which only the first position is read at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..training.estimator import WIDEST
from ..training.shared_layers import dropped


def check_attention(head: Any) -> None:
    """Check the settings that heads with attention have in common."""
    for name in ("d_model", "n_attention_heads", "feedforward", "hidden"):
        check_number(name, getattr(head, name), 1, WIDEST, whole=True)
    check_number("n_blocks", head.n_blocks, 1, 256, whole=True)
    check_number("dropout", head.dropout, 0, 1)
    one_of(head.activation, ("relu", "gelu"), "activation")
    if head.d_model % head.n_attention_heads:
        raise InputError(
            f"d_model {head.d_model} is not a multiple of n_attention_heads "
            f"{head.n_attention_heads}"
        )


def to_patches(x: Tensor, patch_size: int) -> Tensor:
    """Return rows (rows, width) as patches (rows, patches, patch_size), zeros at the end.

    Examples
    --------
    >>> import torch
    >>> to_patches(torch.tensor([[1.0, 2.0, 3.0]]), 2).tolist()
    [[[1.0, 2.0], [3.0, 0.0]]]
    """
    short = -x.shape[1] % patch_size
    return nn.functional.pad(x, (0, short)).unflatten(1, (-1, patch_size))


class EncoderStack(nn.Module):
    """`torch.nn.TransformerEncoderLayer`s; the last computes the first position only.

    The output of the first position is that of `nn.TransformerEncoder` without a final norm: its
    last layer's attention needs keys and values of all positions, but one query.

    Parameters
    ----------
    activation : str
        "relu" or "gelu".

    Examples
    --------
    >>> import torch
    >>> stack = EncoderStack(8, 2, 16, 3, dropout=0.0, activation="relu", norm_first=False)
    >>> stack(torch.zeros(5, 4, 8)).shape
    torch.Size([5, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        layers: int,
        *,
        dropout: float,
        activation: str,
        norm_first: bool,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                feedforward,
                dropout,
                activation,
                batch_first=True,
                norm_first=norm_first,
            )
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the first position (rows, width) of tokens (rows, positions, width)."""
        if self.training and x.device.type == "cpu":
            for layer in self.layers[:-1]:
                x = trained_layer(layer, x)
            return trained_layer(self.layers[-1], x, first=True)[:, 0]
        for layer in self.layers[:-1]:
            x = layer(x)
        return _first_position(self.layers[-1], x)


def _first_position(layer: Any, x: Tensor) -> Tensor:
    first, tokens = x[:, :1], x
    if layer.norm_first:
        tokens = layer.norm1(x)
    attended = layer.self_attn(tokens[:, :1], tokens, tokens, need_weights=False)[0]
    first = first + layer.dropout1(attended)
    if layer.norm_first:
        return (first + _feedforward(layer, layer.norm2(first)))[:, 0]
    first = layer.norm1(first)
    return layer.norm2(first + _feedforward(layer, first))[:, 0]


def _feedforward(layer: Any, x: Tensor) -> Tensor:
    inner = layer.dropout(layer.activation(layer.linear1(x)))
    return layer.dropout2(layer.linear2(inner))


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
        return own + _trained_feedforward(layer, layer.norm2(own))
    own = layer.norm1(own)
    return layer.norm2(own + _trained_feedforward(layer, own))


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


def _trained_feedforward(layer: Any, x: Tensor) -> Tensor:
    inner = dropped(layer.activation(layer.linear1(x)), layer.dropout.p)
    return dropped(layer.linear2(inner), layer.dropout2.p)
