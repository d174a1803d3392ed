"""Ratings from one layer: ridge regressions of every penalty and fold, and their CCC."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError
from ..data.scales import ScaleTask
from ..heads.linear.ridge import ALPHAS
from ..metrics.concordance import mean_ccc, measure
from ..metrics.scored_clips import clusters, no_spread
from .layer_rows import Rows
from .one_layer import RESAMPLES, LayerJob, score
from .ridge_batch import predict, solve

if TYPE_CHECKING:
    from ...cache.space import Features


@dataclass(frozen=True, kw_only=True)
class RatingJob(LayerJob):
    """Ridge regressions on ratings, one alpha for all dimensions, scored by their mean CCC."""

    task: ScaleTask

    measure = "ccc"
    penalty = "alpha"
    grid = ALPHAS
    limits = (0, math.inf)
    outputs = "dimensions"

    @cached_property
    def ratings(self) -> np.ndarray:
        """`(clips, dimensions)`; NaN where a clip is not rated."""
        return self.task.ratings(self.clips)

    def run(self, features: Features) -> np.ndarray:
        """Train on one layer; return guesses `(masks, values, clips, dimensions)` float32."""
        guesses = self.nothing(len(self.masks.masks), len(self.values))
        for mask, served in self.parts(list(range(len(guesses)))):
            with self.rows(features, mask, self.ratings) as rows:
                self._solve(rows, served, guesses)
        return guesses

    def nothing(self, *shape: int) -> np.ndarray:
        """Return guesses `(*shape, clips, dimensions)` float32 of NaN."""
        return np.full((*shape, *self.ratings.shape), np.nan, np.float32)

    def score(self, clips: np.ndarray, guess: np.ndarray) -> float:
        """Return the mean CCC over the dimensions that some clips are rated for."""
        return mean_ccc(self.ratings[clips], guess[clips])

    def scores(
        self, clips: np.ndarray, guesses: np.ndarray
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the mean CCC of several guesses on some clips, and of each of `dimensions`."""
        groups, warnings = clusters(self.clips.select(clips), "speaker")
        ratings, names = self.ratings[clips], [str(at) for at in range(len(guesses))]
        systems = dict(zip(names, guesses[:, clips], strict=True))
        draws = {"n_resamples": RESAMPLES, "pooled": self.pooled}
        drawn = measure(ratings, systems, groups, self.task.limits, **draws)
        found = []
        for name in names:
            *each, whole = (
                score(drawn.estimates[name]["ccc"][at], drawn.interval(name, "ccc", at))
                for at in (*range(len(self.task.labels)), -1)
            )
            by_dimension = dict(zip(self.task.labels, each, strict=True))
            found.append({**whole, "dimensions": by_dimension})
        return found, warnings

    def check_train(self, remedy: str) -> list[str]:
        """Refuse folds that train on no rating of a dimension, and ratings that are all equal."""
        for mask in self.masks.masks:
            rated = np.isfinite(self.ratings[self.in_mask(mask)]).any(axis=0)
            if not rated.all():
                name = self.task.labels[int(rated.argmin())]
                raise InputError(
                    f"a fold trains on clips of which none is rated for {name}; expected some in "
                    f"each: {remedy}, or take a task without it"
                )
        columns = dict(zip(self.task.labels, self.ratings.T, strict=True))
        warnings = [no_spread(name, one[np.isfinite(one)], "test") for name, one in columns.items()]
        if all(warnings):
            same = ", ".join(f"{name} {np.nanmax(one):g}" for name, one in columns.items())
            raise InputError(
                f"{self.clips.source}: all {len(self.clips)} clips have the same ratings ({same}), "
                "so layers cannot be compared; expected ratings that differ"
            )
        return [text for text in warnings if text]

    def _solve(self, rows: Rows, served: list[int], guesses: np.ndarray) -> None:
        """Fill in the guesses of some masks, as many at a time as there is memory for."""
        width, models = rows.dim + 1, len(self.values) * self.ratings.shape[1]
        size = max(1, self.memory // (8 * width * (width + models)))
        for start in range(0, len(served), size):
            some = served[start : start + size]
            masks = self.masks.masks[some]
            shrink = np.tile(rows.deviation, (len(some), 1))  # so that columns are as they were
            if self.scale is True:
                shrink = np.array([rows.ratios(mask)[:-1] for mask in masks], float)
            W = solve(rows, masks, self.values, shrink, check=self.check)
            for one, values in zip(some, predict(rows, W, masks), strict=True):
                guesses[one][:, rows.order] = values
