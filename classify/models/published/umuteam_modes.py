"""The five modes of the UMUTeam speech-emotion toolkit, as linear maps.

Wav2Vec2-BERT, a projector and the mean over valid frames give the audio vector; the [CLS] vector of
a plain BERT is the text vector. What is done with the two is the mode:

=========  ===================================================================  =============
mode       features                                                             head's width
=========  ===================================================================  =============
audio      audio                                                                dim
mean       (audio + text) / 2, a mean of vectors, not of probabilities          dim
concat     audio, text                                                          dim + text
multihead  attention between the two, see `_cross_attention`                    dim
=========  ===================================================================  =============

The head is dense, tanh, out_proj. Its layer norm is stored and never used, as in the original. The
mode ``text`` is a fine-tuned text classifier. The products of matrices are formed in float64.

Pan, Bernal-Beltrán, García-Díaz, Valencia-García: speech-emotion: A multilingual and multimodal
toolkit for emotion recognition from speech. SoftwareX 34 (2026), 102677.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .tensors import tensor_files

MODES = ("text", "audio", "concat", "mean", "multihead")

#: language -> labels in the order of the outputs
LABELS = {
    "es": ("anger", "disgust", "fear", "joy", "neutral", "sadness"),
    "en": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
}
#: language -> the plain BERT whose [CLS] vector is the text side of the joint modes
BERTS = {
    "es": "dccuchile/bert-base-spanish-wwm-uncased",
    "en": "google-bert/bert-base-uncased",
}

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Affine:
    """``x @ weight.T + bias``, in float64."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def read(cls, tensors: Tensors, name: str) -> Affine:
        """Take the layer `name`."""
        return cls(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the map of a vector."""
        return self.weight @ x + self.bias

    def after(self, first: Affine) -> Affine:
        """Return this map applied after another."""
        return Affine(self.weight @ first.weight, self.weight @ first.bias + self.bias)

    def columns(self, part: slice) -> np.ndarray:
        """Return the weights of some inputs."""
        return self.weight[:, part]


def mode_shapes(
    found: Mapping[str, Any], mode: str | None, labels: int, dim: int, hidden: int
) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a mode next to the encoder, by name.

    Parameters
    ----------
    found : mapping of str to tuple of int
        Those that are there, which say how many heads there are, and how wide the text vector is.
    dim, hidden : int
        Width of the audio vector, and of the encoder's states.
    """
    width = dim
    if mode == "concat":
        width = max(found.get("classifier.dense.weight", (0,))[0], dim + 1)
    linear = {"projector": (dim, hidden), "classifier.dense": (width, width)}
    linear |= {"classifier.out_proj": (labels, width)}
    norms = {"classifier.layernorm": width}
    if mode == "multihead":
        numbers = (re.match(r"mult_attn_model\.heads\.(\d+)\.", name) for name in found)
        heads = min(1 + max((int(one[1]) for one in numbers if one), default=7), 64)
        for head in range(heads):
            stem = f"mult_attn_model.heads.{head}"
            for part in ("Wq", "Wk", "Wv", "Wq_reverse", "Wk_reverse", "Wv_reverse"):
                linear[f"{stem}.{part}"] = (dim, dim)
            linear[f"{stem}.linear_out"] = (dim, 2 * dim)
            norms[f"{stem}.norm"] = dim
        linear["mult_attn_model.proj"] = (dim, heads * dim)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in linear.items():
        shapes |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes


def folded(tensors: Tensors, mode: str) -> tuple[Affine, Affine]:
    """Return a mode as one layer before the tanh, on audio and text side by side, and one after.

    Audio is the mean over the encoder's states, in which a mean and a projection can change places.
    """
    projector, dense = Affine.read(tensors, "projector"), Affine.read(tensors, "classifier.dense")
    dim = len(projector.bias)
    if mode == "audio":
        audio, text, bias = np.eye(dim), np.zeros((dim, 0)), np.zeros(dim)
    elif mode == "mean":
        audio = text = np.eye(dim) / 2
        bias = np.zeros(dim)
    elif mode == "concat":
        wide = np.eye(len(dense.bias))
        audio, text, bias = wide[:, :dim], wide[:, dim:], np.zeros(len(dense.bias))
    else:
        audio, text, bias = _cross_attention(tensors, dim)
    # features = audio @ (projected audio) + text @ (text vector) + bias
    joined = Affine(np.hstack([audio @ projector.weight, text]), audio @ projector.bias + bias)
    return dense.after(joined), Affine.read(tensors, "classifier.out_proj")


def _cross_attention(tensors: Tensors, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fold the multihead mode for one clip.

    The original attends over the clips of a batch, so a clip's answer depends on its company. With
    one clip, which is how it predicts, the softmax is over one element and attention returns its
    values: ``attention + V = 2 V``. Queries, keys and norm are stored and have no effect then.
    """
    proj = Affine.read(tensors, "mult_attn_model.proj")
    audio, text, bias = np.zeros((dim, dim)), np.zeros((dim, dim)), proj.bias.copy()
    for head in range(proj.weight.shape[1] // dim):
        stem = f"mult_attn_model.heads.{head}"
        out = Affine.read(tensors, f"{stem}.linear_out")
        mine = proj.columns(slice(head * dim, (head + 1) * dim))
        heard, read = Affine.read(tensors, f"{stem}.Wv"), Affine.read(tensors, f"{stem}.Wv_reverse")
        from_audio, from_text = out.columns(slice(0, dim)), out.columns(slice(dim, None))
        audio += 2 * mine @ from_audio @ heard.weight
        text += 2 * mine @ from_text @ read.weight
        bias += mine @ (2 * from_audio @ heard.bias + 2 * from_text @ read.bias + out.bias)
    return audio, text, bias


def read_tensors(folder: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some tensors as float64."""
    from safetensors import safe_open

    found: dict[str, np.ndarray] = {}
    for path in tensor_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in set(file.keys()) & set(names):
                found[name] = file.get_tensor(name).double().numpy()
    return found
