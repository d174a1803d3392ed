"""The faster modules of a CPU give what the library's own give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware import processor
from affekt.extract.encoders.hardware.convstack import ConvStack, is_conv_stack
from affekt.extract.encoders.hardware.cpu import avoid_wrong_kernels, speed_up
from affekt.extract.encoders.hardware.prepacked import (
    GroupedConv,
    PackedLinear,
    PointwiseConv,
    can_prepack,
)
from affekt.extract.encoders.packed import attention
from affekt.extract.encoders.packed.layout import Pack
from hypothesis import given, settings, strategies as st
from torch import nn

from tests.support.encoder_models import SPEECH, TEXT, backend, saved

pytestmark = pytest.mark.skipif(not can_prepack(), reason="this PyTorch is built without oneDNN")


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm())


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 3),
    frames=st.integers(1, 200),
    groups=st.sampled_from([1, 2, 4]),
    width=st.integers(1, 20),
    bias=st.booleans(),
)
def test_a_grouped_convolution(rows, frames, groups, width, bias):
    conv = nn.Conv1d(8, 8, width, padding=width // 2, groups=groups, bias=bias)
    x = torch.randn(rows, 8, frames)
    if frames + 2 * (width // 2) < width:
        return
    with torch.inference_mode():
        assert relative(GroupedConv(conv)(x), conv(x)) < 1e-5


@pytest.mark.parametrize("channels", [24, 32, 64])
def test_half_precision_convolutions_are_right_whatever_the_kernels_do(channels):
    conv = nn.Conv1d(channels, channels, 16, padding=8, groups=4).bfloat16()
    x = torch.randn(1, channels, 24).bfloat16()
    right = nn.functional.conv1d(x.float(), conv.weight.float(), conv.bias.float(), 1, 8, 1, 4)
    found = avoid_wrong_kernels(nn.Sequential(conv))
    assert found in ([], ["0"])  # depends on the processor
    with torch.inference_mode():
        assert relative(conv(x).float(), right) < 0.01


def test_a_weight_norm_is_folded_in():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 16, padding=8, groups=2), dim=2)
    x = torch.randn(2, 8, 90)
    with torch.inference_mode():
        assert relative(GroupedConv(conv)(x), conv(x)) < 1e-6


def test_a_pointwise_convolution_and_a_linear_map_that_is_read():
    conv, linear = nn.Conv1d(6, 10, 1), nn.Linear(6, 10)
    x = torch.randn(2, 6, 33)
    with torch.inference_mode():
        assert relative(PointwiseConv(conv)(x), conv(x)) < 1e-6
        assert torch.equal(PackedLinear(linear.weight, linear.bias).weight, linear.weight)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("samples", [400, 16_000, 200_123])
def test_a_feature_extractor_over_many_strips(norm, samples):
    config = tf.Wav2Vec2Config(
        conv_dim=(24,) * 7, feat_extract_norm=norm, conv_bias=True, num_hidden_layers=1
    )
    module = tf.Wav2Vec2Model(config).feature_extractor.eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "norm" in name or "bias" in name:
                weight.add_(torch.rand_like(weight))
    assert is_conv_stack(module)
    x = torch.randn(2, samples) + 0.5
    with torch.inference_mode():
        assert relative(ConvStack(module)(x), module(x)) < 5e-6


@pytest.mark.parametrize("name", sorted({*SPEECH, *TEXT} - {"conformer", "electra", "gpt2"}))
def test_every_family_takes_them(name):
    opened = backend(name)
    opened.load()
    assert opened.prepacked
    kinds = {type(module) for module in opened._model.modules()}
    assert PackedLinear in kinds
    assert (ConvStack in kinds) == (name in SPEECH and name not in ("wav2vec2-bert", "whisper"))


def test_weights_that_are_read_and_never_called_stay():
    model = tf.WavLMModel(
        tf.WavLMConfig(
            hidden_size=32,
            num_attention_heads=4,
            num_hidden_layers=2,
            intermediate_size=64,
            conv_dim=(16,) * 7,
        )
    ).eval()
    x = torch.randn(1, 8000)
    with torch.inference_mode():
        plain = model(x).last_hidden_state
        undo = speed_up(model, lambda: model(x))
        layer = model.encoder.layers[0]
        assert type(layer.attention.q_proj) is nn.Linear
        assert type(layer.feed_forward.output_dense) is PackedLinear
        assert relative(model(x).last_hidden_state, plain) < 1e-5
        undo()
        assert torch.equal(model(x).last_hidden_state, plain)
        assert not any(isinstance(module, PackedLinear) for module in model.modules())


def test_a_module_that_disagrees_is_taken_back(tmp_path, monkeypatch):
    real = PackedLinear.forward
    monkeypatch.setattr(PackedLinear, "forward", lambda self, x: real(self, x) * 1.001)
    opened = open_backend(str(saved("bert", tmp_path / "bert")), device="cpu")
    opened.load()
    assert not opened.prepacked
    assert opened.provenance()["weights_prepacked"] is False
    assert not any(isinstance(module, PackedLinear) for module in opened._model.modules())


def test_reduced_precision_that_a_process_asked_for_is_not_used():
    exact = backend("bert").embed(["one two three"])[0].values
    try:
        torch.set_float32_matmul_precision("medium")
        again = backend("bert").embed(["one two three"])[0].values
    finally:
        torch.set_float32_matmul_precision("highest")
    assert np.array_equal(exact, again)


@pytest.mark.parametrize("by_products", [True, False])
@pytest.mark.parametrize(("kind", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_both_ways_of_attention_see_each_clip_alone(by_products, kind, error, monkeypatch):
    monkeypatch.setattr(attention, "attention_by_products", lambda: by_products)
    lengths, scale = (70, 1, 33), 0.3
    qkv = torch.randn(sum(lengths), 3, 4, 16, generator=torch.Generator().manual_seed(0)).to(kind)
    pack = Pack([torch.ones(length) > 0 for length in lengths], "cpu")
    made = attention.attend(qkv, pack, scale)
    assert made.dtype == kind
    for ours, clip in zip(made.split(lengths), qkv.double().split(lengths), strict=True):
        query, key, value = clip.unbind(1)
        weights = torch.einsum("fhs,ghs->hfg", query * scale, key).softmax(-1)
        assert relative(ours.double(), torch.einsum("hfg,ghs->fhs", weights, value)) < error


def test_products_go_to_onednn_only_where_they_stay_float32(monkeypatch):
    random = torch.Generator().manual_seed(1)
    a, b = (torch.randn(512, 512, generator=random) for _ in range(2))
    with processor.product_precision("medium"):
        made = a @ b
    exact = relative(made.double(), a.double() @ b.double()) < 1e-5
    monkeypatch.setattr(processor, "_is_amd", lambda: True)
    assert processor.onednn_is_faster.__wrapped__() is exact
    monkeypatch.setattr(processor, "_is_amd", lambda: False)
    assert not processor.onednn_is_faster.__wrapped__()
