"""The rules that combine members, by name."""

from __future__ import annotations

from ...cache.errors import one_of
from .fitted_rules import GreedyEnsemble, StackingEnsemble, WeightedEnsemble
from .fixed_rules import (
    Ensemble,
    GeometricEnsemble,
    MaxEnsemble,
    MeanEnsemble,
    MedianEnsemble,
    RankEnsemble,
    VoteEnsemble,
)

STRATEGIES: dict[str, type[Ensemble]] = {
    kind.name: kind
    for kind in (
        MeanEnsemble,
        MaxEnsemble,
        WeightedEnsemble,
        GeometricEnsemble,
        MedianEnsemble,
        VoteEnsemble,
        RankEnsemble,
        StackingEnsemble,
        GreedyEnsemble,
    )
}


def strategy(name: str) -> Ensemble:
    """Return a new ensemble by the name of its rule.

    Raises
    ------
    InputError
        If there is none of that name.

    Examples
    --------
    >>> strategy("mean")
    <affekt.classify.ensembles.fixed_rules.MeanEnsemble object at ...>
    """
    one_of(name, STRATEGIES, "ensemble strategy")
    return STRATEGIES[name]()
