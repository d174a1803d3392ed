"""The front of Wav2Vec2-BERT: Kaldi filter banks, two frames at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...errors import Unusable
from ..checkpoints.checkpoint import Checkpoint
from .front import Example, check_samples
from .waveform import extractor_of, noise

_WINDOW, _HOP = 400, 160  # samples of one filter bank frame, fixed in the library


class FilterbankFront:
    """Filter banks as ``SeamlessM4TFeatureExtractor`` makes them, one clip at a time.

    Each frame of the model holds `stride` frames of 10 ms; where their number is odd, the library
    masks the last one, and so it is not pooled here either. Clips need three frames (720 samples
    at 16 kHz): the variance of a single one is NaN, and its mask is empty.
    """

    mask: str | None = None  # the model is always given its mask, as for a single clip
    max_samples = 0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.extractor = extractor_of(
            checkpoint, "SeamlessM4TFeatureExtractor", ("sampling_rate", "stride")
        )
        self.sampling_rate = int(self.extractor.sampling_rate)
        self.min_samples = _WINDOW + 2 * _HOP

    def describe(self) -> dict[str, Any]:
        """Return the ``processor`` part of the spec."""
        extractor = self.extractor
        return {
            "class": type(extractor).__name__,
            "sampling_rate": self.sampling_rate,
            "feature_size": int(extractor.feature_size),
            "num_mel_bins": int(extractor.num_mel_bins),
            "stride": int(extractor.stride),
            "padding_value": str(float(extractor.padding_value)),
        }

    def prepare(self, item: Any, *, raw: bool = False) -> Example:
        """Make the filter banks of one clip ``(samples,)``, or leave that to `FilterBanks`."""
        samples = check_samples(item, self)
        if raw:
            count = 1 + (len(samples) - _WINDOW) // _HOP
            stride = self.extractor.stride
            mask = (torch.arange(1, count + count % stride, stride) < count).long()
            tensors = {
                "samples": torch.from_numpy(np.require(samples, requirements="W")),
                "attention_mask": mask,
            }
            return Example(tensors, mask.bool(), len(mask), {})
        made = self.extractor(samples, sampling_rate=self.sampling_rate, return_tensors="pt")
        features, mask = made["input_features"][0], made["attention_mask"][0].long()
        if not bool(torch.isfinite(features).all()) or not bool(mask.any()):
            raise Unusable("too_short", f"{len(samples)} samples give no finite filter banks")
        return Example(
            {"input_features": features, "attention_mask": mask}, mask.bool(), len(mask), {}
        )

    def probe(self) -> np.ndarray:
        """Return a fifth of a second of fixed noise, with an odd number of frames."""
        return noise(_WINDOW + 20 * _HOP)
