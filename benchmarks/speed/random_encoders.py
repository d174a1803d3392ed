"""Encoders of the real configurations with random weights, and clips and texts for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf

STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
WHISPER_BASE = {
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "decoder_layers": 1,  # left behind
    "decoder_attention_heads": 8,
}
SPEECH: dict[str, tuple[Any, Any, dict]] = {
    "xlsr": (tf.Wav2Vec2Model, tf.Wav2Vec2Config, {**LARGE, **STABLE}),
    "wav2vec2-base": (tf.Wav2Vec2Model, tf.Wav2Vec2Config, {}),
    "hubert-base": (tf.HubertModel, tf.HubertConfig, {}),
    "wavlm-base": (tf.WavLMModel, tf.WavLMConfig, {}),
    "data2vec-audio": (
        tf.Data2VecAudioModel,
        tf.Data2VecAudioConfig,
        {"num_conv_pos_embeddings": 5},
    ),
    "wav2vec2-bert": (tf.Wav2Vec2BertModel, tf.Wav2Vec2BertConfig, LARGE),
    "whisper-base": (tf.WhisperModel, tf.WhisperConfig, WHISPER_BASE),
}
TEXT: dict[str, tuple[Any, Any, dict]] = {
    "bert": (tf.BertModel, tf.BertConfig, {}),
    "xlm-roberta": (tf.XLMRobertaModel, tf.XLMRobertaConfig, {"max_position_embeddings": 514}),
    "distilbert": (tf.DistilBertModel, tf.DistilBertConfig, {}),
    "mpnet": (tf.MPNetModel, tf.MPNetConfig, {"max_position_embeddings": 514}),
    "deberta-v2": (tf.DebertaV2Model, tf.DebertaV2Config, LARGE),
}
SMALL = {
    "num_hidden_layers": 2,
    "encoder_layers": 2,
    "n_layers": 2,
    "hidden_size": 64,
    "dim": 64,
    "d_model": 64,
    "num_attention_heads": 4,
    "n_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "intermediate_size": 128,
    "hidden_dim": 128,
    "conv_dim": (32,) * 7,
    "output_hidden_size": 64,
}


def build(name: str, folder: Path, *, small: bool) -> None:
    """Write a model of the real configuration with random weights, and its processor."""
    kind, configure, options = (SPEECH | TEXT)[name]
    if small:
        known = set(configure().to_dict())
        options = {**options, **{key: SMALL[key] for key in SMALL if key in known}}
    config = configure(**options)
    if name in TEXT:
        tokenizer = _words_tokenizer(name)
        tokenizer.save_pretrained(folder)
        if name in ("xlm-roberta", "mpnet"):
            config.pad_token_id = tokenizer.pad_token_id
    elif name == "wav2vec2-bert":
        tf.SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(
            folder
        )
    elif name.startswith("whisper"):
        tf.WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    else:
        masked = getattr(config, "feat_extract_norm", "layer") == "layer"
        tf.Wav2Vec2FeatureExtractor(
            do_normalize=True, return_attention_mask=masked
        ).save_pretrained(folder)
    save_random(kind, config, folder)


def save_random(kind: Any, config: Any, folder: Path) -> None:
    """Save a model with random weights that keep the size of what passes through it.

    The library's own initialisation of a large model takes minutes.
    """
    from safetensors.torch import save_file

    with torch.device("meta"):
        model = kind(config)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, empty in model.state_dict().items():
        if name.endswith("original0"):  # of a weight norm
            out = model.get_submodule(name.split(".parametrizations")[0]).weight.shape[0]
            state[name] = torch.full(empty.shape, (out / empty.shape[-1]) ** 0.5)
        elif empty.dim() > 1:
            spread = empty[0].numel() ** -0.5
            state[name] = torch.empty(empty.shape).normal_(0.0, spread, generator=generator)
        else:
            state[name] = torch.full(empty.shape, float(name.endswith("weight")))
    config.architectures = [kind.__name__]
    config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def clips(count: int) -> list[np.ndarray]:
    """Make clips of 1 to 12 s, log-normal around 4 s as in speech corpora."""
    rng = np.random.default_rng(0)
    seconds = np.clip(np.exp(rng.normal(1.23, 0.55, count)), 1.0, 12.0)
    return [(0.1 * rng.normal(size=int(16000 * s))).astype("f4") for s in seconds]


def texts(count: int) -> list[str]:
    """Make texts of 4 to 100 words, most near 20."""
    rng = np.random.default_rng(0)
    words = np.clip(np.exp(rng.normal(3.0, 0.5, count)), 4, 100).astype(int)
    return [" ".join(f"w{i}" for i in rng.integers(0, 900, n)) for n in words]


def _words_tokenizer(name: str) -> Any:
    marks = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "<mask>",
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    words = [f"w{i}" for i in range(900)]
    if name == "xlm-roberta":
        return tf.XLMRobertaTokenizer(
            vocab=[(m, 0.0) for m in [*marks[:4], *(f"▁{w}" for w in words)]]
        )
    if name == "deberta-v2":
        pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"▁{w}" for w in words)]
        return tf.DebertaV2Tokenizer(vocab=[(piece, 0.0) for piece in pieces])
    kind = tf.MPNetTokenizer if name == "mpnet" else tf.BertTokenizer
    return kind(vocab={piece: i for i, piece in enumerate([*marks, *words])})
