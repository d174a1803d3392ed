"""Wav2Vec2 with the head that many emotion models on the Hub have and transformers does not.

The mean over frames, then dense, tanh, out_proj: audeering's dimensional model (arousal, dominance,
valence) and the classifiers made after it (``Wav2Vec2ForSpeechClassification``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from ....cache.errors import InputError


class PooledWav2Vec2(Wav2Vec2PreTrainedModel):
    """Logits or numbers ``(clips, labels)`` of raw samples."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        if (how := getattr(config, "pooling_mode", "mean")) != "mean":
            raise InputError(f"pooling_mode is {how!r}; expected 'mean', the only one known here")
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = _Head(config.hidden_size, int(config.num_labels or 0))
        self.post_init()

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> Any:
        """Return an output whose ``logits`` are ``(clips, labels)``."""
        states = self.wav2vec2(input_values, attention_mask=attention_mask).last_hidden_state
        keep = states.new_ones(states.shape[:2], dtype=torch.bool)
        if attention_mask is not None:
            mask: Any = attention_mask.long()
            keep = self._get_feature_vector_attention_mask(states.shape[1], mask)
        weight = keep.to(states.dtype).unsqueeze(-1)
        return SequenceClassifierOutput(
            logits=self.classifier((states * weight).sum(dim=1) / weight.sum(dim=1))
        )


class _Head(nn.Module):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out_proj(torch.tanh(self.dense(features)))
