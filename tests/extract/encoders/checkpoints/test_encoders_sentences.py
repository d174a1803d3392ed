"""Text embedders: their own pooling, prompt and length; the last token; decoders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers as tf
from affekt.cache import Cache, InputError, Manifest
from affekt.classify.models.new_clips.own_encoders import open_encoder
from affekt.extract import Encoder
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.layers import masked_pool
from affekt.extract.encoders.packed.layout import Pack
from affekt.extract.pooling import pool
from affekt.extract.running.embedding import run_extraction

from tests.support.encoder_models import (
    TEXTS,
    distance,
    model_folder,
    plain_layers,
    random_model,
    saved,
)

TEXT = "one two three"


def sentences(folder, *, pooling=None, steps=("Normalize",), prompts=None, default=None):
    """A sentence-transformers folder around the small BERT."""
    shutil.copytree(model_folder("bert"), folder)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules += [(step, f"{number}_{step}") for number, step in enumerate(steps, 2)]
    kinds = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(kinds))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {}))
    settings = {"prompts": prompts or {}, "default_prompt_name": default}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({}, "mean"),
    ],
)
def test_the_folders_own_pooling_is_the_default(tmp_path, settings, pooling):
    folder = sentences(tmp_path / "s", pooling=settings)
    assert open_backend(folder).pooling == pooling
    assert open_backend(folder, pooling="mean+std").pooling == "mean+std"


def test_the_last_layer_is_what_sentence_transformers_gives(tmp_path):
    """Prompt, CLS of the last layer, length 1: written out with transformers alone."""
    settings = {"pooling_mode_cls_token": True}
    prompts = {"query": "two: ", "plain": ""}
    folder = sentences(tmp_path / "s", pooling=settings, prompts=prompts, default="query")
    encoder = Encoder(folder, normalise=True)
    [found] = encoder.embed([TEXT])
    states, _ = plain_layers("bert", model_folder("bert"), "two: " + TEXT)
    wanted = states[-1, 0].numpy() / np.linalg.norm(states[-1, 0].numpy())
    assert np.abs(found.values[-1] - wanted).max() < 1e-6
    assert encoder.spec.fields["processor"]["prefix"] == "two: "
    [plain] = Encoder(folder, prefix="").embed([TEXT])
    assert distance(plain.values[-1:], states[-1:, 0]) > 1e-3
    again = open_encoder(encoder.spec, folder)
    assert (again.backend.normalise, again.backend.pooling) == (True, "cls")


def test_what_is_not_applied_is_said(tmp_path):
    folder = sentences(tmp_path / "s", steps=("Dense", "Normalize"), prompts={"query": "q: "})
    clips = Manifest.from_rows([{"id": "a", "text": TEXT}])
    done = run_extraction(clips, Cache(tmp_path / "c"), Encoder(folder))
    said = " ".join(done.notes)
    for words in ("length 1: --normalise", "not applied: Dense", "prompts (query): --prefix"):
        assert words in said
    assert open_backend(folder, normalise=True, prefix="q: ").notes == [
        "its last steps are not applied: Dense"
    ]
    assert not Encoder("ngram").backend.notes


@pytest.mark.parametrize("settings", [{"pooling_mode_weightedmean_tokens": True}])
def test_a_pooling_that_is_unknown_is_refused_unless_one_is_chosen(tmp_path, settings):
    settings |= {"pooling_mode_mean_tokens": True}
    folder = sentences(tmp_path / "s", pooling=settings)
    with pytest.raises(InputError, match=r"pooling_mode_weightedmean_tokens\+mean.*`pooling`"):
        open_backend(folder)
    assert open_backend(folder, pooling="mean").pooling == "mean"


def test_options_that_existing_caches_were_made_with_keep_their_key(tmp_path):
    """A folder with mean pooling and a plain one have the keys that they had before."""
    folder = sentences(tmp_path / "s", pooling={"pooling_mode_mean_tokens": True})
    assert Encoder(folder).spec.key == Encoder(folder, pooling="mean", prefix="").spec.key
    bert = str(model_folder("bert"))
    spec = Encoder(bert).spec
    assert spec.key == Encoder(bert, pooling="mean").spec.key
    assert "norm" not in spec.fields["layers"]
    assert not {"packages", "allow_extra"} & (set(spec.fields["processor"]) | set(spec.fields))


@pytest.mark.parametrize("batching", ["single", "padded"])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_last_is_the_last_token_of_each_text(name, batching):
    opened = open_backend(str(model_folder(name)), pooling="last", batching=batching)
    for text, answer in zip(TEXTS, opened.embed(TEXTS), strict=True):
        states, keep = plain_layers(name, model_folder(name), text)
        assert distance(answer.values, states[:, keep][:, -1]) <= 1e-5
        assert np.array_equal(pool(states.numpy(), "last"), states[:, -1].numpy())


def test_last_skips_padding_and_marks():
    states = torch.arange(8.0).reshape(2, 4, 1)
    keep = torch.tensor([[True, True, False, False], [False, True, True, True]])
    assert masked_pool(states, keep, "last").tolist() == [[1.0], [7.0]]
    pack = Pack([torch.tensor([True, True, False]), torch.tensor([True])], "cpu")
    assert pack.pool(torch.arange(4.0)[:, None], "last").tolist() == [[1.0], [3.0]]
    with pytest.raises(InputError, match="`pooling='last'` is for text"):
        open_backend(str(model_folder("xlsr")), pooling="last")


BODY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BODY |= {"intermediate_size": 64, "max_position_embeddings": 64}


def text_model(folder, kind, config):
    """A model with the small BERT's tokenizer."""
    saved("bert", folder)
    for path in folder.glob("model*"):
        path.unlink()
    random_model(kind, config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (tf.LlamaForCausalLM, tf.LlamaConfig(**BODY, vocab_size=200)),
        (tf.Qwen2ForCausalLM, tf.Qwen2Config(**BODY, num_key_value_heads=2, vocab_size=200)),
        (tf.GPTNeoXForCausalLM, tf.GPTNeoXConfig(**BODY, vocab_size=200)),
    ],
)
def test_decoders_equal_the_library(tmp_path, kind, config):
    folder = text_model(tmp_path / "m", kind, config)
    [found] = open_backend(folder, pooling="last").embed([TEXT])
    inputs = tf.AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    model = tf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        wanted = model(**inputs).last_hidden_state[0, -1]
    assert distance(found.values[-1:], wanted[None]) <= 1e-5


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        (tf.XmodModel, tf.XmodConfig(**BODY, vocab_size=200), "default_language into its config"),
        (
            tf.OPTModel,
            tf.OPTConfig(
                **{k: v for k, v in BODY.items() if k != "intermediate_size"},
                ffn_dim=64,
                word_embed_proj_dim=16,
                do_layer_norm_before=False,
                vocab_size=200,
            ),
            "its layers have 16 and 32 numbers",
        ),
        (
            tf.T5Model,
            tf.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=200),
            "an encoder-decoder model",
        ),
    ],
)
def test_what_cannot_be_embedded_says_why(tmp_path, kind, config, said):
    folder = text_model(tmp_path / "m", kind, config)
    with pytest.raises(InputError, match=said):
        open_backend(folder).load()


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [
        ("bert", "sentence_bert_config.json", "do_lower_case"),
        ("bert", "1_Pooling/config.json", "pooling_mode_cls_token"),
        ("xlsr", "preprocessor_config.json", "do_normalize"),
    ],
)
def test_a_text_where_true_or_false_is_expected_is_refused(tmp_path, name, file, key):
    if name == "bert":
        folder = sentences(tmp_path / "s")
    else:
        folder = str(shutil.copytree(model_folder(name), tmp_path / "s"))
    path = tmp_path / "s" / file
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, key: "no"}))
    with pytest.raises(InputError, match=f"{key} is 'no'; expected true or false"):
        open_backend(folder)
