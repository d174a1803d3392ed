"""A fine-tuned classifier as an encoder of one layer: its class probabilities.

What an ensemble needs of a fine-tuned model is its distribution over classes, once per clip. The
labels are in the spec, in the order of the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...cache.errors import AffektError, InputError
from ..backend import Pooled
from ..errors import Unusable
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.reading import read_configuration
from .clipwise import wrap_per_clip
from .fronts.front import Example
from .hardware.exactness import exact_arithmetic
from .transformer import TransformerBackend

_SUM = 1e-4  # how far probabilities may be from a sum of 1


class ClassifierBackend(TransformerBackend):
    """Return the class probabilities of ``AutoModelFor{Audio,Sequence}Classification``.

    Parameters are those of `TransformerBackend`; `pooling` is ``"softmax"`` always, and windows
    of a long clip are averaged, which gives a distribution again.
    """

    _classifier = True

    def _set_axes(self) -> None:
        labels = labels_of(self.checkpoint)
        self.labels: tuple[str, ...] | None = labels
        self.n_layers, self.dim = 1, len(labels)

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers; reads no tensor."""
        described = super().describe()
        described["layers"]["semantics"] = "class-probabilities"
        return described

    def _layers(self, inputs: dict[str, torch.Tensor], keep: torch.Tensor) -> torch.Tensor:
        logits = self._model(**inputs).logits.float()
        return logits.softmax(dim=-1).unsqueeze(1)  # (rows, 1, labels)

    def _answer(self, example: Example, row: np.ndarray) -> Pooled | Unusable:
        answer = super()._answer(example, row)
        if isinstance(answer, Pooled) and abs(float(row.sum()) - 1.0) > _SUM:
            raise AffektError(f"{self.name}: probabilities sum to {row.sum():.6f}, not to 1")
        return answer

    def _try(self) -> None:
        example = self.front.prepare(self.front.probe())
        with exact_arithmetic(self.device):
            inputs, keep = self._inputs([example])
            made = self._layers(inputs, keep)
        if tuple(made.shape) != (1, 1, self.dim):
            raise AffektError(
                f"{self.name} gave {tuple(made.shape[2:])} probabilities; its configuration names "
                f"{self.dim} labels"
            )
        self._speed_up(lambda: self._layers(inputs, keep), made)
        prefix = self._model.base_model_prefix
        wrapped = wrap_per_clip(
            self._model.get_submodule(prefix) if self.family.per_clip else self._model,
            self.family.per_clip,
            "feature_extractor",
        )
        self._per_clip = wrapped


class RegressionBackend(ClassifierBackend):
    """Return the numbers of a fine-tuned regression model: arousal, dominance, valence, say.

    Attributes
    ----------
    outputs : tuple of str
        Names of the numbers, in the order of the columns.
    """

    def _set_axes(self) -> None:
        names = read_configuration(self.checkpoint).id2label
        self.labels = None  # no distribution: a feature, or numbers to compare with
        self.outputs = tuple(str(names[number]) for number in sorted(names))
        self.n_layers, self.dim = 1, len(self.outputs)

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers; reads no tensor."""
        described = super().describe()
        described["layers"]["semantics"] = "regression-outputs"
        return {**described, "outputs": list(self.outputs)}

    def _layers(self, inputs: dict[str, torch.Tensor], keep: torch.Tensor) -> torch.Tensor:
        return self._model(**inputs).logits.float().unsqueeze(1)  # (rows, 1, outputs)

    def _answer(self, example: Example, row: np.ndarray) -> Pooled | Unusable:
        return TransformerBackend._answer(self, example, row)


def is_regression(checkpoint: Checkpoint) -> bool:
    """Whether a fine-tuned model says that it outputs numbers, not classes."""
    return checkpoint.config.get("problem_type") == "regression"


def labels_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Read the class names of a fine-tuned classifier, in the order of its outputs."""
    config = checkpoint.config
    kind = config.get("problem_type")
    if kind not in (None, "single_label_classification"):
        raise InputError(
            f"{checkpoint.name} is a {kind} model: its outputs are not a distribution over classes"
        )
    table = config.get("id2label")
    if not isinstance(table, dict) or len(table) < 2:
        raise InputError(
            f"{checkpoint.name} names {len(table or ())} classes in id2label; expected a "
            "classifier with two or more (or problem_type: regression, for numbers). Leave "
            "classifier out to take its layers"
        )
    if sorted(table, key=str) != sorted(map(str, range(len(table)))):
        raise InputError(
            f"{checkpoint.name}: id2label numbers {sorted(table, key=str)}; expected "
            f"0 to {len(table) - 1}"
        )
    labels = tuple(str(table[str(index)]) for index in range(len(table)))
    if len(set(labels)) != len(labels):
        raise InputError(f"{checkpoint.name}: id2label repeats a name: {', '.join(labels)}")
    return labels
