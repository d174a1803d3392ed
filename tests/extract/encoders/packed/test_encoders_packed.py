"""Clips laid end to end: which families take it, its parts, and that a wrong part is taken back."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from affekt.extract.encoders import FAMILIES, open_backend
from affekt.extract.encoders.packed import attention, convolutions
from affekt.extract.encoders.packed.convolutions import Waves
from affekt.extract.encoders.packed.filterbanks import FilterBanks
from affekt.extract.encoders.packed.kernels import causal_depthwise, norm_gelu, segment_means
from affekt.extract.encoders.packed.layout import Pack
from affekt.extract.encoders.packed.packed_encoder import PaddedConformer
from torch import nn

from tests.support.encoder_models import SPEECH, TEXT, TEXTS, backend, distance, saved, tone
from tests.support.gpu import CUDA

PAIRS = {"wavlm-base", "wavlm-large", "wav2vec2-bert", "mpnet", "deberta", "deberta-v2"}
OTHER = {"conformer", "whisper", "electra", "gpt2"}
DEVICES = ["cpu", CUDA]


@pytest.mark.parametrize("name", sorted({*SPEECH, *TEXT}))
def test_families_without_pairwise_biases_are_packed(name):
    opened = backend(name, batching="packed")
    opened.load()
    assert bool(opened.packed) == (name not in PAIRS | OTHER or name == "wav2vec2-bert")
    kind = opened.checkpoint.model_type
    assert bool(opened.packed) == (kind in FAMILIES and "cuda" in FAMILIES[kind].packed)
    assert isinstance(opened.packed, PaddedConformer) == (name == "wav2vec2-bert")


def test_clips_are_normalised_as_the_library_does():
    clips = [tone(5000) + 0.3, tone(321, 1), np.zeros(400, "f4"), 100 * tone(64_000, 2)]
    waves = Waves([torch.from_numpy(clip) for clip in clips], 320, "cpu")
    waves.normalise()
    flat, place = waves.samples.flatten().numpy(), 0
    for clip, slots in zip(clips, waves.slots, strict=True):
        expected = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)
        np.testing.assert_allclose(flat[place : place + len(clip)], expected, atol=3e-5)
        place += slots * 320


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_many_clips_pass_the_convolutions_in_slices(norm, monkeypatch):
    name = "wav2vec2-base" if norm == "group" else "xlsr"
    clips = [tone(int(n), i) for i, n in enumerate((20_000, 401, 9_999, 64_000, 3_200))]
    whole = backend(name, batching="packed").embed(clips)
    monkeypatch.setattr(convolutions, "_SLICE", 64)
    for one, other in zip(backend(name, batching="packed").embed(clips), whole, strict=True):
        assert distance(one.values, other.values) <= 1e-6


@pytest.mark.parametrize("name", ["xlsr", "wavlm-base", "bert"])
def test_threads_may_share_an_encoder(name):
    opened = backend(name, batching="packed")
    items = [tone(n, n) for n in (4000, 16_000, 900, 8000)] if name in SPEECH else TEXTS
    alone = [opened.embed([item])[0] for item in items]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            together = pool.map(lambda item: opened.embed([item])[0], items)
            for one, other in zip(together, alone, strict=True):
                assert distance(one.values, other.values) <= 1e-6


def test_a_part_that_disagrees_is_taken_back(tmp_path, monkeypatch, caplog):
    real = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *given: real(*given) * 1.01)
    opened = open_backend(str(saved("bert", tmp_path / "bert")), device="cpu", batching="packed")
    made = opened.embed(TEXTS)
    assert opened.packed is None
    assert "padded batches: packed it differs" in caplog.text
    for one, other in zip(made, backend("bert", batching="single").embed(TEXTS), strict=True):
        assert distance(one.values, other.values) <= 1e-6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_norm_and_gelu(device, dtype):
    kind = getattr(torch, dtype)
    for channels in (24, 512):
        norm = nn.LayerNorm(channels).requires_grad_(False)
        norm.weight.add_(torch.randn(channels))
        norm.bias.add_(torch.randn(channels))
        frames = (3 * torch.randn(77, channels) + 1).to(kind)
        expected = nn.functional.gelu(norm.to(kind)(frames).double())
        made = norm_gelu(frames.to(device), norm.to(device))
        error = (made.cpu().double() - expected).norm() / expected.norm()
        assert error <= (1e-6 if dtype == "float32" else 1e-2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_means_of_segments(device, dtype):
    frames = torch.randn(500, 70).to(getattr(torch, dtype))
    edges = torch.tensor([0, 1, 34, 499, 500], dtype=torch.int32).to(device)
    starts, ends = edges[[0, 1, 3]], edges[[1, 2, 4]]  # with a gap, as padding is one
    made = segment_means(frames.to(device), starts, ends).cpu()
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        expected = frames[start:end].double().mean(0)
        assert float((made[row] - expected).norm() / expected.norm()) <= 1e-6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_channel_sees_its_past(device, dtype):
    kind = getattr(torch, dtype)
    frames, weight = torch.randn(3, 70, 65).to(kind), torch.randn(65, 31).to(kind)
    made = causal_depthwise(frames.to(device), weight.to(device)).cpu().double()
    expected = torch.zeros(3, 70, 65, dtype=torch.float64)
    for tap in range(31):
        moved = frames.double()[:, : 70 - tap] * weight.double()[:, 30 - tap]
        expected[:, tap:] += moved
    assert (made - expected).norm() / expected.norm() <= (1e-6 if dtype == "float32" else 1e-2)


@pytest.mark.parametrize("samples", [[720, 16000], [4001, 5600, 5760, 9999]])
def test_filter_banks_are_those_of_the_library(samples):
    front = backend("wav2vec2-bert").front
    clips = [tone(n, i) for i, n in enumerate(samples)]
    made = FilterBanks(front.extractor, "cpu")([front.prepare(one, raw=True) for one in clips])
    for one, clip in zip(made, clips, strict=True):
        expected = front.prepare(clip)
        assert torch.equal(one.keep, expected.keep)
        assert torch.equal(one.tensors["attention_mask"], expected.tensors["attention_mask"])
        ours, theirs = one.tensors["input_features"], expected.tensors["input_features"]
        assert (
            float((ours - theirs)[expected.keep].norm() / theirs.norm()) <= 5e-6
        )  # its float32 sums


def scaled(query, key, value, *where, scale=None): ...


def without_scale(query, key, value, *where): ...


@pytest.mark.parametrize(
    ("module", "expected"),
    [(SimpleNamespace(varlen_attn=scaled), scaled), (None, None),
     (SimpleNamespace(varlen_attn=without_scale), None)],
)  # fmt: skip
def test_flash_attention_is_taken_where_pytorch_has_it(module, expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
    assert attention._flash.__wrapped__() is expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bfloat16, older"])
def test_frames_look_at_their_own_clip(device, dtype, monkeypatch):
    if dtype == "bfloat16, older":  # than PyTorch 2.11
        dtype = "bfloat16"
        monkeypatch.setattr(attention, "_flash", lambda: None)
    lengths = (1, 5, 70, 200)
    pack = Pack([torch.ones(n, dtype=torch.bool) for n in lengths], device)
    qkv = torch.randn(sum(lengths), 3, 4, 16).to(getattr(torch, dtype))
    made = attention.attend(qkv.to(device), pack, 0.25).cpu().double()
    for one, found in zip(qkv.double().split(lengths), made.split(lengths), strict=True):
        query, key, value = (part.transpose(0, 1) for part in one.unbind(1))
        weights = (query @ key.transpose(1, 2) * 0.25).softmax(-1)
        expected = (weights @ value).transpose(0, 1)
        error = (found - expected).norm() / expected.norm()
        assert error <= (1e-6 if dtype == "float32" else 1e-2)
