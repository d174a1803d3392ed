"""The patch transformer as it predicts on a CPU: the same function, less work.

The weights are laid out once for the processor. Keys and values of the last layer, where one
position is read, are never computed; the first layer takes its queries, keys and values from the
patch, which is narrower than a token. The sums are the same up to the order of their terms.

Arrays of tokens are (positions, rows, d_model): the queries of all heads and rows are then one
batch of matrices without a copy. Every product is one row's own, so that a row does not depend on
its neighbours, and no product is spread over threads.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .encoder_on_cpu import softmax_

TOKENS = 416  # of the wide inner layer at a time: they stay in the processor's cache


def can_freeze() -> bool:
    """Return whether this build of PyTorch can lay weights out ahead."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )


class FrozenPatchTransformer:
    """Logits of a trained `PatchTransformer`, in float32; later changes to it are not seen.

    Parameters
    ----------
    network : PatchTransformer
        On the CPU, in float32.
    """

    def __init__(self, network: Any) -> None:
        *layers, last = network.encoder.layers
        weight = network.patch_embedding.weight.detach().double()  # (d_model, patch)
        places = network.position_embedding.detach().double()[0].clone()  # (positions, d_model)
        places[0] += network.cls_token.detach().double()[0, 0]
        places[1:] += network.patch_embedding.bias.detach().double()
        self.patch_size = network.patch_size
        self.embed = _Placed(weight, places)
        self.layers = [_Layer(layer) for layer in layers]
        self.first = None
        narrower = weight.shape[1] < weight.shape[0]
        if layers and not layers[0].norm_first and narrower:
            maps = [(w.double(), b.double()) for w, b in _maps(layers[0])]
            self.first = [_Placed(w @ weight, places @ w.T + b) for w, b in maps]
        self.last = _LastLayer(last)
        self.norms = copy.deepcopy(network.cls_norms)
        inner, activation, _, outer = network.classifier.children()
        self.inner, self.activation, self.outer = _packed(inner), activation, _packed(outer)

    def __call__(self, x: Tensor) -> Tensor:
        """Return logits (rows, outputs) of vectors (rows, width)."""
        size = self.patch_size
        padded = nn.functional.pad(x, (size, -x.shape[1] % size))  # a zero patch for CLS
        patches = padded.unflatten(1, (-1, size)).transpose(0, 1).contiguous()
        tokens = self.embed(patches)
        for position, layer in enumerate(self.layers):
            folded = self.first if position == 0 else None
            tokens = layer(tokens, [one(patches) for one in folded] if folded else None)
        return self.outer(self.activation(self.inner(self.norms(self.last(tokens)))))


class _Placed:
    """``weight @ patch + place``, the place being the position's own."""

    def __init__(self, weight: Tensor, places: Tensor) -> None:
        self.linear = _Linear(weight.float())
        self.places = places.float()[:, None]

    def __call__(self, patches: Tensor) -> Tensor:
        return self.linear(patches).add_(self.places)


class _Layer:
    """One encoder layer, of all positions."""

    def __init__(self, layer: Any) -> None:
        self.heads = layer.self_attn.num_heads
        self.norm_first = layer.norm_first
        self.norm1, self.norm2 = layer.norm1, layer.norm2
        self.maps = [_Linear(*one) for one in _maps(layer)]
        self.out = _packed(layer.self_attn.out_proj)
        self.feedforward = _Feedforward(layer)

    def __call__(self, x: Tensor, made: list[Tensor] | None = None) -> Tensor:
        """Map tokens (positions, rows, d_model); `made`: queries, keys and values."""
        if self.norm_first:
            seen = self.norm1(x)
            x = self._attended([one(seen) for one in self.maps]).add_(x)
            return self.feedforward(self.norm2(x), x)
        x = self.norm1(self._attended(made or [one(x) for one in self.maps]).add_(x))
        return self.norm2(self.feedforward(x, x))

    def _attended(self, made: list[Tensor]) -> Tensor:
        positions, rows, width = made[0].shape
        batch = (positions, rows * self.heads, width // self.heads)
        query, key, value = (one.view(batch) for one in made)
        turned = key.permute(1, 2, 0).contiguous()  # laid out so, the product takes half the time
        weights = softmax_(torch.bmm(query.transpose(0, 1), turned))
        found = torch.bmm(weights, value.transpose(0, 1))  # (rows * heads, positions, size)
        return self.out(found.transpose(0, 1).reshape(positions, rows, width))


class _LastLayer:
    """The last layer, of the first position: one query, keys and values folded into it."""

    def __init__(self, layer: Any) -> None:
        self.norm_first = layer.norm_first
        self.norm1, self.norm2 = layer.norm1, layer.norm2
        (query, query_bias), (key, _), (value, value_bias) = _maps(layer)
        self.heads, width = layer.self_attn.num_heads, len(query)
        self.query = _Linear(query, query_bias)
        by_head = (self.heads, width // self.heads, width)
        self.key = key.view(by_head)  # its bias is the same for all positions: no effect
        self.value = value.view(by_head).transpose(1, 2).contiguous()
        self.value_bias = value_bias.view(self.heads, 1, -1)
        self.out = _packed(layer.self_attn.out_proj)
        self.feedforward = _Feedforward(layer)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the first position (rows, d_model) of tokens (positions, rows, d_model)."""
        first, seen = x[0], self.norm1(x) if self.norm_first else x
        if self.norm_first:
            first = self._attended(seen).add_(first)
            return self.feedforward(self.norm2(first), first)
        first = self.norm1(self._attended(seen).add_(first))
        return self.norm2(self.feedforward(first, first))

    def _attended(self, seen: Tensor) -> Tensor:
        _, rows, width = seen.shape
        query = self.query(seen[0]).view(rows, self.heads, -1).transpose(0, 1)
        asked = torch.bmm(query, self.key).transpose(0, 1)  # (rows, heads, d_model)
        weights = softmax_(torch.bmm(asked, seen.permute(1, 2, 0)))
        mean = torch.bmm(weights, seen.transpose(0, 1)).transpose(0, 1)
        found = torch.baddbmm(self.value_bias, mean, self.value)  # (heads, rows, size)
        return self.out(found.transpose(0, 1).reshape(rows, width))


class _Feedforward:
    """The two maps around the activation, added to a given input."""

    def __init__(self, layer: Any) -> None:
        self.relu = layer.activation is nn.functional.relu
        self.activation = layer.activation
        self.inner, self.outer = _packed(layer.linear1), _packed(layer.linear2)

    def __call__(self, x: Tensor, onto: Tensor) -> Tensor:
        """Return `onto`, changed in place; whole positions at a time."""
        count = max(1, x.numel() // x.shape[-1] // TOKENS) if x.ndim > 2 else 1
        for seen, own in zip(x.tensor_split(count), onto.tensor_split(count), strict=True):
            own.add_(self.outer(self._activated(seen)))
        return onto

    def _activated(self, x: Tensor) -> Tensor:
        return self.inner(x, "relu") if self.relu else self.activation(self.inner(x))


class _Linear:
    """``x @ weight.T + bias``, the weights laid out once for the processor."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.bias = bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())

    def __call__(self, x: Tensor, then: str = "none") -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "")


def _packed(linear: Any) -> _Linear:
    return _Linear(linear.weight.detach(), linear.bias.detach())


def _maps(layer: Any) -> list[tuple[Tensor, Tensor]]:
    """Return weights and biases of queries (scaled for attention), keys and values."""
    attention = layer.self_attn
    query, key, value = attention.in_proj_weight.detach().chunk(3)
    query_bias, key_bias, value_bias = attention.in_proj_bias.detach().chunk(3)
    scale = (attention.embed_dim // attention.num_heads) ** -0.5
    return [(query * scale, query_bias * scale), (key, key_bias), (value, value_bias)]
