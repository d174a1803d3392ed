"""Small estimators on cached embeddings, with scikit-learn's contract.

A head takes 2-D features `(clips, features)` and labels, and knows nothing of clips, files or
spaces. `HEADS` maps the names that recipes and model files use to the classes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attention import CrossAttentionFusionHead
    from .base import Head
    from .fusion import ConcatFusionHead, MeanFusionHead
    from .lda import LDAHead
    from .logistic import LogisticHead
    from .mlp import MLPHead
    from .multitask import MultiTaskHead
    from .patch import PatchTransformerHead
    from .registry import HEADS, REGRESSORS, head_from_state
    from .regression import RegressionHead
    from .ridge import RidgeHead

_WHERE = {
    "ConcatFusionHead": "fusion",
    "CrossAttentionFusionHead": "attention",
    "HEADS": "registry",
    "Head": "base",
    "LDAHead": "lda",
    "LogisticHead": "logistic",
    "MLPHead": "mlp",
    "MeanFusionHead": "fusion",
    "MultiTaskHead": "multitask",
    "PatchTransformerHead": "patch",
    "REGRESSORS": "registry",
    "RegressionHead": "regression",
    "RidgeHead": "ridge",
    "head_from_state": "registry",
}

__all__ = [
    "HEADS",
    "REGRESSORS",
    "ConcatFusionHead",
    "CrossAttentionFusionHead",
    "Head",
    "LDAHead",
    "LogisticHead",
    "MLPHead",
    "MeanFusionHead",
    "MultiTaskHead",
    "PatchTransformerHead",
    "RegressionHead",
    "RidgeHead",
    "head_from_state",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
