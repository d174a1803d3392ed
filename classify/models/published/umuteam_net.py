"""The networks of the UMUTeam speech-emotion toolkit, with its tensor names.

Wav2Vec2-BERT, a projector and the mean over valid frames give the audio vector; the [CLS] vector of
a plain BERT is the text vector. What is done with the two is the mode:

=========  ===================================================================  =============
mode       features                                                             head's width
=========  ===================================================================  =============
audio      audio                                                                dim
mean       (audio + text) / 2, a mean of vectors, not of probabilities          dim
concat     audio, text                                                          dim + text
multihead  `CrossAttention`                                                     dim
=========  ===================================================================  =============

The head is dense, tanh, out_proj. Its layer norm is stored and never used, as in the original.

Pan, Bernal-Beltrán, García-Díaz, Valencia-García: speech-emotion: A multilingual and multimodal
toolkit for emotion recognition from speech. SoftwareX 34 (2026), 102677.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoFeatureExtractor, Wav2Vec2BertConfig
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import (
    Wav2Vec2BertModel,
    Wav2Vec2BertPreTrainedModel,
)

from ....cache.errors import InputError
from .tensors import account_for, read_config, tensor_files, tensor_shapes

SAMPLING_RATE = 16_000  # Hz


class CrossAttention(nn.Module):
    """One of the heads of the mode ``multihead``, in closed form for a single clip.

    The original attends over the clips of a batch, so a clip's answer depends on its company. With
    one clip, which is how it predicts, the softmax is over one element and attention returns its
    values: ``attention + V = 2 V``. Queries, keys and norm are stored and have no effect then.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.Wq, self.Wk, self.Wv = (nn.Linear(dim, dim) for _ in range(3))
        self.Wq_reverse, self.Wk_reverse, self.Wv_reverse = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = nn.LayerNorm(dim)
        self.linear_out = nn.Linear(2 * dim, dim)

    def forward(self, text: Tensor, audio: Tensor) -> Tensor:
        """Join ``(clips, dim)`` text and audio vectors."""
        from_audio, from_text = 2 * self.Wv(audio), 2 * self.Wv_reverse(text)
        return self.linear_out(torch.cat((from_audio, from_text), dim=-1))


class MultiHead(nn.Module):
    """All heads, each of full width, and their projection."""

    def __init__(self, heads: int, dim: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(CrossAttention(dim) for _ in range(heads))
        self.proj = nn.Linear(heads * dim, dim)

    def forward(self, text: Tensor, audio: Tensor) -> Tensor:
        """Join ``(clips, dim)`` text and audio vectors."""
        return self.proj(torch.cat([head(text, audio) for head in self.heads], dim=-1))


class Head(nn.Module):
    """Dense, tanh, out_proj; the norm is there because the file holds it."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, labels)
        self.layernorm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Give ``(clips, labels)`` logits."""
        return self.out_proj(torch.tanh(self.dense(features)))


class SpeechNet(Wav2Vec2BertPreTrainedModel):
    """The modes audio, mean, concat and multihead.

    Parameters
    ----------
    config : Wav2Vec2BertConfig
        ``classifier_proj_size`` is the width of the audio vector.
    text_dim : int
        Width of the text vector; concat only.
    heads : int
        multihead only.
    """

    def __init__(
        self, config: Wav2Vec2BertConfig, mode: str, labels: int, text_dim: int, heads: int
    ) -> None:
        super().__init__(config)
        self.mode = mode
        dim = config.classifier_proj_size
        self.wav2vec2_bert = Wav2Vec2BertModel(config)
        self.projector = nn.Linear(config.hidden_size, dim)
        self.classifier = Head(dim + text_dim if mode == "concat" else dim, labels)
        if mode == "multihead":
            self.mult_attn_model = MultiHead(heads, dim)
        if config.use_weighted_layer_sum:
            layers = config.num_hidden_layers + 1
            self.layer_weights = nn.Parameter(torch.ones(layers) / layers)
        self.post_init()

    def audio_vector(self, input_features: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Give the mean over valid frames of the projected states, ``(clips, dim)``."""
        weighted = self.config.use_weighted_layer_sum
        out = self.wav2vec2_bert(
            input_features, attention_mask=attention_mask, output_hidden_states=weighted
        )
        states = out.last_hidden_state  # (clips, frames, hidden)
        if weighted:
            stack = torch.stack(out.hidden_states, dim=1)  # (clips, layers, frames, hidden)
            weights = torch.softmax(self.layer_weights, dim=-1)
            states = (stack * weights.view(-1, 1, 1)).sum(dim=1)
        frames = self.projector(states)
        if attention_mask is None:
            return frames.mean(dim=1)
        valid = attention_mask.to(frames.dtype).unsqueeze(-1)
        return (frames * valid).sum(dim=1) / valid.sum(dim=1)

    def forward(
        self,
        input_features: Tensor,
        attention_mask: Tensor | None = None,
        text: Any = None,
    ) -> Tensor:
        """Give ``(1, labels)`` logits for one clip; `text` is its ``(1, text_dim)`` vector."""
        features = self.audio_vector(input_features, attention_mask)
        if self.mode == "mean":
            features = (features + text) / 2
        elif self.mode == "concat":
            features = torch.cat((features, text), dim=1)
        elif self.mode == "multihead":
            features = self.mult_attn_model(text, features)
        return self.classifier(features)


def load_speech(folder: Path, mode: str, labels: tuple[str, ...]) -> tuple[Any, Any]:
    """Load a mode's network and feature extractor; every tensor is accounted for before."""
    raw = read_config(folder)
    if raw.get("model_type") != "wav2vec2-bert" or raw.get("add_adapter"):
        raise InputError(
            f"{folder} is a {raw.get('model_type')!r} checkpoint; mode {mode!r} expects "
            "wav2vec2-bert without an adapter"
        )
    _check_labels(raw, labels, str(folder))
    config = Wav2Vec2BertConfig.from_pretrained(folder, local_files_only=True)
    files = tensor_files(folder)
    found = tensor_shapes(files)
    dim = config.classifier_proj_size
    width = found.get("classifier.dense.weight", (0,))[0]
    numbers = (re.match(r"mult_attn_model\.heads\.(\d+)\.", name) for name in found)
    heads = max((int(number[1]) + 1 for number in numbers if number), default=8)
    sizes = (mode, len(labels), max(width - dim, 1), min(heads, 64))
    with torch.device("meta"):
        empty = SpeechNet(config, *sizes)
    expected = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    account_for(found, expected, f"{folder}, mode {mode!r}, {len(labels)} labels")
    # every name and shape is right by now: nothing is left for transformers to fill in
    net = SpeechNet.from_pretrained(
        files[0].parent,
        *sizes,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
    )
    extractor = AutoFeatureExtractor.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if extractor.sampling_rate != SAMPLING_RATE:
        rate = extractor.sampling_rate
        raise InputError(f"{folder}: its features are made at {rate} Hz; expected {SAMPLING_RATE}")
    return net.eval().requires_grad_(False), extractor


def _check_labels(config: Mapping[str, Any], labels: tuple[str, ...], where: str) -> None:
    """Refuse a checkpoint whose own label names contradict the language's."""
    table = config.get("id2label") or {}
    own = [str(table.get(str(index), "")) for index in range(len(table))]
    if all(re.fullmatch(r"LABEL_\d+", name) for name in own):  # names that say nothing
        return
    if [name.casefold() for name in own] != list(labels):
        raise InputError(
            f"{where}: its labels are {', '.join(own)}; expected {', '.join(labels)}: another "
            "language, or another model"
        )
