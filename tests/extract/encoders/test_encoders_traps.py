"""Traps of running a pretrained encoder: layers, padding.

The docstring of each test says what goes wrong elsewhere.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache.errors import AffektError, InputError
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.layers import TappedLayers, plain_states
from affekt.extract.errors import Unusable

from tests.support.encoder_models import (
    TEXTS,
    altered,
    backend,
    distance,
    model_folder,
    plain_layers,
    saved,
    tone,
)

# torch about the masks that transformers' WavLM hands it; nothing we could pass differently
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
SHORT, LONG = tone(8000), tone(24000, 1)
STABLE = ("xlsr", "hubert-large", "wavlm-large")
WAVES = ("wav2vec2-base", "xlsr", "hubert-base", "wavlm-base", "data2vec-audio", "wav2vec2-bert")


@pytest.mark.parametrize("name", STABLE)
def test_the_last_layer_is_last_hidden_state(name):
    """`hidden_states[-1]` of stable-layer-norm models changed its meaning between versions."""
    model = tf.AutoModel.from_pretrained(model_folder(name)).eval()
    values = backend(name).front.prepare(SHORT).tensors["input_values"][None]
    with torch.inference_mode():
        output = model(values, output_hidden_states=True)
        normed = model.encoder.layer_norm(output.hidden_states[-1]).mean(dim=1)
        last = output.last_hidden_state.mean(dim=1)
    [answer] = backend(name).embed([SHORT])
    assert distance(answer.values[-1:], last) <= 1e-6
    # whichever of the two the library reports last, it is not what is stored unless normed
    assert distance(output.hidden_states[-1].mean(dim=1), last) > 0.1 or distance(normed, last) > 0
    assert backend(name).describe()["layers"]["semantics"] == "hs-1"


def test_layer_0_is_the_encoders_input_and_sizes_come_from_the_config():
    """Index 0 is not the CNN's output, and prose about layers and dims is often wrong."""
    model = tf.AutoModel.from_pretrained(model_folder("xlsr")).eval()
    seen = []
    model.encoder.layers[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.inference_mode():
        model(backend("xlsr").front.prepare(SHORT).tensors["input_values"][None])
    [answer] = backend("xlsr").embed([SHORT])
    assert distance(answer.values[:1], seen[0].mean(dim=1)) <= 1e-6
    assert answer.values.shape == (3 + 1, 32)


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-base", "wavlm-base"])
def test_group_norm_sees_no_padding(name):
    """Padding moves a group-norm model's row by a third, mask or not."""
    [alone] = backend(name).embed([SHORT])
    together = backend(name, batching="padded").embed([SHORT, LONG])
    assert distance(together[0].values, alone.values) <= 1e-6
    model = tf.AutoModel.from_pretrained(model_folder(name)).eval()
    front = backend(name).front
    rows = [front.prepare(clip).tensors["input_values"] for clip in (SHORT, LONG)]
    with torch.inference_mode():
        padded = model(torch.nn.utils.rnn.pad_sequence(rows, True)).last_hidden_state
    naive = padded[0, : alone.frames].mean(dim=0, keepdim=True)
    assert distance(naive, alone.values[-1:]) > 1e-3  # the trap is real


def test_a_clip_is_normalised_alone():
    """Without an attention mask the library's extractor normalises over the padding too."""
    front = backend("wav2vec2-base").front
    assert front.extractor.return_attention_mask is False
    together = front.extractor([SHORT, LONG], sampling_rate=16000, padding=True)["input_values"]
    ours = front.prepare(SHORT).tensors["input_values"]
    assert not np.allclose(together[0][:8000], ours, atol=1e-3)
    assert abs(float(ours.mean())) < 1e-4
    assert abs(float(ours.std(correction=0)) - 1) < 1e-3


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-bert", "bert"])
def test_padded_rows_are_given_with_their_mask(name):
    """A mask lost on the way moves a row by a quarter."""
    opened = backend(name, batching="padded")
    items = [SHORT, LONG] if opened.modality == "audio" else [TEXTS[0], TEXTS[2]]
    examples = [opened.front.prepare(item) for item in items]
    opened.load()
    inputs, keep = opened._inputs(examples)
    assert inputs["attention_mask"].sum(dim=1).tolist() == [
        int(example.tensors["attention_mask"].sum()) for example in examples
    ]
    assert keep.sum(dim=1).tolist() == [int(example.keep.sum()) for example in examples]


@pytest.mark.parametrize("name", WAVES)
def test_only_valid_frames_are_pooled(name):
    """Pooling over padded frames is 0.6 to 1.1 off."""
    together = backend(name, batching="padded").embed([SHORT, LONG])
    states, keep = plain_layers(name, model_folder(name), SHORT)
    assert together[0].frames == int(keep.sum())
    assert distance(together[0].values, states[:, keep].mean(dim=1)) <= 1e-5


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-base", "data2vec-audio"])
def test_a_clip_below_the_receptive_field_is_too_short(name):
    """In a batch a clip of less than 400 samples gets the padding's embedding, finite."""
    assert backend(name).min_samples == 400
    answers = backend(name, batching="padded").embed([LONG[:399], LONG, LONG[:400], LONG[:1]])
    assert [getattr(answer, "code", None) for answer in answers] == [
        "too_short",
        None,
        None,
        "too_short",
    ]
    [alone] = backend(name).embed([LONG[:400]])
    assert answers[2].frames == alone.frames == 1
    assert distance(answers[2].values, alone.values) <= 1e-6


def test_filter_banks_need_three_frames():
    """Wav2Vec2-BERT features of 400 to 559 samples are NaN; the library says nothing."""
    opened = backend("wav2vec2-bert")
    assert opened.min_samples == 720
    for samples in (100, 399, 400, 559, 560, 719):
        [answer] = opened.embed([LONG[:samples]])
        assert isinstance(answer, Unusable)
        assert answer.code == "too_short"
    for samples in (720, 721, 880, 1040):
        [answer] = opened.embed([LONG[:samples]])
        assert np.isfinite(answer.values).all()
        alone = backend("wav2vec2-bert", batching="padded").embed([LONG, LONG[:samples]])[1]
        assert distance(alone.values, answer.values) <= 1e-6


def test_wav2vec2_bert_takes_filter_banks_and_its_mask():
    """It takes `input_features`, not samples, and without its mask is 0.3 off."""
    opened = backend("wav2vec2-bert", batching="padded")
    inputs, _ = opened._inputs([opened.front.prepare(SHORT)])
    assert set(inputs) == {"input_features", "attention_mask"}
    assert inputs["input_features"].shape[-1] == 160
    odd = LONG[: 400 + 160 * 40]  # 41 frames of 10 ms: the last of 21 pairs is half empty
    states, keep = plain_layers("wav2vec2-bert", model_folder("wav2vec2-bert"), odd)
    [answer] = opened.embed([odd])
    assert answer.frames == int(keep.sum()) == 20
    assert distance(answer.values, states[:, keep].mean(dim=1)) <= 1e-5


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-bert", "whisper"])
def test_stereo_is_refused_not_taken_for_two_clips(name):
    """(2, T) is two utterances to wav2vec2, the left channel to w2v-bert."""
    for shape in ((2, 8000), (8000, 2)):
        with pytest.raises(InputError, match="mono"):
            backend(name).embed([np.zeros(shape, dtype="f4")])
    with pytest.raises(InputError, match="float32"):
        backend(name).embed([SHORT.astype("f8")])


def test_the_sampling_rate_is_always_passed(tmp_path):
    """The extractor checks the rate only if it is given one."""
    folder = altered("xlsr", tmp_path / "x", "preprocessor_config.json", sampling_rate=8000)
    opened = open_backend(folder)
    assert opened.sampling_rate == 8000
    assert opened.describe()["processor"]["sampling_rate"] == 8000
    with pytest.raises(ValueError, match="sampling rate"):
        opened.front.extractor(SHORT, sampling_rate=16000)


def test_normalisation_is_read_never_guessed(tmp_path):
    """`do_normalize` wrong moves XLSR by 0.5; the library's default fills it in."""
    folder = altered("xlsr", tmp_path / "a", "preprocessor_config.json", do_normalize=None)
    with pytest.raises(InputError, match="do_normalize"):
        open_backend(folder)
    (tmp_path / "a" / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"preprocessor_config\.json"):
        open_backend(folder)
    without = altered("xlsr", tmp_path / "b", "preprocessor_config.json", do_normalize=False)
    raw = open_backend(without)
    assert raw.describe()["processor"] != backend("xlsr").describe()["processor"]
    assert distance(raw.embed([SHORT])[0].values, backend("xlsr").embed([SHORT])[0].values) > 1e-3


def test_no_layer_is_dropped_or_masked(tmp_path):
    """In training mode SpecAugment and dropout change every pass, and layers go missing."""
    folder = saved("xlsr", tmp_path / "x", layerdrop=0.9, mask_time_prob=0.9, hidden_dropout=0.5)
    opened = open_backend(str(folder))
    first, second = opened.embed([LONG])[0], opened.embed([LONG])[0]
    assert np.array_equal(first.values, second.values)
    assert not opened._model.training
    opened = open_backend(str(folder), batching="single")  # the library's own modules
    opened.load()
    opened._model.train()
    inputs, _ = opened._inputs([opened.front.prepare(LONG)])
    torch.manual_seed(0)
    with pytest.raises(AffektError, match="layer"):
        TappedLayers(opened._model, "encoder.layers", "encoder").run(inputs, lambda s: s)
    with pytest.raises(AffektError, match="hidden states"):
        plain_states(opened._model, inputs, 4)


def test_convolutions_that_a_configuration_leaves_out_are_the_librarys(tmp_path):
    """The frames of a clip are counted by them, and say what is padding."""
    less = altered("xlsr", tmp_path / "x", "config.json", conv_kernel=None, conv_stride=None)
    assert open_backend(less).front._steps == backend("xlsr").front._steps
