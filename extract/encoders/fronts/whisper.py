"""The front of Whisper's encoder: a log-mel spectrogram of 30 seconds, silence included.

The model takes inputs of one length, and no mask: a clip is padded with silence to 30 s, and the
silence takes part in the attention, for a single file as well. What is pooled is the clip's own
part: one encoder frame per 20 ms begun. A clip beyond 30 s is refused (the library cuts it without
a word); the policy ``chunk`` gives windows that fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..checkpoints.checkpoint import Checkpoint
from .front import Example, check_samples
from .waveform import extractor_of, noise


class WhisperFront:
    """Log-mel features as ``WhisperFeatureExtractor`` makes them.

    Parameters
    ----------
    checkpoint : Checkpoint
        With ``preprocessor_config.json``.
    """

    mask: str | None = None

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.extractor = extractor_of(
            checkpoint,
            "WhisperFeatureExtractor",
            ("sampling_rate", "feature_size", "hop_length", "n_fft", "chunk_length"),
        )
        self.sampling_rate = int(self.extractor.sampling_rate)
        self.min_samples = int(self.extractor.n_fft)
        self.max_samples = int(self.extractor.n_samples)
        self._step = 2 * int(self.extractor.hop_length)  # samples per frame after the convolutions
        self._frames = int(checkpoint.config.get("max_source_positions", 1500))

    def frames(self, samples: int) -> int:
        """Count the encoder frames that hold any part of a clip."""
        return min(-(-samples // self._step), self._frames)

    def describe(self) -> dict[str, Any]:
        """Return the ``processor`` part of the spec."""
        extractor = self.extractor
        return {
            "class": type(extractor).__name__,
            "sampling_rate": self.sampling_rate,
            "feature_size": int(extractor.feature_size),
            "hop_length": int(extractor.hop_length),
            "n_fft": int(extractor.n_fft),
            "chunk_length": int(extractor.chunk_length),
            "valid_frames": "begun",
        }

    def prepare(self, item: Any) -> Example:
        """Make the log-mel spectrogram of one clip ``(samples,)``."""
        samples = check_samples(item, self)
        made = self.extractor(samples, sampling_rate=self.sampling_rate, return_tensors="pt")
        keep = torch.zeros(self._frames, dtype=torch.bool)
        keep[: self.frames(len(samples))] = True
        return Example({"input_features": made["input_features"][0]}, keep, self._frames, {})

    def probe(self) -> np.ndarray:
        """Return a fifth of a second of fixed noise."""
        return noise(self.sampling_rate // 5)
