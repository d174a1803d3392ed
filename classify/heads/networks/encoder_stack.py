"""Transformer encoder layers; only the first position is read at the end."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..training.estimator import WIDEST
from .encoder_on_cpu import trained_layers


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
            return trained_layers(self.layers, x.transpose(0, 1).contiguous())
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
