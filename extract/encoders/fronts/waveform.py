"""The front of Wav2Vec2 and its relatives: raw samples, normalised clip by clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ....cache.errors import InputError, shaped
from ....cache.files.reading import flag, read_object
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.reading import library_errors
from .front import Example, check_samples


class WaveformFront:
    """Samples for a model with a convolutional feature encoder.

    The repository's own ``Wav2Vec2FeatureExtractor`` is called on one clip at a time: it would
    otherwise normalise over the padding. Frames come from the configuration's kernels and strides.

    Parameters
    ----------
    checkpoint : Checkpoint
        With ``preprocessor_config.json``; a missing one is an error, since a model that was
        trained on normalised samples is far off without.
    """

    mask: str | None = "attention_mask"
    max_samples = 0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.extractor = extractor_of(
            checkpoint, "Wav2Vec2FeatureExtractor", ("do_normalize", "sampling_rate")
        )
        source = f"{checkpoint.name}: preprocessor_config.json"
        self.normalises = flag(vars(self.extractor), "do_normalize", source)
        rate = self.extractor.sampling_rate
        if not isinstance(rate, int | float) or not 1000 <= rate <= 1_000_000:
            raise InputError(
                f"{source}: sampling_rate is {rate!r}; expected a number from 1000 to 1,000,000, "
                "in Hz"
            )
        self.sampling_rate = int(rate)
        with shaped(checkpoint.name, "as many numbers of conv_kernel as of conv_stride"):
            kernels = [int(k) for k in checkpoint.config.get("conv_kernel", _KERNELS)]
            strides = [int(s) for s in checkpoint.config.get("conv_stride", _STRIDES)]
            self._steps = list(zip(kernels, strides, strict=True))
        if not all(kernel > 0 and stride > 0 for kernel, stride in self._steps):
            raise InputError(
                f"{checkpoint.name}: conv_kernel {kernels}, conv_stride {strides}; expected "
                "numbers above 0"
            )
        self.min_samples = 1
        for kernel, stride in reversed(self._steps):
            self.min_samples = (self.min_samples - 1) * stride + kernel

    def frames(self, samples: int) -> int:
        """Count the frames that the convolutions make of this many samples."""
        for kernel, stride in self._steps:
            samples = (samples - kernel) // stride + 1
        return samples

    def describe(self) -> dict[str, Any]:
        """Return the ``processor`` part of the spec."""
        return {
            "class": type(self.extractor).__name__,
            "sampling_rate": self.sampling_rate,
            "do_normalize": self.normalises,
        }

    def prepare(self, item: Any, *, raw: bool = False) -> Example:
        """Normalise one clip ``(samples,)``, or leave that to the model's device."""
        samples = check_samples(item, self)
        if raw:
            tensors = {"input_values": torch.from_numpy(np.require(samples, requirements="W"))}
        else:
            made = self.extractor(
                samples, sampling_rate=self.sampling_rate, return_tensors="pt", padding=False
            )
            mask = torch.ones(len(samples), dtype=torch.long)
            tensors = {"input_values": made["input_values"][0], "attention_mask": mask}
        frames = self.frames(len(samples))
        return Example(
            tensors,
            torch.ones(frames, dtype=torch.bool),
            frames,
            {"feature_extractor": len(samples), "encoder.pos_conv_embed": frames},
        )

    def probe(self) -> np.ndarray:
        """Return a fifth of a second of fixed noise."""
        return noise(max(self.min_samples, self.sampling_rate // 5))


# defaults that a Wav2Vec2Config leaves out of its file
_KERNELS = (10, 3, 3, 3, 3, 2, 2)
_STRIDES = (5, 2, 2, 2, 2, 2, 2)


def extractor_of(checkpoint: Checkpoint, expected: str, needed: tuple[str, ...]) -> Any:
    """Load a checkpoint's feature extractor, and check that the file says what matters.

    Parameters
    ----------
    expected : str
        The class it has to be.
    needed : tuple of str
        Values that the file must hold; a library default would be a guess.
    """
    from transformers import AutoFeatureExtractor

    named, values = "preprocessor_config.json", None
    nested = checkpoint.folder / "processor_config.json"
    if nested.is_file():
        values = read_object(nested, lenient=True).get("feature_extractor")
    if values is None and (checkpoint.folder / named).is_file():
        values = read_object(checkpoint.folder / named, lenient=True)
    if not isinstance(values, dict):
        raise InputError(
            f"{checkpoint.name} has no {named}: how its input is normalised is unknown, and a "
            "wrong guess changes every number. Take the file from the original repository"
        )
    missing = [key for key in needed if key not in values]
    if missing:
        raise InputError(f"{checkpoint.name}: {named} does not say {', '.join(missing)}")
    with library_errors(checkpoint.name, named):
        extractor = AutoFeatureExtractor.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    if type(extractor).__name__ != expected:
        raise InputError(
            f"{checkpoint.name}: its feature extractor is a {type(extractor).__name__}; expected "
            f"{expected}, the only one that is exact for {checkpoint.model_type!r} here"
        )
    return extractor


def noise(samples: int) -> np.ndarray:
    """Make fixed noise from an integer generator, the same on every machine."""
    state = np.arange(1, samples + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state ^= state >> np.uint64(29)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    return ((state >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) - 0.5) * 0.2
