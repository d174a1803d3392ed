"""On a CPU rows of zeros fill a pack up, so that products are compiled for few numbers of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware.prepacked import PackedLinear, can_prepack, whole_tiles
from affekt.extract.encoders.packed import on_cpu
from affekt.extract.encoders.packed.layout import fill_packs
from affekt.extract.encoders.packed.on_cpu import BUDGET
from hypothesis import given, settings, strategies as st

from tests.support.encoder_models import SPEECH, backend, distance, saved, tone

pytestmark = pytest.mark.skipif(not can_prepack(), reason="this PyTorch is built without oneDNN")

NAMES = [name for name in SPEECH if name not in ("conformer", "whisper")]
WIDE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 1}


def of_frames(frames: int) -> np.ndarray:
    """Make a clip of so many frames; a few samples more do not give one more."""
    return tone(400 + 320 * (frames - 1) + 7 * frames % 320, frames)


@pytest.fixture
def rows_of_products(monkeypatch):
    """Note the rows of each product from now on, by the shape of its weights."""
    seen: dict[tuple[int, int], set[int]] = {}
    run = PackedLinear._map

    def noted(self, x):
        rows = x.numel() // self.in_features
        seen.setdefault((self.in_features, self.out_features), set()).add(rows)
        return run(self, x)

    monkeypatch.setattr(PackedLinear, "_map", noted)
    return seen


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [31, 32, 33, 64])
def test_one_row_more_or_less_than_a_whole_step(name, frames):
    clip = of_frames(frames)
    alone, *_ = backend(name).embed([clip])
    plain, *_ = backend(name, batching="single").embed([clip])
    company, *_ = backend(name).embed([clip, of_frames(40), of_frames(3)])
    assert alone.frames == plain.frames
    assert distance(alone.values, plain.values) <= 1e-6
    assert np.array_equal(alone.values, company.values)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-base"])
def test_new_lengths_use_products_of_known_sizes(name, dtype, tmp_path, rows_of_products):
    opened = open_backend(str(saved(name, tmp_path / name)), device="cpu", dtype=dtype)
    opened.load()
    rows_of_products.clear()
    for frames in range(50, 400, 31):
        opened.embed([of_frames(frames)])
    assert rows_of_products
    assert all(number % 16 == 0 for rows in rows_of_products.values() for number in rows)


@pytest.mark.parametrize("frames", [287, 319, 320, 321])
def test_bits_in_bfloat16_at_the_widths_of_large_models(frames, tmp_path):
    folder = saved("xlsr", tmp_path / "wide", **WIDE)
    opened = open_backend(str(folder), device="cpu", dtype="bfloat16")
    clips = [of_frames(n) for n in (frames, 50, 201, 640, 700)]
    together = opened.embed(clips)
    for clip, answer in zip(clips, together, strict=True):
        [alone] = opened.embed([clip])
        assert np.array_equal(alone.values, answer.values)


def test_passes_have_so_many_rows_as_all_bits_need(tmp_path, monkeypatch, rows_of_products):
    monkeypatch.setattr(on_cpu, "rows_are_independent", lambda _linear, sizes: min(sizes) >= 320)
    opened = open_backend(str(saved("xlsr", tmp_path / "xlsr")), device="cpu")
    opened.load()
    rows_of_products.clear()
    [short, *_] = opened.embed([of_frames(20), of_frames(330)])
    assert rows_of_products[32, 96] == {352}
    [alone] = opened.embed([of_frames(20)])
    assert rows_of_products[32, 96] == {320, 352}
    assert np.array_equal(alone.values, short.values)
    plain = backend("xlsr", batching="single").embed([of_frames(20)])
    assert distance(alone.values, plain[0].values) <= 1e-6


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 2 * BUDGET), max_size=30))
def test_packs_hold_every_clip_once_within_the_budget(sizes):
    packs = fill_packs(list(range(len(sizes))), sizes, BUDGET)
    assert sorted(number for pack in packs for number in pack) == list(range(len(sizes)))
    filled = [sum(sizes[number] for number in pack) for pack in packs]
    assert all(len(pack) == 1 or total <= BUDGET for pack, total in zip(packs, filled, strict=True))
    assert len(packs) <= len(sizes)
    if sizes and max(sizes) <= BUDGET:  # packs of the least size that all fit into hold more
        assert sum(filled) > (len(packs) - 1) * BUDGET / 2


@pytest.mark.parametrize("rows", [1, 15, 16, 17])
def test_whole_tiles_end_with_zeros(rows):
    made = whole_tiles(torch.ones(rows, 3))
    assert len(made) % 16 == 0
    assert len(made) - rows < 16
    assert made.sum() == 3 * rows
