"""Transformer encoder layers as they learn on a CPU: forward and backward written out.

Attention and feed-forward are one step of autograd each, so that what is between their products
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

from ..training.shared_layers import drawn, dropped, factors, random_bits, zeroed_


def trained_stack(layers: Any, patches: Tensor, weight: Tensor, places: Tensor) -> Tensor:
    """Return the first position (rows, width) of what layers make of tokens, in training.

    Tokens are ``patches @ weight.T + places``. Where patches are narrower than tokens, queries,
    keys and values of the first layer are made of the patches, by the product of both maps.

    Parameters
    ----------
    layers : sequence of torch.nn.TransformerEncoderLayer
    patches : Tensor (positions, rows, patch size)
    weight : Tensor (width, patch size)
    places : Tensor (positions, width)
    """
    made = None
    if len(layers) > 1 and not layers[0].norm_first and weight.shape[1] < weight.shape[0]:
        attention = layers[0].self_attn
        own = F.linear(places, attention.in_proj_weight, attention.in_proj_bias)
        made = _mapped(patches, attention.in_proj_weight @ weight, own[:, None])
    return trained_layers(layers, F.linear(patches, weight) + places[:, None], made)


def trained_layers(layers: Any, x: Tensor, made: Tensor | None = None) -> Tensor:
    """Return the first position (rows, width) of what layers make of tokens, in training.

    Parameters
    ----------
    layers : sequence of torch.nn.TransformerEncoderLayer
    x : Tensor (positions, rows, width)
    made : Tensor (3, positions, rows, width), optional
        Queries, keys and values of the first layer.
    """
    bits = random_bits()
    for layer in layers[:-1]:
        x, made = trained_layer(layer, x, bits, made=made), None
    return trained_layer(layers[-1], x, bits, first=True)


def trained_layer(
    layer: Any, x: Tensor, bits: Any, *, made: Tensor | None = None, first: bool = False
) -> Tensor:
    """Return what a `torch.nn.TransformerEncoderLayer` in training returns.

    Parameters
    ----------
    layer : torch.nn.TransformerEncoderLayer
    x : Tensor
        Tokens (positions, rows, width).
    bits : numpy.random.BitGenerator
        What dropout draws from.
    made : Tensor (3, positions, rows, width), optional
        Queries, keys and values.
    first : bool
        Compute the first position only, and return it as (rows, width).
    """
    seen, attention = layer.norm1(x) if layer.norm_first else x, layer.self_attn
    if first:
        x = x[0] + dropped(_of_first_position(attention, seen), layer.dropout1.p)
    else:
        if made is None:
            made = _mapped(seen, attention.in_proj_weight, attention.in_proj_bias)
        x = _Attended.apply(
            x, made, attention.out_proj.weight, attention.out_proj.bias,
            attention.num_heads, attention.dropout, layer.dropout1.p, bits,
        )  # fmt: skip
    x = x if layer.norm_first else layer.norm1(x)
    x = _FedForward.apply(
        x, layer.norm2(x) if layer.norm_first else x,
        layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias,
        layer.activation is F.relu, layer.dropout.p, layer.dropout2.p, bits,
    )  # fmt: skip
    return x if layer.norm_first else layer.norm2(x)


def _mapped(seen: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return queries, keys and values (3, positions, rows, width) of what is seen.

    Parameters
    ----------
    weight : Tensor (3 * width, seen width)
    bias : Tensor (..., 3 * width)
        Of every token, or its position's own (positions, 1, 3 * width).
    """
    by_map = bias.expand(*(1,) * (3 - bias.ndim), *bias.shape).unflatten(-1, (3, -1))
    return _Mapped.apply(seen, weight.unflatten(0, (3, -1)), by_map.permute(2, 0, 1, 3))


class _Mapped(torch.autograd.Function):
    """``seen @ maps.T + bias`` for three maps."""

    @staticmethod
    def forward(ctx: Any, seen: Tensor, maps: Tensor, bias: Tensor) -> Tensor:
        flat = seen.reshape(-1, seen.shape[-1])
        made = bias.expand(3, *seen.shape[:2], -1).contiguous()
        made.view(3, len(flat), -1).baddbmm_(_thrice(flat), maps.transpose(1, 2))
        ctx.save_for_backward(flat, maps)
        ctx.bias = bias.shape
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, maps = ctx.saved_tensors
        to_made, to_seen = grad.view(3, len(flat), -1), None
        if ctx.needs_input_grad[0]:
            to_seen = to_made[0] @ maps[0]
            to_seen.addmm_(to_made[1], maps[1]).addmm_(to_made[2], maps[2])
            to_seen = to_seen.view(*grad.shape[1:3], -1)
        to_maps = torch.bmm(to_made.transpose(1, 2), _thrice(flat))
        return to_seen, to_maps, grad.sum_to_size(ctx.bias)


class _Attended(torch.autograd.Function):
    """``x + dropout(attention)``, of queries, keys and values."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, made: Tensor, out_weight: Tensor, out_bias: Tensor,
        heads: int, p_weights: float, p_out: float, bits: Any,
    ) -> Tensor:  # fmt: skip
        width = x.shape[-1]
        query, key, value = _by_head(made, heads)
        scores = torch.bmm(query, key.transpose(1, 2))
        weights = softmax_(scores.mul_(key.shape[2] ** -0.5))
        used = _times(weights, factors(weights, p_weights, bits))
        found = torch.empty_like(x)
        _by_head(found, heads).copy_(torch.bmm(used, value))
        out = torch.addmm(out_bias, found.view(-1, width), out_weight.t())
        of_out = factors(out, p_out, bits)
        ctx.save_for_backward(out_weight, made, weights, used, found, of_out)
        return _plus(x, out, of_out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out_weight, made, weights, used, found, of_out = ctx.saved_tensors
        _, rows, width = grad.shape
        heads = len(weights) // rows
        query, key, value = _by_head(made, heads)
        to_made = torch.empty_like(made)
        to_query, to_key, to_value = _by_head(to_made, heads)

        to_out = _times(grad.reshape(-1, width), of_out)
        to_found = _by_head((to_out @ out_weight).view(grad.shape), heads)
        to_value.copy_(torch.bmm(used.transpose(1, 2), to_found))
        to_scores = torch.bmm(to_found, value.transpose(1, 2)).mul_(used)
        to_scores.addcmul_(weights, to_scores.sum(-1, keepdim=True), value=-1)
        to_scores.mul_(key.shape[2] ** -0.5)
        to_query.copy_(torch.bmm(to_scores, key))  # not `out`: that takes one head at a time
        to_key.copy_(torch.bmm(to_scores.transpose(1, 2), query))
        to_weight = to_out.t() @ found.view(-1, width)
        return grad, to_made, to_weight, to_out.sum(0), None, None, None, None


class _FedForward(torch.autograd.Function):
    """``x + dropout(outer(dropout(activation(inner(seen)))))``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, seen: Tensor, weight: Tensor, bias: Tensor,
        out_weight: Tensor, out_bias: Tensor, relu: bool, p_inner: float, p_out: float, bits: Any,
    ) -> Tensor:  # fmt: skip
        flat = seen.reshape(-1, seen.shape[-1])
        before = torch.addmm(bias, flat, weight.t())
        inner = before.relu_() if relu else F.gelu(before)
        kept, ctx.scale = drawn(inner, p_inner, bits)
        out = torch.addmm(out_bias, zeroed_(inner, kept), out_weight.t(), alpha=ctx.scale)
        of_out = factors(out, p_out, bits)
        own = () if relu else (before, kept)
        ctx.save_for_backward(flat, weight, out_weight, inner, of_out, *own)
        return _plus(x, out, of_out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, out_weight, inner, of_out, *own = ctx.saved_tensors
        to_out = _times(grad.reshape(-1, grad.shape[-1]), of_out)
        scaled = to_out * ctx.scale
        to_inner = scaled @ out_weight
        if own:  # GELU
            to_inner = torch.ops.aten.gelu_backward(zeroed_(to_inner, own[1]), own[0])
        else:  # `inner` is 0 where ReLU or dropout made it 0
            torch.ops.aten.threshold_backward.grad_input(to_inner, inner, 0, grad_input=to_inner)
        return (
            grad, (to_inner @ weight).view(grad.shape),
            to_inner.t() @ flat, to_inner.sum(0), scaled.t() @ inner, to_out.sum(0),
            None, None, None, None,
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


def _by_head(made: Tensor, heads: int) -> Tensor:
    """View (..., positions, rows, width) as (..., rows * heads, positions, size of a head)."""
    *before, rows, width = made.shape
    return made.view(*before, rows * heads, width // heads).transpose(-3, -2)


def _times(x: Tensor, by: Tensor | None) -> Tensor:
    return x if by is None else x * by


def _plus(x: Tensor, out: Tensor, by: Tensor | None) -> Tensor:
    out = out.view(x.shape)
    return x + out if by is None else torch.addcmul(x, out, by.view(x.shape))
