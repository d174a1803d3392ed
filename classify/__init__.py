"""Train, ensemble, compare and serve small heads on cached embeddings.

`Model` is a head with its task and features; `compare` shows which member and which ensemble is
best; a recipe describes an experiment. Needs `affekt.cache`; `affekt.extract` only where raw audio
or text comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .data.predictions import Predictions as Predictions
    from .data.splitting.schemes import Split as Split, splits as splits
    from .data.task import Task as Task
    from .ensembles.fitted_rules import STRATEGIES as STRATEGIES
    from .ensembles.fixed_rules import MaxEnsemble as MaxEnsemble, MeanEnsemble as MeanEnsemble
    from .evaluation.compare import Comparison as Comparison, compare as compare
    from .evaluation.reports.card import model_card as model_card
    from .experiments.recipes.recipe import Recipe as Recipe
    from .experiments.run import run as run
    from .heads import (
        HEADS as HEADS,
        ConcatFusionHead as ConcatFusionHead,
        CrossAttentionFusionHead as CrossAttentionFusionHead,
        LDAHead as LDAHead,
        LogisticHead as LogisticHead,
        MeanFusionHead as MeanFusionHead,
        MLPHead as MLPHead,
        PatchTransformerHead as PatchTransformerHead,
        register_head as register_head,
    )
    from .models.model import Model as Model
    from .models.new_clips.system import System as System
    from .models.published.predict_emotion import predict_emotion as predict_emotion
    from .models.published.umuteam import load_umuteam as load_umuteam
    from .models.published.vocametrix import load_vocametrix as load_vocametrix
    from .probing import Probe as Probe, probe as probe
    from .serving.loading import (
        Predictor as Predictor,
        load_model as load_model,
        open_system as open_system,
    )

__all__, __getattr__, __dir__ = public_names(__name__)
