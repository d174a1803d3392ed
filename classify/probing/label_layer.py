"""Labels from one layer: logistic regressions of every C and fold, and their UAR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError
from ..heads.linear.logistic import C_RANGE
from ..metrics import measures as metrics
from ..metrics.bootstrap import resample
from ..metrics.scored_clips import clusters
from .layer_rows import BLOCK, Rows
from .logistic_batch import MEMORY, Problems, predict, solve
from .one_layer import RESAMPLES, LayerJob, score

if TYPE_CHECKING:
    from ...cache.space import Features


@dataclass(frozen=True, kw_only=True)
class LabelJob(LayerJob):
    """Logistic regressions on labels, scored by UAR."""

    measure = "uar"
    penalty = "C"
    grid = (0.0001, 0.001, 0.01, 0.1, 1.0)
    limits = C_RANGE
    outputs = "labels"

    @cached_property
    def codes(self) -> np.ndarray:
        """The class of each clip, `(clips,)`."""
        return metrics.codes(list(self.clips["label"]), self.task.labels)

    def run(self, features: Features) -> np.ndarray:
        """Train on one layer.

        Returns
        -------
        guesses : ndarray of int16 (masks, values, clips)
            The most probable label of each clip; -1 where a model was trained on it.
        """
        guesses = self.nothing(len(self.masks.masks), len(self.values))
        for present, group in self.by_classes():
            codes = self.codes_among(present)
            for mask, served in self.parts(group):
                with self.rows(features, mask, codes) as rows:
                    self._solve(rows, present, served, guesses)
        return guesses

    def nothing(self, *shape: int) -> np.ndarray:
        """Return guesses `(*shape, clips)` int16 of -1."""
        return np.full((*shape, len(self.clips)), -1, np.int16)

    def score(self, clips: np.ndarray, guess: np.ndarray) -> float:
        """Return the mean recall over the classes that some clips have."""
        truth, own = self.codes[clips], guess[clips]
        return float(np.mean([(own[truth == code] == code).mean() for code in np.unique(truth)]))

    def scores(
        self, clips: np.ndarray, guesses: np.ndarray
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the UAR of several guesses on some clips, over the labels that the clips have."""
        groups, warnings = clusters(self.clips.select(clips), "speaker")
        names = [str(at) for at in range(len(guesses))]
        systems = dict(zip(names, guesses[:, clips].astype(np.int64), strict=True))
        draws = {"n_resamples": RESAMPLES, "pooled": self.pooled}
        drawn = resample(self.codes[clips], systems, groups, len(self.task.labels), **draws)
        present = max(1, len(np.unique(self.codes[clips])))
        found = (drawn.score(name, "uar") for name in names)
        over = [metrics.over_present(one, len(self.task.labels), present) for one in found]
        return [score(one["value"], one["interval"]) for one in over], warnings

    def check_train(self, remedy: str) -> list[str]:
        """Refuse folds whose training clips have one label only."""
        for present, _ in self.by_classes():
            if len(present) < 2:
                raise InputError(
                    f"a fold trains on clips of the label {self.task.labels[present[0]]!r} alone; "
                    f"expected at least two labels in each: {remedy}"
                )
        return []

    def work(self, width: int) -> float:
        """Return clips x features x classes of all models, for layers of this width in all."""
        models = len(self.masks.masks) * len(self.values)
        return float(width * len(self.task.labels) * models * len(self.clips))

    def by_classes(self) -> list[tuple[np.ndarray, list[int]]]:
        """Group masks by the classes that they train on: the others have no logit."""
        found: dict[tuple[int, ...], list[int]] = {}
        for number, mask in enumerate(self.masks.masks):
            there = np.unique(self.codes[self.in_mask(mask)])
            found.setdefault(tuple(there.tolist()), []).append(number)
        return [(np.array(present), group) for present, group in found.items()]

    def codes_among(self, present: np.ndarray) -> np.ndarray:
        """Return codes among the present classes; 0 for clips that no such fold trains on."""
        at = np.searchsorted(present, self.codes).clip(max=len(present) - 1)
        return np.where(present[at] == self.codes, at, 0)

    def _solve(
        self, rows: Rows, present: np.ndarray, group: Sequence[int], guesses: np.ndarray
    ) -> None:
        problems, pairs = self.problems(present, group)
        shrink = None
        if self.scale is True:
            shrink = np.array([rows.ratios(mask) for mask in self.masks.masks[list(group)]])
        elif not self.scale:
            problems = replace(problems, units=rows.deviation.astype(np.float32))
        values = len(self.values)
        each = 4 * len(present) * ((rows.dim + 1) * (2 * MEMORY + 10 + 2 * values) + 5 * BLOCK)
        size = values * max(1, self.memory // each)  # all C of as many masks
        for start in range(0, len(pairs), size):
            some = problems.take(np.arange(start, min(start + size, len(pairs))))
            at = pairs[start : start + size]
            if shrink is not None:
                some = replace(some, shrink=shrink[at[:, 0]])
            W = solve(rows, some, check=self.check)
            self.note(predict(rows, W, some), present, group, at, rows.order, guesses)

    def problems(self, present: np.ndarray, group: Sequence[int]) -> tuple[Problems, np.ndarray]:
        """Return every mask of a group with every C, and `(problems, 2)` which these are."""
        masks = self.masks.masks[list(group)]
        counts = np.array([np.bincount(self.codes[self.in_mask(m)])[present] for m in masks])
        weights = np.ones(counts.shape)
        if self.class_weight == "balanced":
            weights = counts.sum(axis=1, keepdims=True) / (len(present) * counts)
        pairs = np.indices((len(group), len(self.values))).reshape(2, -1).T
        mask, value = pairs.T
        values = np.asarray(self.values, float)[value]
        return Problems(masks[mask], values, weights[mask].astype(np.float32)), pairs

    @staticmethod
    def note(
        found: np.ndarray,
        present: np.ndarray,
        group: Sequence[int],
        pairs: np.ndarray,
        order: np.ndarray,
        guesses: np.ndarray,
    ) -> None:
        """Write what `predict` found of some problems into `guesses` `(masks, values, clips)`."""
        named = np.where(found < 0, -1, present[found]).astype(np.int16)
        for (mask, value), row in zip(pairs.tolist(), named, strict=True):
            guesses[group[mask], value, order] = row
