"""Conformal sets: instead of one label, a set that holds the true one as often as promised.

Split conformal prediction (Vovk et al., 2005; Sadinle et al., 2019) on dev, apart for each language
(Mondrian) that has enough speakers, so that the promise holds in each. The other languages share a
threshold from their own dev clips: from all of dev, that of an easy large language would be too
strict for them. Clips of one speaker are
alike, so what is exchangeable are speakers, not clips: every speaker of dev counts the same, and
one place is kept for the new speaker (Lee, Barber and Willett, 2023, for data in groups). The
promise then holds for clips of new speakers, on average over draws of dev. It needs enough
speakers: nine for 90 %, four for 80 %; with fewer only the set of all labels can be promised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....cache.errors import InputError
from ...metrics.bootstrap import resample


def quantile(scores: np.ndarray, coverage: float, speakers: np.ndarray | None = None) -> float:
    """Return the score that one of a new speaker stays below with the coverage promised.

    Each of S speakers has the weight ``1 / (S + 1)``, shared by its clips; the rest is the new
    speaker's, who may be above all others. Infinite where S is too small to promise it.

    Parameters
    ----------
    scores
        Of each clip, `(clips,)`.
    coverage
        Share that is promised.
    speakers
        Code of each clip's speaker; without, each clip counts as one.

    Examples
    --------
    >>> quantile(np.arange(1, 10) / 10, coverage=0.8)
    0.8
    >>> quantile(np.array([0.1, 0.2]), coverage=0.9)
    inf
    >>> quantile(np.arange(1, 10) / 10, 0.8, speakers=np.repeat([0, 1, 2], 3))
    inf
    """
    codes = np.arange(len(scores)) if speakers is None else speakers
    _, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    weight = 1 / (sizes[codes] * (len(sizes) + 1))
    order = np.argsort(scores, kind="stable")
    reached = np.flatnonzero(np.cumsum(weight[order]) >= coverage - 1e-9)
    return float(scores[order[reached[0]]]) if len(reached) else math.inf


def speakers_needed(coverage: float) -> int:
    """Return how many speakers a promise needs.

    Examples
    --------
    >>> speakers_needed(0.9), speakers_needed(0.8)
    (9, 4)
    """
    return math.ceil(coverage / (1 - coverage) - 1e-9)


class ConformalSets:
    """Sets of labels with promised coverage in each group.

    Parameters
    ----------
    coverage
        Share of clips whose set is to hold the true label.
    min_clips
        Groups with fewer dev clips, or fewer speakers than the promise needs, share a threshold.

    Attributes
    ----------
    thresholds_
        Largest ``1 - probability`` that enters a set, by group; "" is the shared one.
    sharing_
        Groups that the shared one is promised for, on average over them. None where they have too
        few dev clips or speakers together: the shared one is then that of all of dev.

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
        self.sharing_: frozenset[str] = frozenset()

    def fit(
        self,
        truth: np.ndarray,
        proba: np.ndarray,
        groups: Sequence[str] | None = None,
        speakers: np.ndarray | None = None,
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
        speakers
            Code of each clip's speaker; without, clips are taken as independent.
        """
        scores = 1 - proba[np.arange(len(truth)), truth]
        codes = np.arange(len(truth)) if speakers is None else speakers
        names = np.array([""] * len(truth) if groups is None else list(groups), dtype=object)

        def enough(at: np.ndarray) -> bool:
            speakers_there = len(np.unique(codes[at]))
            return at.sum() >= self.min_clips and speakers_there >= speakers_needed(self.coverage)

        own = [name for name in sorted(set(names) - {""}) if enough(names == name)]
        rest = ~np.isin(names, own)
        self.sharing_ = frozenset(names[rest]) if enough(rest) or not own else frozenset()
        if not self.sharing_:
            rest[:] = True
        self.thresholds_ = {"": quantile(scores[rest], self.coverage, codes[rest])}
        for name in own:
            at = names == name
            self.thresholds_[str(name)] = quantile(scores[at], self.coverage, codes[at])
        return self

    @property
    def possible(self) -> bool:
        """Whether dev has enough speakers for the promise."""
        return math.isfinite(self.thresholds_[""])

    def promise(self, group: str) -> str:
        """Return what is promised for a group: its "own" threshold, a "shared" one, or "none"."""
        if group and group in self.thresholds_:
            return "own"
        return "shared" if group in self.sharing_ else "none"

    def sets(self, proba: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
        """Return which labels are in the set of each clip, `(clips, labels)` bool.

        The most probable label is always in.
        """
        names = [""] * len(proba) if groups is None else list(groups)
        shared = self.thresholds_[""]
        edges = np.array([self.thresholds_.get(str(name), shared) for name in names])
        sets = 1 - proba <= edges[:, None] + 1e-12
        sets[np.arange(len(proba)), proba.argmax(axis=1)] = True
        return sets

    def check(
        self,
        truth: np.ndarray,
        proba: np.ndarray,
        groups: Sequence[str] | None = None,
        speakers: np.ndarray | None = None,
        *,
        sets: np.ndarray | None = None,
        promises: Mapping[str, str] | None = None,
        level: float = 0.95,
    ) -> dict[str, Any]:
        """Return coverage and mean size of the sets on test, over all and by group, for JSON.

        Parameters
        ----------
        truth, proba, groups, speakers
            As for `fit`, of the test clips; coverage has an interval over the speakers.
        sets, promises
            The sets, and what is promised by group, where they were made otherwise, as of folds.
        level
            Coverage of the intervals.
        """
        sets = self.sets(proba, groups) if sets is None else sets
        held = sets[np.arange(len(truth)), truth]
        size = sets.sum(axis=1)
        codes = np.arange(len(truth)) if speakers is None else speakers

        def row(at: np.ndarray) -> dict[str, Any]:
            drawn = resample(
                np.zeros(int(at.sum()), int),
                {"": 1 - held[at].astype(int)},
                codes[at],
                2,
                n_resamples=2000,
            )
            return {
                "clips": int(at.sum()),
                "coverage": float(held[at].mean()),
                "interval": list(drawn.interval("", "accuracy", level)),
                "mean_size": float(size[at].mean()),
                "singletons": float((size[at] == 1).mean()),
            }

        everything = np.ones(len(truth), dtype=bool)
        result: dict[str, Any] = {
            "promised": self.coverage,
            "possible": self.possible,
            "speakers_needed": speakers_needed(self.coverage),
            "all": row(everything),
        }
        names = np.array([""] * len(truth) if groups is None else list(groups), dtype=object)
        found = sorted(set(names))
        promises = promises or {name: self.promise(name) for name in found}
        result["unpromised"] = [name for name, kind in promises.items() if kind == "none"]
        if groups is not None:
            result["by"] = {str(name): row(names == name) for name in found}
            result["shared"] = [name for name in found if promises[name] != "own"]
        return result
