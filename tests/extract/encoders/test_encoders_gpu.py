"""The same vectors on a GPU, packed or padded, TF32 off. Skipped where there is none."""

from __future__ import annotations

import pytest

from tests.support.encoder_models import SPEECH, TEXT, TEXTS, backend, distance, tone
from tests.support.gpu import ON_GPU, TWO_GPUS

pytestmark = [
    *ON_GPU,
    # torch about the masks that transformers' WavLM hands it; nothing we could pass differently
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask"),
]

CLIPS = [tone(samples, seed) for seed, samples in enumerate((800, 8000, 24000, 48000, 160000))]


@pytest.mark.parametrize("name", [*SPEECH, *TEXT])
def test_a_gpu_gives_what_a_cpu_gives(name):
    items = CLIPS if name in SPEECH else TEXTS
    expected = backend(name, device="cpu", batching="single").embed(items)
    made = backend(name, device="cuda").embed(items)
    for ours, theirs in zip(made, expected, strict=True):
        assert ours.frames == theirs.frames
        assert distance(ours.values, theirs.values) <= (3e-5 if name == "wav2vec2-bert" else 1e-5)


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-base", "wav2vec2-bert", "bert"])
def test_bfloat16_on_a_gpu_is_close(name):
    items = CLIPS if name in SPEECH else TEXTS
    expected = backend(name, device="cpu", batching="single").embed(items)
    made = backend(name, device="cuda", dtype="bfloat16").embed(items)
    for ours, theirs in zip(made, expected, strict=True):
        assert distance(ours.values, theirs.values) <= 5e-2


@TWO_GPUS
@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-bert"])
def test_an_encoder_on_the_second_gpu(name):
    """Its kernels start there, whichever GPU is the current one."""
    expected = backend(name, device="cuda").embed(CLIPS[:2])
    made = backend(name, device="cuda:1").embed(CLIPS[:2])
    for ours, theirs in zip(made, expected, strict=True):
        assert distance(ours.values, theirs.values) <= 1e-6
