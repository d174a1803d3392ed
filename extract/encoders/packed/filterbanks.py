"""Wav2Vec2-BERT's filter banks, of many clips at once on the model's device.

The same numbers as ``SeamlessM4TFeatureExtractor`` gives, rounded where it rounds; it takes one
clip at a time on a CPU, where a GPU would wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..fronts.front import Example
from .layout import per_segment

_WINDOW, _HOP, _FOURIER = 400, 160, 512
_PREEMPHASIS, _FLOOR = 0.97, 1.192092955078125e-07


class FilterBanks:
    """Make the model's input from samples."""

    def __init__(self, extractor: Any, device: str) -> None:
        self.device = device
        self.stride, self.padding = int(extractor.stride), float(extractor.padding_value)
        self.filters = torch.as_tensor(np.asarray(extractor.mel_filters), dtype=torch.float64)
        self.filters = self.filters.to(device)
        self.window = torch.as_tensor(np.asarray(extractor.window), dtype=torch.float64).to(device)

    def __call__(self, examples: Sequence[Example]) -> list[Example]:
        """Replace the samples of each example by its filter banks."""
        clips = [example.tensors["samples"] for example in examples]
        counts = [1 + (len(clip) - _WINDOW) // _HOP for clip in clips]
        samples = torch.cat(clips).to(self.device, non_blocking=True)
        starts = np.repeat(np.cumsum([0, *map(len, clips[:-1])]), counts)
        starts += np.concatenate([np.arange(count) * _HOP for count in counts])
        first = torch.from_numpy(starts).to(self.device, non_blocking=True)
        banks = torch.cat([self._banks(samples, some) for some in first.split(1 << 16)])
        made = []
        normal = self._normalised(banks, np.array(counts)).split(counts)
        for example, clip in zip(examples, normal, strict=True):
            if missing := -len(clip) % self.stride:
                clip = torch.nn.functional.pad(clip, (0, 0, 0, missing), value=self.padding)
            mask = example.tensors["attention_mask"]
            tensors = {"input_features": clip.view(len(mask), -1), "attention_mask": mask}
            made.append(Example(tensors, example.keep, example.size, example.lengths))
        return made

    def _banks(self, samples: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Return the logarithms of the energies of frames, ``(frames, bins)``."""
        place = first[:, None] + torch.arange(_WINDOW, device=self.device)
        frames = samples[place].double() * 2.0**15
        frames -= frames.mean(dim=1, keepdim=True)
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        frames = (frames - _PREEMPHASIS * before) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=_FOURIER).to(torch.complex64))
        power = spectrum.double().square_().sum(-1)
        return torch.log((power @ self.filters).clamp_(min=_FLOOR)).float()

    def _normalised(self, banks: torch.Tensor, counts: np.ndarray) -> torch.Tensor:
        """Give each bin of each clip mean 0 and variance 1; the library's own sums are float32."""
        starts = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(self.device)
        clip = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(self.device)
        count = torch.from_numpy(counts[:, None]).to(self.device, torch.float64)
        banks = banks.double()
        centred = banks - (per_segment(banks, starts, "sum") / count)[clip]
        variance = per_segment(centred * centred, starts, "sum") / (count - 1)
        return (centred / torch.sqrt(variance + 1e-7)[clip]).float()
