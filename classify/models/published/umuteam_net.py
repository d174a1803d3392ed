"""The speech side of a UMUTeam model: Wav2Vec2-BERT, and the mean over its valid frames."""

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
from .umuteam_modes import Affine, folded, mode_shapes, read_tensors

SAMPLING_RATE = 16_000  # Hz
ENCODER = "wav2vec2_bert."  # how the names of its tensors begin


class SpeechNet(Wav2Vec2BertPreTrainedModel):
    """The encoder of a checkpoint; the tensors next to it become two linear maps elsewhere."""

    def __init__(self, config: Wav2Vec2BertConfig) -> None:
        super().__init__(config)
        self._keys_to_ignore_on_load_unexpected = {rf"^(?!{re.escape(ENCODER)}|layer_weights)"}
        self.wav2vec2_bert = Wav2Vec2BertModel(config)
        if config.use_weighted_layer_sum:
            layers = config.num_hidden_layers + 1
            self.layer_weights = nn.Parameter(torch.ones(layers) / layers)
        self.post_init()

    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the mean of the states over valid frames, ``(clips, hidden)``."""
        weighted = self.config.use_weighted_layer_sum
        out = self.wav2vec2_bert(
            input_features, attention_mask=attention_mask, output_hidden_states=weighted
        )
        states = out.last_hidden_state  # (clips, frames, hidden)
        if weighted:
            stack = torch.stack(out.hidden_states, dim=1)  # (clips, layers, frames, hidden)
            weights = torch.softmax(self.layer_weights, dim=-1)
            states = (stack * weights.view(-1, 1, 1)).sum(dim=1)
        if attention_mask is None:
            return states.mean(dim=1)
        valid = attention_mask.to(states.dtype).unsqueeze(-1)
        return (states * valid).sum(dim=1) / valid.sum(dim=1)


def load_speech(
    folder: Path, mode: str, labels: tuple[str, ...]
) -> tuple[Any, Any, tuple[Affine, Affine]]:
    """Load encoder, feature extractor and maps of a mode; every tensor is accounted for before."""
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
    sizes = config.classifier_proj_size, config.hidden_size
    heads = mode_shapes(found, mode, len(labels), *sizes)
    with torch.device("meta"):
        empty = SpeechNet(config)
    encoder = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    account_for(found, encoder | heads, f"{folder}, mode {mode!r}, {len(labels)} labels")
    # every name and shape has been checked: nothing is left for transformers to fill in
    net = SpeechNet.from_pretrained(
        files[0].parent,
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
    maps = folded(read_tensors(folder, list(heads)), mode)
    return net.eval().requires_grad_(False), extractor, maps


def _check_labels(config: Mapping[str, Any], labels: tuple[str, ...], where: str) -> None:
    """Refuse a checkpoint whose own label names contradict the language's."""
    table = config.get("id2label") or {}
    own = [str(table.get(str(index), "")) for index in range(len(table))]
    if all(re.fullmatch(r"LABEL_\d+", name) for name in own):  # names without meaning
        return
    if [name.casefold() for name in own] != list(labels):
        raise InputError(
            f"{where}: its labels are {', '.join(own)}; expected {', '.join(labels)}: another "
            "language, or another model"
        )
