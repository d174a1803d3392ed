"""Train, ensemble, compare and serve small heads on cached embeddings.

`Model` is a head with its task and features; `compare` tells which member and which ensemble is
best; a recipe says a whole experiment. Needs `affekt.cache`; `affekt.extract` only where raw audio
or text comes in.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import Comparison, compare
    from .ensemble import MaxEnsemble, MeanEnsemble
    from .heads import (
        HEADS,
        ConcatFusionHead,
        CrossAttentionFusionHead,
        LDAHead,
        LogisticHead,
        MeanFusionHead,
        MLPHead,
        PatchTransformerHead,
    )
    from .model import Model
    from .predict_emotion import predict_emotion
    from .predictions import Predictions
    from .probing import Probe, probe
    from .recipe import Recipe
    from .run import run
    from .serving.loading import load_model
    from .serving.predictor import Predictor
    from .splits import Split, splits
    from .strategies import STRATEGIES
    from .system import System, open_system
    from .task import Task
    from .umuteam import load_umuteam
    from .vocametrix import load_vocametrix

_WHERE = {
    "Comparison": "compare",
    "ConcatFusionHead": "heads",
    "CrossAttentionFusionHead": "heads",
    "HEADS": "heads",
    "LDAHead": "heads",
    "LogisticHead": "heads",
    "MLPHead": "heads",
    "MaxEnsemble": "ensemble",
    "MeanEnsemble": "ensemble",
    "MeanFusionHead": "heads",
    "Model": "model",
    "PatchTransformerHead": "heads",
    "Predictions": "predictions",
    "Predictor": "serving.predictor",
    "Probe": "probing",
    "Recipe": "recipe",
    "STRATEGIES": "strategies",
    "Split": "splits",
    "System": "system",
    "Task": "task",
    "compare": "compare",
    "load_model": "serving.loading",
    "load_umuteam": "umuteam",
    "load_vocametrix": "vocametrix",
    "open_system": "system",
    "predict_emotion": "predict_emotion",
    "probe": "probing",
    "run": "run",
    "splits": "splits",
}

__all__ = [
    "HEADS",
    "STRATEGIES",
    "Comparison",
    "ConcatFusionHead",
    "CrossAttentionFusionHead",
    "LDAHead",
    "LogisticHead",
    "MLPHead",
    "MaxEnsemble",
    "MeanEnsemble",
    "MeanFusionHead",
    "Model",
    "PatchTransformerHead",
    "Predictions",
    "Predictor",
    "Probe",
    "Recipe",
    "Split",
    "System",
    "Task",
    "compare",
    "load_model",
    "load_umuteam",
    "load_vocametrix",
    "open_system",
    "predict_emotion",
    "probe",
    "run",
    "splits",
]


class _Contents(ModuleType):
    """Importing the file `splits` must not hide the function `splits` behind the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Contents


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
