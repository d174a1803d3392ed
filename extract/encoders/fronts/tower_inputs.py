"""What goes into a tower: the features that the checkpoint's own extractor makes of one clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np
import torch

from ...errors import Unusable
from ..audio_towers import Tower
from ..checkpoints.checkpoint import Checkpoint
from .front import Example, check_samples
from .waveform import extractor_of, noise

_FEATURES = ("input_features", "input_values", "audio_input_features")
_MASKS = (
    "attention_mask", "input_features_mask", "input_values_mask", "audio_attention_mask",
    "padding_mask",
)  # fmt: skip
_MASK_ARGUMENTS = ("attention_mask", "input_features_mask", "padding_mask", "mask")
_VOLATILE = ("processor_class", "_processor_class", "feature_extractor_type", "auto_map")


class FeatureFront:
    """Features of one clip, from the feature extractor that belongs to the model.

    Parameters
    ----------
    checkpoint : Checkpoint
        With ``preprocessor_config.json`` or ``processor_config.json``.
    tower : Tower
        What they are for.
    """

    mask: str | None = None  # one clip runs at a time; what the tower needs is in the tensors

    def __init__(self, checkpoint: Checkpoint, tower: Tower) -> None:
        needed = () if tower.feed == "no_rate" else ("sampling_rate",)
        self.tower = tower
        self.extractor = extractor_of(checkpoint, tower.extractor, needed)
        self.sampling_rate = int(getattr(self.extractor, "sampling_rate", 16000))
        self.min_samples = round(tower.shortest * self.sampling_rate)
        self.max_samples = self._longest()
        if getattr(self.extractor, "dither", 0.0):
            self.extractor.dither = 0.0  # random noise: a clip would have another vector each time

    def _longest(self) -> int:
        """Count the samples beyond which the extractor cuts silently; 0 if it does not."""
        extractor, seconds = self.extractor, self.tower.seconds
        if type(extractor).__name__ == "WhisperFeatureExtractor":
            return int(extractor.n_samples)
        if type(extractor).__name__ == "ClapFeatureExtractor":
            return int(extractor.nb_max_samples)
        if self.tower.feed == "patches":
            return 400 + 160 * (int(extractor.max_length) - 1)
        return int(seconds * self.sampling_rate)

    def describe(self) -> dict[str, Any]:
        """Return the ``processor`` part of the spec."""
        values = {k: v for k, v in self.extractor.to_dict().items() if k not in _VOLATILE}
        text = json.dumps(values, sort_keys=True, default=_plain)
        return {
            "class": type(self.extractor).__name__,
            "sampling_rate": self.sampling_rate,
            "options": {key: str(value) for key, value in sorted(self.tower.options.items())},
            "config": hashlib.sha256(text.encode()).hexdigest(),
        }

    def prepare(self, item: Any) -> Example:
        """Make the features of one clip ``(samples,)``."""
        samples = check_samples(item, self)
        options = dict(self.tower.options)
        if self.tower.feed != "no_rate":
            options |= {"sampling_rate": self.sampling_rate, "return_tensors": "pt"}
        made = self.extractor([np.array(samples)], **options)
        tensors = {key: _tensor(value) for key, value in made.items() if value is not None}
        features = tensors[next(key for key in _FEATURES if key in tensors)]
        if features.shape[0] != 1:
            raise Unusable(
                "too_long",
                f"{len(samples) / self.sampling_rate:.1f} s; its feature extractor cuts this into "
                f"{features.shape[0]} parts: use the policy 'chunk' with a smaller max_seconds",
            )
        found = [key for key in _MASKS if key in tensors]
        keep = tensors[found[0]][0].bool() if found else torch.ones(1, dtype=torch.bool)
        if self.tower.feed == "patches":
            keep = torch.arange(features.shape[1]) < 1 + (len(samples) - 400) // 160
        tensors = {key: value[0] for key, value in tensors.items() if value.dim()}
        return Example(tensors, keep, features.shape[-1], {})

    def probe(self) -> np.ndarray:
        """Return a fifth of a second of fixed noise."""
        return noise(self.sampling_rate // 5)


def arguments_of(
    tower: Tower, module: Any, inputs: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor | None]:
    """Return a module's arguments from what the extractor made.

    Parameters
    ----------
    tower : Tower
        Says how.
    module : torch.nn.Module
        What is called.
    inputs : mapping of str to torch.Tensor
        Features ``(1, ...)`` and, where there is one, their mask ``(1, time)``.
    """
    features = next(inputs[key] for key in _FEATURES if key in inputs)
    mask = next((inputs[key] for key in _MASKS if key in inputs), None)
    names = list(signature(module.forward).parameters)
    if tower.feed in _FEEDS:
        return _FEEDS[tower.feed](module, names, features, mask)
    made: dict[str, torch.Tensor | None] = {names[0]: features}
    taken = next((name for name in _MASK_ARGUMENTS if name in names), None)
    if tower.feed == "clap":
        made["is_longer"] = inputs["is_longer"]
    elif taken is not None and not tower.entry and tower.feed not in _WITHOUT_MASK:
        made[taken] = mask
    return made


def _packed(_module: Any, names: list[str], features: Any, mask: Any) -> dict:
    """Frames without padding, and their number."""
    return {names[0]: features[0][:, mask[0].bool()], "feature_lens": mask.sum(-1)}


def _mask_4d(module: Any, names: list[str], features: Any, mask: Any) -> dict:
    """Mask pairs of frames after the convolutions, as the whole model does for its tower."""
    from transformers.masking_utils import create_bidirectional_mask

    frames = (features.shape[-1] - 2) // 2 + 1
    own = torch.arange(frames, device=features.device) < (mask.sum() - 1) // 2 + 1
    pairs = create_bidirectional_mask(
        config=module.config,
        inputs_embeds=features.new_zeros(1, frames, 1),
        attention_mask=own.long().unsqueeze(0),
    )
    return {names[0]: features, "attention_mask": pairs}


def _inverted(_module: Any, names: list[str], features: Any, mask: Any) -> dict:
    """A mask that says what is padding."""
    return {names[0]: features, names[1]: ~mask.bool()}


_FEEDS: dict[str, Callable[..., dict]] = {
    "packed": _packed, "mask_4d": _mask_4d, "inverted_mask": _inverted,
}  # fmt: skip
_WITHOUT_MASK = ("patches", "no_rate", "unmasked", "class_token")


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
