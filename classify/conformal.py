"""Conformal sets: instead of one label, a set that holds the true one as often as promised.

Split conformal prediction (Vovk et al., 2005; Sadinle et al., 2019) on dev, apart for each language
(Mondrian), so that the promise holds in each, not only on average. It assumes that dev and test
clips of a language are exchangeable; new speakers strain that, so coverage on test is reported
beside the promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cache.errors import InputError


def quantile(scores: np.ndarray, coverage: float) -> float:
    """Return the score that a new one stays below with the coverage promised.

    The ceil((n + 1) coverage)-th smallest; infinite where n is too small to promise it.

    Examples
    --------
    >>> quantile(np.arange(1, 10) / 10, coverage=0.8)
    0.8
    >>> quantile(np.array([0.1, 0.2]), coverage=0.9)
    inf
    """
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return float(np.sort(scores)[rank - 1]) if 1 <= rank <= len(scores) else math.inf


class ConformalSets:
    """Sets of labels with promised coverage in each group.

    Parameters
    ----------
    coverage
        Share of clips whose set is to hold the true label.
    min_clips
        Groups with fewer dev clips use the threshold of all of dev.

    Attributes
    ----------
    thresholds_
        Largest ``1 - probability`` that enters a set, by group; "" is the pooled one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.dirichlet([1, 1, 1], 500)
    >>> truth = np.array([rng.choice(3, p=row) for row in proba])
    >>> sets = ConformalSets(0.9).fit(truth, proba).sets(proba)
    >>> bool(sets[np.arange(500), truth].mean() >= 0.9)
    True
    """

    def __init__(self, coverage: float = 0.9, min_clips: int = 30):
        if not 0 < coverage < 1:
            raise InputError(f"coverage {coverage}; expected a share between 0 and 1")
        self.coverage, self.min_clips = coverage, min_clips
        self.thresholds_: dict[str, float] = {}

    def fit(
        self, truth: np.ndarray, proba: np.ndarray, groups: Sequence[str] | None = None
    ) -> ConformalSets:
        """Learn the thresholds on dev.

        Parameters
        ----------
        truth
            Label code of each dev clip.
        proba
            Probabilities, `(clips, labels)`.
        groups
            Language of each clip, or None for one promise over all.
        """
        scores = 1 - proba[np.arange(len(truth)), truth]
        self.thresholds_ = {"": quantile(scores, self.coverage)}
        names = np.array([""] * len(truth) if groups is None else list(groups), dtype=object)
        for name in set(names) - {""}:
            own = scores[names == name]
            if len(own) >= self.min_clips:
                self.thresholds_[str(name)] = quantile(own, self.coverage)
        return self

    def sets(self, proba: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
        """Return which labels are in the set of each clip, `(clips, labels)` bool."""
        names = [""] * len(proba) if groups is None else list(groups)
        pooled = self.thresholds_[""]
        edges = np.array([self.thresholds_.get(str(name), pooled) for name in names])
        return 1 - proba <= edges[:, None] + 1e-12

    def check(
        self, truth: np.ndarray, proba: np.ndarray, groups: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return coverage and mean size of the sets on test, over all and by group, for JSON."""
        sets = self.sets(proba, groups)
        held = sets[np.arange(len(truth)), truth]
        size = sets.sum(axis=1)

        def row(at: np.ndarray, name: str) -> dict[str, Any]:
            return {
                "clips": int(at.sum()),
                "coverage": float(held[at].mean()),
                "mean_size": float(size[at].mean()),
                "singletons": float((size[at] == 1).mean()),
                "own_threshold": name in self.thresholds_,
            }

        everything = np.ones(len(truth), dtype=bool)
        result: dict[str, Any] = {"promised": self.coverage, "all": row(everything, "")}
        if groups is not None:
            names = np.array(list(groups), dtype=object)
            result["by"] = {str(n): row(names == n, str(n)) for n in sorted(set(names))}
        return result
