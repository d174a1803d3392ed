"""Traps of running a pretrained encoder: weights, precision.

The docstring of each test says what goes wrong elsewhere.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.hardware.exactness import exact_arithmetic

from tests.support.encoder_models import (
    backend,
    distance,
    model_folder,
    random_model,
    tone,
)

# torch about the masks that transformers' WavLM hands it; nothing we could pass differently
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
SHORT, LONG = tone(8000), tone(24000, 1)


@pytest.mark.parametrize("saved_as", ["float16", "bfloat16"])
def test_the_dtype_is_ours_not_the_checkpoints(tmp_path, saved_as):
    """transformers 5 computes in whatever a checkpoint was saved in."""
    model = tf.AutoModel.from_pretrained(model_folder("xlsr"), dtype=getattr(torch, saved_as))
    model.save_pretrained(tmp_path)
    shutil.copy(model_folder("xlsr") / "preprocessor_config.json", tmp_path)
    opened = open_backend(str(tmp_path))
    [answer] = opened.embed([SHORT])
    assert {p.dtype for p in opened._model.parameters()} == {torch.float32}
    assert answer.values.dtype == np.float32
    half = open_backend(str(tmp_path), dtype="bfloat16")
    [coarse] = half.embed([SHORT])
    assert {p.dtype for p in half._model.parameters()} == {torch.bfloat16}
    assert coarse.values.dtype == np.float32
    assert 1e-6 < distance(coarse.values, answer.values) < 0.1
    assert opened.describe()["compute"] != half.describe()["compute"]


def test_pooling_is_float32_and_infinity_is_named():
    """A float16 sum over 1,500 frames of 60 is infinite; its mean is 60."""
    from affekt.extract.encoders.layers import masked_pool

    states = torch.full((1, 1500, 4), 60.0, dtype=torch.float16)
    assert torch.isinf(states.sum(dim=1)).all()
    keep = torch.ones(1, 1500, dtype=torch.bool)
    assert masked_pool(states, keep, "mean+std")[0].tolist() == [60.0] * 4 + [0.0] * 4
    opened = backend("xlsr")
    bad = np.full((opened.n_layers, opened.dim), np.inf, dtype="f4")
    answer = opened._answer(opened.front.prepare(SHORT), bad)
    assert answer.code == "non_finite_output"


def test_old_names_of_weight_norm_are_read(tmp_path):
    """`weight_g`, `weight_v` became parametrizations; a miss leaves random weights."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "x"
    shutil.copytree(model_folder("xlsr"), folder)
    tensors = load_file(folder / "model.safetensors")
    old = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in tensors.items()
    }
    assert set(old) != set(tensors)
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    [answer] = open_backend(str(folder)).embed([SHORT])
    assert distance(answer.values, backend("xlsr").embed([SHORT])[0].values) <= 1e-6


def test_an_adapter_does_not_change_the_layers():
    """With an adapter `last_hidden_state` has 3 frames where the layers have 24."""
    model = tf.AutoModel.from_pretrained(model_folder("adapter")).eval()
    values = backend("adapter").front.prepare(SHORT).tensors["input_values"][None]
    with torch.inference_mode():
        output = model(values, output_hidden_states=True)
        normed = model.encoder.layer_norm(output.hidden_states[-1]).mean(dim=1)
    assert output.last_hidden_state.shape[1] < 24
    [answer] = backend("adapter").embed([SHORT])
    assert answer.frames == 24
    assert distance(answer.values[-1:], normed) <= 1e-6


@pytest.mark.parametrize("name", ["xlsr", "wavlm-base", "wav2vec2-bert", "bert", "mpnet"])
def test_the_attention_is_fixed_and_recorded(name):
    """Which attention a model runs depends on the library's version, unless it is said."""
    opened = backend(name)
    opened.load()
    named = opened.describe()["compute"]["attention"]
    assert opened._model.config._attn_implementation == named
    assert named == ("eager" if name in ("wavlm-base", "mpnet") else "sdpa")


def test_tf32_is_off_whatever_the_process_has_set():
    """TF32 and its relatives keep 10 bits of a float32."""
    opened = backend("xlsr")
    opened.load()
    seen = []
    hook = opened._model.encoder.layers[0].feed_forward.register_forward_hook(
        lambda *_: seen.append(
            (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
        )
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        [answer] = opened.embed([SHORT])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
        hook.remove()
    assert seen == [("highest", False)]
    assert distance(answer.values, opened.embed([SHORT])[0].values) <= 1e-6
    assert opened.describe()["compute"]["tf32"] == "off"


def test_the_newer_settings_of_a_process_are_put_aside_too():
    """PyTorch's own getter raises once a process has used them."""
    opened = backend("xlsr")
    exact = opened.embed([SHORT])[0].values
    place = torch.backends.mkldnn.matmul
    before = place.fp32_precision
    seen = []
    hook = opened._model.encoder.layers[0].feed_forward.register_forward_hook(
        lambda *_: seen.append(place.fp32_precision)
    )
    place.fp32_precision = "bf16"
    try:
        again = opened.embed([SHORT])[0].values
        assert place.fp32_precision == "bf16"
    finally:
        place.fp32_precision = before
        hook.remove()
    assert seen == ["ieee"]
    assert np.array_equal(exact, again)


@pytest.mark.parametrize("kinds", [("matmul", "conv", "rnn"), ("conv",), ("rnn",)])
def test_convolutions_are_exact_too_where_the_newer_settings_are_used(kinds):
    places = [getattr(torch.backends.mkldnn, kind) for kind in kinds]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "bf16"
        with exact_arithmetic():
            assert {place.fp32_precision for place in places} == {"ieee"}
        assert {place.fp32_precision for place in places} == {"bf16"}
    finally:
        for place, setting in zip(places, before, strict=True):
            place.fp32_precision = setting


def test_random_models_have_no_trivial_norms():
    """The oracle would miss a lost norm if every norm had weight one and bias zero."""
    config = tf.AutoConfig.from_pretrained(model_folder("xlsr"))
    model = random_model(tf.Wav2Vec2Model, config)
    assert float(model.encoder.layer_norm.weight.detach().std()) > 0.01
