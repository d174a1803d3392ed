"""Encoder layers as they learn on a CPU: the numbers and gradients of plain PyTorch, zeros too."""

from __future__ import annotations

import pytest
import torch
from affekt.classify.heads.networks import encoder_on_cpu
from affekt.classify.heads.networks.encoder_on_cpu import trained_layer
from affekt.classify.heads.training import shared_layers
from torch import nn

ROWS, POSITIONS, WIDTH, HEADS = 3, 5, 8, 2


def plain(layer, x, zeros):
    """Return what a layer gives of tokens (positions, rows, width), written for reading.

    `zeros` are the masks of dropout, scaled: of attention, after it, inside and after the
    feed-forward.
    """
    weights, out, inner, last = zeros

    def attended(x):
        made = nn.functional.linear(x, layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
        query, key, value = made.unflatten(-1, (3, HEADS, -1)).unbind(2)
        scores = torch.einsum("qrhs,krhs->rhqk", query, key) / query.shape[-1] ** 0.5
        found = torch.einsum("rhqk,krhs->qrhs", scores.softmax(-1) * weights, value)
        return layer.self_attn.out_proj(found.flatten(2)) * out

    def fed(x):
        return layer.linear2(layer.activation(layer.linear1(x)) * inner) * last

    if layer.norm_first:
        x = x + attended(layer.norm1(x))
        return x + fed(layer.norm2(x))
    x = layer.norm1(x + attended(x))
    return layer.norm2(x + fed(x))


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_numbers_and_gradients_are_those_of_plain_pytorch(norm_first, activation, p, monkeypatch):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 16, p, activation, norm_first=norm_first, dtype=torch.float64
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    zeros, drawn = [], shared_layers.drawn

    def draw(like, p, bits):
        kept, scale = drawn(like, p, bits)
        zeros.append(torch.ones_like(like) if kept is None else kept.to(like.dtype) * scale)
        return kept, scale

    for module in (encoder_on_cpu, shared_layers):
        monkeypatch.setattr(module, "drawn", draw)
    x = torch.randn(POSITIONS, ROWS, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(POSITIONS, ROWS, WIDTH, dtype=torch.float64)
    found = trained_layer(layer, x, shared_layers.random_bits())
    tensors = [x, *layer.parameters()]
    ours = torch.autograd.grad((found * weight).sum(), tensors)

    tokens = (POSITIONS, ROWS, -1)
    masks = [zeros[0].unflatten(0, (ROWS, HEADS)), *(one.view(tokens) for one in zeros[1:])]
    expected = plain(layer, x, masks)
    assert (expected == x).all() == (p == 1 and norm_first)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    theirs = torch.autograd.grad((expected * weight).sum(), tensors)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-11)


def test_tokens_and_weights_are_left_as_they_were():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, 0.5)
    x = torch.randn(POSITIONS, ROWS, WIDTH)
    tensors = [x, *layer.parameters()]
    before = [one.detach().clone() for one in tensors]
    trained_layer(layer, x, shared_layers.random_bits()).sum().backward()
    assert all(torch.equal(one, old) for one, old in zip(tensors, before, strict=True))
