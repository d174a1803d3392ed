"""Which layer of which encoder predicts the labels or ratings: linear models on every layer.

`probe` fits all penalties and folds of a layer as one batch (`logistic_batch`, `ridge_batch`), on
rows that are read block by block (`layer_rows`). The layer and penalty are chosen on inner folds,
and the outer folds score the choice (`nested_folds`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .nested import best_layer as best_layer, probe as probe
    from .result import Probe as Probe

__all__, __getattr__, __dir__ = public_names(__name__)
