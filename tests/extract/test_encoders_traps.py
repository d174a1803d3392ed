"""The 26 traps of running a pretrained encoder, each where it is answered here.

The numbers are those of the project's list of numeric traps; the docstring of each test says what
goes wrong elsewhere.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache.errors import AffektError, InputError
from affekt.extract import Encoder
from affekt.extract.audio import decode
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.layers import TappedLayers, plain_states
from affekt.extract.errors import Unusable
from affekt.extract.pooling import merge
from affekt.extract.windows import split_evenly

from .encoder_models import (
    TEXTS,
    backend,
    distance,
    model_folder,
    plain_layers,
    random_model,
    saved,
    tone,
)

# torch about the masks that transformers' WavLM hands it; nothing we could pass differently
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

SHORT, LONG = tone(8000), tone(24000, 1)
STABLE = ("xlsr", "hubert-large", "wavlm-large")
WAVES = ("wav2vec2-base", "xlsr", "hubert-base", "wavlm-base", "data2vec-audio", "wav2vec2-bert")


def altered(name, folder, file, **changes):
    """Copy a model's folder and change values in one of its JSON files (None: remove)."""
    shutil.copytree(model_folder(name), folder)
    content = json.loads((folder / file).read_text())
    for key, value in changes.items():
        content.pop(key, None) if value is None else content.update({key: value})
    (folder / file).write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize("name", STABLE)
def test_trap_01_the_last_layer_is_last_hidden_state(name):
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


def test_trap_02_layer_0_is_the_encoders_input_and_sizes_come_from_the_config():
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
def test_trap_03_group_norm_sees_no_padding(name):
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


def test_trap_04_a_clip_is_normalised_alone():
    """Without an attention mask the library's extractor normalises over the padding too."""
    front = backend("wav2vec2-base").front
    assert front.extractor.return_attention_mask is False
    together = front.extractor([SHORT, LONG], sampling_rate=16000, padding=True)["input_values"]
    ours = front.prepare(SHORT).tensors["input_values"]
    assert not np.allclose(together[0][:8000], ours, atol=1e-3)
    assert abs(float(ours.mean())) < 1e-4
    assert abs(float(ours.std(correction=0)) - 1) < 1e-3


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-bert", "bert"])
def test_trap_05_padded_rows_are_given_with_their_mask(name):
    """A mask lost on the way moves a row by a quarter."""
    opened = backend(name, batching="padded")
    items = [SHORT, LONG] if opened.modality == "audio" else [TEXTS[0], TEXTS[2]]
    examples = [opened.front.prepare(item) for item in items]
    inputs, keep = opened._inputs(examples)
    assert inputs["attention_mask"].sum(dim=1).tolist() == [
        int(example.tensors["attention_mask"].sum()) for example in examples
    ]
    assert keep.sum(dim=1).tolist() == [int(example.keep.sum()) for example in examples]


@pytest.mark.parametrize("name", WAVES)
def test_trap_06_only_valid_frames_are_pooled(name):
    """Pooling over padded frames is 0.6 to 1.1 off."""
    together = backend(name, batching="padded").embed([SHORT, LONG])
    states, keep = plain_layers(name, model_folder(name), SHORT)
    assert together[0].frames == int(keep.sum())
    assert distance(together[0].values, states[:, keep].mean(dim=1)) <= 1e-5


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-base", "data2vec-audio"])
def test_trap_07_a_clip_below_the_receptive_field_is_too_short(name):
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


def test_trap_08_filter_banks_need_three_frames():
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


def test_trap_09_wav2vec2_bert_takes_filter_banks_and_its_mask():
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
def test_trap_10_stereo_is_refused_not_taken_for_two_clips(name):
    """(2, T) is two utterances to wav2vec2, the left channel to w2v-bert."""
    for shape in ((2, 8000), (8000, 2)):
        with pytest.raises(InputError, match="mono"):
            backend(name).embed([np.zeros(shape, dtype="f4")])
    with pytest.raises(InputError, match="float32"):
        backend(name).embed([SHORT.astype("f8")])


def test_trap_11_the_sampling_rate_is_always_passed(tmp_path):
    """The extractor checks the rate only if it is told."""
    folder = altered("xlsr", tmp_path / "x", "preprocessor_config.json", sampling_rate=8000)
    opened = open_backend(folder)
    assert opened.sampling_rate == 8000
    assert opened.describe()["processor"]["sampling_rate"] == 8000
    with pytest.raises(ValueError, match="sampling rate"):
        opened.front.extractor(SHORT, sampling_rate=16000)


def test_trap_12_normalisation_is_read_never_guessed(tmp_path):
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


def test_trap_13_no_layer_is_dropped_or_masked(tmp_path):
    """In training mode SpecAugment and dropout change every pass, and layers go missing."""
    folder = saved("xlsr", tmp_path / "x", layerdrop=0.9, mask_time_prob=0.9, hidden_dropout=0.5)
    opened = open_backend(str(folder))
    first, second = opened.embed([LONG])[0], opened.embed([LONG])[0]
    assert np.array_equal(first.values, second.values)
    assert not opened._model.training
    opened._model.train()
    inputs, _ = opened._inputs([opened.front.prepare(LONG)])
    torch.manual_seed(0)
    with pytest.raises(AffektError, match="layer"):
        TappedLayers(opened._model, "encoder.layers", "encoder").run(inputs, lambda s: s)
    with pytest.raises(AffektError, match="hidden states"):
        plain_states(opened._model, inputs, 4)


@pytest.mark.parametrize("saved_as", ["float16", "bfloat16"])
def test_trap_14_the_dtype_is_ours_not_the_checkpoints(tmp_path, saved_as):
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


def test_trap_15_pooling_is_float32_and_infinity_is_named():
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


def test_trap_16_a_missing_tensor_is_an_error(tmp_path):
    """transformers fills what is missing with random numbers, and goes on."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "x"
    shutil.copytree(model_folder("xlsr"), folder)
    tensors = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if "layers.2." not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"missing.*layers\.2\."):
        open_backend(str(folder)).load()


def test_trap_17_old_names_of_weight_norm_are_read(tmp_path):
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


def test_trap_18_an_adapter_does_not_change_the_layers():
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
def test_trap_19_the_attention_is_fixed_and_recorded(name):
    """Which attention a model runs depends on the library's version, unless it is said."""
    opened = backend(name)
    opened.load()
    named = opened.describe()["compute"]["attention"]
    assert opened._model.config._attn_implementation == named
    assert named == ("eager" if name in ("wavlm-base", "mpnet") else "sdpa")


@pytest.mark.parametrize("name", ["wav2vec2-base", "xlsr", "wav2vec2-bert", "whisper"])
def test_trap_20_silence_is_finite_and_one_bad_sample_costs_one_row(name):
    """One NaN makes its whole row NaN."""
    broken = SHORT.copy()
    broken[10] = np.nan
    infinite = SHORT.copy()
    infinite[10] = np.inf
    silence = np.zeros(8000, dtype="f4")
    answers = backend(name, batching="padded").embed([SHORT, broken, silence, infinite])
    assert answers[1].code == answers[3].code == "non_finite_input"
    assert np.isfinite(answers[2].values).all()
    [alone] = backend(name).embed([SHORT])
    assert distance(answers[0].values, alone.values) <= 1e-6


def test_trap_21_long_clips_follow_a_policy_and_passes_a_budget():
    """One attention map of ten minutes is 58 GB."""
    minute = tone(16000 * 61)
    name = str(model_folder("xlsr"))
    [refused] = Encoder(name).embed([minute])
    assert refused.code == "too_long"
    chunked = Encoder(name, long="chunk", max_seconds=2.0)
    clip = tone(16000 * 5)
    [row] = chunked.embed([clip])
    windows = backend("xlsr").embed(split_evenly(clip, 32000))
    expected = merge([(window.values, window.frames) for window in windows])
    assert len(windows) == 3
    assert distance(row.values, expected) <= 1e-6
    assert chunked.spec.key != Encoder(name).spec.key


def test_trap_22_one_resampler_and_it_stands_in_the_spec():
    """Linear and FFT resampling move a clip by a third."""
    spec = Encoder(str(model_folder("xlsr"))).spec
    assert "soxr" in json.dumps(spec.fields["input"])


def test_trap_23_a_truncated_file_is_named():
    """libsndfile reads a truncated WAV without an error."""
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, tone(16000), 16000, format="WAV", subtype="PCM_16")
    with pytest.raises(Unusable) as caught:
        decode(buffer.getvalue()[:9000], 16000, None, None)
    assert caught.value.code == "truncated"


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"])
def test_trap_24_long_texts_are_cut_where_positions_end(name):
    """One token too many is an index error, on a GPU the end of the process."""
    opened = backend(name)
    assert opened.front.max_length == 64  # 66 positions of RoBERTa and MPNet hold 64 tokens
    for words in (30, 31, 32, 61, 62, 63, 1000):
        text = "a " * words
        [answer] = opened.embed([text])
        tokens = len(opened.front.tokenizer(text, verbose=False)["input_ids"])
        assert answer.frames == min(tokens, 64)
        assert ("truncated_tokens" in answer.flags) == (tokens > 64)


def test_trap_24_padding_is_right_and_nothing_to_read_is_named(tmp_path):
    """Left padding moves a BERT row by a half; no tokens give the mean of nothing."""
    left = altered("bert", tmp_path / "x", "tokenizer_config.json", padding_side="left")
    ours = open_backend(left, batching="padded").embed(TEXTS)
    for text, answer in zip(TEXTS, ours, strict=True):
        [alone] = backend("bert").embed([text])
        assert distance(answer.values, alone.values) <= 1e-6
    for special in (True, False):
        opened = backend("bert", special_tokens=special)
        for nothing in ("", "  ", "\u200b", "\n\t"):
            assert opened.embed([nothing])[0].code == "empty_text"
    for bad in ("a\0b", "a\ud800"):
        assert backend("bert").embed([bad])[0].code == "bad_text"


def test_trap_25_a_prefix_is_part_of_the_spec():
    """A query's vector was served for a document: the prompt was not in the key."""
    plain, prefixed = backend("bert"), backend("bert", prefix="the fear: ")
    assert plain.describe()["processor"] != prefixed.describe()["processor"]
    [ours] = prefixed.embed(["one two"])
    [written] = plain.embed(["the fear: one two"])
    assert distance(ours.values, written.values) <= 1e-6
    assert prefixed.embed([""])[0].code == "empty_text"


def test_trap_26_tf32_is_off_whatever_the_process_has_set():
    """TF32 and its relatives keep 10 bits of a float32."""
    opened = backend("xlsr")
    seen = []
    hook = opened._model.encoder.register_forward_hook(
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


def test_random_models_have_no_trivial_norms():
    """The oracle would miss a lost norm if every norm had weight one and bias zero."""
    config = tf.AutoConfig.from_pretrained(model_folder("xlsr"))
    model = random_model(tf.Wav2Vec2Model, config)
    assert float(model.encoder.layer_norm.weight.detach().std()) > 0.01
