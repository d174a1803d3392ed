"""Which layer of which encoder tells the labels apart: logistic regressions on every layer.

`probe` fits every layer, C and fold as one batch (`logistic_batch`), on rows that are read block by
block (`layer_rows`). The layer and C are chosen on inner folds, and the outer folds score the
choice (`nested_folds`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .nested import best_layer as best_layer, probe as probe
    from .result import Probe as Probe

__all__, __getattr__, __dir__ = public_names(__name__)
