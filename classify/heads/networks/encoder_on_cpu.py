"""Transformer encoder layers as they learn on a CPU: forward and backward written out.

Attention and feed-forward are one step of autograd each, so that what lies between their products
is changed in place, and masks of dropout and ReLU are one. Tokens are (positions, rows, width): the
heads of all rows are then one batch of matrices, read without a copy. The sums are
those of `torch.nn.TransformerEncoderLayer` up to the order of their terms.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..training.shared_layers import drawn, dropped, zeroed_


def trained_layer(layer: Any, x: Tensor, *, first: bool = False) -> Tensor:
    """Return what a `torch.nn.TransformerEncoderLayer` in training returns.

    Parameters
    ----------
    layer : torch.nn.TransformerEncoderLayer
    x : Tensor
        Tokens (positions, rows, width).
    first : bool
        Compute the first position only, and return it as (rows, width).
    """
    seen = layer.norm1(x) if layer.norm_first else x
    if first:
        x = x[0] + dropped(_of_first_position(layer.self_attn, seen), layer.dropout1.p)
    else:
        attention = layer.self_attn
        x = _Attended.apply(
            x, seen, attention.in_proj_weight, attention.in_proj_bias,
            attention.out_proj.weight, attention.out_proj.bias,
            attention.num_heads, attention.dropout, layer.dropout1.p,
        )  # fmt: skip
    x = x if layer.norm_first else layer.norm1(x)
    x = _FedForward.apply(
        x, layer.norm2(x) if layer.norm_first else x,
        layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias,
        layer.activation is F.relu, layer.dropout.p, layer.dropout2.p,
    )  # fmt: skip
    return x if layer.norm_first else layer.norm2(x)


class _Attended(torch.autograd.Function):
    """``x + dropout(attention(seen))``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, seen: Tensor, weight: Tensor, bias: Tensor,
        out_weight: Tensor, out_bias: Tensor, heads: int, p_weights: float, p_out: float,
    ) -> Tensor:  # fmt: skip
        _, rows, width = x.shape
        flat = seen.reshape(-1, width)
        maps = weight.view(3, width, width)
        made = torch.baddbmm(bias.view(3, 1, -1), _thrice(flat), maps.transpose(1, 2))
        query, key, value = _by_head(made, rows, heads)
        scores = torch.bmm(query, key.transpose(1, 2))
        weights = softmax_(scores.mul_(key.shape[2] ** -0.5))
        kept, ctx.scale = drawn(weights, p_weights)
        used = _kept(weights, kept, ctx.scale)
        found = torch.empty_like(flat)
        _by_head(found, rows, heads).copy_(torch.bmm(used, value))
        out = torch.addmm(out_bias, found, out_weight.t())
        kept_out, ctx.scale_out = drawn(out, p_out)
        ctx.save_for_backward(flat, weight, out_weight, made, weights, used, found, kept, kept_out)
        return _plus(x, out, kept_out, ctx.scale_out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, out_weight, made, weights, used, found, kept, kept_out = ctx.saved_tensors
        _, rows, width = grad.shape
        heads = len(weights) // rows
        query, key, value = _by_head(made, rows, heads)
        to_made = torch.empty_like(made)
        to_query, to_key, to_value = _by_head(to_made, rows, heads)

        to_out = _kept(grad.reshape(-1, width), kept_out, ctx.scale_out)
        to_found = _by_head(to_out @ out_weight, rows, heads)
        to_value.copy_(torch.bmm(used.transpose(1, 2), to_found))
        to_scores = zeroed_(torch.bmm(to_found, value.transpose(1, 2)), kept).mul_(weights)
        to_scores.addcmul_(weights, to_scores.sum(-1, keepdim=True), value=-1)
        to_scores.mul_(ctx.scale * key.shape[2] ** -0.5)
        to_query.copy_(torch.bmm(to_scores, key))  # not `out`: that takes one head at a time
        to_key.copy_(torch.bmm(to_scores.transpose(1, 2), query))

        to_seen = to_made[0] @ weight[:width]
        to_seen.addmm_(to_made[1], weight[width : 2 * width])
        to_seen.addmm_(to_made[2], weight[2 * width :])
        to_weight = torch.bmm(to_made.transpose(1, 2), _thrice(flat)).view(weight.shape)
        return (
            grad, to_seen.view(grad.shape), to_weight,
            to_made.sum(1).view(-1), to_out.t() @ found, to_out.sum(0), None, None, None,
        )  # fmt: skip


class _FedForward(torch.autograd.Function):
    """``x + dropout(outer(dropout(activation(inner(seen)))))``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, seen: Tensor, weight: Tensor, bias: Tensor,
        out_weight: Tensor, out_bias: Tensor, relu: bool, p_inner: float, p_out: float,
    ) -> Tensor:  # fmt: skip
        flat = seen.reshape(-1, seen.shape[-1])
        before = torch.addmm(bias, flat, weight.t())
        inner = before.relu_() if relu else F.gelu(before)
        kept, ctx.scale = drawn(inner, p_inner)
        out = torch.addmm(out_bias, zeroed_(inner, kept), out_weight.t(), alpha=ctx.scale)
        kept_out, ctx.scale_out = drawn(out, p_out)
        own = () if relu else (before, kept)
        ctx.save_for_backward(flat, weight, out_weight, inner, kept_out, *own)
        return _plus(x, out, kept_out, ctx.scale_out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, out_weight, inner, kept_out, *own = ctx.saved_tensors
        to_out = _kept(grad.reshape(-1, grad.shape[-1]), kept_out, ctx.scale_out)
        scaled = to_out * ctx.scale
        to_inner = scaled @ out_weight
        if own:  # GELU
            to_inner = torch.ops.aten.gelu_backward(zeroed_(to_inner, own[1]), own[0])
        else:  # `inner` is 0 where ReLU or dropout made it 0
            to_inner = torch.ops.aten.threshold_backward(to_inner, inner, 0)
        return (
            grad, (to_inner @ weight).view(grad.shape),
            to_inner.t() @ flat, to_inner.sum(0), scaled.t() @ inner, to_out.sum(0),
            None, None, None,
        )  # fmt: skip


def _of_first_position(attention: Any, x: Tensor) -> Tensor:
    """Return the attention (rows, width) of the first position over all (positions, rows, width).

    There is one query: what it asks and what it finds go through the maps of keys and values, not
    every position. The bias of keys is the same for all positions and has no effect.
    """
    _, rows, width = x.shape
    heads, size = attention.num_heads, width // attention.num_heads
    query_map, key_map, value_map = attention.in_proj_weight.view(3, width, width)
    query_bias, _, value_bias = attention.in_proj_bias.view(3, width)
    query = F.linear(x[0], query_map, query_bias) * size**-0.5
    asked = torch.bmm(query.view(rows, heads, size).transpose(0, 1), key_map.view(heads, size, -1))
    scores = torch.bmm(asked.transpose(0, 1), x.permute(1, 2, 0))  # (rows, heads, positions)
    weights = dropped(torch.softmax(scores, dim=-1), attention.dropout)
    mean = torch.bmm(weights, x.transpose(0, 1)).transpose(0, 1)  # (heads, rows, width)
    found = torch.bmm(mean, value_map.view(heads, size, -1).transpose(1, 2)).transpose(0, 1)
    found = found + weights.sum(-1, keepdim=True) * value_bias.view(heads, size)
    return attention.out_proj(found.reshape(rows, width))


def softmax_(scores: Tensor) -> Tensor:
    """Softmax over the last axis, in place; torch's own takes five times as long for 13 numbers."""
    scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    return scores.div_(scores.sum(-1, keepdim=True))


def _thrice(flat: Tensor) -> Tensor:
    return flat.expand(3, -1, -1)


def _by_head(made: Tensor, rows: int, heads: int) -> Tensor:
    """View (..., positions * rows, width) as (..., rows * heads, positions, size of a head)."""
    size = made.shape[-1] // heads
    return made.view(*made.shape[:-2], -1, rows * heads, size).transpose(-3, -2)


def _kept(x: Tensor, kept: Tensor | None, scale: float) -> Tensor:
    return x if kept is None else zeroed_(x.clone(), kept).mul_(scale)


def _plus(x: Tensor, out: Tensor, kept: Tensor | None, scale: float) -> Tensor:
    """Return x + dropout(out), and change `out`."""
    return torch.add(x, zeroed_(out, kept).view(x.shape), alpha=scale)
