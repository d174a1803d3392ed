"""Small estimators on cached embeddings, with scikit-learn's contract.

A head takes 2-D features `(clips, features)` and labels, and has nothing to do with clips, files or
spaces. `HEADS` maps the names that recipes and model files use to the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .base import Head as Head
    from .linear.lda import LDAHead as LDAHead
    from .linear.logistic import LogisticHead as LogisticHead
    from .linear.ridge import RidgeHead as RidgeHead
    from .networks.cross_attention import CrossAttentionFusionHead as CrossAttentionFusionHead
    from .networks.fusion import (
        ConcatFusionHead as ConcatFusionHead,
        MeanFusionHead as MeanFusionHead,
    )
    from .networks.mlp import MLPHead as MLPHead
    from .networks.multitask import MultiTaskHead as MultiTaskHead
    from .networks.patch import PatchTransformerHead as PatchTransformerHead
    from .networks.regression import RegressionHead as RegressionHead
    from .registry import (
        HEADS as HEADS,
        REGRESSORS as REGRESSORS,
        head_from_state as head_from_state,
        register_head as register_head,
    )
    from .search import nested_search as nested_search

__all__, __getattr__, __dir__ = public_names(__name__)
