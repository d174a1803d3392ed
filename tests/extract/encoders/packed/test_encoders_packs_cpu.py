"""On a CPU a few clips share each product: a clip's bits do not depend on its company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware.prepacked import (
    PackedLinear,
    can_prepack,
    rows_are_independent,
)
from affekt.extract.encoders.packed import on_cpu
from affekt.extract.encoders.packed.on_cpu import CpuModel
from hypothesis import given, settings, strategies as st
from torch import nn

from tests.support.encoder_models import SPEECH, TEXTS, backend, distance, saved, tone

pytestmark = pytest.mark.skipif(not can_prepack(), reason="this PyTorch is built without oneDNN")

NAMES = [name for name in SPEECH if name not in ("conformer", "whisper")]
TEXT_NAMES = ["bert", "roberta", "xlm-roberta", "distilbert"]
SAMPLES = (720, 1041, 8000, 16_000, 40_001, 160_000)
CLIPS = [tone(samples, seed) for seed, samples in enumerate(SAMPLES)]
FEW = settings(max_examples=4, deadline=None, database=None, derandomize=True)


def passes(opened) -> list[int]:
    """Count the rows of each pass from now on."""
    counts, run = [], opened._run
    opened._run = lambda examples: counts.append(len(examples)) or run(examples)
    return counts


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(chosen=st.lists(st.integers(0, len(CLIPS) - 1), min_size=2, max_size=6))
def test_a_clip_has_the_same_bits_in_any_batch(name, chosen):
    opened = backend(name)
    together = opened.embed([CLIPS[i] for i in chosen])
    for i, answer in zip(chosen, together, strict=True):
        [alone] = opened.embed([CLIPS[i]])
        assert answer.frames == alone.frames
        assert np.array_equal(answer.values, alone.values)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        *((name, "mean+std") for name in (*NAMES, *TEXT_NAMES, "whisper")),
        *((name, pooling) for name in ("xlsr", "bert", "whisper") for pooling in ("mean", "max")),
    ],
)
def test_packs_give_what_the_library_gives_one_at_a_time(name, pooling):
    items = CLIPS if name in SPEECH else TEXTS
    opened = backend(name, pooling=pooling)
    made = opened.embed(items)
    assert isinstance(opened.packed, CpuModel)
    single = backend(name, pooling=pooling, batching="single")
    for one, other in zip(made, single.embed(items), strict=True):
        assert one.frames == other.frames
        assert distance(one.values, other.values) <= 1e-6


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-base", "wavlm-base", "wav2vec2-bert", "bert"])
def test_bfloat16_says_how_far_it_is_off(name, tmp_path, caplog):
    opened = open_backend(str(saved(name, tmp_path / name)), device="cpu", dtype="bfloat16")
    opened.load()
    [said] = [one.message for one in caplog.records if "in bfloat16" in one.message]
    error = float(said.split("differ by ")[1].split()[0])
    assert 1e-5 < error < 5e-2
    assert isinstance(opened.packed, CpuModel)
    assert opened.prepacked
    items = CLIPS[:4] if name in SPEECH else TEXTS
    for item, one in zip(items, opened.embed(items), strict=True):
        assert distance(one.values, backend(name).embed([item])[0].values) < 8e-2
        if name in SPEECH:
            assert np.array_equal(one.values, opened.embed([item])[0].values)


@pytest.mark.parametrize("name", ["xlsr", "bert"])
def test_several_rows_share_a_pass_within_the_budget(name, tmp_path):
    opened = open_backend(str(saved(name, tmp_path / name)), device="cpu")
    opened.load()
    items = CLIPS if name in SPEECH else [*TEXTS, "the " * 500] * 12
    counts = passes(opened)
    opened.embed(items)
    assert sum(counts) == len(items)
    assert max(counts) > 1
    ready = [(i, opened.front.prepare(item)) for i, item in enumerate(items)]
    for group in opened._groups(ready):
        assert len(group) == 1 or sum(example.size for _, example in group) <= on_cpu.BUDGET


def test_clips_run_alone_where_rows_depend_on_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(on_cpu, "rows_are_independent", lambda linear, sizes: False)
    opened = open_backend(str(saved("xlsr", tmp_path / "xlsr")), device="cpu")
    opened.load()
    counts = passes(opened)
    opened.embed(CLIPS[:3])
    assert counts == [1, 1, 1]


def test_rows_that_depend_on_their_number_are_found():
    linear = PackedLinear(torch.randn(24, 32), torch.randn(24))
    with torch.inference_mode():
        assert isinstance(rows_are_independent(linear, (32, 384)), bool)

        def uneven(x: torch.Tensor) -> torch.Tensor:
            return PackedLinear.forward(linear, x) + 1e-6 * len(x)

        linear.forward = uneven
        assert not rows_are_independent(linear, (32, 384))


@pytest.mark.parametrize("rows", [1, 2, 65])
def test_a_linear_map_with_gelu_inside(rows):
    plain, x = nn.Linear(48, 80), 3 * torch.randn(rows, 48)
    with torch.inference_mode():
        made = PackedLinear(plain.weight, plain.bias, gelu=True)(x)
        expected = nn.functional.gelu(plain.double()(x.double()))
    assert float((made - expected).norm() / expected.norm()) <= 1e-6


def test_the_model_releases_what_was_replaced():
    opened = backend("xlsr")
    opened.load()
    block = opened._model.encoder.layers[0]
    assert isinstance(opened.packed, CpuModel)
    assert not opened.packed._replaced
    assert isinstance(block.attention.qkv, PackedLinear)
    assert isinstance(block.feed_forward.intermediate_act_fn, nn.Identity)
