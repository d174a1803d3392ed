"""Which layer of which encoder tells the labels apart: logistic regressions on every layer.

`probe` fits every layer, C and fold as one batch (`solver`), on rows that are read block by block
(`rows`). The layer and C are chosen on inner folds; the outer folds score the choice (`dealing`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .nested import best_layer, probe
    from .result import Probe

_WHERE = {"Probe": "result", "best_layer": "nested", "probe": "nested"}

__all__ = ["Probe", "best_layer", "probe"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
