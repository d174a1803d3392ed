"""Small checkpoints with the tensor names of the UMUTeam toolkit, and its equations written out.

Nothing here uses the networks of affekt: the encoder is transformers' own, the tensors of the heads
are listed by name, and `expected` computes the probabilities from those tensors alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

from tests.support.encoder_models import random_model, saved

DIM, TEXT_DIM, HEADS = 32, 32, 3
ES = ("anger", "disgust", "fear", "joy", "neutral", "sadness")
EN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def head_shapes(mode: str, labels: int) -> dict[str, tuple[int, ...]]:
    """The tensors beside the encoder, as the toolkit's classes have them."""
    width = DIM + TEXT_DIM if mode == "concat" else DIM
    shapes = {"projector.weight": (DIM, 16), "projector.bias": (DIM,)}
    shapes |= {"classifier.dense.weight": (width, width), "classifier.dense.bias": (width,)}
    shapes |= {"classifier.out_proj.weight": (labels, width), "classifier.out_proj.bias": (labels,)}
    shapes |= {"classifier.layernorm.weight": (width,), "classifier.layernorm.bias": (width,)}
    if mode == "multihead":
        for head in range(HEADS):
            name = f"mult_attn_model.heads.{head}"
            for part in ("Wq", "Wk", "Wv", "Wq_reverse", "Wk_reverse", "Wv_reverse"):
                shapes[f"{name}.{part}.weight"] = (DIM, DIM)
                shapes[f"{name}.{part}.bias"] = (DIM,)
            shapes |= {f"{name}.norm.weight": (DIM,), f"{name}.norm.bias": (DIM,)}
            shapes[f"{name}.linear_out.weight"] = (DIM, 2 * DIM)
            shapes[f"{name}.linear_out.bias"] = (DIM,)
        shapes["mult_attn_model.proj.weight"] = (DIM, HEADS * DIM)
        shapes["mult_attn_model.proj.bias"] = (DIM,)
    return shapes


def write_speech(folder: Path, mode: str, labels=ES, *, weighted=False, **config: Any) -> Path:
    """Write a checkpoint of a mode that hears."""
    settings = tf.Wav2Vec2BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        feature_projection_input_dim=160,
        classifier_proj_size=DIM,
        use_weighted_layer_sum=weighted,
        **config,
    )
    encoder = random_model(tf.Wav2Vec2BertModel, settings)
    generator = torch.Generator().manual_seed(7)
    shapes = head_shapes(mode, len(labels))
    if weighted:
        shapes["layer_weights"] = (3,)
    state = {f"wav2vec2_bert.{name}": value for name, value in encoder.state_dict().items()}
    for name, shape in shapes.items():
        state[name] = torch.randn(shape, generator=generator) * 0.3
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    written = settings.to_dict() | {
        "architectures": ["CustomAudioClassification"],
        "id2label": {str(index): label for index, label in enumerate(labels)},
    }
    (folder / "config.json").write_text(json.dumps(written))
    tf.SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(
        folder
    )
    return folder


def write_text(folder: Path, labels=ES) -> Path:
    """Write a text classifier as the toolkit loads it: a stock RoBERTa."""
    names = {str(index): label for index, label in enumerate(labels)}
    saved(
        *("roberta", folder),
        kind=tf.RobertaForSequenceClassification,
        num_labels=len(labels),
        id2label={int(k): v for k, v in names.items()},
    )
    return folder


def audio_vector(folder: Path, samples: np.ndarray) -> torch.Tensor:
    """Projected states, averaged over the valid frames, ``(1, dim)``."""
    state = load_file(folder / "model.safetensors")
    extractor = tf.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(
        samples, sampling_rate=16000, max_length=16000, truncation=True, return_tensors="pt"
    )
    config = tf.Wav2Vec2BertConfig.from_pretrained(folder)
    encoder = tf.Wav2Vec2BertModel(config).eval()
    prefix = "wav2vec2_bert."
    encoder.load_state_dict(
        {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    )
    with torch.no_grad():
        out = encoder(**inputs, output_hidden_states=True)
    states = out.last_hidden_state
    if "layer_weights" in state:
        weights = torch.softmax(state["layer_weights"], 0)
        states = sum(w * h for w, h in zip(weights, out.hidden_states, strict=True))
    frames = states @ state["projector.weight"].T + state["projector.bias"]
    valid = inputs["attention_mask"][0].bool()
    return frames[:, valid].mean(dim=1)


def text_vector(folder: Path, text: str) -> torch.Tensor:
    """[CLS] of the last layer, padded to 64 tokens as the toolkit pads to 512, ``(1, dim)``."""
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = tf.BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = tokenizer(
        text, truncation=True, padding="max_length", max_length=64, return_tensors="pt"
    )
    with torch.no_grad():
        return model(**inputs).last_hidden_state[:, 0]


def expected(
    folder: Path, mode: str, samples: np.ndarray, words: torch.Tensor | None
) -> np.ndarray:
    """The toolkit's probabilities for one clip, ``(labels,)``."""
    state = load_file(folder / "model.safetensors")
    audio = audio_vector(folder, samples)
    if mode == "audio":
        features = audio
    elif mode == "mean":
        features = torch.stack((audio, words), 1).mean(1)
    elif mode == "concat":
        features = torch.cat((audio, words), 1)
    else:
        features = cross_attention(state, words, audio)
    dense = torch.tanh(_linear(state, "classifier.dense", features))
    logits = _linear(state, "classifier.out_proj", dense)
    return torch.softmax(logits, -1)[0].numpy()


def cross_attention(state: dict, text: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
    """Attention as the toolkit computes it, softmax and norm included; the batch is one clip."""
    attend = torch.nn.functional.scaled_dot_product_attention
    heads = []
    for head in range(HEADS):
        name = f"mult_attn_model.heads.{head}"
        norm = (state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
        query = torch.nn.functional.layer_norm(_linear(state, f"{name}.Wq", text), (DIM,), *norm)
        key = torch.nn.functional.layer_norm(_linear(state, f"{name}.Wk", audio), (DIM,), *norm)
        value = _linear(state, f"{name}.Wv", audio)
        first = attend(query, key, value) + value
        query = _linear(state, f"{name}.Wq_reverse", audio)
        key = _linear(state, f"{name}.Wk_reverse", text)
        value = _linear(state, f"{name}.Wv_reverse", text)
        second = attend(query, key, value) + value
        heads.append(_linear(state, f"{name}.linear_out", torch.cat((first, second), -1)))
    return _linear(state, "mult_attn_model.proj", torch.cat(heads, -1))


def _linear(state: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
